"""Removing what an increment no longer names: below one open folder, never through a link, never on another file
system.
"""

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

    def purge(self, folder: int, path: bytes, listing: Listing, *, others: bool) -> None:
        """Remove all that *listing* does not keep from the open *folder*, whose *path* has no `./` and no closing
        slash.

        Only with *others* also what this restore did not make: a folder that it did not make stays, without what it put
        there.
        """
        for name, is_folder in _names(folder):
            if not listing.keeps(name, is_folder):
                below = path + b"/" + name if path else name
                try:
                    self._remove(folder, name, below, is_folder, others or self._ours(below))
                except OSError as error:
                    self._troubles.add(below, f"is gone from the source and cannot be removed here: {_why(error)}")

    def _remove(self, parent: int, name: bytes, path: bytes, is_folder: bool, whole: bool) -> None:
        if is_folder:
            self._remove_folder(parent, name, path, whole)
        elif whole:
            os.unlink(name, dir_fd=parent)
            self.removed += 1

    def _remove_folder(self, parent: int, name: bytes, path: bytes, whole: bool) -> None:
        """Depth first, without recursion: a tree may be deeper than the stack."""
        device = os.fstat(parent).st_dev
        way = Descent(os.open(b".", FOLDER_FLAGS, dir_fd=parent))
        try:
            folders = [[(name, path, whole)]]  # on each level: those that are still to be gone into
            entered: list[bool] = []  # whether the folder on that level goes too
            while True:
                if folders[-1]:
                    name, path, whole = folders[-1].pop()
                    way.enter(name, _open(name, way.fd, device))
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


def _open(name: bytes, parent: int, device: int) -> int:
    there = os.lstat(name, dir_fd=parent)
    if there.st_dev != device:
        raise OSError(errno.EXDEV, "")
    unlock(name, there.st_mode, parent)
    return os.open(name, FOLDER_FLAGS, dir_fd=parent)


def _why(error: OSError) -> str:
    return "another file system is mounted there" if error.errno == errno.EXDEV else reason(error)
