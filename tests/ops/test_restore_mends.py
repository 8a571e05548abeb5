"""Restores that would take more than they give are refused, and what cannot be given is told."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chain_world import MTIME, Archive, Chains, Given, Tree, content, read, week
from ops_world import World

from tapeloom.cli.main import main
from tapeloom.errors import FormatError, RestoreError, SourceError
from tapeloom.ops.backup import open_backup
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import RestoreResult, plan_restore, restore_as_asked
from tapeloom.volume.header import Level


@pytest.fixture
def made(world: World) -> Chains:
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    made = Chains(world)
    for tree in list(week())[:3]:
        made.add(tree)
    return made


def sql(made: Chains, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(made.world.state / "catalog.sqlite")) as catalog, catalog:
        catalog.execute(statement, values)


def restored(made: Chains, wanted: Request, name: str = "out", **how: Any) -> RestoreResult:
    return restore_as_asked(made.world.config, wanted, made.world.folder / name, **how)


def users(made: Chains, name: str = "kind") -> Path:
    """A folder that a user has something in."""
    mine = made.world.folder / "out" / name
    mine.parent.mkdir()
    mine.write_text("mine")
    return mine


IN_PLACE = {"in_place": True, "existing": "replace"}


def put_away_tapes(made: Chains) -> None:
    """From now on, what touches a tape fails."""
    tapes = made.world.folder / "tapes"
    tapes.rename(tapes.with_name("away"))


@pytest.mark.parametrize("n", [0, 1])
def test_what_could_not_be_read_is_not_deleted(made: Chains, n: int) -> None:
    sql(made, "UPDATE objects SET troubles = ? WHERE id = ?", '["a/secret: Permission denied"]', str(made.items[n].id))
    with made.world.catalog() as catalog:
        assert catalog.object(str(made.items[n].id)).troubles == ("a/secret: Permission denied",)
    mine = users(made)
    put_away_tapes(made)
    with pytest.raises(RestoreError, match=r"a/secret: Permission denied.*without --delete it goes"):
        restored(made, Request("D1", delete=True), **IN_PLACE)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("partial", [True, False])
def test_an_increment_by_itself_deletes_nothing(made: Chains, single: bool, partial: bool) -> None:
    if not single:
        sql(made, "DELETE FROM copies WHERE object = ?", str(made.items[1].id))
    mine = users(made)
    put_away_tapes(made)
    with pytest.raises(RestoreError, match="is an increment"):
        restored(made, Request("D1", single=single, partial=partial, delete=True), **IN_PLACE)
    assert mine.read_text() == "mine"


def test_a_partial_restore_of_a_whole_chain_deletes(made: Chains) -> None:
    users(made, "stray")
    assert restored(made, Request("D1", partial=True, delete=True), **IN_PLACE).removed == 1
    assert read(made.world.folder / "out") == dict(made.trees[2])


@pytest.mark.parametrize("existing", ["replace", "newer"])
def test_without_indexes_what_a_user_has_is_not_gone_over(made: Chains, existing: str) -> None:
    """`a/3` is in the first object, and no longer in the state."""
    made.index(1).unlink()
    mine = users(made, "a")
    mine.unlink()
    mine.mkdir()
    (mine / "3").write_text("mine")
    with pytest.raises(RestoreError, match=r"is not empty, and without file indexes .*\(--existing skip\)"):
        restored(made, Request("D1"), in_place=True, existing=existing)
    assert read(made.world.folder / "out") == {"a": None, "a/3": b"mine"}
    assert restored(made, Request("D1"), in_place=True, existing="skip").exit_status == 0
    assert read(made.world.folder / "out") == {**made.trees[2], "a/3": b"mine"}


def test_without_indexes_an_empty_folder_is_as_good_as_none(made: Chains) -> None:
    made.index(1).unlink()
    (made.world.folder / "out").mkdir()
    assert restored(made, Request("D1"), **IN_PLACE).exit_status == 0
    assert read(made.world.folder / "out") == dict(made.trees[2])


class Cut(Given):
    """Gives so many bytes of its archive, and breaks off."""

    def __init__(self, state: Path, archive: Archive, bytes: int):
        super().__init__("D1", archive, Level.FULL, None, state, None)
        self._bytes = bytes

    def run(self, sink: Any) -> Any:
        sink.write(bytes(self._archive.data[: self._bytes]))
        raise SourceError("it was stopped")


TREE: Tree = {"d": None, "d/1": b"one", "d/2": content(100_000, 2), "d/3": content(100_000, 3)}


@pytest.mark.parametrize(
    ("behind", "left"),
    [(0, ("d", "d/1", "d/2")), (100, ("d", "d/1", "d/2")), (60_000, ("d", "d/1", "d/2")), (-40_000, ("d", "d/1"))],
)
def test_what_broke_off_is_restored_as_far_as_it_goes(world: World, behind: int, left: Sequence[str]) -> None:
    """Cut so many bytes behind the beginning of d/3's header, in it, and in content."""
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    archive = Archive(TREE, None)
    cut = Cut(world.state, archive, next(row[3] for row in archive.rows if row[0] == "d/3") + behind)
    with open_backup(world.config, None, {"D1": cut}) as backup:  # type: ignore[dict-item]
        assert backup.run().exit_status == 1
    with pytest.raises(FormatError, match="its source broke off"):
        restore_as_asked(world.config, Request(str(world.object("D1").id)), world.folder / "refused")
    result = restore_as_asked(world.config, Request("D1", partial=True), world.folder / "out")
    assert (result.exit_status, result.broken_off, result.lost) == (1, True, None)
    assert read(world.folder / "out") == {path: TREE[path] for path in left}
    assert any("the archive breaks off after ./d/" in remark for remark in result.remarks)
    folder = (world.folder / "out" / "d").stat()
    assert (stat.S_IMODE(folder.st_mode), int(folder.st_mtime)) == (0o755, MTIME)
    with pytest.raises(RestoreError, match="--delete would remove what it could not read"):
        restore_as_asked(world.config, Request("D1", partial=True, delete=True), world.folder / "out", in_place=True)


@pytest.mark.parametrize("indexed", [True, False])
def test_a_path_that_matches_nothing_is_named(made: Chains, indexed: bool) -> None:
    if not indexed:
        made.index(1).unlink()
    result = restored(made, Request("D1", paths=("a/7", "no/where", "*.none", "a/1?")))
    assert (result.exit_status, result.unmatched) == (1, ["no/where", "*.none"])
    assert [remark for remark in result.remarks if remark.endswith("is called no/where, *.none")]
    assert read(made.world.folder / "out").keys() == {"a", "a/7", *(f"a/{n}" for n in range(10, 20))}
    whole = restored(made, Request("D1", paths=("a/7", "b")), "whole")
    assert (whole.exit_status, whole.unmatched) == (0, [])


def test_a_plan_names_paths_that_match_nothing(made: Chains) -> None:
    plan = plan_restore(made.world.config, Request("D1", paths=("a/7", "a/3")))
    assert [remark for remark in plan.remarks if remark.endswith("is called a/3")], "it was removed since"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--delete",), "--delete goes with --in-place"),
        (("--onto", "image", "--delete", "--in-place"), "--onto takes a whole image"),
        (("--onto", "image", "--at", "2026-01-01"), "--onto takes a whole image"),
        (("a", "--onto", "image"), "--onto takes a whole image"),
    ],
)
def test_a_dry_run_refuses_what_a_run_refuses(
    made: Chains, words: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for way in ((), ("--dry-run",)):
        target = () if "--onto" in words else ("--to", "out")
        assert main(["-c", str(made.world.file), "restore", "D1", *words, *target, *way]) == 2
        assert said in " ".join(capfd.readouterr().err.split())


def test_a_clock_that_was_set_back_breaks_no_chain(made: Chains) -> None:
    sql(made, "UPDATE objects SET as_of = ? WHERE id = ?", made.items[2].as_of + 10**12, str(made.items[0].id))
    result = restored(made, Request(str(made.items[2].id)))
    assert result.exit_status == 0
    assert read(made.world.folder / "out") == dict(made.trees[2])


def test_a_chain_that_leads_back_to_itself_is_none(made: Chains) -> None:
    sql(made, "UPDATE objects SET parent = ? WHERE id = ?", str(made.items[2].id), str(made.items[1].id))
    with pytest.raises(RestoreError, match=f"{made.items[1].id}.*the catalog does not say to what"):
        restored(made, Request("D1"))
