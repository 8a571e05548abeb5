"""Comparing an archive with the files that it was made of, as they are now: entry by entry, byte by byte.

What differs is told apart by the files' own stamps. A file that was changed after the archive was begun may differ, and
nobody wonders; one that differs though its stamps say that nobody has touched it since is what such a comparison is
for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext
from typing import Final

import numpy as np
from msgspec import Struct

from . import pax
from .cache import Range, passage
from .descent import FOLDER_FLAGS
from .metadata import handle_of, read_records
from .owners import Owners
from .report import Notes, Trouble, plain, printable, reason
from .rules import Rules
from .sink import Sequence
from .standing import Components, Newcomers, Standing
from .unpax import Entry, Unpax
from .walk import open_unseen

PIECE_BYTES: Final = 1 << 20
"""What is held of a file and of its archive at a time."""

CLOCK_GRAIN_NS: Final = 10_000_000
"""A file's stamps are taken from a clock that may lag by a tick: a change right after `as_of` may be stamped before."""

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_KINDS: Final = {
    stat.S_IFREG: pax.REGULAR,
    stat.S_IFDIR: pax.FOLDER,
    stat.S_IFLNK: pax.SYMBOLIC_LINK,
    stat.S_IFIFO: pax.FIFO,
    stat.S_IFCHR: pax.CHARACTER,
    stat.S_IFBLK: pax.DEVICE,
}
_WORDS: Final = {
    pax.REGULAR: "a file",
    pax.FOLDER: "a folder",
    pax.SYMBOLIC_LINK: "a symbolic link",
    pax.FIFO: "a FIFO",
    pax.CHARACTER: "a character device",
    pax.DEVICE: "a block device",
}


class CompareReport(Struct, frozen=True):
    """What a comparison found.

    `bytes` counts the content compared, holes not included. `silent`: what differs though nothing says that anybody has
    touched it; `changed`: what differs and was touched since; `unread`: what could not be compared. The first of each
    by name, those `_beyond` only counted.
    """

    entries: int
    bytes: int
    silent: tuple[Trouble, ...] = ()
    silent_beyond: int = 0
    changed: tuple[Trouble, ...] = ()
    changed_beyond: int = 0
    unread: tuple[Trouble, ...] = ()
    unread_beyond: int = 0

    @property
    def same(self) -> bool:
        """Whether everything is as the archive has it."""
        return not (self.silent or self.changed or self.unread)


def compare(
    sequence: Sequence,
    rules: Rules,
    as_of_ns: int,
    *,
    whole: bool = True,
    on_entry: Callable[[], None] = lambda: None,
) -> CompareReport:
    """Compare the pax archive *sequence* with the files that a source of these *rules* takes now.

    Nothing is changed, access times neither where that is allowed. *as_of_ns*: when the archive was begun, ns since
    1970. *whole*: what stands among the files and is not in the archive counts as well, but for what *rules* leave out.
    *on_entry* is called before each entry.

    Raises FormatError for what is no archive, SourceError where the only path does not exist. Memory holds the names
    of the folders from the root to one file.
    """
    comparing = _Comparing(Unpax(sequence), Standing(rules.paths), as_of_ns, rules if whole else None)
    try:
        comparing.run(on_entry)
    finally:
        comparing.close()
    return comparing.report()


class _Comparing:
    """One run over an archive."""

    def __init__(self, archive: Unpax, standing: Standing, as_of_ns: int, rules: Rules | None):
        self._archive = archive
        self._standing = standing
        self._since = as_of_ns - CLOCK_GRAIN_NS
        self._newcomers = None if rules is None else Newcomers(standing, rules, self._newcomer)
        self._owners = Owners()
        self._silent, self._changed, self._unread = Notes(), Notes(), Notes()
        self._entries = self._bytes = 0

    def run(self, on_entry: Callable[[], None]) -> None:
        for entry in self._archive:
            on_entry()
            self._entries += 1
            components = _components(entry.path)
            if self._newcomers is not None:
                self._newcomers.entry(components)
            try:
                self._entry(entry, components)
            except OSError as error:
                self._unread.add(entry.path, f"cannot be compared: {reason(error)}")
        if self._newcomers is not None:
            self._newcomers.finish()
        self._archive.drain()

    def close(self) -> None:
        self._standing.close()

    def report(self) -> CompareReport:
        return CompareReport(
            entries=self._entries,
            bytes=self._bytes,
            silent=self._silent.named(),
            silent_beyond=self._silent.beyond,
            changed=self._changed.named(),
            changed_beyond=self._changed.beyond,
            unread=self._unread.named(),
            unread_beyond=self._unread.beyond,
        )

    def _entry(self, entry: Entry, components: Components) -> None:
        try:
            parent, name = self._standing.find(components)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            folder = ", nor is the folder that it was in" if len(components) > 1 else ""
            self._tell(entry.path, f"is not there any more{folder}", touched=True)
            return
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            self._tell(entry.path, "is not there any more", touched=self._touched(os.fstat(parent)))
            return
        now = _KINDS.get(stat.S_IFMT(status.st_mode), b"")
        touched = self._touched(status)
        if entry.kind == pax.HARD_LINK:
            differences = self._link(entry, status)
        elif entry.kind == pax.REGULAR and now == pax.DEVICE and len(components) == 1:
            differences = self._device(entry, parent, name)
            touched = True  # what is written to a device leaves no stamp on its node
        elif now != entry.kind:
            differences = [f"kind ({_word(now)}, was {_word(entry.kind)})"]
        else:
            differences = self._metadata(entry, status)
            differences += self._inside(entry, status, components, parent, name)
            touched = touched or status.st_mtime_ns != entry.mtime
        if differences:
            self._tell(entry.path, "differs in " + ", ".join(differences), touched=touched)

    def _link(self, entry: Entry, status: os.stat_result) -> list[str]:
        try:
            other = self._standing.look(_components(entry.link))
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
            return [f"what it is a name of ({printable(plain(entry.link))} is not there any more)"]
        if (status.st_dev, status.st_ino) != (other.st_dev, other.st_ino):
            return [f"what it is a name of (no longer the same file as {printable(plain(entry.link))})"]
        return []

    def _metadata(self, entry: Entry, status: os.stat_result) -> list[str]:
        found = []
        if entry.kind == pax.REGULAR and entry.size != status.st_size:
            found.append(f"size ({status.st_size}, was {entry.size})")
        mode = stat.S_IMODE(status.st_mode)
        if entry.kind != pax.SYMBOLIC_LINK and entry.mode != mode:
            found.append(f"mode ({mode:04o}, was {entry.mode:04o})")
        if (entry.uid, entry.gid) != (status.st_uid, status.st_gid):
            found.append(f"owner ({status.st_uid}:{status.st_gid}, was {entry.uid}:{entry.gid})")
        if entry.mtime != status.st_mtime_ns:
            found.append("modification time")
        if entry.kind in (pax.CHARACTER, pax.DEVICE):
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            if entry.device != device:
                found.append("device ({}:{}, was {}:{})".format(*device, *entry.device))
        return found

    def _inside(
        self, entry: Entry, status: os.stat_result, components: Components, parent: int, name: bytes
    ) -> list[str]:
        """What is seen only when it is opened: attributes, and what a file, a folder or a link holds."""
        found = []
        fd = _open(entry.kind, parent, name)
        try:
            if entry.kind == pax.SYMBOLIC_LINK and (link := os.readlink(b"", dir_fd=fd)) != entry.link:
                found.append(f"target ({printable(link)}, was {printable(entry.link)})")
            if self._attributes(entry, fd) != _attributes_of(entry):
                found.append("extended attributes or access control lists")
            if entry.kind == pax.REGULAR and entry.size == status.st_size:
                found += self._content(entry, fd)
            elif entry.kind == pax.FOLDER and self._newcomers is not None:
                self._newcomers.folder(components, fd)
        finally:
            os.close(fd)
        return found

    def _attributes(self, entry: Entry, fd: int) -> set[bytes]:
        handle = fd if entry.kind in (pax.REGULAR, pax.FOLDER) else handle_of(fd)
        return set(read_records(handle, self._owners, lambda what: self._unread.add(entry.path, what)))

    def _content(self, entry: Entry, fd: int) -> list[str]:
        self._bytes += entry.stored
        at = first_difference(self._archive, entry, fd)
        return [] if at is None else [f"content, from byte {at} on"]

    def _device(self, entry: Entry, parent: int, name: bytes) -> list[str]:
        fd = _open(pax.REGULAR, parent, name)
        try:
            return self._content(entry, fd)
        finally:
            os.close(fd)

    def _newcomer(self, components: Components) -> None:
        """Something stands among the files that has no entry."""
        path = self._standing.archived(components)
        try:
            parent, name = self._standing.find(components)
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return  # and by now it stands there no longer
        except OSError as error:
            self._unread.add(path, f"is not in the object, and cannot be looked at: {reason(error)}")
            return
        if stat.S_ISSOCK(status.st_mode):
            return  # which no archive holds
        below = ", with all that is below it" if stat.S_ISDIR(status.st_mode) else ""
        touched = self._touched(status) or self._touched(os.fstat(parent))
        self._tell(path, f"is not in the object{below}", touched=touched)

    def _touched(self, status: os.stat_result) -> bool:
        return status.st_ctime_ns >= self._since

    def _tell(self, path: bytes, what: str, *, touched: bool) -> None:
        (self._changed if touched else self._silent).add(path, what)


def first_difference(archive: Unpax, entry: Entry, fd: int) -> int | None:
    """Where the content of the present *entry* of *archive* and that of the file *fd* part; None where they do not.

    A hole is the same as zeros. Raises OSError when the file cannot be read.
    """
    extents = [(0, entry.stored)] if entry.extents is None else entry.extents
    end = 0
    with closing(_pieces(fd, extents)) as pieces:
        for offset, length in pieces:
            if offset > end and (at := _first_data(fd, end, offset)) is not None:
                return at
            end = offset + length
            if (at := _parting(archive.content(length), fd, offset)) is not None:
                return at
    if (at := _first_data(fd, end, entry.size)) is not None:
        return at
    return None if os.lseek(fd, 0, os.SEEK_END) == entry.size else entry.size


def _pieces(fd: int, extents: list[Range]) -> Generator[Range, None, None]:
    """The extents in pieces that memory may hold, the page cache left as it was by the longer ones."""
    large = sum(length for _, length in extents) > PIECE_BYTES
    with closing(passage(fd, extents)) if large else nullcontext(extents) as passed:
        for offset, length in passed:
            for start in range(offset, offset + length, PIECE_BYTES):
                yield start, min(PIECE_BYTES, offset + length - start)


def _parting(archived: bytes, fd: int, offset: int) -> int | None:
    data = b""
    while len(data) < len(archived) and (more := os.pread(fd, len(archived) - len(data), offset + len(data))):
        data += more
    if data == archived:
        return None
    if not data:
        return offset
    common = min(len(data), len(archived))
    differ = np.frombuffer(data, np.uint8, common) != np.frombuffer(archived, np.uint8, common)
    return offset + (int(differ.argmax()) if differ.any() else common)


def _first_data(fd: int, start: int, end: int) -> int | None:
    """The first byte from *start* to *end* that is not zero."""
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
            stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return None
            if error.errno != errno.EINVAL:
                raise
            stop = end  # a device, or a file system that tells nothing of holes
        while start < stop:
            size = min(PIECE_BYTES, stop - start)
            if (at := _parting(bytes(size), fd, start)) is not None:
                return at
            start += size
    return None


def _open(kind: bytes, parent: int, name: bytes) -> int:
    """What is of this kind, as far as it may be opened at all: opening a device may rewind a tape."""
    if kind == pax.REGULAR:
        return open_unseen(name, _OPEN, parent)
    if kind == pax.FOLDER:
        return open_unseen(name, FOLDER_FLAGS, parent)
    return os.open(name, _LOOK, dir_fd=parent)


def _components(path: bytes) -> Components:
    return [part for part in path.split(b"/") if part not in (b"", b".")]


def _attributes_of(entry: Entry) -> set[bytes]:
    """An entry's attributes and lists, as `read_records` gives those of a file."""
    found = {
        pax.record(pax.XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D"), value)
        for name, value in entry.attributes.items()
    }
    lists = ((pax.ACL_ACCESS, entry.acl_access), (pax.ACL_DEFAULT, entry.acl_default))
    return found | {pax.record(key, text) for key, text in lists if text is not None}


def _word(kind: bytes) -> str:
    return _WORDS.get(kind, "something else")
