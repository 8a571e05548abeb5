"""`restore --dry-run` says what a restore would change in a folder; and that this is what happens."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from chain_world import MTIME, Chains, Tree, read
from ops_world import World

from tapeloom.agent.making import Existing
from tapeloom.cli.main import main
from tapeloom.errors import RestoreError
from tapeloom.ops.foreseeing import Changes, foresee
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import restore_as_asked

OLD: Tree = {"a": None, "a/gone": b"1", "a/x": b"1", "b": None, "b/y": b"1", "turn": b"1"}
NEW: Tree = {"a": None, "a/x": b"22", "b": None, "b/y": b"1", "turn": None, "turn/in": b"2"}


@pytest.fixture
def made(world: World) -> Chains:
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    made = Chains(world)
    made.add(OLD)
    made.add(NEW)
    return made


@pytest.fixture
def target(made: Chains) -> Path:
    """A folder with an older and a newer file of the state, a stray and a stray folder, a folder in the way."""
    target = made.world.folder / "out"
    for folder in ("a", "b", "turn", "strays/deep"):
        (target / folder).mkdir(parents=True)
    for name, age in (("a/x", -9), ("b/y", 9), ("a/stray", 0), ("strays/deep/one", 0), ("turn/in", -9)):
        (target / name).write_text("mine")
        os.utime(target / name, (MTIME + age, MTIME + age))
    return target


def standing(target: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ino) for path in sorted(target.rglob("*"))}


def foreseen(
    made: Chains, target: Path, wanted: Request, existing: Existing = "fail", in_place: bool = True
) -> Changes:
    before = standing(target)
    changes = foresee(made.world.config, wanted, target, existing=existing, in_place=in_place)
    assert isinstance(changes, Changes)
    assert standing(target) == before
    return changes


@pytest.mark.parametrize(
    ("existing", "replaced", "left"),
    [
        ("replace", ["a/x", "b/y", "turn/in"], []),
        ("newer", ["a/x", "turn/in"], ["b/y"]),
        ("skip", [], ["a/x", "b/y", "turn/in"]),
    ],
)
@pytest.mark.parametrize("delete", [False, True])
def test_what_is_foreseen_happens(
    made: Chains, target: Path, existing: Existing, replaced: list[str], left: list[str], delete: bool
) -> None:
    wanted = Request("D1", delete=delete)
    changes = foreseen(made, target, wanted, existing)
    assert (changes.replaced.first, changes.left.first) == (replaced, left)
    assert changes.removed.first == (["a/stray", "strays"] if delete else [])
    assert changes.refused is None
    result = restore_as_asked(made.world.config, wanted, target, existing=existing, in_place=True)
    assert result.removed == changes.removed.count
    after = read(target)
    assert {name for name in ("a/x", "b/y", "turn/in") if after[name] == b"mine"} == set(left)
    assert ("a/stray" in after) is ("strays" in after) is not delete


def test_a_folder_in_the_way_goes_with_delete_alone(made: Chains, target: Path) -> None:
    first = str(made.items[0].id)
    kept = foreseen(made, target, Request(first), "replace")
    assert (kept.left.first, kept.removed.count) == (["turn"], 0)
    gone = foreseen(made, target, Request(first, delete=True), "replace")
    assert (gone.left.first, gone.removed.first) == ([], ["a/stray", "strays", "turn"])
    assert (
        restore_as_asked(
            made.world.config, Request(first, delete=True), target, existing="replace", in_place=True
        ).removed
        == 3
    )


def test_where_a_restore_would_be_refused(made: Chains, target: Path) -> None:
    assert "exists already" in str(foreseen(made, target, Request("D1")).refused)
    with pytest.raises(RestoreError, match="exists already"):
        restore_as_asked(made.world.config, Request("D1"), target, in_place=True)
    assert "is not empty" in str(foreseen(made, target, Request("D1"), in_place=False).refused)
    with pytest.raises(RestoreError, match="is not empty"):
        restore_as_asked(made.world.config, Request("D1"), target)
    assert foreseen(made, target / "new", Request("D1"), in_place=False) == Changes()


def test_paths_that_were_asked_for_alone(made: Chains, target: Path) -> None:
    changes = foreseen(made, target, Request("D1", ("b/y",)), "replace")
    assert (changes.replaced.first, changes.left.count, changes.removed.count) == (["b/y"], 0, 0)


def test_without_an_index_it_is_not_known(made: Chains, target: Path) -> None:
    made.index(1).unlink()
    said = foresee(made.world.config, Request("D1"), target, existing="skip", in_place=True)
    assert isinstance(said, str)
    assert "is not known: the file index of object" in said


def test_on_the_command_line(made: Chains, target: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for n in range(12):
        (target / f"z{n:02}").write_text("")
    words = ["-c", str(made.world.file), "restore", "D1", "--to", str(target), "--in-place", "--dry-run", "--delete"]
    assert main([*words, "--existing", "newer"]) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "2 entries in" in out
    assert "would be replaced: a/x, turn/in." in out
    assert "would be removed, each with all below it: a/stray, strays, z00," in out
    assert "z07, and 4 more." in out
    assert main([*words, "--existing", "replace", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)["target"]
    assert told["replaced"] == {"count": 3, "first": ["a/x", "b/y", "turn/in"]}
    assert (told["left"]["count"], told["removed"]["count"], told["refused"]) == (0, 14, None)
