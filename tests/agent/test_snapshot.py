"""Snapshots: whole or refused, and only for the tree that they were made of."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest
from agent_world import MemorySink, make_plain

from tapeloom.agent.snapshot import Snapshot, SnapshotWriter
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SnapshotError

OBJECT = UUID("0192f0c4-0000-7000-8000-000000000001")


@pytest.fixture
def made(tmp_path):
    """The path of a snapshot, and the source it is of."""
    make_plain(tmp_path / "tree")
    source = TreeSource([tmp_path / "tree"], exclude=["*.o"])
    keep = SnapshotWriter.create(tmp_path / "snapshot", OBJECT)
    source.run(MemorySink(), keep=keep)
    keep.finish()
    return tmp_path / "snapshot", source


def test_what_it_says(made):
    path, source = made
    with Snapshot.open(path) as snapshot:
        assert snapshot.object_id == OBJECT
        assert snapshot.fits(source) is None
        found = sum(len(folders) + len(files) for _, folders, files in os.walk(path.parent / "tree"))
        assert snapshot.entries == found + 1
        assert snapshot.linked == 4
        (root,) = snapshot.level()
        assert (root[0], root[1], root[4]) == (b".", True, (path.parent / "tree").stat().st_ino)
        names = [record[0] for record in snapshot.level(root[10], root[11])]
        assert names == sorted(os.listdir(os.fsencode(path.parent / "tree")))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent).count("snapshot.part") == 0


def test_stamps_are_exact(made):
    path, _ = made
    tree = path.parent / "tree"
    with Snapshot.open(path) as snapshot:
        (root,) = snapshot.level()
        for name, is_folder, _, mode, inode, size, changed, modified, *_ in snapshot.level(root[10], root[11]):
            status = os.lstat(os.fsencode(tree) + b"/" + name)
            assert (mode, inode, size) == (status.st_mode, status.st_ino, status.st_size)
            assert (changed, modified) == (status.st_ctime_ns, status.st_mtime_ns)
            assert is_folder == stat.S_ISDIR(status.st_mode)


def test_every_torn_end_is_found(made, tmp_path):
    data = made[0].read_bytes()
    for length in sorted({0, 1, 31, 32, 33, len(data) - 1, *(Random(1).randrange(len(data)) for _ in range(40))}):
        (tmp_path / "torn").write_bytes(data[:length])
        with pytest.raises(SnapshotError, match=r"torn (is not whole|is empty)"):
            Snapshot.open(tmp_path / "torn")
    (tmp_path / "torn").write_bytes(data + b"\0")
    with pytest.raises(SnapshotError, match="not whole"):
        Snapshot.open(tmp_path / "torn")


def test_every_flipped_bit_is_found(made, tmp_path):
    data = bytearray(made[0].read_bytes())
    for place in Random(2).sample(range(len(data)), 60):
        data[place] ^= 1 << place % 8
        (tmp_path / "flipped").write_bytes(data)
        with pytest.raises(SnapshotError):
            Snapshot.open(tmp_path / "flipped")
        data[place] ^= 1 << place % 8


def test_foreign_files_and_versions(made, tmp_path):
    (tmp_path / "foreign").write_bytes(b"x" * 1000)
    with pytest.raises(SnapshotError, match="foreign is no snapshot"):
        Snapshot.open(tmp_path / "foreign")
    data = bytearray(made[0].read_bytes())
    for version in (1, 9):
        data[8] = version
        (tmp_path / "other").write_bytes(data)
        with pytest.raises(SnapshotError, match=f"version {version}, this tapeloom knows version 2: the next backup"):
            Snapshot.open(tmp_path / "other")
    with pytest.raises(SnapshotError, match="nothing cannot be read: No such file"):
        Snapshot.open(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"exclude": []}, "its exclude changed"),
        ({"one_file_system": True}, "its one_file_system changed"),
        ({"cachedir_tag": True, "nobackup": ["x"]}, "its exclude_caches and exclude_if_present changed"),
    ],
)
def test_other_rules_do_not_fit(made, rules, words):
    path, source = made
    other = TreeSource(source.rules.paths, **{"exclude": ["*.o"], **rules})
    with Snapshot.open(path) as snapshot:
        assert snapshot.fits(other) == words
        with pytest.raises(SnapshotError, match=words):
            other.run(MemorySink(), since=snapshot)


def test_what_is_not_finished_leaves_nothing(made, tmp_path):
    path, source = made
    before = path.read_bytes()
    keep = SnapshotWriter.create(path, uuid4())
    source.run(MemorySink(), keep=keep)
    keep.abandon()
    assert path.read_bytes() == before
    keep = SnapshotWriter.create(path, uuid4())
    with pytest.raises(SnapshotError, match="was not read to its end"):
        keep.finish()
    assert path.read_bytes() == before
    assert not path.with_name("snapshot.part").exists()


def test_a_descriptor_will_do(made):
    path, source = made
    with tempfile.TemporaryFile() as file:
        keep = SnapshotWriter.create(file.fileno(), OBJECT)
        source.run(MemorySink(), keep=keep)
        keep.finish()
        with Snapshot.open(file.fileno()) as snapshot, Snapshot.open(path) as other:
            assert snapshot.entries == other.entries
        os.fstat(file.fileno())


def test_a_place_where_none_can_be_written(tmp_path):
    with pytest.raises(SnapshotError, match="cannot be written: No such file"):
        SnapshotWriter.create(tmp_path / "nowhere" / "snapshot", OBJECT)


def test_a_disk_that_is_full(made):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    _, source = made
    fd = os.open("/dev/full", os.O_RDWR)
    try:
        keep = SnapshotWriter.create(fd, OBJECT)
        assert source.run(MemorySink(), keep=keep).troubles == ()
        with pytest.raises(SnapshotError, match="No space left"):
            keep.finish()
    finally:
        os.close(fd)
