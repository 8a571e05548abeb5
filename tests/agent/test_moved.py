"""Folders that are moved, or out of reach, while a tree is read: later increments make good for what it did to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent_world import FOLDER_ACL, MemorySequence, MemorySink, as_nobody
from backup_world import Rows, World, members, unreachable
from msgspec.structs import replace
from nasty_trees import same_tree

from tapeloom._tree import DOUBT
from tapeloom.agent import relinked, tree, walk
from tapeloom.agent.extract import TreeRestore

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def restored(world: World, *archives: bytes) -> Path:
    out = world.folder / f"out{len(archives)}"
    with TreeRestore(out, again=True) as restore:
        for archive in archives:
            restore.feed(MemorySequence(archive), deletions=True)
        assert not restore.finish().troubles
    return out


def linked_pair(world: World) -> None:
    """The names m/x and z/x of one file, and one outside of the tree."""
    for name in "mz":
        (world.tree / name).mkdir()
    (world.tree / "m" / "x").write_bytes(b"data")
    os.link(world.tree / "m" / "x", world.tree / "z" / "x")
    os.link(world.tree / "m" / "x", world.folder / "outside")


def renamed_after_the_look(monkeypatch, source: Path, target: Path) -> None:
    """Between the look for names of inodes with several and the increment itself."""
    look = relinked.relinked

    def look_and_rename(*arguments):
        forced = look(*arguments)
        source.rename(target)
        return forced

    monkeypatch.setattr(relinked, "relinked", look_and_rename)


@pytest.mark.parametrize("name", ["a", "n", "zz"])
def test_a_link_that_a_moved_folder_broke_is_made_whole_by_the_next_increment(world, monkeypatch, name):
    linked_pair(world)
    archives = [world.backup(0)[0]]
    with monkeypatch.context() as patch:
        renamed_after_the_look(patch, world.tree / "m", world.tree / name)
        archives.append(world.backup(1, since=0)[0])
    assert f"./{name}/x" in members(archives[1])
    assert "./z/x" not in members(archives[1])
    assert world.marks(1, name.encode(), b"x") & DOUBT
    archives.append(world.backup(2, since=1)[0])
    assert {f"./{name}/x", "./z/x"} <= set(members(archives[2]))
    assert same_tree(world.tree, restored(world, *archives)) == []
    # That it has a name elsewhere too is no reason to take it for ever.
    assert members(world.backup(3, since=2)[0]) == []


@needs_root
@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444], ids=["closed", "unlisted", "listed"])
def test_a_link_into_a_folder_that_was_out_of_reach_for_a_while(open_path, mode):
    def work():
        world = World(open_path)
        linked_pair(world)
        archives = [world.backup(0)[0]]
        (world.tree / "m").chmod(mode)
        archive, troubles = world.backup(1, since=0)
        assert troubles
        archives.append(archive)
        archives.append(world.backup(2, since=1)[0])
        assert "./z/x" not in members(archives[2])  # it was taken as it is
        (world.tree / "m").chmod(0o755)
        archives.append(world.backup(3, since=2)[0])
        assert members(world.backup(4, since=3)[0]) == []
        return same_tree(world.tree, restored(world, *archives))

    assert as_nobody(work) == []


def test_a_folder_that_lies_too_deep_now_is_not_taken_for_deleted(world, monkeypatch):
    (world.tree / "d" / "deep").mkdir(parents=True)
    (world.tree / "d" / "deep" / "file").write_bytes(b"data")
    archives = [world.backup(0)[0]]
    with monkeypatch.context() as patch:
        patch.setattr(walk, "LIMITS", replace(walk.LIMITS, path_bytes_max=len("./d/deep/") - 1))
        for number in (1, 2):
            archive, troubles = world.backup(number, since=number - 1)
            assert [path for path, _ in troubles] == [b"d/deep"]
            assert world.marks(number, b"d", b"deep") & DOUBT
            assert not world.marks(number, b"d", b"deep", b"file") & DOUBT
            archives.append(archive)
    assert (restored(world, *archives) / "d" / "deep" / "file").read_bytes() == b"data"
    archives.append(world.backup(3, since=2)[0])
    assert members(archives[-1]) == ["./d/deep"]
    assert same_tree(world.tree, restored(world, *archives)) == []


def test_a_folder_without_header_has_no_row_though_rows_are_wanted_at_once(world, monkeypatch):
    (world.tree / "a").write_bytes(b"a")
    (world.tree / "d").mkdir()
    os.setxattr(world.tree / "d", "system.posix_acl_access", FOLDER_ACL)  # its header is made by hand
    monkeypatch.setattr(tree, "ROWS_MAX", 1)
    unreachable(monkeypatch, b"./d/")
    found = Rows()
    archive, troubles = world.backup(0, rows=found)
    assert [path for path, _ in troubles] == [b"d"]
    assert members(archive) == [".", "./a"]
    assert [path for path, _ in found.found] == [b"", b"a"]


HUGE = 16


def huge(world: World) -> Path:
    """A folder of which not all names are held in memory, with a folder and hard links in it."""
    folder = world.tree / "m"
    (folder / "05").mkdir(parents=True)
    (folder / "05" / "inside").write_bytes(b"i")
    for number in (*range(5), *range(6, HUGE)):
        (folder / f"{number:02}").write_bytes(b"%d" % number)
    for name in ("a", "z"):
        (world.tree / name).mkdir()
        os.link(folder / "03", world.tree / name / "x")
        os.link(folder / "10", world.tree / name / "y")
    return folder


class Moving:
    """A sink: when it is written to for the *moment*th time, *source* is renamed to *target*."""

    def __init__(self, moment: int, source: Path, target: Path):
        self._left, self._source, self._target = moment, source, target
        self.sink = MemorySink(after_write=self._wrote, before_pump=self._wrote)

    def _wrote(self, _: object) -> None:
        if self._left == 0:
            self._source.rename(self._target)
        self._left -= 1

    @property
    def moved(self) -> bool:
        return self._left < 0


@pytest.mark.parametrize(
    "limits", [walk.ONE_BY_ONE, replace(walk.ONE_BY_ONE, small_bytes=64 << 10)], ids=["hand", "engine"]
)
@pytest.mark.parametrize("target", ["tree/b", "tree/n", "away"])
@pytest.mark.parametrize("back", [False, True], ids=["stays", "back"])
def test_a_huge_folder_that_is_moved_at_any_moment_of_an_increment(tmp_path, monkeypatch, limits, target, back):
    monkeypatch.setattr(walk, "LIMITS", replace(limits, names_held=5, folders_open=0))
    for moment in range(100):
        (tmp_path / f"{moment}").mkdir()
        world = World(tmp_path / f"{moment}")
        folder = huge(world)
        archives = [world.backup(0)[0]]
        for gone in ("00", "07", "14"):
            (folder / gone).unlink()
        for new in ("01", "01b", "05/new", "06b", "08", "12b", "15"):
            (folder / new).write_bytes(b"new")
        os.link(folder / "02", world.tree / "a" / "w")
        moving = Moving(moment, folder, world.folder / target)
        archives.append(world.backup(1, since=0, sink=moving.sink)[0])
        if not moving.moved:
            break
        if back:
            (world.folder / target).rename(folder)
        archive, troubles = world.backup(2, since=1)
        assert not troubles
        assert same_tree(world.tree, restored(world, *archives, archive)) == [], moment
        assert members(world.backup(3, since=2)[0]) == [], moment
    assert moment > 10  # it was moved at many
