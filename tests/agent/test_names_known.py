"""Folders that did not change are not listed again: the snapshot knows their names. Where it may not, they are."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from random import Random

import faults
import pytest
from agent_world import MemorySequence, MemorySink, as_nobody
from backup_world import Rows, World, members, unreachable
from msgspec.structs import replace
from nasty_trees import same_tree

from tapeloom._tree import DOUBT
from tapeloom.agent import rows, walk
from tapeloom.agent.extract import TreeRestore
from tapeloom.agent.snapshot import Snapshot
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SourceError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
needs_cc = pytest.mark.skipif(not faults.CC, reason="no C compiler")
TAG = b"Signature: 8a477f597d28d172789f06886806bc55"
BY_HAND = replace(walk.LIMITS, small_bytes=-1)
FUSE, TMPFS = 0x65735546, 0x01021994


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture(scope="module")
def no_faults(tmp_path_factory) -> faults.Faults:
    return faults.compiled(tmp_path_factory.mktemp("faults"))


def restored(world: World, *archives: bytes) -> Path:
    out = world.folder / "out"
    with TreeRestore(out, again=True) as restore:
        for archive in archives:
            restore.feed(MemorySequence(archive), deletions=True)
        assert not restore.finish().troubles
    return out


def told(snapshot: Snapshot, begin: int | None = None, end: int | None = None) -> Iterator[tuple]:
    """All records from there on, without their places and the marks that hang on these."""
    for record in snapshot.level(begin, end):
        yield (*record[:2], record[2] & DOUBT, *record[3:9])
        if record[1]:
            yield from told(snapshot, record[10], record[11])


# Whether a folder is listed shows where that cannot be done.


@needs_cc
@pytest.mark.parametrize(
    ("name", "make", "rules", "magic"),
    [
        ("d", None, {}, TMPFS),
        ("d", None, {"cachedir_tag": True, "nobackup": ["other"]}, TMPFS),
        ("d", None, {}, FUSE),
        ("lost+found", None, {}, TMPFS),
        ("d", "CACHEDIR.TAG", {"cachedir_tag": True}, TMPFS),
        ("d", "CACHEDIR.TAG", {"cachedir_tag": True, "exclude": ["CACHEDIR.TAG"]}, TMPFS),
        ("d", ".nobackup", {"nobackup": [".nobackup"]}, TMPFS),
    ],
    ids=["plain", "ruled", "fuse", "repaired", "tag", "tag left out", "marker"],
)
def test_what_is_listed(world, no_faults, name, make, rules, magic):
    (world.tree / name / "below").mkdir(parents=True)
    (world.tree / name / "file").write_bytes(b"f")
    if make is not None:
        (world.tree / name / make).write_bytes(TAG)
    world.backup(0, source=TreeSource([world.tree], **rules))
    assert not world.marks(0, name.encode()) & DOUBT
    archive, since = world.folder / "archive", world.folder / "snapshot0"
    report = (
        no_faults.on("tree", magic).on(name, magic).unlistable(name).read(world.tree, archive, since=since, **rules)
    )
    listed = magic == FUSE or make is not None or name == "lost+found"
    assert [trouble.path for trouble in report.troubles] == ([name.encode()] if listed else [])
    if not listed:
        assert members(archive.read_bytes()) == []


@needs_cc
def test_a_folder_in_doubt_is_listed(world, no_faults):
    (world.tree / "d").mkdir()
    (world.tree / "e").mkdir()
    (world.tree / "d" / "file").write_bytes(b"f")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "LIMITS", BY_HAND)
        unreachable(patch, b"./d/")
        world.backup(0)
    assert world.marks(0, b"d") & DOUBT
    faulty = no_faults.on("tree", TMPFS).unlistable("d").unlistable("e")
    report = faulty.read(world.tree, world.folder / "archive", since=world.folder / "snapshot0")
    assert [trouble.path for trouble in report.troubles] == [b"d"]


def test_a_folder_of_more_names_than_are_held(world, monkeypatch):
    """They come through a file, as ever, and what changed among them is found, wherever it stands."""
    for number in range(500):
        (world.tree / f"{number:03}").touch()
    world.backup(0)
    monkeypatch.setattr(walk, "LIMITS", replace(walk.LIMITS, names_held=50))
    assert members(world.backup(1, since=0)[0]) == []
    changed = [world.tree / name for name in ("049", "225", "250")]
    for number, path in enumerate(changed):
        path.write_bytes(b"changed")
        path.chmod(0o640 + number)
    assert members(world.backup(2, since=0)[0]) == [f"./{path.name}" for path in changed]
    with Snapshot.open(world.folder / "snapshot2") as snapshot:
        for name, _, _, mode, inode, size, changed_at, *_ in list(told(snapshot))[1:]:
            status = os.lstat(os.fsencode(world.tree) + b"/" + name)
            assert (mode, inode, size, changed_at) == (
                status.st_mode,
                status.st_ino,
                status.st_size,
                status.st_ctime_ns,
            )
        with pytest.raises(SourceError, match=r"cannot be kept in .*nowhere"):
            TreeSource([world.tree], spill=world.folder / "nowhere").run(MemorySink(), since=snapshot)


def test_what_did_not_change_is_told_as_it_was(world):
    chance = Random(1)
    for number in range(600):
        folder = world.tree / f"{chance.randrange(5)}" / f"{chance.randrange(5)}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(b"x")
        if number % 50 == 0:
            os.link(folder / f"{number}", world.tree / f"link{number}")
    world.backup(0)
    assert members(world.backup(1, since=0)[0]) == []
    (world.tree / "0" / "0" / "new").touch()
    world.backup(2, since=1)
    with Snapshot.open(world.folder / "snapshot0") as one, Snapshot.open(world.folder / "snapshot1") as other:
        expected = list(told(one))
        assert list(told(other)) == expected
        assert (one.names, one.linked) == (other.names, other.linked) == (len(expected), 24)
    with Snapshot.open(world.folder / "snapshot2") as changed:
        found = list(told(changed))
        assert [record for record in found if record not in expected][1:] == [r for r in found if r[0] == b"new"]
        assert changed.names == len(expected) + 1


# Names that the snapshot does not know.


@needs_root
@pytest.mark.parametrize("by_hand", [False, True], ids=["engine", "hand"])
def test_a_file_that_may_be_read_later_is_taken_then(open_path, monkeypatch, by_hand):
    """That it may be read now leaves no trace at its folder. Linked, it is found by the look for linked names too."""
    if by_hand:
        monkeypatch.setattr(walk, "LIMITS", BY_HAND)

    def work():
        world = World(open_path)
        for name in "de":
            (world.tree / name).mkdir()
        (world.tree / "d" / "x").write_bytes(b"secret")
        (world.tree / "d" / "y").write_bytes(b"linked secret")
        os.link(world.tree / "d" / "y", world.tree / "e" / "y")
        for name in "xy":
            (world.tree / "d" / name).chmod(0)
        archive, troubles = world.backup(0)
        assert [path for path, _ in troubles] == [b"d/x", b"d/y", b"e/y"]
        archives = [archive]
        for number in (1, 2):
            archive, troubles = world.backup(number, since=number - 1)
            assert [path for path, _ in troubles] == [b"d/x", b"d/y", b"e/y"]
            archives.append(archive)
        for name in "xy":
            (world.tree / "d" / name).chmod(0o600)
        archives.append(world.backup(3, since=2)[0])
        assert members(archives[-1]) == ["./d", "./d/x", "./d/y", "./e", "./e/y"]
        assert members(world.backup(4, since=3)[0]) == []
        return same_tree(world.tree, restored(world, *archives))

    assert as_nobody(work) == []


@needs_root
def test_a_folder_that_may_be_looked_at_later_is_taken_then(open_path):
    """What is in a folder that may be listed but not entered cannot even be looked at."""

    def work():
        world = World(open_path)
        (world.tree / "up" / "d").mkdir(parents=True)
        (world.tree / "up" / "d" / "x").write_bytes(b"x")
        (world.tree / "up").chmod(0o444)
        archives = [world.backup(0)[0]]
        (world.tree / "up").chmod(0o755)
        archives.append(world.backup(1, since=0)[0])
        assert members(world.backup(2, since=1)[0]) == []
        return same_tree(world.tree, restored(world, *archives))

    assert as_nobody(work) == []


@pytest.mark.parametrize("since", [None, 0])
def test_an_entry_out_of_reach_for_a_while_is_taken_later(world, monkeypatch, since):
    """Nothing happens to its folder."""
    (world.tree / "d").mkdir()
    (world.tree / "d" / "known").write_bytes(b"k" * 200_000)
    archives = [world.backup(0)[0]] if since is not None else []
    (world.tree / "d" / "x").write_bytes(b"1" * 200_000)
    with monkeypatch.context() as patch:
        unreachable(patch, b"./d/x")
        archive, troubles = world.backup(1, since=since)
        assert [path for path, _ in troubles] == [b"d/x"]
        archives.append(archive)
    assert not world.marks(1, b"d") & DOUBT
    archives.append(world.backup(2, since=1)[0])
    assert members(archives[-1]) == ["./d", "./d/x"]
    assert members(world.backup(3, since=2)[0]) == []
    assert same_tree(world.tree, restored(world, *archives)) == []


def test_a_folder_that_lies_too_deep_is_told_each_time(world, monkeypatch):
    (world.tree / "d" / "deep").mkdir(parents=True)
    (world.tree / "d" / "deep" / "file").write_bytes(b"data")
    monkeypatch.setattr(walk, "LIMITS", replace(walk.LIMITS, path_bytes_max=len("./d/deep/") - 1))
    for number in range(3):
        _, troubles = world.backup(number, since=number - 1 if number else None)
        assert [path for path, _ in troubles] == [b"d/deep"]
        assert not world.marks(number, b"d") & DOUBT


def with_socket(world: World, server: socket.socket) -> None:
    """The folder `d`, with a socket in it."""
    (world.tree / "d").mkdir()
    folder = os.open(world.tree / "d", os.O_RDONLY)
    server.bind(f"/proc/self/fd/{folder}/s")
    os.close(folder)


def test_a_folder_without_header_that_holds_more_than_is_told(world, monkeypatch):
    """That it is in doubt is not forgotten over that."""
    monkeypatch.setattr(walk, "LIMITS", BY_HAND)
    with socket.socket(socket.AF_UNIX) as server:
        with_socket(world, server)
        with monkeypatch.context() as patch:
            unreachable(patch, b"./d/")
            world.backup(0)
        assert members(world.backup(1, since=0)[0]) == ["./d"]


def test_sockets_are_remarked_each_time(world):
    with socket.socket(socket.AF_UNIX) as server:
        with_socket(world, server)
        world.backup(0)
        with Snapshot.open(world.folder / "snapshot0") as since:
            report = TreeSource([world.tree]).run(MemorySink(), since=since)
    assert [remark.path for remark in report.remarks] == [b"d/s"]
    assert members(world.backup(1, since=0)[0]) == []


@pytest.mark.parametrize("limits", [walk.ONE_BY_ONE, replace(walk.ONE_BY_ONE, names_held=5)], ids=["held", "spilled"])
def test_a_folder_above_that_is_away_for_a_moment(tmp_path, monkeypatch, limits):
    """It leaves no trace at the folders below. In a full run and in an increment, whatever was known of them."""
    for moment in range(100):
        (tmp_path / f"{moment}").mkdir()
        world = World(tmp_path / f"{moment}")
        up, away, left = world.tree / "up", world.folder / "away", [moment]
        (up / "d" / "05").mkdir(parents=True)
        (up / "d" / "05" / "inside").write_bytes(b"i")
        for number in (*range(5), *range(6, 12)):
            (up / "d" / f"{number:02}").write_bytes(b"%d" % number)
        archives = []
        if moment % 2:
            archives.append(world.backup(0)[0])
            (up / "d" / "06c").mkdir()
            for name in ("01b", "05/new", "06b", "06c/inside"):
                (up / "d" / name).write_bytes(b"new")
        left[0] //= 2

        def move(_: object, left=left, up=up, away=away) -> None:
            left[0] -= 1
            if left[0] == -1:
                up.rename(away)

        sink = MemorySink(after_write=move)
        with monkeypatch.context() as patch:
            patch.setattr(walk, "LIMITS", replace(limits, folders_open=0))
            archives.append(world.backup(1, since=0 if archives else None, sink=sink)[0])
        if left[0] >= 0:
            break
        away.rename(up)
        archive, troubles = world.backup(2, since=1)
        assert not troubles
        assert same_tree(world.tree, restored(world, *archives, archive)) == [], moment
        assert members(world.backup(3, since=2)[0]) == [], moment
    assert moment > 10  # it was moved at many


@pytest.mark.parametrize("exclude", [[], ["CACHEDIR.TAG"]], ids=["plain", "left out"])
def test_a_tag_that_comes_to_say_something_else(world, exclude):
    """Its content changes and its folder does not."""
    source = TreeSource([world.tree], exclude, cachedir_tag=True)
    folder, tag = world.tree / "d", world.tree / "d" / "CACHEDIR.TAG"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    tag.write_bytes(TAG)
    inside = ["./d/CACHEDIR.TAG"] if not exclude else []
    assert members(world.backup(0, source=source)[0]) == [".", "./d", *inside]
    assert members(world.backup(1, since=0, source=source)[0]) == []
    tag.write_bytes(b"none any more, of the same length".ljust(len(TAG)))
    assert members(world.backup(2, since=1, source=source)[0]) == ["./d", *inside, "./d/a"]
    assert members(world.backup(3, since=2, source=source)[0]) == []
    tag.write_bytes(TAG)
    found = Rows()
    assert members(world.backup(4, since=3, source=source, rows=found)[0]) == ["./d", *inside]
    assert (b"d/a", rows.GONE) in found.found


# Names that change while the folder is read.


@needs_cc
def test_a_name_that_changes_after_its_folder_was_looked_at(world, no_faults):
    """The tag is looked for in between. The names are listed then: what is there now is in the archive, and no more."""
    for name in ("a", "x", "z"):
        (world.tree / name).write_bytes(name.encode())
    full = world.backup(0, source=TreeSource([world.tree], cachedir_tag=True))[0]
    moving = no_faults.on("tree", TMPFS).move("CACHEDIR.TAG", world.tree / "x", world.tree / "y")
    archive, since = world.folder / "archive", world.folder / "snapshot0"
    assert not moving.read(world.tree, archive, since=since, cachedir_tag=True).troubles
    assert members(archive.read_bytes()) == [".", "./y"]
    assert same_tree(world.tree, restored(world, full, archive.read_bytes()), times=False) == []


def test_an_entry_that_cannot_be_looked_at_is_no_reason_to_forget_it(world, monkeypatch):
    (world.tree / "x").write_bytes(b"1" * 200_000)
    world.backup(0)
    with monkeypatch.context() as patch:
        patch.setattr(walk, "LIMITS", BY_HAND)
        unreachable(patch, b"./x")
        os.utime(world.tree / "x", ns=(5, 5))
        _, troubles = world.backup(1, since=0)
    assert [(path, os.strerror(errno.ESTALE) in what) for path, what in troubles] == [(b"x", True)]
    assert world.marks(1, b"x") & DOUBT
    assert members(world.backup(2, since=1)[0]) == ["./x"]
