"""The engine against the slow reference: the same bytes, whatever it does ahead, in threads, or through files."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tarfile
import tempfile
import threading
from pathlib import Path
from random import Random
from uuid import uuid4

import numpy as np
import pytest
from agent_world import MemorySink, make_everything, make_plain
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nasty_trees import make_tree, mutate

from tapeloom import _tree
from tapeloom.agent import pax, rows, walk
from tapeloom.agent.snapshot import Snapshot, SnapshotWriter
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SourceError, Stopped

IS_ROOT = os.geteuid() == 0

NARROW = walk.Limits(
    small_bytes=3000, ahead_bytes=8000, chunk_bytes=2000, range_names=2, ahead_nodes=3, folders_open=1, names_held=4
)
"""Every limit is met by small trees."""

paths = st.binary(min_size=1, max_size=300).filter(lambda path: b"\0" not in path)
owners = st.one_of(st.just(b""), st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))


class Taken:
    """Rows, kept."""

    def __init__(self):
        self.batches = []

    def add(self, batch):
        self.batches.append(batch)

    def all(self) -> list[tuple]:
        found = []
        for batch in self.batches:
            start = link_start = 0
            columns = (batch.kind, batch.mode, batch.uid, batch.gid, batch.size, batch.mtime, batch.offset)
            for end, link_end, *values in zip(batch.path_ends, batch.link_ends, *columns, strict=True):
                path, link = batch.paths[start : int(end)], batch.links[link_start : int(link_end)]
                found.append((path, link, *map(int, values)))
                start, link_start = int(end), int(link_end)
        return found


def run(monkeypatch, limits, *roots, since=None, keep=None, taken=None, **rules) -> bytes:
    with monkeypatch.context() as patched:
        patched.setattr(walk, "LIMITS", limits)
        sink = MemorySink()
        report = TreeSource(roots, **rules).run(sink, since=since, keep=keep, rows=taken)
    assert report.troubles == ()
    assert report.end == len(sink.data) - len(pax.END)
    return bytes(sink.data)


@given(
    path=paths,
    link=paths,
    kind=st.sampled_from(
        [pax.REGULAR, pax.HARD_LINK, pax.SYMBOLIC_LINK, pax.CHARACTER, pax.DEVICE, pax.FOLDER, pax.FIFO]
    ),
    mode=st.integers(0, 0o177777),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.one_of(st.integers(0, 2**63 - 1), st.integers(8**11 - 2, 8**11 + 1)),
    seconds=st.one_of(st.integers(-(2**40), 2**40), st.integers(-2, 2), st.integers(8**11 - 2, 8**11 + 1)),
    fraction=st.one_of(st.just(0), st.integers(0, 999_999_999)),
    user=owners,
    group=owners,
    records=st.lists(st.binary(min_size=1, max_size=1200), max_size=3),
    listing=st.one_of(st.none(), st.binary(max_size=12_000)),
    device=st.tuples(st.integers(0, 4095), st.integers(0, 2**20 - 1)),
)
def test_headers_are_those_of_the_reference(
    path, link, kind, mode, uid, gid, size, seconds, fraction, user, group, records, listing, device
):
    fields = {
        "st_mode": mode,
        "st_uid": uid,
        "st_gid": gid,
        "st_size": 0,
        "st_rdev": os.makedev(*device),
        "st_mtime_ns": seconds * 10**9 + fraction,
        "st_ctime_ns": 0,
        "st_dev": 0,
        "st_ino": 0,
        "st_nlink": 1,
    }
    status = type("Status", (), fields)()
    more = [pax.record(b"SCHILY.xattr.user.x", value) for value in records]
    expected = pax.header(
        path, kind, status, size=size, link=link, user=user, group=group, records=more, listing=listing
    )
    made = _tree.pax_header(
        path, kind, status, size=size, link=link, user=user, group=group, records=b"".join(more), listing=listing
    )
    assert made == expected


@given(names=st.lists(st.binary(min_size=1, max_size=30), max_size=200))
def test_a_listing_that_is_not_held_makes_the_same_header(names):
    status = os.stat("/")
    listing = b"".join(b"Y%b\0" % name for name in names) + b"\0"
    before, behind = pax.header_around(b"x", status, user=b"u", group=b"g", records=[], listing_bytes=len(listing))
    whole = pax.header(b"x", pax.FOLDER, status, user=b"u", group=b"g", listing=listing)
    assert before + listing + behind == whole


@pytest.mark.parametrize("limits", [walk.LIMITS, NARROW, replace(NARROW, ahead_bytes=0)])
def test_everything_as_the_reference_has_it(tmp_path, monkeypatch, limits):
    (make_everything if IS_ROOT else make_plain)(tmp_path / "tree")
    by_hand, taken = Taken(), Taken()
    expected = run(monkeypatch, walk.ONE_BY_ONE, tmp_path / "tree", taken=by_hand)
    assert run(monkeypatch, limits, tmp_path / "tree", taken=taken) == expected
    assert taken.all() == by_hand.all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), entries=st.integers(0, 40))
def test_increments_do_not_depend_on_limits(seed, entries):
    chance = Random(seed)
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "tree"
        make_tree(root, chance, entries)
        keep = SnapshotWriter.create(Path(folder) / "snapshot", uuid4())
        run(patch, NARROW, root, keep=keep)
        keep.finish()
        mutate(root, chance)
        with Snapshot.open(Path(folder) / "snapshot") as since:
            found = []
            for limits in (walk.LIMITS, NARROW, walk.ONE_BY_ONE):
                taken = Taken()
                found.append((run(patch, limits, root, since=since, taken=taken), taken.all()))
    assert found[0] == found[1] == found[2]


def test_rows_say_where_entries_are(tmp_path, monkeypatch):
    make_plain(tmp_path / "tree")
    taken = Taken()
    archive = run(monkeypatch, NARROW, tmp_path / "tree", taken=taken)
    found = taken.all()
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        expected = [(os.fsencode(m.name).removeprefix(b".").removeprefix(b"/"), m) for m in members]
    assert [row[0] for row in found] == [path for path, _ in expected]
    assert [row[0] for row in found] == sorted((row[0] for row in found), key=lambda path: path.split(b"/"))
    for (path, link, kind, mode, uid, gid, size, _, offset), (_, member) in zip(found, expected, strict=True):
        assert (mode, uid, gid) == (member.mode, member.uid, member.gid), path
        assert link == os.fsencode(member.linkname)
        assert (kind == rows.FILE) == member.isreg()
        assert size == (member.size if kind == rows.FILE else 0)
        with tarfile.open(fileobj=io.BytesIO(archive[offset:])) as rest:
            assert rest.next().name == member.name


def test_rows_of_what_is_gone(tmp_path, monkeypatch):
    root = tmp_path / "tree"
    for name in ("a/x", "a/y/z", "b", "kind/below", "q"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    keep = SnapshotWriter.create(tmp_path / "snapshot", uuid4())
    run(monkeypatch, replace(walk.LIMITS, settle_ns=1), root, keep=keep)
    keep.finish()
    shutil.rmtree(root / "a" / "y")
    shutil.rmtree(root / "kind")
    (root / "kind").write_text("now a file")
    (root / "b").unlink()
    taken = Taken()
    with Snapshot.open(tmp_path / "snapshot") as since:
        archive = run(monkeypatch, NARROW, root, since=since, taken=taken)
    kinds = [(row[0], row[2]) for row in taken.all() if row[0] != b"q" and row[0] != b"a/x"]
    assert kinds == [
        (b"", rows.FOLDER),
        (b"a", rows.FOLDER),
        (b"a/y", rows.GONE),
        (b"b", rows.GONE),
        (b"kind", rows.FILE),
    ]
    offsets = np.concatenate([batch.offset for batch in taken.batches])
    assert (np.diff(offsets.astype(np.int64)) >= 0).all()
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        listed = {member.name: member.pax_headers.get("GNU.dumpdir") for member in members}
    assert listed["./a"] in ("Nx\0\0", "Yx\0\0")
    assert "Ykind\0" in listed["."]
    assert "Da\0" in listed["."]
    assert "b\0" not in listed["."]


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        return members.getnames()


@pytest.mark.parametrize("limits", [walk.LIMITS, NARROW])
def test_folders_that_say_what_they_are(tmp_path, monkeypatch, limits):
    for folder in ("cache", "false-cache", "marked", "plain"):
        (tmp_path / "t" / folder / "below").mkdir(parents=True)
        for number in range(9):
            (tmp_path / "t" / folder / f"file{number}").touch()
    tag = b"Signature: 8a477f597d28d172789f06886806bc55"
    (tmp_path / "t" / "cache" / "CACHEDIR.TAG").write_bytes(tag + b"\n# more")
    (tmp_path / "t" / "false-cache" / "CACHEDIR.TAG").write_bytes(tag[:-1])
    (tmp_path / "t" / "marked" / ".nobackup").touch()
    found = names(run(monkeypatch, limits, tmp_path / "t", cachedir_tag=True, nobackup=[".nobackup"]))
    assert [name for name in found if name.startswith("./cache")] == ["./cache", "./cache/CACHEDIR.TAG"]
    assert [name for name in found if name.startswith("./marked")] == ["./marked", "./marked/.nobackup"]
    assert len([name for name in found if name.startswith("./false-cache")]) == 12
    assert len([name for name in found if name.startswith("./plain")]) == 11
    assert len(names(run(monkeypatch, limits, tmp_path / "t"))) == 1 + 4 * 11 + 3


@pytest.mark.parametrize("limits", [walk.LIMITS, NARROW])
def test_a_stop_ends_all_threads_and_closes_everything(tmp_path, monkeypatch, limits):
    for number in range(300):
        (tmp_path / f"d{number % 7}" / f"e{number % 5}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"d{number % 7}" / f"e{number % 5}" / f"f{number}").write_bytes(b"x" * 2000)
    monkeypatch.setattr(walk, "LIMITS", limits)
    for writes in range(4):
        left = [writes]

        def stop(data, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise Stopped("the job stops")

        descriptors, threads = os.listdir("/proc/self/fd"), threading.active_count()
        with pytest.raises(Stopped):
            TreeSource([tmp_path, tmp_path / "d1"]).run(MemorySink(after_write=stop))
        assert os.listdir("/proc/self/fd") == descriptors
        assert threading.active_count() == threads


def test_a_folder_of_very_many_names(tmp_path, monkeypatch):
    """They go through a file, into a list that is not held, and come back in order."""
    root = tmp_path / "t"
    root.mkdir()
    wanted = sorted(f"{Random(number).random():.17f}{'x' * 100}" for number in range(12_000))
    for name in wanted:
        os.mknod(root / name)
    limits = replace(walk.LIMITS, names_held=500)
    keep = SnapshotWriter.create(tmp_path / "s", uuid4())
    full = run(monkeypatch, limits, root, keep=keep)
    keep.finish()
    assert names(full)[1:] == [f"./{name}" for name in wanted]
    (root / wanted.pop(7000)).unlink()
    with Snapshot.open(tmp_path / "s") as since:
        increment = run(monkeypatch, limits, root, since=since)
        assert run(monkeypatch, walk.LIMITS, root, since=since) == increment
    with tarfile.open(fileobj=io.BytesIO(increment)) as members:
        listed = members.next().pax_headers["GNU.dumpdir"]
    assert len(listed) > 1 << 20
    assert [name[1:] for name in listed.rstrip("\0").split("\0")] == wanted
    assert not os.listdir(tmp_path / "spilled") if (tmp_path / "spilled").exists() else True


def test_a_spill_folder_that_is_none(tmp_path, monkeypatch):
    for number in range(9):
        (tmp_path / f"{number}").touch()
    monkeypatch.setattr(walk, "LIMITS", NARROW)
    with pytest.raises(SourceError, match=r"names of a large folder cannot be kept in .*nowhere"):
        TreeSource([tmp_path], spill=tmp_path / "nowhere").run(MemorySink())


def test_sockets_are_gone(tmp_path, monkeypatch):
    """A file that has become a socket is deleted by a restore, and no more than remarked."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x").touch()
    keep = SnapshotWriter.create(tmp_path / "s", uuid4())
    run(monkeypatch, walk.LIMITS, tmp_path / "t", keep=keep)
    keep.finish()
    (tmp_path / "t" / "x").unlink()
    taken = Taken()
    with socket.socket(socket.AF_UNIX) as listening, Snapshot.open(tmp_path / "s") as since:
        folder = os.open(tmp_path / "t", os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{folder}/x")
        os.close(folder)
        run(monkeypatch, walk.LIMITS, tmp_path / "t", since=since, taken=taken)
    assert [(row[0], row[2]) for row in taken.all()] == [(b"", rows.FOLDER), (b"x", rows.GONE)]


def test_an_exclude_that_fails_ends_the_walk(tmp_path, monkeypatch):
    (tmp_path / "a").touch()

    class Broken:
        def match_file(self, path):
            raise RuntimeError("broken")

    monkeypatch.setattr("pathspec.GitIgnoreSpec.from_lines", lambda patterns: Broken())
    with pytest.raises(RuntimeError, match="broken"):
        TreeSource([tmp_path], exclude=["x"]).run(MemorySink())
