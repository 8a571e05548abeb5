"""Removing what a state no longer names: below one open folder, never through a link, never through a mount."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from .descent import FOLDER_FLAGS, Descent
from .dressing import unlock
from .listing import Listing
from .report import Notes, reason

Ours = Callable[[bytes], bool]


class Removal:
    """Counts in `removed` what it removes. *ours* says whether this restore made a path.

    What cannot be removed is told to *troubles*, and the rest of that folder is left as it is.
    """

    def __init__(self, ours: Ours, troubles: Notes):
        self._ours = ours
        self._troubles = troubles
        self.removed = 0

    def purge(self, folder: int, path: bytes, listing: Listing) -> None:
        """Remove what this restore made and *listing* does not keep from the open *folder*, whose *path* has no `./`
        and no closing slash. A folder that it did not make stays, without what it put there.
        """
        for name, is_folder in _names(folder):
            if not listing.keeps(name, is_folder):
                below = path + b"/" + name if path else name
                try:
                    self.remove(folder, name, below, is_folder, whole=self._ours(below))
                except OSError as error:
                    self._troubles.add(below, f"is gone from the source and cannot be removed here: {why(error)}")

    def remove(self, parent: int, name: bytes, path: bytes, is_folder: bool, *, whole: bool) -> None:
        """Remove *name* from the open folder *parent*, a folder with all below it; without *whole* only what this
        restore made of it.

        Raises OSError at the first name that cannot be removed; `why` says it for people.
        """
        if is_folder:
            self._remove_folder(parent, name, path, whole)
        elif whole:
            os.unlink(name, dir_fd=parent)
            self.removed += 1

    def _remove_folder(self, parent: int, name: bytes, path: bytes, whole: bool) -> None:
        """Depth first, without recursion: a tree may be deeper than the stack."""
        mount = mount_of(parent)
        way = Descent(os.open(b".", FOLDER_FLAGS, dir_fd=parent))
        try:
            folders = [[(name, path, whole)]]  # on each level: those that are still to be gone into
            entered: list[bool] = []  # whether the folder on that level goes too
            while True:
                if folders[-1]:
                    name, path, whole = folders[-1].pop()
                    way.enter(name, _open(name, way.fd, mount))
                    entered.append(whole)
                    folders.append(list(self._empty(way.fd, path, whole)))
                    continue
                folders.pop()
                if not folders:
                    return
                name = way.names[-1]
                way.leave()
                if entered.pop():
                    os.rmdir(name, dir_fd=way.fd)
                    self.removed += 1
        finally:
            way.close()

    def _empty(self, folder: int, path: bytes, whole: bool) -> Iterator[tuple[bytes, bytes, bool]]:
        """Remove the files in *folder*. Gives its folders: name, path, and whether they go too."""
        for name, is_folder in _names(folder):
            below = path + b"/" + name
            goes = whole or self._ours(below)
            if is_folder:
                yield name, below, goes
            elif goes:
                os.unlink(name, dir_fd=folder)
                self.removed += 1


def _names(folder: int) -> Iterator[tuple[bytes, bool]]:
    """The names in *folder*, and whether each is one. They may be removed as they come."""
    with os.scandir(folder) as found:
        for item in found:
            yield os.fsencode(item.name), item.is_dir(follow_symlinks=False)


def mount_of(fd: int) -> int:
    """The id of the mount that *fd*, of whatever kind, was opened on. A bind mount has its own, unlike its device.

    Raises OSError when the system does not tell.
    """
    with open(f"/proc/self/fdinfo/{fd}", "rb") as lines:
        for line in lines:
            if line.startswith(b"mnt_id:"):
                return int(line.split()[1])
    raise OSError(errno.ENOTSUP, "")


def is_mounted(name: bytes, parent: int, mount: int) -> bool:
    """Whether the folder *name* in the open folder *parent* is on another mount than *mount*."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        return mount_of(fd) != mount
    finally:
        os.close(fd)


def _open(name: bytes, parent: int, mount: int) -> int:
    if is_mounted(name, parent, mount):
        raise OSError(errno.EXDEV, "")
    unlock(name, os.lstat(name, dir_fd=parent).st_mode, parent)
    return os.open(name, FOLDER_FLAGS, dir_fd=parent)


def why(error: OSError) -> str:
    """For people: why `Removal.remove` failed."""
    return "something is mounted there or below it" if error.errno == errno.EXDEV else reason(error)
