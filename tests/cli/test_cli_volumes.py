"""`label`, `relabel`, `load`, `unload`, `retire`, `scratch`, `volumes`: what an administrator does to volumes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli_world import CONFIGURATION, Site

from tapeloom.catalog import Catalog, VolumeState
from tapeloom.cli import confirming
from tapeloom.device import open_drive
from tapeloom.errors import DeviceError
from tapeloom.ident import new_id

POOLED = CONFIGURATION.replace("[sources]", '[pools]\ndaily = "1ms"\nlong = "9d"\n\n[sources]').replace(
    "[backup.nightly.BMA1]", '[backup.nightly]\npool = "daily"\n\n[backup.nightly.BMA1]'
)


@pytest.fixture
def pooled(site: Site) -> Site:
    (site.folder / "tapeloom.toml").write_text(POOLED)
    return site


def states(site: Site) -> dict[str, str]:
    return {one["label"]: one["state"] for one in site.good("volumes", "--json").json}


def refused(site: Site, *words: str, says: str, status: int = 2) -> None:
    said = site.run(*words)
    assert said.status == status, said
    assert says in said.err
    assert said.out == ""


def test_a_cartridge_is_labelled_beforehand(pooled: Site) -> None:
    said = pooled.good("label", "VAULT7", "--drive", "R1", "--pool", "daily", "--barcode", "000123L9")
    assert said.out == "VAULT7: appendable, pool daily, cartridge VAULT7 of R1\n"
    (one,) = pooled.good("volumes", "--json").json
    assert (one["pool"], one["barcode"], one["objects"], one["expires"]) == ("daily", "000123L9", 0, None)
    refused(pooled, "label", "VAULT7", "--drive", "R1", says="there is a volume VAULT7 already")
    refused(pooled, "label", "X", "--drive", "R1", "--pool", "dayly", says='no pool "dayly" for --pool (did you mean')
    refused(pooled, "label", says="--drive says which of R1, R2, R3 is meant")
    pooled.good("backup")
    assert {one["label"] for one in pooled.good("volumes", "--json").json} == {"VAULT7", "R2-0001"}
    assert "VAULT7" in pooled.good("load", "VAULT7").out
    assert pooled.good("unload", "--drive", "R1").out == "drive R1 is empty\n"


def foreign(site: Site) -> Path:
    with open_drive(f"vtape:{site.folder}/tapes/R1", name="R1") as drive:
        drive.new_cartridge("THEIRS")
        drive.load("THEIRS")
        drive.write(b"AMANDA: TAPESTART DATE X TAPE daily-1\n" + bytes(1000))
        drive.write_filemarks()
    return site.folder / "tapes" / "R1" / "THEIRS.tape"


def test_foreign_data_needs_an_explicit_word(pooled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = foreign(pooled)
    before = tape.read_bytes()
    label = ("label", "THEIRS", "--drive", "R1")
    refused(pooled, *label, says="holds data of Amanda: it is left alone", status=3)
    refused(pooled, *label, "--yes", says="holds data of Amanda: it is left alone", status=3)
    refused(pooled, *label, "--overwrite-foreign", says="There is no terminal to ask on: --yes says so")
    said = pooled.good("label", "--drive", "R1")
    assert "holds data of Amanda" in said.err
    assert tape.read_bytes() == before
    typed = iter(["yes", "Amanda"])
    monkeypatch.setattr(confirming, "_somebody_there", lambda question: None)
    monkeypatch.setattr(confirming.click, "prompt", lambda *_, **__: next(typed))
    refused(pooled, *label, "--overwrite-foreign", says="left alone", status=3)
    assert tape.read_bytes() == before
    pooled.good(*label, "--overwrite-foreign")
    assert states(pooled) == {"THEIRS": "appendable"}


def test_nothing_protected_becomes_scratch(pooled: Site) -> None:
    pooled.good("backup")
    refused(pooled, "scratch", "R1-0001", says="--reason is missing")
    refused(pooled, "scratch", "R1-0001", "--expired", says="and not both")
    refused(pooled, "scratch", "R1-0001", "--reason", "x", "--yes", says="the last good full of its source", status=3)
    assert states(pooled) == {"R1-0001": "appendable", "R2-0001": "appendable"}
    said = pooled.good("scratch", "--expired", "--dry-run")
    assert "R1-0001: protected\n  " in said.out
    assert "is the last good full of its source" in said.out
    assert "R2-0001: protected" in said.out
    assert "pool default has no retention" in said.out
    found = pooled.good("scratch", "--expired", "--dry-run", "--json").json
    (first,) = [one for one in found if one["label"] == "R1-0001"]
    assert first["free"] is False
    assert first["protected"][0]["why"] == "is the last good full of its source"


def test_what_is_not_wanted_is_freed_with_a_reason(pooled: Site) -> None:
    pooled.good("backup")
    ids = [one["id"] for one in pooled.good("objects", "--json").json]
    pooled.good("objects", "--retire", *ids, "--yes")
    refused(pooled, "scratch", "R1-0001", "--reason", "end of project", says="There is no terminal to ask on")
    assert states(pooled)["R1-0001"] == "appendable"
    said = pooled.good("scratch", "R1-0001", "--reason", "end of project", "--yes")
    assert said.out == "R1-0001: scratch, end of project\n"
    assert "R1-0001 is scratch since" in pooled.good("volumes").out
    pooled.good("backup")
    assert states(pooled)["R1-0001"] == "appendable"
    assert "R1-0001#1" not in pooled.good("volumes").out
    assert "R1-0001#1" in pooled.good("volumes", "--all").out


def test_a_volume_gets_a_new_label(pooled: Site) -> None:
    pooled.good("backup")
    refused(pooled, "relabel", "R1-0001", "--yes", says="copies that count", status=3)
    pooled.good("label", "EMPTY", "--drive", "R3")
    refused(pooled, "relabel", "EMPTY", "FULL", says="There is no terminal to ask on")
    said = pooled.good("relabel", "EMPTY", "FULL", "--pool", "long", "--yes")
    assert said.out == "FULL: appendable, pool long, cartridge EMPTY of R3\n"
    assert states(pooled)["FULL"] == "appendable"
    assert pooled.good("load", "FULL").out.startswith("cartridge EMPTY in drive R3 is volume FULL (")


def test_a_volume_is_retired_with_a_reason(pooled: Site) -> None:
    pooled.good("backup")
    refused(pooled, "retire", "R1-0001", "--reason", "noisy", says="There is no terminal to ask on")
    refused(pooled, "retire", "R1-0001", "--reason", " ", "--yes", says="--reason is empty")
    refused(pooled, "retire", "R9", "--reason", "noisy", "--yes", says="no volume R9")
    assert pooled.good("retire", "R1-0001", "--reason", "noisy", "--yes").out == "R1-0001: retired, noisy\n"
    pooled.good("backup")
    assert states(pooled) == {"R1-0001": "retired", "R2-0001": "appendable", "R1-0002": "appendable"}


def test_volumes_shows_when_they_expire(pooled: Site) -> None:
    pooled.good("backup")
    shown = pooled.good("volumes").out
    assert [word for word in ("pool", "objects", "bytes", "expires") if word not in shown.splitlines()[0]] == []
    assert "expired" in shown
    assert shown.split()[:4] == ["volume", "pool", "home", "cartridge"]
    found = {one["label"]: one for one in pooled.good("volumes", "--json").json}
    assert found["R1-0001"]["objects"] == 2
    assert found["R1-0001"]["expires"] is not None
    assert found["R2-0001"]["expires"] is None
    assert found["R1-0001"]["bytes"] > 0


def test_a_label_is_a_name_that_can_be_typed(pooled: Site) -> None:
    pooled.good("label", "A", "--drive", "R1")
    for name in ("", "../x", "A#1", "a\nb", "\x1b[31m", "x" * 3000):
        refused(pooled, "relabel", "A", name, "--yes", says="cannot be a label or a barcode")
        refused(pooled, "relabel", "A", "--barcode", name, "--yes", says="cannot be a label or a barcode")
        refused(pooled, "label", "B", "--drive", "R1", "--barcode", name, says="cannot be a label or a barcode")
    pooled.good("label", "B", "--drive", "R1")
    refused(pooled, "relabel", "A", "B", "--yes", says="there is a volume B already")
    assert states(pooled) == {"A": "appendable", "B": "appendable"}


def test_a_volume_that_this_catalog_does_not_know_is_not_overwritten_by_a_script(pooled: Site) -> None:
    """It may be the only copy, and the catalog the one that is lost."""
    pooled.good("backup")
    (pooled.folder / "state").rename(pooled.folder / "lost")
    tape = pooled.folder / "tapes" / "R1" / "R1-0001.tape"
    before = tape.read_bytes()
    words = ("label", "R1-0001", "--drive", "R1", "--overwrite-foreign")
    for more in ((), ("--yes",)):
        refused(
            pooled,
            *words,
            *more,
            says="which this catalog does not know: it is left alone; `tapeloom import`",
            status=3,
        )
    assert tape.read_bytes() == before


def test_a_label_that_was_begun_on_foreign_data_is_written_in_the_end(
    pooled: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(pooled)
    words = ("label", "THEIRS", "--drive", "R1", "--overwrite-foreign", "--yes")

    def fails(drive: object, block: bytes) -> None:
        raise DeviceError("the drive does not answer")

    with monkeypatch.context() as broken:
        broken.setattr("tapeloom.device.native.NativeDrive.write", fails)
        assert pooled.run(*words).status != 0
    assert states(pooled) == {"THEIRS": "appendable"}
    refused(pooled, "label", "THEIRS", "--drive", "R1", says="holds data of Amanda: it is left alone", status=3)
    assert pooled.good(*words).out == "THEIRS: appendable, pool default, cartridge THEIRS of R1\n"


def test_a_job_that_wrote_while_somebody_was_asked(pooled: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pooled.good("label", "A", "--drive", "R1", "--pool", "daily")
    monkeypatch.setattr("tapeloom.cli.handling.confirm", lambda question, yes: pooled.good("backup"))
    refused(pooled, "relabel", "A", says="volume A holds 4 copies that count", status=3)
    assert states(pooled)["A"] == "appendable"


def test_a_volume_of_which_only_other_tapes_tell_is_not_freed(pooled: Site) -> None:
    """A catalog that was made again from one tape knows that others are there, and nothing of what is on them."""
    pooled.good("backup")
    with Catalog.open(pooled.folder / "state") as catalog:
        catalog.add_volume(new_id(), label="V", drive="R1", cartridge="V", block_bytes=16384, end_position=900)
        catalog.set_volume_state(catalog.volume("V").id, VolumeState.UNKNOWN)
    for words in (("scratch", "V", "--reason", "old", "--yes"), ("relabel", "V", "--yes")):
        refused(pooled, *words, says="nobody knows what is on volume V: `tapeloom import --volume V` reads it")


def test_labelling_all_passes_over_a_volume_of_another_drive(pooled: Site) -> None:
    pooled.good("label", "A", "--drive", "R1")
    (pooled.folder / "tapes" / "R2").mkdir()
    for part in ("index", "tape"):
        (pooled.folder / "tapes" / "R1" / f"A.{part}").rename(pooled.folder / "tapes" / "R2" / f"A.{part}")
    said = pooled.good("label", "--drive", "R2")
    assert re.search(r"cartridge A in drive R2 is volume A \([0-9a-f-]{36}\) already: it is left alone\n", said.err)
    refused(pooled, "label", "B", "--drive", "R2", "--barcode", "", says="cannot be a label or a barcode")
