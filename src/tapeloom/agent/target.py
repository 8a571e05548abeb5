"""Where a restore goes: one folder, and the way to the folders below it, which never leads out of it.

Names are resolved folder by folder from that one on, without following a symbolic link: neither `..`, nor an absolute
name, nor a link that the archive, or somebody else, put in the way leads out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import UnsafeEntry
from . import acl
from .descent import FOLDER_FLAGS, Descent
from .dressing import Setter
from .report import Notes, printable, reason
from .unpax import Entry

_SLASH = ord("/")


class _Level:
    """A folder on the way down: what is to be put on it when its content is complete."""

    __slots__ = ("entry", "inherits", "met", "prune")

    def __init__(self, entry: Entry | None, prune: bool, met: os.stat_result | None, inherits: bool):
        self.entry = entry
        self.prune = prune
        self.met = met  # how it was found, if it is passed through without an entry of its own
        self.inherits = inherits  # it has a default access control list, which new content gets


class Target:
    """The folder *path*, open as *root*, and the present folder somewhere below it.

    A folder's own metadata is put on it by *setter* when the present folder moves out of it. One that has no entry, or
    had one that came earlier, leaves as it was met, but for what is new in it. *made* is told the path of each folder
    that is made because something below it comes.
    """

    def __init__(self, path: Path, root: int, setter: Setter, troubles: Notes, made: Callable[[bytes], None]):
        self._path = path
        self._set = setter
        self._troubles = troubles
        self._made = made
        self._descent = Descent(root)
        self._levels = [_Level(None, False, None, _inherits(root))]
        self._here: bytes | None = b"."  # the present folder, as it stood in the archive

    def __str__(self) -> str:
        return str(self._path)

    @property
    def fd(self) -> int:
        """The present folder."""
        return self._descent.fd

    @property
    def here(self) -> bytes | None:
        """The present folder as it stands in the archive, or None where it stands there in no usual way."""
        return self._here

    @property
    def inherits(self) -> bool:
        """Whether the present folder has a default access control list, which spoils what is new in it."""
        return self._levels[-1].inherits

    def path(self, name: bytes) -> bytes:
        """The path of *name* in the present folder, from the root on; of the present folder itself without one."""
        return b"/".join((*self._descent.names, name)) if name else b"/".join(self._descent.names)

    def components(self, path: bytes) -> list[bytes]:
        """The names that make up *path*, none for the root. Raises UnsafeEntry where it leads upwards."""
        if path.startswith(b"/"):
            raise UnsafeEntry(f"{printable(path)} in the archive is an absolute name: it would leave {self}")
        components = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in components:
            raise UnsafeEntry(f"{printable(path)} in the archive goes upwards: it could leave {self}")
        return components

    def go(self, path: bytes) -> bytes:
        """Make the folder that *path* lies in the present one, and return *path*'s name in it, empty for the root.

        Folders that are missing are made. Raises UnsafeEntry, or OSError where something else is in the way.
        """
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        if folder == self._here and name not in (b"", b".", b"..") and path[0] != _SLASH:
            return name
        components = self.components(path)
        self._here = None
        self._go(components[:-1], path)
        if not components:
            return b""
        if components[-1] == name:
            self._here = folder
        return components[-1]

    def _go(self, components: list[bytes], path: bytes) -> None:
        shared = 0
        for have, want in zip(self._descent.names, components, strict=False):
            if have != want:
                break
            shared += 1
        self._up_to(shared)
        for name in components[shared:]:
            try:
                fd = self._step(name, self.fd, path)
            except FileNotFoundError:
                os.mkdir(name, 0o777, dir_fd=self.fd)
                self._made(self.path(name))
                fd = self._step(name, self.fd, path)
            self._enter(name, fd, None, False)

    def enter(self, name: bytes, path: bytes, entry: Entry | None, *, prune: bool) -> None:
        """Make the folder *name* in the present one, *path* in the archive, the present one.

        Its metadata will be that of *entry*, attributes that it does not have taken away with *prune*; without
        an entry it keeps what it has.
        """
        self._enter(name, self._step(name, self.fd, path), entry, prune)
        self._here = path.rstrip(b"/")

    def dress_root(self, entry: Entry) -> None:
        """Give the root the metadata of *entry* in the end."""
        self._levels[0].entry = entry
        self._levels[0].prune = True

    @contextlib.contextmanager
    def folder(self, components: list[bytes], path: bytes) -> Iterator[int]:
        """The folder *components* below the root, open, for the entry *path*. The present one stays as it is."""
        if components == self._descent.names:
            yield self.fd
            return
        fd = os.open(b".", FOLDER_FLAGS, dir_fd=self._descent.root)
        try:
            for name in components:
                deeper = self._step(name, fd, path)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)

    def finish(self) -> None:
        """Put on all folders what is still to be put on them."""
        self._up_to(0)
        self._dress()

    def close(self) -> None:
        self._descent.close()

    def _step(self, name: bytes, parent: int, path: bytes) -> int:
        """The folder *name* in *parent*, open. A symbolic link in its place is no accident that one goes on after."""
        try:
            return os.open(name, FOLDER_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
                raise UnsafeEntry(
                    f"{printable(path)} in the archive leads through the symbolic link {printable(name)}: "
                    f"it could leave {self}"
                ) from None
            raise

    def _enter(self, name: bytes, fd: int, entry: Entry | None, prune: bool) -> None:
        met = os.fstat(fd) if entry is None else None
        if met is not None and _is_locked(met):
            with contextlib.suppress(PermissionError):
                os.fchmod(fd, stat.S_IMODE(met.st_mode) | stat.S_IRWXU)
        self._levels.append(_Level(entry, prune, met, _inherits(fd)))
        self._descent.enter(name, fd)

    def _up_to(self, depth: int) -> None:
        while self._descent.depth > depth:
            self._dress()
            self._levels.pop()
            self._descent.leave()

    def _dress(self) -> None:
        """Put its metadata on the present folder, into which nothing more comes."""
        level = self._levels[-1]
        try:
            if level.entry is not None:
                self._set.apply(self.fd, level.entry, prune=level.prune)
            elif level.met is not None:
                with contextlib.suppress(PermissionError):  # another's folder, of which nothing was asked
                    if _is_locked(level.met):
                        os.fchmod(self.fd, stat.S_IMODE(level.met.st_mode))
                    os.utime(self.fd, ns=(level.met.st_atime_ns, level.met.st_mtime_ns))
        except OSError as error:
            path = level.entry.path if level.entry is not None else b"/".join(self._descent.names)
            self._troubles.add(path, f"the folder's metadata cannot be set: {reason(error)}")


def _is_locked(folder: os.stat_result) -> bool:
    """Whether its owner may not write into it as it is. Nothing is locked to root."""
    return folder.st_mode & stat.S_IRWXU != stat.S_IRWXU and os.geteuid() != 0


def _inherits(fd: int) -> bool:
    try:
        os.getxattr(fd, acl.DEFAULT)
    except OSError:
        return False
    return True
