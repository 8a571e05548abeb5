"""Entries that are made one at a time: large, sparse or linked files, those with attributes, and all trouble.

What happens to a tree while it is read is reported by name and never breaks the archive: a file that shrinks is filled
up with zeros to the size announced, of one that grows only the size announced is taken, and what vanished or cannot be
read is left out.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Generator, Sequence
from contextlib import closing

from msgspec import Struct
from msgspec.structs import replace

from .._tree import Walk
from ..errors import SourceError
from . import pax, rows
from .extents import pieces
from .links import FirstNames
from .metadata import handle_of, read_records
from .owners import Owners
from .report import Notes, reason
from .sink import BytesLike, Sink
from .walk import open_unseen

SMALL_BYTES = 32 << 10
"""Up to this size a file is read into memory and goes out with its header in one write: about where the copy that this
costs takes as long as the further calls that it saves."""

AHEAD_BYTES = 1 << 20
"""From this size on the system is asked for a file ahead, and what it had of it in memory is left as it was."""

SUSPECT_MAX = 20_000
"""So many inodes with several names are remembered as not to be trusted: beyond, no hard link is trusted."""

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
COARSE_CLOCK = 5
"""CLOCK_REALTIMECOARSE_CLOCK, from linux/time.h: the clock that files are stamped by."""

_SPECIAL = {
    stat.S_IFLNK: pax.SYMBOLIC_LINK,
    stat.S_IFIFO: pax.FIFO,
    stat.S_IFCHR: pax.CHARACTER,
    stat.S_IFBLK: pax.DEVICE,
}
_ROW = {
    pax.REGULAR: rows.FILE,
    pax.FOLDER: rows.FOLDER,
    pax.SYMBOLIC_LINK: rows.SYMLINK,
    pax.HARD_LINK: rows.HARDLINK,
    pax.FIFO: rows.FIFO,
    pax.CHARACTER: rows.CHAR,
    pax.DEVICE: rows.BLOCK,
}


class _Entry(Struct, frozen=True):
    """What a header and a row tell of one entry; `size`, of what follows the header."""

    path: bytes
    kind: bytes
    status: os.stat_result
    size: int = 0
    link: bytes = b""
    records: Sequence[bytes] = ()


class Counted:
    """A sink that knows how much went into it since it was last asked."""

    def __init__(self, sink: Sink):
        self._sink = sink
        self._bytes = 0

    def write(self, data: BytesLike) -> None:
        self._sink.write(data)
        self._bytes += len(data)

    def pump(self, fd: int, offset: int, bytes: int) -> tuple[int, int]:
        got, failed = self._sink.pump(fd, offset, bytes)
        self._bytes += got
        return got, failed

    def zeros(self, bytes: int) -> None:
        self._sink.zeros(bytes)
        self._bytes += bytes

    def taken(self) -> int:
        taken, self._bytes = self._bytes, 0
        return taken


class ByHand:
    """Makes entries into *sink*, and for *walk* the rows and records of them."""

    def __init__(self, sink: Sink, walk: Walk, links: FirstNames):
        self._sink = Counted(sink)
        self._walk = walk
        self._links = links
        self._owners = Owners()
        self._row_skip = 0
        self._recorded = False
        self._troubled = False
        self._suspect: set[tuple[int, int]] = set()  # inodes whose content in the archive is not to be trusted
        self.files = self.folders = self.others = self.bytes = 0
        self.troubles = Notes()
        self.remarks = Notes()

    def entry(self, path: bytes, parent: int, name: bytes, *, is_file: bool, row_skip: int) -> None:
        """The entry *name* of the open folder *parent*, which is *path* in the archive."""
        self._row_skip = row_skip
        self._recorded = False
        if is_file:
            self._file(path, parent, name)
        else:
            self._look(path, parent, name)
        self._walk.wrote(self._sink.taken())
        if not self._recorded:
            self._walk.keep()

    def folder(self, path: bytes, fd: int, listed: bytes | None, listed_fd: int, listed_bytes: int) -> None:
        """The header of the open folder *fd*, with the list of its names, which may stand in a file. Row and record of
        it are made."""
        try:
            status = os.fstat(fd)
        except OSError as error:
            self.unreadable(path, error)
            self._walk.headless()
            return
        records = read_records(fd, self._owners, lambda what: self.trouble(path, what))
        user, group = self._owners.user(status.st_uid), self._owners.group(status.st_gid)
        if listed_fd < 0:
            header = pax.header(path, pax.FOLDER, status, user=user, group=group, records=records, listing=listed)
            self._sink.write(header)
        else:
            before, behind = pax.header_around(
                path, status, user=user, group=group, records=records, listing_bytes=listed_bytes
            )
            self._sink.write(before)
            got, failed = self._sink.pump(listed_fd, 0, listed_bytes)
            if got != listed_bytes:
                raise SourceError(
                    f"the names of a large folder cannot be read again: {os.strerror(failed or errno.EIO)}"
                )
            self._sink.write(behind)
        self._walk.wrote(self._sink.taken())

    def trouble(self, path: bytes, what: str) -> None:
        self._troubled = True
        self.troubles.add(path, what)

    def _look(self, path: bytes, parent: int, name: bytes) -> None:
        """Something whose kind is not known for sure: look without opening it, for opening may rewind a tape."""
        try:
            fd = os.open(name, _LOOK, dir_fd=parent)
        except OSError as error:
            self.unreadable(path, error)
            return
        path = path.rstrip(b"/")
        try:
            now = time.clock_gettime_ns(COARSE_CLOCK)
            try:
                status = os.fstat(fd)
            except OSError as error:
                self.unreadable(path, error)
                return
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFREG:
                self._file(path, parent, name)
            elif kind == stat.S_IFDIR:
                self._unlisted(path + b"/", handle_of(fd), status, parent, name)
            elif kind == stat.S_IFSOCK:
                self.remarks.add(path, "a socket: it has no content and is left out")
            elif kind in _SPECIAL:
                self._special(path, fd, status, _SPECIAL[kind], now)
            else:
                self.trouble(path, "is of a kind that an archive cannot hold, and left out")
        finally:
            os.close(fd)

    def _unlisted(self, path: bytes, handle: bytes, status: os.stat_result, parent: int, name: bytes) -> None:
        """A folder that the walk could not open."""
        try:
            os.close(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))
            why = "it was put in place while its surroundings were read"
        except OSError as error:
            why = reason(error)
        records = read_records(handle, self._owners, lambda what: self.trouble(path, what))
        self._entry(_Entry(path, pax.FOLDER, status, records=records))
        self.folders += 1
        self.trouble(path, f"the folder cannot be listed, its content is missing: {why}")
        self._walk.unlisted(status)
        self._recorded = True

    def _special(self, path: bytes, fd: int, status: os.stat_result, kind: bytes, now: int) -> None:
        self._troubled = False
        if self._linked(path, status, now):
            return
        try:
            link = os.readlink(b"", dir_fd=fd) if kind == pax.SYMBOLIC_LINK else b""
        except OSError as error:
            self.unreadable(path, error)
            return
        records = read_records(handle_of(fd), self._owners, lambda what: self.trouble(path, what))
        self._entry(_Entry(path, kind, status, link=link, records=records))
        self.others += 1
        self._record(status, now)

    def _file(self, path: bytes, parent: int, name: bytes) -> None:
        try:
            fd = open_unseen(name, _OPEN, parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # no file any more
                self._look(path, parent, name)
            else:
                self.unreadable(path, error)
            return
        try:
            self._troubled = False
            now = time.clock_gettime_ns(COARSE_CLOCK)
            try:
                status = os.fstat(fd)
            except OSError as error:
                self.unreadable(path, error)
                return
            if not stat.S_ISREG(status.st_mode):
                self._look(path, parent, name)
            elif not self._linked(path, status, now):
                self._content(path, fd, status)
                self._record(status, now)
        finally:
            os.close(fd)

    def _content(self, path: bytes, fd: int, status: os.stat_result) -> None:
        size = status.st_size
        records = read_records(fd, self._owners, lambda what: self.trouble(path, what))
        if size <= SMALL_BYTES and status.st_blocks * 512 >= size:
            self._small(path, fd, status, records)
        else:
            self._large(path, fd, status, records)
        self.files += 1
        try:
            after = os.fstat(fd)
        except OSError as error:
            self.trouble(path, f"may have changed while it was read, it cannot be looked at again: {reason(error)}")
            return
        if after.st_size > size:
            self.trouble(path, f"grew while it was read: its first {size} bytes were taken")
        elif after.st_size == size and _stamps(after) != _stamps(status):
            self.trouble(path, "changed while it was read")

    def _small(self, path: bytes, fd: int, status: os.stat_result, records: list[bytes]) -> None:
        size = status.st_size
        header = self._row_and_header(_Entry(path, pax.REGULAR, status, size, records=records))
        if not size:
            self._sink.write(header)
            return
        data, failed = _read(fd, size)
        self._sink.write(b"".join((header, data, bytes(size - len(data) + pax.padding(size)))))
        self.bytes += size
        if len(data) != size:
            self._short(path, len(data), size, failed)

    def _large(self, path: bytes, fd: int, status: os.stat_result, records: list[bytes]) -> None:
        size = status.st_size
        extents = _extents(fd, size) if status.st_blocks * 512 < size else [(0, size)]
        stored = sum(length for _, length in extents)
        entry = _Entry(path, pax.REGULAR, status, size, records=records)
        if stored < size:
            mapped = pax.sparse_map(extents)
            told = [*records, *pax.sparse_records(path, size)]
            self._row(entry)
            head = replace(entry, path=pax.SPARSE_NAME, size=len(mapped) + stored, records=told)
            self._sink.write(self._header(head) + mapped)
        else:
            self._entry(entry)
        lost = 0  # up to here nothing more comes of the extent in hand
        with closing(_pieces(fd, extents, size)) as pieces:
            for start, length in pieces:
                got, failed = self._sink.pump(fd, start, length) if start >= lost else (0, 0)
                if got == length:
                    continue
                self._sink.zeros(length - got)
                if start >= lost:
                    self._short(path, start + got, size, failed)
                    lost = next(at + data for at, data in extents if at <= start < at + data)
        if pax.padding(stored):
            self._sink.zeros(pax.padding(stored))
        self.bytes += stored

    def _short(self, path: bytes, at: int, size: int, failed: int) -> None:
        if failed:
            self.trouble(path, f"cannot be read from byte {at} on, zeros stand there: {os.strerror(failed)}")
        else:
            self.trouble(path, f"shrank while it was read: zeros stand from byte {at} on, up to byte {size}")

    def _linked(self, path: bytes, status: os.stat_result, now: int) -> bool:
        """Write a hard link, if another name of this inode stands in the archive already."""
        if status.st_nlink == 1:
            return False
        first = self._links.known(status.st_dev, status.st_ino, status.st_nlink, path, status.st_mtime_ns)
        if first is None:
            return False
        self._entry(_Entry(path, pax.HARD_LINK, status, link=first))
        self.others += 1
        inode = status.st_dev, status.st_ino
        self._troubled = self._troubled or inode in self._suspect or len(self._suspect) == SUSPECT_MAX
        self._record(status, now)
        return True

    def _record(self, status: os.stat_result, now: int) -> None:
        """It is in the archive as *status* says, which was looked at no earlier than *now*."""
        if self._troubled and status.st_nlink > 1 and len(self._suspect) < SUSPECT_MAX:
            self._suspect.add((status.st_dev, status.st_ino))
        doubt = self._troubled or self._walk.doubt(status, now) or not self._walk.foresaw(status)
        self._walk.record(status, doubt)
        self._recorded = True

    def _row(self, entry: _Entry) -> None:
        self._walk.row(_ROW[entry.kind], entry.path[self._row_skip :].rstrip(b"/"), entry.link, entry.status)

    def _row_and_header(self, entry: _Entry) -> bytes:
        self._row(entry)
        return self._header(entry)

    def _entry(self, entry: _Entry) -> None:
        self._sink.write(self._row_and_header(entry))

    def _header(self, entry: _Entry) -> bytes:
        status = entry.status
        return pax.header(
            entry.path,
            entry.kind,
            status,
            size=entry.size,
            link=entry.link,
            user=self._owners.user(status.st_uid),
            group=self._owners.group(status.st_gid),
            records=entry.records,
        )

    def unreadable(self, path: bytes, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            self.trouble(path, "vanished before it was read")
        else:
            self.trouble(path, f"cannot be read and is left out: {reason(error)}")


def _pieces(fd: int, extents: list[tuple[int, int]], size: int) -> Generator[tuple[int, int], None, None]:
    """The parts of a file to read, one after another."""
    if size < AHEAD_BYTES:
        yield from (extent for extent in extents if extent[1])
        return
    from .cache import passage  # only where there is a large file: start-up time

    with closing(passage(fd, extents)) as pieces:
        yield from pieces


def _read(fd: int, size: int) -> tuple[bytes, int]:
    """Up to *size* bytes, fewer only where the file ends or reading fails, and the errno of that or 0."""
    data = b""
    try:
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
    except OSError as error:
        return data, error.errno or errno.EIO
    return data, 0


def _stamps(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ctime_ns


def _extents(fd: int, size: int) -> list[tuple[int, int]]:
    """Offset and length of the pieces of *fd* that hold data, and where the file ends in a hole an empty one there."""
    extents: list[tuple[int, int]] = []
    try:
        for start, length in pieces(fd, size):
            if len(extents) == pax.EXTENTS_MAX - 1:
                end = sum(extents[-1])
                return [*extents, (end, size - end)]
            extents.append((start, length))
    except OSError:
        return [(0, size)]  # a file system that tells nothing of holes
    if not extents or sum(extents[-1]) < size:
        extents.append((size, 0))
    return extents
