"""`import` and `export-catalog`: what they say when they are typed, and how they end."""

from __future__ import annotations

import os
import shutil

import pytest
from cli_world import Site

from tapeloom.errors import CatalogError


def lose_state(site: Site) -> None:
    shutil.rmtree(site.file.parent / "state")


def test_the_catalog_comes_back(site: Site) -> None:
    site.good("backup")
    before = site.good("objects", "--json").json
    lose_state(site)
    said = site.good("import")
    assert "by" in said.out.splitlines()[0]
    assert "tables" in said.out
    assert "Volumes whose state nobody can tell: no job goes on with them" in said.out
    assert site.good("objects", "--json").json == before
    again = site.good("import", "--appendable", "--json").json
    assert [(one["objects"], one["receipts"], one["conflicts"]) for one in again["volumes"]] == [(0, 0, [])] * len(
        again["volumes"]
    )
    assert again["unknown"] == []
    site.good("verify")
    site.good("backup")


def test_one_volume(site: Site) -> None:
    site.good("backup")
    labels = [one["label"] for one in site.good("volumes", "--json").json]
    lose_state(site)
    found = site.run("import", "--volume", labels[0], "--json")
    assert [one["label"] for one in found.json["volumes"]] == [labels[0]]
    wrong = site.run("import", "--volume", "X9")
    assert (wrong.status, "no volume X9 in " in wrong.err) == (2, True)
    wrong = site.run("import", "--drive", "X9")
    assert (wrong.status, 'there is no drive "X9" for --drive' in wrong.err) == (2, True)


def test_export_and_back(site: Site) -> None:
    site.good("backup")
    assert "Job " in site.good("export-catalog", "--to", "R2").out
    assert "tapeloom/catalog" not in site.good("objects").out
    first = jobs(site)[0]["id"]
    before = site.good("jobs", first, "--json").json
    lose_state(site)
    assert "Begun with the catalog of " in site.good("import").out
    assert site.good("jobs", first, "--json").json == before
    lose_state(site)
    assert "Begun with" not in site.good("import", "--without-export").out


def jobs(site: Site) -> list[dict[str, str]]:
    found: list[dict[str, str]] = site.good("jobs", "--json").json
    return found


def test_after_each_backup(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of its own on the drives of the backup; what goes wrong with it is said, and makes status 1."""
    site.configure(("[server]\n", "[server]\nexport_catalog = true\n"))
    said = site.good("backup")
    assert "The catalog goes to R1, R2 after each backup: job" in said.err
    assert sorted(one["kind"] for one in jobs(site)) == ["backup", "export-catalog"]
    with_job = site.good("backup", "--json")
    assert with_job.json["exported"]["status"] == "complete"
    shutil.rmtree(site.folder / "state")
    assert site.good("import", "--json", "--appendable").json["restored"] is not None

    def fails(*_: object) -> None:
        raise CatalogError("the disk is full")

    monkeypatch.setattr("tapeloom.ops.exporting.write_copy", fails)
    done = site.run("backup")
    assert done.status == 1
    assert "is failed" in done.err
    assert [one["kind"] for one in jobs(site) if one["status"] == "failed"] == ["export-catalog"]


def test_somebody_at_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Enter: it is in; q, or the end of input: that was all; a cartridge that is there needs no word."""
    from tapeloom.cli import importing
    from tapeloom.ops.cartridges import Asked

    def asked(typed: str | None, *, there: bool = False) -> bool:
        ours, theirs = os.pipe()
        if typed is not None:
            os.write(theirs, typed.encode())
            os.close(theirs)
        with os.fdopen(ours) as terminal:
            monkeypatch.setattr("sys.stdin", terminal)
            monkeypatch.setattr(importing, "POLL_SECONDS", 0.0)
            return importing._ask(Asked("R1", "volume R1-0002: 3 objects", ["R1-0001"], lambda: there))

    assert asked("\n")
    assert not asked("q\n")
    assert not asked("")
    assert asked("what?\n\n")
    assert asked(None, there=True)
    said = capsys.readouterr().err
    assert "Drive R1: volume R1-0002: 3 objects.\nNot in yet: R1-0001.\n" in said
    assert said.count("Put in the next cartridge") == 5
