"""The folders from a root down to where one is, as open descriptors.

Reading and restoring both go depth first and name everything relative to an open folder, so no path is ever too long
and no symbolic link in the middle of one is ever followed. A tree may be deeper than a process may have files open:
only the deepest `HELD` folders stay open, and those above are opened again, from the root, on the way back.
"""

from __future__ import annotations

import errno
import os

HELD = 64
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_CLOSED = -1


class Descent:
    """A path of open folders. Owns every descriptor that it is given."""

    def __init__(self, root: int, held: int = HELD):
        self._held = held
        self._names: list[bytes] = [b""]
        self._fds: list[int] = [root]
        self._identities: list[tuple[int, int] | None] = [None]

    @property
    def depth(self) -> int:
        """How many folders below the root."""
        return len(self._fds) - 1

    @property
    def root(self) -> int:
        """The folder at the top, which stays open."""
        return self._fds[0]

    @property
    def names(self) -> list[bytes]:
        """The components from the root to here."""
        return self._names[1:]

    @property
    def fd(self) -> int:
        """The folder where one is. Raises OSError when it had to be opened again and is no longer there."""
        fd = self._fds[-1]
        return fd if fd != _CLOSED else self._reopen()

    def enter(self, name: bytes, fd: int) -> None:
        """Go into the folder *name* of the present one, which is open as *fd*."""
        self._names.append(name)
        self._fds.append(fd)
        self._identities.append(None)
        self._close_level(len(self._fds) - 1 - self._held)

    def leave(self) -> None:
        """Go back to the folder above."""
        fd = self._fds.pop()
        self._names.pop()
        self._identities.pop()
        if fd != _CLOSED:
            os.close(fd)

    def close(self) -> None:
        """Close everything, the root too."""
        while self._fds:
            self.leave()

    def _close_level(self, level: int) -> None:
        if level < 1 or self._fds[level] == _CLOSED:
            return
        status = os.fstat(self._fds[level])
        self._identities[level] = (status.st_dev, status.st_ino)
        os.close(self._fds[level])
        self._fds[level] = _CLOSED

    def _reopen(self) -> int:
        """Opens the deepest folders again. A folder that took another's name meanwhile is not taken for it."""
        parent = self._fds[0]
        for level in range(1, len(self._fds)):
            if self._fds[level] != _CLOSED:
                parent = self._fds[level]
                continue
            fd = os.open(self._names[level], FOLDER_FLAGS, dir_fd=parent)
            self._fds[level] = fd
            status = os.fstat(fd)
            known = self._identities[level]
            if known is not None and known != (status.st_dev, status.st_ino):
                self._close_level(level)
                self._identities[level] = known
                raise OSError(errno.ESTALE, "the folder was moved")
            self._close_level(level - self._held)
            parent = fd
        return parent
