"""Single files and patterns: only the blocks that hold them are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import pytest
from chain_world import Archive, Chains, Link, Tree, content, counting, key, read, week
from ops_world import BLOCK, World

from tapeloom.errors import NotFound, UsageError
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import RestoreResult, plan_restore, restore, restore_as_asked


@pytest.fixture
def made(world: World) -> Chains:
    """The first two versions of a week behind a file of 4 MB; a locate of the drive takes no time that is worth
    counting."""
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    made = Chains(world)
    for tree in list(week())[:2]:
        made.add({"A-big": content(2_000_000, "big"), **tree, "z-big": content(2_000_000, "z-big")})
    return made


def restored(made: Chains, paths: Sequence[str], *, name: str = "out", **wanted: object) -> RestoreResult:
    request = Request("D1", tuple(paths), **wanted)  # type: ignore[arg-type]
    return restore_as_asked(made.world.config, request, made.world.folder / name)


def below(tree: Tree, *paths: str) -> dict[str, object]:
    """What of a tree these paths name, with the folders above."""
    named = {path: what for path, what in tree.items() for top in paths if path == top or path.startswith(f"{top}/")}
    above = {"/".join(path.split("/")[:n]): None for path in named for n in range(1, path.count("/") + 1)}
    return {**above, **named}


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/7"], ["a/7"]),
        (["./a/sub/", "z-big"], ["a/sub", "z-big"]),
        (["a/1?"], [f"a/{n}" for n in range(10, 20)]),
        (["b"], ["b"]),
    ],
)
def test_paths_and_patterns(made: Chains, paths: list[str], names: list[str], indexed: bool) -> None:
    if not indexed:
        for n in range(2):
            made.index(n).unlink()
    result = restored(made, paths)
    assert result.exit_status == 0
    assert read(made.world.folder / "out") == below(made.trees[1], *names)
    assert bool(result.remarks) is not indexed


def test_one_small_file_takes_one_block(made: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request("D1", ("a/sub/4",), copy="A")
    plan = plan_restore(made.world.config, request)
    assert (plan.blocks, plan.seeks, len(plan.volumes)) == (1, 1, 1)
    assert plan.stages[0].item.id == made.items[0].id
    with counting(monkeypatch) as counted:
        result = restored(made, ["a/sub/4"], copy="A")
    assert result.report.files == 1
    assert (counted.mounted, counted.locates, counted.read_through) == (["R1-0001"], 1, 0)


def test_far_apart_is_sought_and_near_is_read_through(made: Chains, monkeypatch: pytest.MonkeyPatch) -> None:
    far = plan_restore(made.world.config, Request(str(made.items[0].id), ("A-big", "z-empty", "z-big"), copy="A"))
    near = plan_restore(made.world.config, Request(str(made.items[0].id), ("a/20", "a/28"), copy="A"))
    assert far.seeks == 2
    assert (near.seeks, near.volumes[0].passed > 0) == (1, True)
    slow = 'locate = "60s"\nrate = "100MB/s"'
    made.world.chain(
        sources=["D1"],
        given={"D1": "{ producer = true }"},
        R1='{ device = "vtape:tapes/R1", ' + slow.replace("\n", ", ") + " }",
    )
    through = plan_restore(made.world.config, Request(str(made.items[0].id), ("A-big", "z-big"), copy="A"))
    assert (through.seeks, through.volumes[0].passed > 0) == (1, True)
    assert through.seconds == pytest.approx(
        60 + (through.blocks + through.volumes[0].passed) * (BLOCK / 100e6 + 20e-6), rel=0.01
    )
    with counting(monkeypatch) as counted:
        result = restored(made, ["A-big", "z-big"], copy="A", at=made.items[0].as_of)
    assert result.exit_status == 0
    assert counted.read_through == through.volumes[0].passed
    assert read(made.world.folder / "out") == below(made.trees[0], "A-big", "z-big")


def test_the_copy_that_takes_least_time_is_read(made: Chains) -> None:
    made.world.chain(
        sources=["D1"],
        given={"D1": "{ producer = true }"},
        R1='{ device = "vtape:tapes/R1", locate = "60s" }',
        R2='{ device = "vtape:tapes/R2", locate = "5s" }',
        R3='{ device = "vtape:tapes/R3", locate = "30s" }',
    )
    plan = plan_restore(made.world.config, Request("D1", ("a/sub/4",)))
    assert [run.drive for run in plan.volumes] == ["R2"]


def test_what_is_not_there(made: Chains) -> None:
    with pytest.raises(NotFound, match=r"nothing in D1 of .* is called"):
        restored(made, ["a/nothing"])
    for n in range(2):
        made.index(n).unlink()
    with pytest.raises(NotFound, match=r"nothing in D1 of .* is called"):
        restored(made, ["a/nothing"])


def test_where_nobody_knows_the_step_all_is_read_up_to_there(made: Chains) -> None:
    with sqlite3.connect(made.world.state / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE objects SET step = NULL")
    catalog.close()
    result = restored(made, ["a/sub/4"])
    assert result.exit_status == 0
    assert read(made.world.folder / "out") == below(made.trees[1], "a/sub/4")


def test_a_command_has_no_paths(world: World) -> None:
    world.chain(sources=["Said"], given={"Said": '{ command = "echo said" }'})
    world.backup()
    with pytest.raises(UsageError, match="no tree: there are no paths in it"):
        restore_as_asked(world.config, Request("Said", ("a",)), world.folder / "out")
    with pytest.raises(UsageError, match="no tree: --delete has no meaning"):
        restore_as_asked(world.config, Request("Said", delete=True), world.folder / "out", in_place=True)
    assert restore(world.config, "Said", world.folder / "out").exit_status == 0


def test_names_of_any_bytes(world: World) -> None:
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    made = Chains(world)
    strange = "a\n\udcff[x]"
    made.add({strange: b"strange", "plain": content(200_000, 1)})
    assert key(strange)
    assert restored(made, [strange]).report.files == 1
    assert read(world.folder / "out") == {strange: b"strange"}


@pytest.mark.parametrize(
    ("paths", "indexed"), [([], True), ([], False), (["b"], True), (["c", "d"], True), (["a", "c"], True)]
)
def test_names_that_could_not_be_read_when_their_first_became_another_file(
    world: World, monkeypatch: pytest.MonkeyPatch, paths: list[str], indexed: bool
) -> None:
    """The increment has the new file and nothing of the old one's other names: they stay what they were."""
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    made = Chains(world)
    old, new = content(5_000, "old"), content(4_000, "new")
    made.add({"a": old, "b": Link("a"), "c": Link("a"), "d": None, "d/e": Link("a"), "f": b"beside it"})
    written = Archive._written
    unread = {"b", "c", "d/e"}
    monkeypatch.setattr(Archive, "_written", lambda _, path, *trees: path not in unread and written(path, *trees))
    made.add({"a": new, "b": old, "c": Link("b"), "d": None, "d/e": Link("b"), "f": b"beside it"})
    if not indexed:
        made.index(0).unlink()
    result = restored(made, paths)
    assert (result.exit_status, result.report.troubles) == (0, ())
    found = read(world.folder / "out")
    expected = below(made.trees[1], *paths) if paths else dict(made.trees[1])
    if "b" not in expected:
        expected["c"] = old
        expected |= {"d/e": Link("c")} if "d/e" in expected else {}
    assert found == expected
