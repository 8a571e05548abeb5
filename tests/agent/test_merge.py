"""A full archive and its increments merged: the very bytes of a full one taken at the time of the last."""

from __future__ import annotations

import errno
import io
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from unittest.mock import patch
from uuid import uuid4

import pytest
from agent_world import MemorySink
from extract_world import ViewedSequence, archive_of, folder, member
from hypothesis import example, given, note, reject, settings
from hypothesis import strategies as st
from nasty_trees import make_tree, mutate, same_tree
from test_increment_properties import WEEKS, Week, by_gnu_tar, by_tapeloom, needs_tar

import tapeloom.agent.entries
import tapeloom.agent.severed
from tapeloom.agent import rows
from tapeloom.agent.merge import MergeSource
from tapeloom.agent.snapshot import Snapshot, SnapshotWriter
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import DigestWrong, SourceError
from tapeloom.index import Index, IndexWriter, final_rows, final_state


class Kept:
    """Rows as they come."""

    def __init__(self):
        self.batches = []

    def add(self, batch):
        self.batches.append(batch)

    def all(self):
        """One tuple a row."""
        found = []
        for batch in self.batches:
            names = _texts(batch.paths, batch.path_ends), _texts(batch.links, batch.link_ends)
            numbers = (batch.kind, batch.mode, batch.uid, batch.gid, batch.size, batch.mtime, batch.offset)
            found += zip(*names, *(column.tolist() for column in numbers), strict=True)
        return found


def _texts(text, ends):
    begins = [0, *ends.tolist()]
    return [text[begin:end] for begin, end in zip(begins, ends.tolist(), strict=False)]


def merged(archives, *, block=1 << 20, **more):
    """The full archive, its rows, and what was said of it."""
    sink, kept = MemorySink(), Kept()
    report = MergeSource([ViewedSequence(archive, block) for archive in archives], **more).run(sink, rows=kept)
    return bytes(sink.data), kept.all(), report


def full(tree):
    sink, kept = MemorySink(), Kept()
    report = TreeSource([tree]).run(sink, rows=kept)
    return bytes(sink.data), kept.all(), report


class IndexedWeek(Week):
    """A week whose archives have indexes."""

    def __init__(self, folder):
        super().__init__(folder)
        self.indexes = []

    def backup(self, since=None):
        keep = SnapshotWriter.create(self._snapshot(len(self.archives)), uuid4())
        sink, path = MemorySink(), self._folder / f"index{len(self.archives)}"
        index = IndexWriter(path, uuid4(), "tree")
        with ExitStack() as held:
            old = None
            if since is not None:
                old = Snapshot.open(self._snapshot(since))
                held.callback(old.close)
            report = TreeSource([self.tree]).run(sink, since=old, keep=keep, rows=index)
        keep.finish()
        if index.finish(report.end).rows:
            self.indexes.append(path)
        self.archives.append(bytes(sink.data))
        return self.archives[-1]


@contextmanager
def as_far_as_attributes_go():
    """Some file systems have no room for all attributes that one file may be given: that tree is no example."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        reject()


def a_week(folder, seed, entries, days, kind=Week, since=lambda day: day):
    """A tree, what became of it, and its archives, each but the first an increment to the one of that day."""
    chance = Random(seed)
    week = kind(Path(folder))
    with as_far_as_attributes_go():
        make_tree(week.tree, chance, entries)
    week.backup()
    for day, changes in enumerate(days):
        with as_far_as_attributes_go():
            note("\n".join([f"day {day}", *mutate(week.tree, chance, changes)]))
        week.backup(since=since(day))
    return week


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    entries=st.integers(0, 40),
    days=st.lists(st.integers(0, 10), min_size=1, max_size=5),
    block=st.sampled_from([512, 700, 4096, 1 << 20]),
)
@example(seed=0, entries=40, days=[10, 10, 10, 10], block=512)
def test_a_week_merged_is_the_full_archive_of_its_end(seed, entries, days, block):
    """Byte by byte, and so are the rows of its index; however blocks cut the entries."""
    with tempfile.TemporaryDirectory() as folder:
        week = a_week(folder, seed, entries, days)
        found, found_rows, told = merged(week.archives, block=block)
        expected, expected_rows, wanted = full(week.tree)
        assert found_rows == expected_rows
        assert found == expected
        assert (told.files, told.folders, told.others, told.end) == (
            wanted.files,
            wanted.folders,
            wanted.others,
            wanted.end,
        )


@settings(max_examples=20, deadline=None)
@WEEKS
def test_long_lists_of_names_and_many_entries_left_out_go_through_files(seed, entries, days):
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(tapeloom.agent.entries, "HEADER_BYTES_HELD", 1100),
        patch.object(tapeloom.agent.severed, "RECENT_MAX", 2),
    ):
        week = a_week(folder, seed, entries, days)
        assert merged(week.archives, block=512)[0] == full(week.tree)[0]


@settings(max_examples=20, deadline=None)
@WEEKS
def test_differential(seed, entries, days):
    with tempfile.TemporaryDirectory() as folder:
        week = a_week(folder, seed, entries, days, since=lambda day: 0)
        assert merged([week.archives[0], week.archives[-1]])[0] == full(week.tree)[0]


@settings(max_examples=20, deadline=None)
@WEEKS
def test_indexes_merge_to_the_same_state(seed, entries, days):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
        week = a_week(folder, seed, entries, days, IndexedWeek)
        indexes = [held.enter_context(Index.open(path)) for path in week.indexes]
        found = merged(week.archives)[1]
        assert [(row[0], row[2]) for row in found] == list(final_state(indexes))
        assert sum(share.entries for share in final_rows(indexes)) == len(found)


@settings(max_examples=20, deadline=None)
@WEEKS
def test_an_increment_on_what_was_merged(seed, entries, days):
    """It builds on the snapshot of the last object that went into it."""
    with tempfile.TemporaryDirectory() as folder:
        week = a_week(folder, seed, entries, days)
        last = merged([merged(week.archives[:-1])[0], week.archives[-1]])[0]
        assert last == full(week.tree)[0]


def test_several_roots_and_root_that_is_a_file(tmp_path):
    """Their names stand side by side, without "./"."""
    roots = [tmp_path / "a", tmp_path / "a.b", tmp_path / "one"]
    for root in roots[:2]:
        (root / "below").mkdir(parents=True)
        (root / "below" / "file").write_bytes(b"1")
        (root / "gone").write_bytes(b"2")
    roots[2].write_bytes(b"3")
    archives, snapshots = [], [tmp_path / "snapshot0", tmp_path / "snapshot1"]
    for day, path in enumerate(snapshots):
        keep, sink = SnapshotWriter.create(path, uuid4()), MemorySink()
        with ExitStack() as held:
            old = Snapshot.open(snapshots[0]) if day else None
            if old is not None:
                held.callback(old.close)
            TreeSource(roots).run(sink, since=old, keep=keep)
        keep.finish()
        archives.append(bytes(sink.data))
        if not day:
            (roots[0] / "gone").unlink()
            (roots[1] / "below" / "file").write_bytes(b"changed")
            roots[2].write_bytes(b"changed")
    sink = MemorySink()
    TreeSource(roots).run(sink)
    assert merged(archives)[0] == bytes(sink.data)
    assert not any(name == "a/gone" for name, *_ in names_of(bytes(sink.data)))


@needs_tar
@settings(max_examples=10, deadline=None)
@WEEKS
def test_restored(seed, entries, days):
    with tempfile.TemporaryDirectory() as folder:
        week = a_week(folder, seed, entries, days)
        found = merged(week.archives)[0]
        assert by_tapeloom([found], Path(folder) / "by-tapeloom") == []
        assert same_tree(week.tree, Path(folder) / "by-tapeloom") == []
        assert by_gnu_tar([found], Path(folder) / "by-gnu-tar") == []
        assert same_tree(week.tree, Path(folder) / "by-gnu-tar", holes=False, folder_dress=False) == []


def names_of(archive):
    """What a stock reader finds: name, kind, link, content."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [
            (one.name, one.type, one.linkname, opened.extractfile(one).read() if one.isreg() else b"") for one in opened
        ]


LONG = "long" * 40
LINKED = archive_of(
    folder("."),
    member("./a", data=b"data", pax_headers={"SCHILY.xattr.user.x": "1", "mtime": "1.000000005"}),
    member(f"./{LONG}", tarfile.LNKTYPE, link="./a"),
    member("./m", tarfile.LNKTYPE, link="./a"),
    member("./z", tarfile.LNKTYPE, link="./a"),
)


def test_a_file_takes_the_place_of_a_folder_and_of_all_in_it():
    """Though no list says so: nobody could list the folder above."""
    old = archive_of(folder("."), folder("./a"), member("./a/x"), folder("./a/y"), member("./a/y/z"), member("./a!"))
    new = archive_of(member("./a", data=b"a file"))
    newest = archive_of(folder("./a"), member("./a/new"))
    assert [name for name, *_ in names_of(merged([old, new])[0])] == [".", "./a", "./a!"]
    assert [name for name, *_ in names_of(merged([old, new, newest])[0])] == [".", "./a", "./a/new", "./a!"]


def test_data_goes_to_the_first_link_that_is_left():
    """The first name is another file now, and nobody could read the others: they are still what they were."""
    newer = archive_of(folder(".", f"Ya Y{LONG} Yz"), member("./a", data=b"new"))
    found, found_rows, report = merged([LINKED, newer], severed={0: frozenset([b"a"])})
    assert names_of(found) == [
        (".", tarfile.DIRTYPE, "", b""),
        ("./a", tarfile.REGTYPE, "", b"new"),
        (f"./{LONG}", tarfile.REGTYPE, "", b"data"),
        ("./z", tarfile.LNKTYPE, f"./{LONG}", b""),
    ]
    with tarfile.open(fileobj=io.BytesIO(found)) as opened:
        assert opened.getmember(f"./{LONG}").pax_headers["SCHILY.xattr.user.x"] == "1"
        assert opened.getmember(f"./{LONG}").mtime == 1.000000005
    assert [row[2] for row in found_rows] == [rows.FOLDER, rows.FILE, rows.FILE, rows.HARDLINK]
    assert report.end == len(found) - 1024


@pytest.mark.parametrize("listed", [[folder(".", "Ya Yb Yc")], []])
def test_a_link_whose_data_is_gone_is_refused(listed):
    """Also in the middle of what no newer archive has anything to say about."""
    old = archive_of(folder("."), member("./a", data=b"old"), member("./b"), member("./c", tarfile.LNKTYPE, link="./a"))
    newer = archive_of(*listed, member("./a", data=b"new"))
    with pytest.raises(SourceError, match=r"c is a hard link to \./a, which a newer object"):
        merged([old, newer])


TWO = archive_of(folder("."), member("./a", data=b"1" * 2000), member("./b", data=b"2"))


@pytest.mark.parametrize(
    ("archives", "why"),
    [
        ([TWO[:2600]], "breaks off behind a: it is not whole"),
        ([TWO[:1600] + b"\xff" + TWO[1601:4000]], "cannot be merged"),
        ([TWO[:512] + b"x" + TWO[513:]], r"the header behind \. is damaged"),
        (
            [archive_of(folder("."), member("./b"), member("./a"))],
            "the entry behind b does not stand in",
        ),
        (
            [TWO, archive_of(folder(".", "Yb Ya"))],
            r"what is in \. of .* cannot be told: the list does not",
        ),
        (
            [TWO, archive_of(folder(".", "Ra Tb"))],
            r"what is in \. of .* cannot be told: the list does not",
        ),
        ([b""], "breaks off at its start"),
    ],
)
def test_damaged(archives, why):
    with pytest.raises(SourceError, match=why):
        merged(archives)


def test_every_archive_is_read_to_its_end_and_proven():
    class Proven(ViewedSequence):
        def proof(self):
            assert self.read(1) == b""
            proven.append(self)
            if len(proven) == 2:
                raise DigestWrong("it is another one")

    proven = []
    archives = [Proven(TWO), Proven(archive_of(folder(".", "Ya")))]
    with pytest.raises(SourceError, match="it is another one"):
        MergeSource(archives).run(MemorySink())
    assert proven == archives


def test_what_nobody_changed_is_not_looked_at_one_by_one():
    """It goes on block by block."""
    names = [f"{n:05}" for n in range(5000)]
    old = archive_of(folder("."), *(member(f"./{name}", data=b"x") for name in names))
    new = archive_of(member("./02500", data=b"changed"))
    writes = []
    sink = MemorySink(after_write=writes.append)
    MergeSource([ViewedSequence(old), ViewedSequence(new)]).run(sink)
    assert len(names_of(bytes(sink.data))) == 5001
    assert len(writes) < 30
