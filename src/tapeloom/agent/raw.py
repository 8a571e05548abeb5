"""A source of one block device, or of one file taken as if it were one: its content, whatever it may mean.

The sequence is an archive of one file, so that whatever restores archives restores it: onto a device, or as a file with
its holes. Of a device every block is taken, since the system tells of holes in files alone; zeros are no hole, but
compress to next to nothing.
"""

from __future__ import annotations

import heapq
import os
import stat
from contextlib import closing
from pathlib import Path

import numpy as np

from ..errors import SourceError
from . import pax
from .cache import Range, passage
from .extents import pieces
from .metadata import read_records
from .owners import Owners
from .report import Notes, SourceReport, reason
from .rows import FILE, RowBatch, Rows
from .sink import Sink
from .walk import open_unseen

EXTENTS_MAX = pax.EXTENTS_MAX - 1
"""The pieces that data may lie in: one further marks where a file ends in a hole."""

_OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class RawSource:
    """The content of the block device or file *path*. A symbolic link is followed, and its name is the one that
    counts."""

    def __init__(self, path: Path):
        self._path = path

    def run(self, sink: Sink, rows: Rows | None = None) -> SourceReport:
        """Write the archive to *sink*, and its one row to *rows*.

        Raises SourceError before anything is written where *path* is neither a device nor a file, or cannot be opened;
        errors.Stopped comes through from *sink*. What cannot be read of it is filled up with zeros and is a trouble.
        """
        fd = self._open()
        try:
            return self._write(fd, sink, rows)
        finally:
            os.close(fd)

    def _open(self) -> int:
        try:
            _refuse(self._path, os.stat(self._path).st_mode)  # before it is opened: that may rewind a tape
            fd = open_unseen(self._path, _OPEN)
        except FileNotFoundError:
            raise SourceError(f"{self._path} does not exist: is its volume active?") from None
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {reason(error)}") from None
        try:
            _refuse(self._path, os.fstat(fd).st_mode)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _write(self, fd: int, sink: Sink, rows: Rows | None) -> SourceReport:
        status = os.fstat(fd)
        name = os.fsencode(self._path.name)
        troubles = Notes()
        device = stat.S_ISBLK(status.st_mode)
        size = os.lseek(fd, 0, os.SEEK_END)
        extents = [(0, size)] if device else data_extents(fd, size)
        stored = sum(length for _, length in extents)
        head = _head(fd, name, status, size, extents, troubles)
        sink.write(head)
        if rows is not None:
            rows.add(_row(name, status, size))
        with closing(passage(fd, extents)) as pieces:
            for offset, length in pieces:
                got, failed = sink.pump(fd, offset, length)
                if got != length:
                    sink.zeros(length - got)
                    what = f"cannot be read: {os.strerror(failed)}" if failed else "it shrank while it was read"
                    troubles.add(name, f"zeros stand from byte {offset + got} to {offset + length}: {what}")
        sink.zeros(pax.padding(stored))
        sink.write(pax.END)
        if not device and _stamps(os.fstat(fd)) != _stamps(status):
            troubles.add(name, "changed while it was read")
        return SourceReport(
            files=1,
            bytes=stored,
            troubles=troubles.named(),
            troubles_beyond=troubles.beyond,
            end=len(head) + stored + pax.padding(stored),
        )


def data_extents(fd: int, size: int, most: int = EXTENTS_MAX) -> list[Range]:
    """Where the data of a file of *size* bytes lie. Of more than *most* pieces, those with the smallest holes between
    them become one, holes and all."""
    extents: list[Range] = []
    try:
        for piece in pieces(fd, size):
            extents.append(piece)
            if len(extents) >= 2 * most:
                extents = merged(extents, most)
    except OSError:
        return [(0, size)]  # a file system that tells nothing of holes
    return merged(extents, most)


def merged(extents: list[Range], most: int) -> list[Range]:
    """The same data in at most *most* pieces: those that remain apart have the largest holes between them."""
    if len(extents) <= most:
        return extents

    def hole(number: int) -> int:
        """Before the piece of that number."""
        return extents[number][0] - sum(extents[number - 1])

    firsts = [0, *sorted(heapq.nlargest(most - 1, range(1, len(extents)), key=hole))]
    lasts = [*(first - 1 for first in firsts[1:]), len(extents) - 1]
    return [
        (extents[first][0], sum(extents[last]) - extents[first][0]) for first, last in zip(firsts, lasts, strict=True)
    ]


def _refuse(path: Path, mode: int) -> None:
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        what = "a folder: give it as `path`" if stat.S_ISDIR(mode) else "neither"
        raise SourceError(f"{path} cannot be read raw: a raw source is a block device or a file, and it is {what}")


def _head(fd: int, name: bytes, status: os.stat_result, size: int, extents: list[Range], troubles: Notes) -> bytes:
    """What stands before the content: the header, and the map of what has holes."""
    owners = Owners()
    records = []
    if stat.S_ISREG(status.st_mode):  # a device's attributes are its node's, not its content's
        records = read_records(fd, owners, lambda what: troubles.add(name, what))
    user, group = owners.user(status.st_uid), owners.group(status.st_gid)
    stored = sum(length for _, length in extents)
    if stored == size:
        return pax.header(name, pax.REGULAR, status, size=size, user=user, group=group, records=records)
    ends_in_hole = not extents or sum(extents[-1]) < size
    mapped = pax.sparse_map([*extents, (size, 0)] if ends_in_hole else extents)
    records += pax.sparse_records(name, size)
    whole = len(mapped) + stored
    header = pax.header(pax.SPARSE_NAME, pax.REGULAR, status, size=whole, user=user, group=group, records=records)
    return header + mapped


def _row(name: bytes, status: os.stat_result, size: int) -> RowBatch:
    return RowBatch(
        paths=name,
        path_ends=np.array([len(name)], np.uint64),
        kind=np.array([FILE], np.uint8),
        mode=np.array([stat.S_IMODE(status.st_mode)], np.uint32),
        uid=np.array([status.st_uid], np.uint32),
        gid=np.array([status.st_gid], np.uint32),
        size=np.array([size], np.uint64),
        mtime=np.array([status.st_mtime_ns], np.int64),
        offset=np.array([0], np.uint64),
        links=b"",
        link_ends=np.array([0], np.uint64),
    )


def _stamps(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
