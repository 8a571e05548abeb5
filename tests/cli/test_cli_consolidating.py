"""`consolidate`: what it says when it is typed, and how it ends."""

from __future__ import annotations

import shutil

import pytest
from cli_world import Site


@pytest.fixture
def week(site: Site) -> Site:
    """A full object of docs and two increments on it, in R1 and R2."""
    site.good("backup", "--level", "full")
    for day in range(2):
        (site.folder / "data" / "docs" / f"day {day}").write_text("new")
        site.good("backup", "--level", "incremental")
    return site


def objects(site: Site) -> list[dict]:
    return site.good("objects", "docs", "--json").json


def test_it_makes_one_of_several(week: Site) -> None:
    before = objects(week)
    said = week.good("consolidate", "docs", "--to", "R3")
    assert "is complete: 1 object" in said.out
    assert "into the spool first" in said.err
    made = next(one for one in objects(week) if one["stands_for"] is not None)
    last = next(one for one in before if one["id"] == made["stands_for"])
    assert (made["level"], made["parent"], made["as_of"]) == ("full", None, last["as_of"])
    assert "consolidate" in week.good("jobs").out
    shutil.rmtree(week.folder / "tapes" / "R1")
    shutil.rmtree(week.folder / "tapes" / "R2")
    week.good("restore", "docs", "--to", str(week.folder / "again"))
    assert {one.name for one in (week.folder / "again").iterdir()} >= {"day 0", "day 1"}
    again = week.run("consolidate", "docs", "--to", "R3")
    assert (again.status, again.out) == (2, "")
    assert "is full already" in again.err


def test_a_dry_run_moves_nothing(week: Site) -> None:
    before = objects(week)
    said = week.good("consolidate", "docs", "--to", "R3", "--dry-run")
    assert "first, into the spool" in said.out
    assert said.out.rstrip().endswith("Nothing has moved.")
    plan = week.good("consolidate", "docs", "--to", "R3", "--dry-run", "--json").json
    assert plan["source"] == "docs"
    assert [one["level"] for one in plan["chain"]] == ["full", "incremental", "incremental"]
    assert [one["waits"] for one in plan["chain"]].count(True) == 1  # R1 and R2 have all of them
    assert plan["spool_bytes"] == min(one["bytes"] for one in plan["chain"][1:])
    assert plan["passes"] == 3
    assert plan["seconds"] > 0
    assert objects(week) == before


def test_as_json(week: Site) -> None:
    said = week.good("consolidate", "docs", "--to", "R3", "--json").json
    assert said["job"]["kind"] == "consolidate"
    (made,) = said["objects"]
    assert made["stands_for"] is not None


def test_an_older_state_does_not_become_the_newest(week: Site) -> None:
    newest, middle, _ = sorted(objects(week), key=lambda one: one["as_of"], reverse=True)
    week.good("consolidate", "docs", "--to", "R3", "--at", middle["as_of"])
    assert next(one for one in objects(week) if one["stands_for"])["stands_for"] == middle["id"]
    week.good("restore", "docs", "--to", str(week.folder / "now"))
    assert (week.folder / "now" / "day 1").exists()
    week.good("restore", "docs", "--at", middle["as_of"], "--to", str(week.folder / "then"))
    assert not (week.folder / "then" / "day 1").exists()
    assert newest["id"] in {one["id"] for one in objects(week)}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("docs", "--to", "R9"), 'there is no drive "R9"'),
        (("dogs", "--to", "R3"), 'there is no source "dogs"'),
        (("mail", "--to", "R1"), "can only be read in drive R1, which is to be written"),
        (("docs", "--to", "R3", "--at", "1999-01-01"), "has no object of"),
    ],
)
def test_refused(week: Site, words: tuple[str, ...], says: str) -> None:
    said = week.run("consolidate", *words)
    assert said.status != 0
    assert says in said.err
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
