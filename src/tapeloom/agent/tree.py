"""A source of files and folders: a tree becomes a pax archive in canonical order.

What happens to a tree while it is read is reported by name and never breaks the archive: a file that shrinks is filled
up with zeros to the size announced, of one that grows only the size announced is taken, and what vanished or cannot be
read is left out.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from ..errors import SourceError
from . import pax
from .metadata import Handle, handle_of, read_records
from .owners import Owners
from .report import Notes, SourceReport, reason
from .sink import Sink
from .walk import FILE, FOLDER, Found, open_unseen, walk

SMALL_BYTES = 32 << 10
"""Up to this size a file is read into memory and goes out with its header in one write: about where the copy that this
costs takes as long as the further calls that it saves."""

AHEAD_BYTES = 1 << 20
"""From this size on the system is told that a file will be read from end to end."""

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {
    stat.S_IFLNK: pax.SYMBOLIC_LINK,
    stat.S_IFIFO: pax.FIFO,
    stat.S_IFCHR: pax.CHARACTER,
    stat.S_IFBLK: pax.DEVICE,
}


class TreeSource:
    """Files and folders of this machine.

    One path: its content stands in the archive under `./`, the folder's own entry first, so that a restore puts both on
    its target folder. Several paths, or one that is a file: each under its own name. A path that is a symbolic link
    is followed; links further down are kept as links. *exclude* are patterns as in a `.gitignore` at each path.
    """

    def __init__(self, paths: Sequence[Path], exclude: Sequence[str] = (), one_file_system: bool = False):
        self._paths = tuple(paths)
        self._exclude = tuple(exclude)
        self._one_file_system = one_file_system

    def run(self, sink: Sink) -> SourceReport:
        """Write the archive to *sink*.

        Raises SourceError when a path does not exist or cannot be opened, or when two have one name, before
        anything is written; errors.Stopped comes through from *sink*.
        """
        names = self._names()
        excluded = _matcher(self._exclude)
        reading = _Reading(sink)
        opened: list[tuple[bytes, Path, int | None]] = []
        try:
            for name, path in names:
                opened.append((name, path, _open_root(path)))
            while opened:
                name, path, fd = opened.pop(0)
                if fd is None:
                    reading.single(path, name)
                else:
                    found = walk(
                        fd,
                        name + b"/",
                        reading.troubles.add,
                        excluded=excluded,
                        one_file_system=self._one_file_system,
                    )
                    with closing(found):
                        reading.tree(found)
        finally:
            for _, _, left in opened:
                if left is not None:
                    os.close(left)
        sink.write(pax.END)
        return reading.report()

    def _names(self) -> list[tuple[bytes, Path]]:
        """Each path under the name that it has in the archive, in canonical order."""
        if not self._paths:
            raise SourceError("a source of files needs at least one path")
        if len(self._paths) == 1 and os.path.isdir(self._paths[0]):
            return [(b".", self._paths[0])]
        named: dict[bytes, Path] = {}
        for path in self._paths:
            name = os.fsencode(path.name if path.name not in ("", "..") else path.resolve().name)
            if not name:
                raise SourceError(f"{path} has no name to stand under in an archive of several paths: give it alone")
            if name in named:
                raise SourceError(
                    f"{named[name]} and {path} would both be {path.name} in the archive: make them two sources"
                )
            named[name] = path
        return sorted(named.items())


def _open_root(path: Path) -> int | None:
    """The folder *path*, open, or None where it is something else that exists."""
    try:
        return open_unseen(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        try:
            os.stat(path)
            return None
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {reason(error)}") from None
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist: is its disk mounted?") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {reason(error)}") from None


def _matcher(patterns: Sequence[str]) -> Callable[[bytes], bool] | None:
    if not patterns:
        return None
    from pathspec import GitIgnoreSpec  # only where there is something to exclude: start-up time

    try:
        match = GitIgnoreSpec.from_lines(patterns).match_file
    except (ValueError, re.error) as error:
        raise SourceError(f"a pattern of `exclude` is none: {error}") from None
    return lambda path: match(os.fsdecode(path))


class _Reading:
    """One run over a tree."""

    def __init__(self, sink: Sink):
        self._sink = sink
        self._owners = Owners()
        self._links: dict[tuple[int, int], tuple[bytes, int]] = {}  # inode -> its first name, names still to come
        self._files = self._folders = self._others = self._bytes = 0
        self.troubles = Notes()
        self._remarks = Notes()

    def report(self) -> SourceReport:
        return SourceReport(
            files=self._files,
            folders=self._folders,
            others=self._others,
            bytes=self._bytes,
            troubles=self.troubles.named(),
            troubles_beyond=self.troubles.beyond,
            remarks=self._remarks.named(),
            remarks_beyond=self._remarks.beyond,
        )

    def tree(self, walked: Iterable[Found]) -> None:
        for found in walked:
            if found.kind == FILE:
                self._file(found.path, found.parent, found.name)
            elif found.kind == FOLDER:
                self._folder(found.path, found.folder, os.fstat(found.folder))
            else:
                self._look(found.path, found.parent, found.name)

    def single(self, path: Path, name: bytes) -> None:
        """A path that is not a folder, under *name*. Symbolic links are followed here and nowhere else."""
        try:
            resolved = path.resolve(strict=True)
            parent = os.open(resolved.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._unreadable(name, error)
            return
        try:
            self._look(name, parent, os.fsencode(resolved.name))
        finally:
            os.close(parent)

    def _look(self, path: bytes, parent: int, name: bytes) -> None:
        """Something whose kind is not known for sure: look without opening it, for opening may rewind a tape."""
        try:
            fd = os.open(name, _LOOK, dir_fd=parent)
        except OSError as error:
            self._unreadable(path, error)
            return
        path = path.rstrip(b"/")
        try:
            status = os.fstat(fd)
            kind = stat.S_IFMT(status.st_mode)
            if kind == stat.S_IFREG:
                self._file(path, parent, name)
            elif kind == stat.S_IFDIR:
                self._unlisted(path + b"/", handle_of(fd), status, parent, name)
            elif kind == stat.S_IFSOCK:
                self._remarks.add(path, "a socket: it has no content and is left out")
            elif kind in _SPECIAL:
                self._special(path, fd, status, _SPECIAL[kind])
            else:
                self.troubles.add(path, "is of a kind that an archive cannot hold, and left out")
        finally:
            os.close(fd)

    def _unlisted(self, path: bytes, handle: bytes, status: os.stat_result, parent: int, name: bytes) -> None:
        """A folder that the walk could not open."""
        try:
            os.close(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))
            why = "it was put in place while its surroundings were read"
        except OSError as error:
            why = reason(error)
        self._folder(path, handle, status)
        self.troubles.add(path, f"the folder cannot be listed, its content is missing: {why}")

    def _folder(self, path: bytes, handle: Handle, status: os.stat_result) -> None:
        records = read_records(handle, self._owners, lambda what: self.troubles.add(path, what))
        self._sink.write(self._header(path, pax.FOLDER, status, records=records))
        self._folders += 1

    def _special(self, path: bytes, fd: int, status: os.stat_result, kind: bytes) -> None:
        if self._linked(path, status):
            return
        link = os.readlink(b"", dir_fd=fd) if kind == pax.SYMBOLIC_LINK else b""
        records = read_records(handle_of(fd), self._owners, lambda what: self.troubles.add(path, what))
        self._sink.write(self._header(path, kind, status, link=link, records=records))
        self._others += 1

    def _file(self, path: bytes, parent: int, name: bytes) -> None:
        try:
            fd = open_unseen(name, _OPEN, parent)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):  # no file any more
                self._look(path, parent, name)
            else:
                self._unreadable(path, error)
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                self._look(path, parent, name)
            elif not self._linked(path, status):
                self._content(path, fd, status)
        finally:
            os.close(fd)

    def _content(self, path: bytes, fd: int, status: os.stat_result) -> None:
        size = status.st_size
        records = read_records(fd, self._owners, lambda what: self.troubles.add(path, what))
        if size <= SMALL_BYTES and status.st_blocks * 512 >= size:
            self._small(path, fd, status, records)
        else:
            self._large(path, fd, status, records)
        self._files += 1
        after = os.fstat(fd)
        if after.st_size > size:
            self.troubles.add(path, f"grew while it was read: its first {size} bytes were taken")
        elif after.st_size == size and _stamps(after) != _stamps(status):
            self.troubles.add(path, "changed while it was read")

    def _small(self, path: bytes, fd: int, status: os.stat_result, records: list[bytes]) -> None:
        size = status.st_size
        header = self._header(path, pax.REGULAR, status, size=size, records=records)
        if not size:
            self._sink.write(header)
            return
        try:
            data = os.read(fd, size)
            failed = 0
        except OSError as error:
            data = b""
            failed = error.errno or errno.EIO
        self._sink.write(b"".join((header, data, bytes(size - len(data) + pax.padding(size)))))
        self._bytes += size
        if len(data) != size:
            self._short(path, len(data), size, failed)

    def _large(self, path: bytes, fd: int, status: os.stat_result, records: list[bytes]) -> None:
        size = status.st_size
        extents = _extents(fd, size) if status.st_blocks * 512 < size else [(0, size)]
        stored = sum(length for _, length in extents)
        if stored < size:
            mapped = pax.sparse_map(extents)
            records += pax.sparse_records(path, size)
            whole = len(mapped) + stored
            self._sink.write(self._header(pax.SPARSE_NAME, pax.REGULAR, status, size=whole, records=records) + mapped)
        else:
            self._sink.write(self._header(path, pax.REGULAR, status, size=size, records=records))
        if size >= AHEAD_BYTES:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        for offset, length in extents:
            if not length:
                continue
            got, failed = self._sink.pump(fd, offset, length)
            if got != length:
                self._sink.zeros(length - got)
                self._short(path, offset + got, size, failed)
        if pax.padding(stored):
            self._sink.zeros(pax.padding(stored))
        self._bytes += stored

    def _short(self, path: bytes, at: int, size: int, failed: int) -> None:
        if failed:
            self.troubles.add(path, f"cannot be read from byte {at} on, zeros stand there: {os.strerror(failed)}")
        else:
            self.troubles.add(path, f"shrank while it was read: zeros stand from byte {at} on, up to byte {size}")

    def _linked(self, path: bytes, status: os.stat_result) -> bool:
        """Write a hard link, if another name of this inode stands in the archive already."""
        if status.st_nlink == 1:
            return False
        inode = (status.st_dev, status.st_ino)
        known = self._links.get(inode)
        if known is None:
            self._links[inode] = (path, status.st_nlink - 1)
            return False
        first, names = known
        self._sink.write(self._header(path, pax.HARD_LINK, status, link=first))
        self._others += 1
        if names > 1:
            self._links[inode] = (first, names - 1)
        else:
            del self._links[inode]
        return True

    def _header(
        self,
        path: bytes,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        records: Sequence[bytes] = (),
    ) -> bytes:
        return pax.header(
            path,
            kind,
            status,
            size=size,
            link=link,
            user=self._owners.user(status.st_uid),
            group=self._owners.group(status.st_gid),
            records=records,
        )

    def _unreadable(self, path: bytes, error: OSError) -> None:
        if error.errno == errno.ENOENT:
            self.troubles.add(path, "vanished before it was read")
        else:
            self.troubles.add(path, f"cannot be read and is left out: {reason(error)}")


def _stamps(status: os.stat_result) -> tuple[int, int]:
    return status.st_mtime_ns, status.st_ctime_ns


def _extents(fd: int, size: int) -> list[tuple[int, int]]:
    """Offset and length of the pieces of *fd* that hold data, and where the file ends in a hole an empty one there."""
    extents: list[tuple[int, int]] = []
    end = 0
    try:
        while end < size:
            if len(extents) == pax.EXTENTS_MAX - 1:
                extents.append((end, size - end))
                return extents
            try:
                start = os.lseek(fd, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:  # which says: only a hole is left
                    raise
                break
            if start >= size:
                break
            end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
            extents.append((start, end - start))
    except OSError:
        return [(0, size)]  # a file system that tells nothing of holes
    if end < size:
        extents.append((size, 0))
    return extents
