"""Trouble in one entry costs that entry: the run goes on, and the next increment makes good for it."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from agent_world import MemorySequence, MemorySink, as_nobody
from backup_world import Rows, World, members, unreachable
from msgspec.structs import replace

from tapeloom._tree import DOUBT, Level
from tapeloom.agent import byhand, rows, tree, walk
from tapeloom.agent.extract import TreeRestore
from tapeloom.agent.snapshot import Snapshot
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SourceError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
LARGE = 200_000
BY_HAND = replace(walk.LIMITS, small_bytes=-1)
TAG = b"Signature: 8a477f597d28d172789f06886806bc55"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def stale(monkeypatch, module, is_stale) -> None:
    """In *module*, fstat fails for descriptors of which *is_stale* says so."""

    class System:
        def __getattr__(self, name):
            return getattr(os, name)

        @staticmethod
        def fstat(fd):
            if is_stale(os.fstat(fd)):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            return os.fstat(fd)

    monkeypatch.setattr(module, "os", System())


def test_a_file_that_goes_stale_while_it_is_read(world, monkeypatch):
    (world.tree / "x").write_bytes(b"1" * LARGE)
    (world.tree / "y").write_bytes(b"y")
    pumped = []
    stale(monkeypatch, byhand, lambda status: bool(pumped) and stat.S_ISREG(status.st_mode))
    archive, troubles = world.backup(0, sink=MemorySink(before_pump=pumped.append))
    assert [path for path, _ in troubles] == [b"x"]
    assert "cannot be looked at again" in troubles[0][1]
    assert members(archive) == [".", "./x", "./y"]
    assert world.marks(0, b"x") & DOUBT
    assert not world.marks(0, b"y") & DOUBT


@pytest.mark.parametrize("make", [lambda at: at.write_bytes(b"1" * LARGE), os.mkfifo], ids=["file", "fifo"])
def test_an_entry_that_is_stale_when_its_turn_comes_is_left_out(world, monkeypatch, make):
    make(world.tree / "x")
    stale(monkeypatch, byhand, lambda status: True)
    archive, troubles = world.backup(0)
    assert troubles == [(b"x", f"cannot be read and is left out: {os.strerror(errno.ESTALE)}")]
    assert members(archive) == ["."]


def test_a_folder_that_is_stale_has_no_header_and_no_row_until_it_is_taken_again(world, monkeypatch):
    (world.tree / "d").mkdir()
    (world.tree / "d" / "f").write_bytes(b"f")
    monkeypatch.setattr(walk, "LIMITS", BY_HAND)
    with monkeypatch.context() as patch:
        stale(patch, byhand, lambda status: stat.S_ISDIR(status.st_mode))
        found = Rows()
        archive, troubles = world.backup(0, rows=found)
    assert {path for path, _ in troubles} == {b"", b"d"}
    assert members(archive) == ["./d/f"]
    assert found.found == [(b"d/f", rows.FILE)]
    assert world.marks(0) & DOUBT
    assert world.marks(0, b"d") & DOUBT
    assert members(world.backup(1, since=0)[0]) == [".", "./d"]
    assert not world.marks(1, b"d") & DOUBT


def test_a_name_in_a_folder_that_was_moved_stays_known(world, monkeypatch):
    (world.tree / "x").write_bytes(b"1" * LARGE)
    world.backup(0)
    (world.tree / "x").write_bytes(b"2" * LARGE)
    with monkeypatch.context() as patch:
        unreachable(patch, b"./x")
        _, troubles = world.backup(1, since=0)
    assert [path for path, _ in troubles] == [b"x"]
    assert world.marks(1, b"x") & DOUBT
    (world.tree / "x").unlink()
    found = Rows()
    world.backup(2, since=1, rows=found)
    assert (b"x", rows.GONE) in found.found


def test_a_folder_that_was_moved_before_its_header_was_made(world, monkeypatch):
    (world.tree / "d").mkdir()
    monkeypatch.setattr(walk, "LIMITS", BY_HAND)
    found = Rows()
    with monkeypatch.context() as patch:
        unreachable(patch, b"./d/")
        archive, troubles = world.backup(0, rows=found)
    assert [path for path, _ in troubles] == [b"d"]
    assert members(archive) == ["."]
    assert found.found == [(b"", rows.FOLDER)]
    assert world.marks(0, b"d") & DOUBT
    assert members(world.backup(1, since=0)[0]) == ["./d"]


def test_what_is_left_of_a_huge_folder_that_was_moved_stays_known(world, monkeypatch):
    folder, away = world.tree / "d", world.folder / "away"
    (folder / "05").mkdir(parents=True)
    (folder / "05" / "inside").write_bytes(b"i")
    for number in (*range(5), *range(6, 20)):
        (folder / f"{number:02}").write_bytes(b"%d" % number)
    limits = replace(walk.ONE_BY_ONE, names_held=5, folders_open=0)
    monkeypatch.setattr(walk, "LIMITS", limits)
    world.backup(0)
    (folder / "07").unlink()

    def move(data: bytes) -> None:
        if b"./d/" in data and not away.exists():
            folder.rename(away)

    _, troubles = world.backup(1, since=0, sink=MemorySink(after_write=move))
    assert away.exists()
    assert len(troubles) == 1
    assert "was moved while it was read" in troubles[0][1]
    with Snapshot.open(world.folder / "snapshot1") as snapshot:
        (root,) = snapshot.level()
        (known,) = snapshot.level(root[10], root[11])
        names = list(snapshot.level(known[10], known[11]))
        assert [name[0] for name in names] == [b"%02d" % number for number in range(20)]
        assert all(name[2] & DOUBT for name in names)
        assert [name[0] for name in snapshot.level(names[5][10], names[5][11])] == [b"inside"]
    away.rename(folder)
    found = Rows()
    archive, troubles = world.backup(2, since=1, rows=found)
    assert not troubles
    assert (b"d/07", rows.GONE) in found.found
    assert {f"./d/{number:02}" for number in range(20) if number != 7} <= set(members(archive))


def test_hard_links_to_what_could_not_be_read_are_made_good(world):
    for name in "ab":
        (world.tree / name).mkdir()
    (world.tree / "a" / "x").write_bytes(b"D" * LARGE)
    os.link(world.tree / "a" / "x", world.tree / "b" / "x")
    first, troubles = world.backup(0, sink=MemorySink(fail_reading_after=10))
    assert [path for path, _ in troubles] == [b"a/x"]
    assert world.marks(0, b"a", b"x") & DOUBT
    assert world.marks(0, b"b", b"x") & DOUBT
    second, _ = world.backup(1, since=0)
    with TreeRestore(world.folder / "out", again=True) as restore:
        for archive in (first, second):
            restore.feed(MemorySequence(archive), deletions=True)
        assert not restore.finish().troubles
    out = world.folder / "out"
    assert (out / "b" / "x").read_bytes() == b"D" * LARGE
    assert (out / "a" / "x").stat().st_ino == (out / "b" / "x").stat().st_ino


def test_all_names_of_an_inode_are_taken_where_one_was_in_doubt(world, monkeypatch):
    for name in "ab":
        (world.tree / name).mkdir()
    (world.tree / "a" / "x").write_bytes(b"D" * LARGE)
    os.link(world.tree / "a" / "x", world.tree / "b" / "x")
    with monkeypatch.context() as patch:
        unreachable(patch, b"./a/x")
        world.backup(0)
    assert members(world.backup(1, since=0)[0]) == ["./a", "./a/x", "./b/x"]
    assert not world.marks(1, b"a", b"x") & DOUBT
    assert not world.marks(1, b"b", b"x") & DOUBT
    with monkeypatch.context() as patch:
        patch.setattr(walk, "LIMITS", BY_HAND)
        unreachable(patch, b"./a/x")
        os.link(world.tree / "b" / "x", world.tree / "b" / "y")
        world.backup(2, since=1)
    assert world.marks(2, b"a", b"x") & DOUBT
    assert not world.marks(2, b"b", b"x") & DOUBT
    assert {"./a/x", "./b/x"} <= set(members(world.backup(3, since=2)[0]))


@needs_root
def test_an_increment_of_a_root_that_may_be_listed_and_not_entered(open_path):
    def work():
        world = World(open_path)
        (world.tree / "x").write_bytes(b"1")
        os.link(world.tree / "x", world.tree / "y")
        world.backup(0)
        world.tree.chmod(0o444)
        return world.backup(1, since=0)[1]

    assert sorted(path for path, _ in as_nobody(work)) == [b"x", b"y"]


def test_a_single_file_that_vanishes_is_told(world, monkeypatch):
    file = world.tree / "x"
    file.write_bytes(b"x")
    world.backup(0, source=TreeSource([file]))
    is_same = tree._Taking._is_same

    def vanish(reading, name, path):
        file.unlink()
        return is_same(reading, name, path)

    monkeypatch.setattr(tree._Taking, "_is_same", vanish)
    assert world.backup(1, since=0, source=TreeSource([file]))[1] == [(b"x", "vanished before it was read")]


def test_the_tag_of_a_huge_folder_is_all_that_is_kept_of_it(world, monkeypatch):
    for number in range(500):
        (world.tree / f"{number:03}").touch()
    (world.tree / "CACHEDIR.TAG").write_bytes(TAG)
    monkeypatch.setattr(walk, "LIMITS", replace(walk.LIMITS, names_held=10))
    assert members(world.backup(0, source=TreeSource([world.tree], cachedir_tag=True))[0]) == [".", "./CACHEDIR.TAG"]


@pytest.mark.parametrize("name", [b"/b", b"a/", b"a\0", b"..", b"."])
def test_records_hold_no_names_that_lead_elsewhere(world, name):
    plain = b"x" * len(name)
    (world.tree / plain.decode()).touch()
    world.backup(0)
    with Snapshot.open(world.folder / "snapshot0") as snapshot:
        (root,) = snapshot.level()
        records = bytes(snapshot.records[root[10] : root[11]])
    assert [record[0] for record in Level(records, 0, len(records))] == [plain]
    at = records.index(plain)
    damaged = records[:at] + name + records[at + len(plain) :]
    with pytest.raises(SourceError, match="the snapshot is damaged"):
        list(Level(damaged, 0, len(damaged)))
