"""States through chains of increments: with file indexes, and without."""

from __future__ import annotations

import subprocess
from datetime import datetime
from pathlib import Path

import pytest
from chain_world import Chains, Link, Tree, counting, read, week
from msgspec.structs import replace
from ops_world import World, flip, place_in_file

from tapeloom.catalog import Catalog, CopyStatus
from tapeloom.errors import NotFound, RestoreError, UsageError
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import RestoreResult, plan_restore, restore_as_asked
from tapeloom.volume.header import Level


def chains(world: World, *, settings: str = "", **drives: str) -> Chains:
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"}, settings=settings, **drives)
    return Chains(world)


@pytest.fixture
def made(world: World) -> Chains:
    """Four versions, the first full, each with its index."""
    made = chains(world)
    for tree in week():
        made.add(tree)
    return made


def restored(made: Chains, wanted: Request, name: str = "out", **how: object) -> RestoreResult:
    return restore_as_asked(made.world.config, wanted, made.world.folder / name, **how)  # type: ignore[arg-type]


def assert_state(made: Chains, n: int, result: RestoreResult, name: str = "out") -> None:
    assert (result.exit_status, result.report.troubles) == (0, ())
    assert result.object.id == made.items[n].id
    assert read(made.world.folder / name) == dict(made.trees[n])


@pytest.mark.parametrize("n", range(4))
def test_the_state_of_each_time(made: Chains, n: int) -> None:
    assert_state(made, n, restored(made, Request("D1", at=made.items[n].as_of)))


@pytest.mark.parametrize("n", range(4))
def test_without_indexes_the_chain_is_applied_whole(made: Chains, n: int) -> None:
    for at in range(4):
        made.index(at).unlink()
    result = restored(made, Request("D1", at=made.items[n].as_of))
    assert_state(made, n, result)
    assert [f"index of object {made.items[0].id}" in remark for remark in result.remarks] == [True] * (n > 0)


def test_one_index_that_is_missing_or_damaged(made: Chains) -> None:
    flip(made.index(2), made.index(2).stat().st_size - 40)
    result = restored(made, Request("D1"))
    assert_state(made, 3, result)
    assert f"index of object {made.items[2].id} cannot be used" in result.remarks[0]


def test_stock_tar_comes_to_the_same(made: Chains, tmp_path: Path) -> None:
    """The archives that these tests are made of are what tar takes them for."""
    target = tmp_path / "by tar"
    target.mkdir()
    for item in made.items:
        data = made.world.sequence(str(item.id))
        extract = ["tar", "--extract", "--listed-incremental=/dev/null", "--directory", str(target)]
        subprocess.run(extract, input=data, check=True, capture_output=True)
    assert read(target) == dict(made.trees[-1])


def test_an_object_alone_and_a_time_between(made: Chains) -> None:
    single = restored(made, Request(str(made.items[1].id), single=True), "single")
    assert single.exit_status == 0
    assert read(made.world.folder / "single").keys() == {"a", "a/7", "a/new"}
    between = restored(made, Request("D1", at=made.items[2].as_of - 1), "between")
    assert_state(made, 1, between, "between")
    with pytest.raises(NotFound, match=r"no object of .* or before; its oldest is of"):
        restored(made, Request("D1", at=made.items[0].as_of - 1))
    with pytest.raises(UsageError, match="--at goes with the name of a source"):
        restored(made, Request(str(made.items[1].id), at=made.items[1].as_of))


def test_differential_objects_build_on_the_full_one(world: World) -> None:
    made = chains(world)
    trees = list(week())
    made.add(trees[0])
    made.add(trees[1], level=Level.DIFFERENTIAL, on=0)
    made.add(trees[2], level=Level.DIFFERENTIAL, on=0)
    made.add(trees[3], on=2)
    plan = plan_restore(world.config, Request("D1"))
    assert [item.id for item in plan.chain.objects] == [made.items[n].id for n in (0, 2, 3)]
    assert_state(made, 3, restored(made, Request("D1")))


def test_each_volume_is_mounted_once_and_only_what_is_needed_is_read(
    made: Chains, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_restore(made.world.config, Request("D1"))
    with counting(monkeypatch) as counted:
        result = restored(made, Request("D1"))
    assert_state(made, 3, result)
    assert counted.mounted == [run.label for run in plan.volumes] == ["R1-0001"]
    assert counted.locates == plan.seeks
    assert counted.read_through == plan.volumes[0].passed
    every = sum(item.blocks or 0 for item in made.items)
    assert plan.blocks < every
    assert plan.volumes[0].blocks == plan.blocks


def test_a_chain_over_many_volumes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = '{ device = "vtape:tapes/R1", capacity = "12MiB" }'
    made = chains(world, R1=drive)
    trees = list(week())
    big = {f"big/{n}": bytes([n]) * 3_000_000 for n in range(4)}
    for tree in trees[:2]:
        made.add({**tree, "big": None, **big})
    made.add({**trees[2], "big": None, **big, "big/2": b"small now"})
    labels = [label for copy in made.items[0].copies if copy.agent == "A" for label in copy.volumes]
    assert len(labels) > 1
    plan = plan_restore(world.config, Request("D1", copy="A"))
    with counting(monkeypatch) as counted:
        result = restored(made, Request("D1", copy="A"))
    assert_state(made, 2, result)
    assert counted.mounted == [run.label for run in plan.volumes]
    assert len(set(counted.mounted)) == len(counted.mounted), "each once"


def test_a_link_of_the_chain_is_damaged(made: Chains) -> None:
    with Catalog.open(made.world.state) as catalog:
        for copy in made.items[1].copies:
            catalog.set_copy_status(copy.id, CopyStatus.DAMAGED)
    with pytest.raises(RestoreError) as caught:
        restored(made, Request("D1"))
    words = str(caught.value)
    assert f"{made.items[2].id} of D1 (incremental" in words
    assert f"is an increment to object {made.items[1].id}" in words
    assert "which is A damaged, M1 damaged, M2 damaged" in words
    assert f"newest state that can be restored is that of object {made.items[0].id}" in words
    assert "--single restores" in words
    assert_state(made, 0, restored(made, Request("D1", at=made.items[0].as_of)))
    assert restored(made, Request("D1", single=True), "single").exit_status == 0
    partial = restored(made, Request("D1", partial=True), "partial")
    assert read(made.world.folder / "partial") == dict(made.trees[3]), "it can all be read, in fact"
    assert partial.exit_status == 0


def test_a_damaged_block_comes_from_another_copy(made: Chains) -> None:
    position = made.world.runs(made.items[0], "A")[0].position
    tape = made.world.tapes("R1")[0]
    flip(tape, place_in_file(tape, position)[0] + 3_000)
    result = restored(made, Request("D1"))
    assert_state(made, 3, result)
    assert [fault.copy for fault in result.faults] == ["A"]


def test_into_a_place_where_an_older_state_stands(made: Chains) -> None:
    assert_state(made, 1, restored(made, Request("D1", at=made.items[1].as_of)))
    (made.world.folder / "out" / "a" / "stray").write_text("stray")
    (made.world.folder / "out" / "strays").mkdir()
    (made.world.folder / "out" / "strays" / "one").write_text("stray")
    with pytest.raises(UsageError, match="--delete goes with --in-place"):
        restored(made, Request("D1", delete=True))
    with pytest.raises(RestoreError, match="not empty"):
        restored(made, Request("D1"))
    result = restored(made, Request("D1", delete=True), existing="replace", in_place=True)
    assert_state(made, 3, result)
    assert result.removed >= 4


def test_without_delete_strays_stay(made: Chains) -> None:
    restored(made, Request("D1", at=made.items[0].as_of))
    stray = made.world.folder / "out" / "stray"
    stray.write_text("stray")
    newest = dict(made.trees[1])
    result = restored(made, Request("D1", at=made.items[1].as_of), existing="replace", in_place=True)
    assert result.exit_status == 0
    left = read(made.world.folder / "out")
    assert {path: what for path, what in left.items() if path in newest} == newest
    assert left.keys() - newest.keys() == {"stray", "a/3", "z-empty"}


def test_delete_needs_the_index(made: Chains) -> None:
    made.index(0).unlink()
    with pytest.raises(RestoreError, match="--delete has to know all names"):
        restored(made, Request("D1", delete=True), in_place=True)


def test_an_increment_whose_parent_the_catalog_does_not_know(world: World) -> None:
    made = chains(world)
    first, second = list(week())[:2]
    made.add(first)
    lost = made.items[0]
    made.items[0] = replace(lost, id=lost.job)
    made.add(second)
    with pytest.raises(RestoreError, match=f"increment to object {lost.job}, which the catalog does not know"):
        restored(made, Request("D1"))
    partial = restored(made, Request("D1", partial=True))
    assert "what did not change since then is missing" in partial.remarks[0]
    assert read(world.folder / "out").keys() == {"a", "a/7", "a/new"}


def test_times_are_those_of_the_source(made: Chains) -> None:
    """`at` is compared with `as_of`, whatever was written later."""
    plan = plan_restore(made.world.config, Request("D1", at=made.items[2].as_of))
    shown = plan.as_json()
    assert [row["level"] for row in shown["chain"]] == ["full", "incremental", "incremental"]
    assert datetime.fromisoformat(shown["chain"][-1]["as_of"][:26]) is not None
    assert shown["blocks"] == plan.blocks > 0
    assert shown["seconds"] == pytest.approx(plan.seconds)


def test_a_wanted_name_of_a_file_whose_first_name_is_not(made: Chains) -> None:
    tree: Tree = made.trees[2]
    assert tree["b/link2"] == Link("b/1")
    result = restored(made, Request("D1", at=made.items[2].as_of, paths=("b/link", "b/link2")))
    assert result.exit_status == 0
    assert read(made.world.folder / "out") == {"b": None, "b/link": tree["b/1"], "b/link2": Link("b/link")}
