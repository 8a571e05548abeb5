"""What one entry of an archive becomes, beside folders: a file, a link, a node, under a name in the present folder."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from typing import Literal

from ..errors import RestoreError, UnsafeEntry
from . import pax
from .dressing import Setter
from .metadata import handle_of
from .own import Own
from .report import Notes, plain, printable, reason
from .target import Target
from .unpax import Entry, Unpax
from .waiting import Waiting

Existing = Literal["fail", "skip", "replace", "newer"]
"""What to do where a file stands already: give up, leave it, replace it, or replace it when it is the older one."""

SMALL_BYTES = 32 << 10
"""Up to this size content is copied through memory, which takes fewer calls."""

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {pax.FIFO: stat.S_IFIFO, pax.CHARACTER: stat.S_IFCHR, pax.DEVICE: stat.S_IFBLK}
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_fatal(error: OSError) -> bool:
    """Whether the next entry would fare no better."""
    return error.errno in _FATAL


class Rules:
    """Who goes before whom: what an entry may do to what stands in its place.

    *existing* concerns what stood there before the restore. What the restore itself made is replaced whatever the rule:
    a later object of a chain brings the newer version. Without *own* the target was empty, and everything is the
    restore's.
    """

    def __init__(self, existing: Existing, own: Own | None, target: Target):
        self._existing = existing
        self._own = own
        self._target = target

    def ours(self, path: bytes) -> bool:
        """Whether this restore made *path* (as `Target.path` gives it)."""
        return self._own is None or path in self._own

    def may_replace(self, entry: Entry, name: bytes, there: os.stat_result) -> bool:
        """Whether *entry* may take the place of what is *there* under *name*. Raises RestoreError where that is to end
        it.
        """
        if self._existing == "fail" and not self.ours(self._target.path(name)):
            raise RestoreError(
                f"{self._target}/{printable(entry.path)} exists already: say what becomes of such files "
                "(--existing skip, replace or newer)"
            )
        return self.goes_before(entry, name, there)

    def goes_before(self, entry: Entry, name: bytes, there: os.stat_result) -> bool:
        """Whether *entry* goes before what is *there*. A folder that is there already is in nobody's way."""
        if self._existing in ("skip", "newer"):
            path = self._target.path(name)
            if not self.ours(path) and not self._is_dressed(path):
                return self._existing == "newer" and entry.mtime > there.st_mtime_ns
        return True

    def dressed(self, path: bytes) -> None:
        """Say that the folder *path*, which stood there before, has got this restore's metadata."""
        if self._own is not None:
            self._own.add(path + b"/")

    def _is_dressed(self, path: bytes) -> bool:
        return self._own is not None and path + b"/" in self._own


class Making:
    """Makes entries of `archive`, the one that is read now. *own* is told what it makes."""

    def __init__(self, target: Target, setter: Setter, rules: Rules, troubles: Notes, own: Own | None):
        self._target = target
        self._set = setter
        self._rules = rules
        self._troubles = troubles
        self._own = own
        self._waiting: Waiting | None = Waiting()
        self.archive: Unpax
        self.files = self.others = self.bytes = self.skipped = 0

    def make(self, entry: Entry, name: bytes) -> None:
        """Make *entry* under *name*; where something stands there, beside it first, so that it is replaced at once."""
        kind = _MAKERS.get(entry.kind)
        if kind is None:
            what = f"is of a kind {printable(entry.kind)!r} that is not known here, and left out"
            self._troubles.add(entry.path, what)
        elif self._place(entry, name, kind) and self._own is not None:
            self._own.add(self._target.path(name))

    def make_waiting(self) -> None:
        """Make the hard links whose other name was not there when they came. Those that lack it now are troubles."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        with contextlib.closing(waiting):
            for path, link, mtime in waiting:
                entry = Entry(path, pax.HARD_LINK, 0, 0, 0, b"", b"", 0, 0, mtime, link=link)
                try:
                    self.make(entry, self._target.go(path))
                except OSError as error:
                    if is_fatal(error):
                        raise self.broken_off(entry, error) from None
                    self._troubles.add(path, f"cannot be restored: {reason(error)}")

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()

    def broken_off(self, entry: Entry, error: OSError) -> RestoreError:
        return RestoreError(
            f"{self._target}/{printable(entry.path)} cannot be restored: {reason(error)}. "
            "What was restored before it is whole; it and what follows is missing"
        )

    def _place(self, entry: Entry, name: bytes, make: _Maker) -> bool:
        with contextlib.suppress(FileExistsError):
            return make(self, entry, name)
        folder = self._target.fd
        there = os.lstat(name, dir_fd=folder)
        if not self._rules.may_replace(entry, name, there):
            self.skipped += 1
            return False
        beside = b".tapeloom-" + secrets.token_hex(8).encode()
        try:
            if not make(self, entry, beside):
                return False
            if stat.S_ISDIR(there.st_mode):
                os.rmdir(name, dir_fd=folder)
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            return True
        finally:
            with contextlib.suppress(FileNotFoundError):  # it is there still when both were one inode
                os.unlink(beside, dir_fd=folder)

    # What an entry becomes. Each says whether it made something; FileExistsError comes before anything else happens.

    def _file(self, entry: Entry, name: bytes) -> bool:
        fd = os.open(name, CREATE, 0o600, dir_fd=self._target.fd)
        try:
            try:
                self._content(fd, entry)
                self._set.apply(fd, entry, prune=self._target.inherits)
            finally:
                os.close(fd)
        except BaseException:
            os.unlink(name, dir_fd=self._target.fd)
            raise
        self.files += 1
        self.bytes += entry.stored
        return True

    def _content(self, fd: int, entry: Entry) -> None:
        if entry.extents is None and entry.stored <= SMALL_BYTES:
            _write_all(fd, self.archive.content(entry.stored))
            return
        try:
            self.archive.copy_to(fd, entry)
        except OSError as error:  # nobody knows now where in the sequence one is
            raise self.broken_off(entry, error) from None
        if entry.extents is not None:
            os.ftruncate(fd, entry.size)  # a hole at the end

    def _hard_link(self, entry: Entry, name: bytes) -> bool:
        components = self._target.components(entry.link)
        if not components:
            raise UnsafeEntry(f"{printable(entry.path)} in the archive is a hard link to the root folder")
        try:
            with self._target.folder(components[:-1], entry.path) as parent:
                os.link(components[-1], name, src_dir_fd=parent, dst_dir_fd=self._target.fd, follow_symlinks=False)
        except FileNotFoundError:
            if self._waiting is not None:
                self._waiting.add(entry.path, entry.link, entry.mtime)
            else:
                self._troubles.add(
                    entry.path, f"is a hard link to {printable(plain(entry.link))}, which was not restored"
                )
            return False
        self.others += 1
        return True

    def _symbolic_link(self, entry: Entry, name: bytes) -> bool:
        os.symlink(entry.link, name, dir_fd=self._target.fd)
        self._dress(entry, name)
        return True

    def _node(self, entry: Entry, name: bytes) -> bool:
        try:
            os.mknod(name, _NODES[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=self._target.fd)
        except PermissionError as error:
            if entry.kind == pax.FIFO:
                raise
            self._set.note("device nodes", entry.path, reason(error))
            return False
        self._dress(entry, name)
        return True

    def _dress(self, entry: Entry, name: bytes) -> None:
        """Metadata for what cannot be opened."""
        fd = os.open(name, _LOOK, dir_fd=self._target.fd)
        try:
            self._set.apply(handle_of(fd), entry, prune=self._target.inherits)
        finally:
            os.close(fd)
        self.others += 1


_Maker = Callable[[Making, Entry, bytes], bool]
_MAKERS: dict[bytes, _Maker] = {
    pax.REGULAR: Making._file,
    pax.HARD_LINK: Making._hard_link,
    pax.SYMBOLIC_LINK: Making._symbolic_link,
    pax.FIFO: Making._node,
    pax.CHARACTER: Making._node,
    pax.DEVICE: Making._node,
}


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
