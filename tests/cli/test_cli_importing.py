"""`import` and `export-catalog`: what they say when they are typed, and how they end."""

from __future__ import annotations

import shutil

from cli_world import Site


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
