"""`drives`, and what `volumes` says of cartridges that tell of themselves."""

from __future__ import annotations

import pytest
from cli_world import Site

from tapeloom.catalog import Catalog
from tapeloom.device import open_drive
from tapeloom.health import CartridgeHealth, DriveHealth, Health


def test_virtual_drives_have_rows_and_nothing_to_tell(site: Site) -> None:
    site.good("backup")
    rows = site.good("drives", "--json").json
    assert [row["drive"] for row in rows] == ["R1", "R2", "R3"]
    assert {row["status"] for row in rows} == {"free"}
    assert rows[0]["what"] == "virtual tape"
    assert rows[0]["block_bytes_max"] == rows[0]["direct_bytes_max"] > 0
    assert rows[0]["health"] is None
    assert rows[0]["alerts"] == []
    shown = site.good("drives").out
    assert "Warnings" not in shown
    assert "serial" not in shown
    titles = site.good("volumes").out.splitlines()[0]
    assert "loads" not in titles
    assert "left" not in titles


def test_drives_can_be_listed_before_anything_is_there(site: Site) -> None:
    assert "R1" in site.good("drives").out
    assert not (site.folder / "state").exists()
    assert not (site.folder / "tapes").exists()


def test_who_has_a_drive_is_said(site: Site) -> None:
    site.good("backup")
    with open_drive(f"vtape:{site.folder}/tapes/R1", name="other"):
        said = site.good("drives")
    assert "held" in said.out
    assert "is held by pid" in said.out


def test_a_drive_that_cannot_be_used_has_a_sentence(site: Site) -> None:
    file = site.folder / "tapeloom.toml"
    file.write_text(file.read_text().replace("[drives]", '[drives]\nR9 = "/dev/nst31"', 1))
    said = site.run("drives")
    assert said.status == 1
    assert "drive R9: /dev/nst31 cannot be looked at" in said.out
    assert "Traceback" not in said.err


def test_a_drive_that_hangs_is_named_and_the_command_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.ops.asking.LIMIT_SECONDS", 1.0)
    site.configure(('R2 = "vtape:tapes/R2"', 'R2 = "memory:?hang_open=1&aside=1"'))
    said = site.run("drives")
    assert said.status == 1
    assert "\nHanging\n  drive R2 has not come back from a call to open it for 1 s: its process" in said.out
    assert "Failed" not in said.out
    assert "Traceback" not in said.err


def test_what_was_told_is_shown(site: Site) -> None:
    site.good("backup")
    with Catalog.open(site.folder / "state") as catalog:
        volume = next(one for one in catalog.volumes() if one.home == "R1")
        health = Health(
            alerts=(7, 20),
            cartridge=CartridgeHealth(loads=1234, remaining=5 << 30, write_errors=2, read_errors=1),
            drive=DriveHealth(power_on_hours=1, motion_hours=4000),
        )
        catalog.keep_health(health, drive="R1", volume=volume.id)
    shown = site.good("drives").out
    assert "TapeAlert 20, clean now: the drive must be cleaned before it is used again" in shown
    assert "R1: 1 hour switched on, 4,000 hours of moving tape" in shown
    assert "TapeAlert 7" not in shown
    listed = site.good("volumes").out
    assert listed.splitlines()[0].split()[-3:] == ["loads", "left", "errors"]
    row = next(line for line in listed.splitlines() if line.startswith(volume.label))
    assert row.split()[-4:] == ["1,234", "5", "GiB", "3"]
    assert "TapeAlert 7, media life" in listed
    assert "TapeAlert 20" not in listed
    told = next(one for one in site.good("volumes", "--json").json if one["label"] == volume.label)
    assert [one["number"] for one in told["health"]["alerts"]] == [7]
    assert told["health"]["cartridge"]["loads"] == 1234
