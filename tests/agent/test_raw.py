"""Block devices, and files taken as if they were such: one entry, holes left out, the page cache left as it was."""

from __future__ import annotations

import io
import itertools
import os
import stat
import tarfile
from pathlib import Path
from uuid import uuid4

import pytest
from agent_world import MemorySequence, MemorySink
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.agent import cache, pax, raw, rows
from tapeloom.agent.cache import absent_pages, passage
from tapeloom.agent.raw import RawSource, merged
from tapeloom.agent.unpax import Unpax
from tapeloom.errors import SourceError, Stopped

PAGE = 4096
KIB = 1024


def sparse(path: Path, size: int, *pieces: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
        os.fsync(file.fileno())  # before that, some file systems do not know of holes
    return path


def content_of(data: bytes, into: Path) -> bytes:
    """What the sequence's only entry is the archive of, holes filled."""
    archive = Unpax(MemorySequence(data))
    [content] = [_copied(archive, entry, into) for entry in archive]
    return content


def _copied(archive: Unpax, entry, into: Path) -> bytes:
    fd = os.open(into, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        archive.copy_to(fd, entry)
        os.ftruncate(fd, entry.size)
        return into.read_bytes()
    finally:
        os.close(fd)


def member_of(data: bytes) -> tarfile.TarInfo:
    """The only entry, as another reader sees it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        [member] = archive
    return member


IMAGES = {
    "empty": (0, []),
    "dense": (70_000, [(0, b"x" * 70_000)]),
    "all hole": (1 << 20, []),
    "hole at its end": (1 << 20, [(0, b"a" * PAGE)]),
    "hole at its start": (1 << 20, [((1 << 20) - PAGE, b"a" * PAGE)]),
    "two pieces": (300 * KIB + 5, [(64 * KIB, b"a" * 5000), (192 * KIB, b"b" * PAGE)]),
}


@pytest.mark.parametrize(("size", "pieces"), IMAGES.values(), ids=IMAGES)
def test_a_file(tmp_path: Path, size: int, pieces: list[tuple[int, bytes]]) -> None:
    path = sparse(tmp_path / "disk.img", size, *pieces)
    sink = MemorySink()
    report = RawSource(path).run(sink)
    assert (report.files, report.troubles) == (1, ())
    assert bytes(sink.data[report.end :]) == pax.END
    assert content_of(sink.data, tmp_path / "back") == path.read_bytes()
    assert len(sink.data) <= sum(len(data) for _, data in pieces) + (128 if pieces else 8) * KIB
    member = member_of(sink.data)
    assert (member.name, member.size) == ("disk.img", size)


def test_a_terabyte_of_hole(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.img", 1 << 40, (1 << 39, b"data" * KIB))
    sink = MemorySink()
    RawSource(path).run(sink)
    assert len(sink.data) < 128 * KIB
    archive = Unpax(MemorySequence(sink.data))
    entry = next(iter(archive))
    assert entry.size == 1 << 40
    assert entry.extents is not None
    assert [offset for offset, _ in entry.extents] == [1 << 39]
    assert archive.content(4 * KIB) == b"data" * KIB


class Kept:
    def __init__(self) -> None:
        self.batches: list[rows.RowBatch] = []

    def add(self, batch: rows.RowBatch) -> None:
        self.batches.append(batch)


def test_its_row(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.img", 1 << 20)
    path.chmod(0o640)
    os.utime(path, ns=(1, -5))
    kept = Kept()
    RawSource(path).run(MemorySink(), kept)
    [batch] = kept.batches
    assert len(batch) == 1
    assert (batch.paths, batch.links) == (b"disk.img", b"")
    assert (batch.kind[0], batch.mode[0], batch.size[0], batch.mtime[0]) == (rows.FILE, 0o640, 1 << 20, -5)
    assert (batch.uid[0], batch.gid[0], batch.offset[0]) == (os.getuid(), os.getgid(), 0)


def test_a_link_is_followed_and_names_it(tmp_path: Path) -> None:
    sparse(tmp_path / "dm-3", 5, (0, b"hello"))
    (tmp_path / "snapshot").symlink_to("dm-3")
    sink = MemorySink()
    RawSource(tmp_path / "snapshot").run(sink)
    member = member_of(sink.data)
    assert (member.name, member.size, member.type) == ("snapshot", 5, tarfile.REGTYPE)


def test_of_a_device_every_block_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device cannot be made everywhere: a file stands in, which the source takes for one. Of devices, fstat tells no
    size."""
    path = sparse(tmp_path / "sda", 1 << 20, (PAGE, b"x" * PAGE))
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        status = real(fd)
        found = list(status)
        found[stat.ST_MODE] = stat.S_IFBLK | 0o660
        found[stat.ST_SIZE] = 0
        return os.stat_result(found, {"st_mtime_ns": status.st_mtime_ns, "st_ctime_ns": status.st_ctime_ns})

    monkeypatch.setattr(raw.os, "fstat", fstat)
    sink = MemorySink()
    report = RawSource(path).run(sink)
    monkeypatch.undo()
    assert report.bytes == 1 << 20
    member = member_of(sink.data)
    assert (member.type, member.size, member.mode) == (tarfile.REGTYPE, 1 << 20, 0o660)
    assert content_of(sink.data, tmp_path / "back") == path.read_bytes()


def test_attributes_come_along(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.img", 1 << 20)
    os.setxattr(path, b"user.note", b"mine")
    sink = MemorySink()
    RawSource(path).run(sink)
    entry = next(iter(Unpax(MemorySequence(sink.data))))
    assert entry.attributes == {b"user.note": b"mine"}


def test_what_cannot_be_taken_raw(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, why in (
        (tmp_path / "gone", "gone does not exist: is its volume active"),
        (tmp_path, "it is a folder: give it as `path`"),
        (tmp_path / "fifo", "it is neither"),
        (Path("/dev/null"), "it is neither"),
    ):
        sink = MemorySink()
        with pytest.raises(SourceError, match=why):
            RawSource(path).run(sink)
        assert not sink.data


def test_a_bad_block_is_zeros_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.img", 3 * PAGE, (0, b"x" * 3 * PAGE))
    sink = MemorySink(fail_reading_after=PAGE)
    report = RawSource(path).run(sink)
    [trouble] = report.troubles
    assert str(trouble) == (f"disk.img: zeros stand from byte {PAGE} to {3 * PAGE}: cannot be read: Input/output error")
    assert content_of(sink.data, tmp_path / "back") == b"x" * PAGE + bytes(2 * PAGE)


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.img", 3 * PAGE, (0, b"x" * 3 * PAGE))
    sink = MemorySink(before_pump=lambda fd: os.truncate(path, PAGE))
    report = RawSource(path).run(sink)
    assert [str(trouble) for trouble in report.troubles] == [
        f"disk.img: zeros stand from byte {PAGE} to {3 * PAGE}: it shrank while it was read",
        "disk.img: changed while it was read",
    ]
    assert content_of(sink.data, tmp_path / "back") == b"x" * PAGE + bytes(2 * PAGE)


def test_a_stop_comes_through_and_closes(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk.img", PAGE, (0, b"x" * PAGE))

    def stop(fd: int) -> None:
        raise Stopped("the job is stopping")

    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(Stopped):
        RawSource(path).run(MemorySink(before_pump=stop))
    assert set(os.listdir("/proc/self/fd")) == before


def test_more_pieces_than_an_archive_may_have(tmp_path: Path) -> None:
    """The smallest holes are filled; what is read back is the same."""
    starts = [0, 16, 24, 26, 90, 100]  # of 64 KiB, which is a hole in every file system
    unit = 64 * KIB
    path = sparse(tmp_path / "disk.img", 128 * unit, *((start * unit, b"x" * unit) for start in starts))
    with path.open("rb") as file:
        assert raw.data_extents(file.fileno(), 128 * unit) == [(start * unit, unit) for start in starts]
        found = raw.data_extents(file.fileno(), 128 * unit, most=3)
    assert found == [(0, unit), (16 * unit, 11 * unit), (90 * unit, 11 * unit)]


@given(
    pieces=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=30), most=st.integers(1, 8)
)
def test_merging_keeps_the_largest_holes(pieces: list[tuple[int, int]], most: int) -> None:
    extents: list[tuple[int, int]] = []
    at = 0
    for hole, length in pieces:
        extents.append((at + hole, length))
        at += hole + length
    found = merged(extents, most)
    assert len(found) == min(most, len(extents))
    assert (found[0][0], sum(found[-1])) == (extents[0][0], at)

    def holes(of: list[tuple[int, int]]) -> list[int]:
        return [after[0] - sum(before) for before, after in itertools.pairwise(of)]

    assert sorted(holes(found)) == sorted(holes(extents))[len(extents) - len(found) :]
    starts, ends = {start for start, _ in extents}, {sum(extent) for extent in extents}
    assert all(start in starts and start + length in ends for start, length in found)


# The page cache


def test_absent_pages_are_those_that_nobody_read(tmp_path: Path) -> None:
    path = sparse(tmp_path / uuid4().hex, 64 * PAGE, (0, b"x" * 64 * PAGE))
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        os.pread(fd, 1, 5 * PAGE)
        absent = absent_pages(fd, 0, 64 * PAGE)
        assert not any(offset <= 5 * PAGE < offset + length for offset, length in absent)
        assert all(offset % PAGE == 0 and length % PAGE == 0 and length > 0 for offset, length in absent)
        os.pread(fd, 64 * PAGE, 0)
        assert absent_pages(fd, 0, 64 * PAGE) == []
        assert absent_pages(fd, 0, 0) == []
        assert absent_pages(fd, 60 * PAGE, 64 * PAGE) == []  # beyond the end there is nothing to tell
    finally:
        os.close(fd)


def test_the_cache_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "PIECE_BYTES", 16 * PAGE)
    path = sparse(tmp_path / "disk.img", 256 * PAGE, (0, b"x" * 256 * PAGE))
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 3 * PAGE, 100 * PAGE)
        before = absent_pages(fd, 0, 256 * PAGE)
        sink = MemorySink()
        RawSource(path).run(sink)
        assert absent_pages(fd, 0, 256 * PAGE) == before
    finally:
        os.close(fd)
    assert sink.data.count(b"x" * PAGE) == 256


class Advice:
    """What the system was advised, and a cache of which every second page is held."""

    def __init__(self) -> None:
        self.given: list[tuple[int, int, int]] = []

    def posix_fadvise(self, fd: int, offset: int, length: int, advice: int) -> None:
        self.given.append((advice, offset // PAGE, length // PAGE))

    def absent_pages(self, fd: int, offset: int, length: int) -> list[tuple[int, int]]:
        return [(at, PAGE) for at in range(offset, offset + length, PAGE) if at // PAGE % 2]


@pytest.fixture
def advice(monkeypatch: pytest.MonkeyPatch) -> Advice:
    advice = Advice()
    monkeypatch.setattr(cache, "PIECE_BYTES", 2 * PAGE)
    monkeypatch.setattr(cache, "absent_pages", advice.absent_pages)
    monkeypatch.setattr(cache.os, "posix_fadvise", advice.posix_fadvise)
    return advice


AHEAD, BEHIND = os.POSIX_FADV_WILLNEED, os.POSIX_FADV_DONTNEED


def test_one_piece_ahead_and_only_what_was_absent_is_dropped(advice: Advice) -> None:
    seen = []
    for offset, length in passage(0, [(PAGE, 3 * PAGE), (9 * PAGE, 2 * PAGE)]):
        seen.append((offset // PAGE, length // PAGE, advice.given[1:]))
        del advice.given[1:]
    assert seen == [
        (1, 1, [(AHEAD, 1, 1), (AHEAD, 3, 1)]),
        (2, 2, [(BEHIND, 1, 1), (AHEAD, 9, 1)]),
        (9, 1, [(BEHIND, 3, 1)]),
        (10, 1, [(BEHIND, 9, 1)]),
    ]
    assert advice.given == [(os.POSIX_FADV_SEQUENTIAL, 0, 0)]


def test_a_passage_that_breaks_off_drops_what_it_fetched(advice: Advice) -> None:
    pieces = passage(0, [(0, 8 * PAGE)])
    next(pieces)
    pieces.close()
    assert advice.given[1:] == [(AHEAD, 1, 1), (AHEAD, 3, 1), (BEHIND, 1, 1), (BEHIND, 3, 1)]
