"""`verify --against-source`."""

from __future__ import annotations

import os

import pytest
from cli_world import Site

from tapeloom.agent.report import Trouble
from tapeloom.cli.screen import BOUND


@pytest.fixture
def backed_up(site: Site) -> Site:
    site.good("backup")
    return site


def test_nothing_differs(backed_up: Site) -> None:
    said = backed_up.good("verify", "docs", "--against-source")
    [line] = said.out.splitlines()
    assert " of docs, " in line
    assert line.endswith("compared: everything is the same.")


def test_what_differs_is_listed_and_the_status_says_so(backed_up: Site) -> None:
    folder = backed_up.folder / "data/docs"
    (folder / "one.txt").write_text("another\n")
    (folder / "new\nline").touch()
    os.utime(folder, ns=(0, 0))
    said = backed_up.run("verify", "docs", "--against-source")
    assert said.status == 1
    assert "Changed since " in said.out
    assert "  .: differs in modification time\n" in said.out
    assert r'  "new\nline": is not in the object' + "\n" in said.out
    assert "  one.txt: differs in size (8, was 12), modification time\n" in said.out
    assert said.out.endswith("compared: 3 changes since, 0 differences that nothing explains.\n")


def test_as_json(backed_up: Site) -> None:
    (backed_up.folder / "data/docs/one.txt").write_text("another\n")
    said = backed_up.run("verify", "docs", "--against-source", "--json")
    assert said.status == 1
    found = said.json
    assert (found["source"], found["same"], found["level"]) == ("docs", False, "full")
    assert found["changed"] == {
        "count": 1,
        "named": [{"path": "one.txt", "what": "differs in size (8, was 12), modification time"}],
    }
    assert found["silent"] == found["unread"] == {"count": 0, "named": []}
    assert found["paths"] == [str(backed_up.folder / "data/docs")]


def test_one_object_is_named(backed_up: Site) -> None:
    said = backed_up.run("verify", "--against-source")
    assert said.status == 2
    assert "compares one object: name it" in said.err


def test_what_nothing_explains_comes_last_and_is_bounded(backed_up: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from msgspec import structs

    from tapeloom.ops import against

    real = against.compare

    def compare(*arguments, **options):
        silent = tuple(Trouble(b"./%d" % number, "differs in content, from byte 0 on") for number in range(BOUND + 5))
        return structs.replace(real(*arguments, **options), silent=silent, silent_beyond=7)

    monkeypatch.setattr(against, "compare", compare)
    said = backed_up.run("verify", "docs", "--against-source")
    assert said.status == 1
    lines = said.out.splitlines()
    assert "Differ, though nothing has touched them since" in lines
    assert sum("from byte 0 on" in line for line in lines) == BOUND - 1
    assert any("and 13 more: --json names 25 of them" in line for line in lines), lines
    assert lines[-1].endswith(f"0 changes since, {BOUND + 12} differences that nothing explains.")
