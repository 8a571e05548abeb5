"""The canonical walk of a tree: depth first, a folder before its content, its names in the order of their bytes.

The order is that of path components, not of whole paths: `a/b` comes before `a.b`. Restores of several objects are
merged by it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

from . import pax
from .descent import FOLDER_FLAGS, Descent
from .report import reason

FILE = 0
FOLDER = 1
OTHER = 2
"""What a folder says of a name: a regular file, a folder that is open now, or anything that needs a closer look."""

FOLDER_PATH_BYTES_MAX = pax.PATH_BYTES_MAX - 2 * 255
"""A name in it still fits."""

Trouble = Callable[[bytes, str], None]


class Found(NamedTuple):
    """One name met on the walk. The descriptors are the walk's own and valid until it is resumed."""

    path: bytes
    kind: int
    parent: int
    name: bytes
    folder: int = -1


def walk(
    root: int,
    prefix: bytes,
    trouble: Trouble,
    *,
    excluded: Callable[[bytes], bool] | None = None,
    one_file_system: bool = False,
) -> Generator[Found, None, None]:
    """Yield the open folder *root*, which is closed in the end, and everything in it.

    Paths are *prefix*, which is empty or ends in a slash, and the path below the root; those of folders end in a slash.
    *excluded* is asked with the path below the root. With *one_file_system* the content of a mount point is left out,
    the mount point is not. Folders that cannot be listed or went away are told to *trouble*.
    """
    descent = Descent(root)
    try:
        yield Found(prefix, FOLDER, -1, b"", root)
        device = os.fstat(root).st_dev
        listings = [_listing(root, prefix, trouble)]
        paths = [prefix]
        while listings:
            path, listing = paths[-1], listings[-1]
            try:
                parent = descent.fd
            except OSError as error:
                trouble(path, f"the folder was moved while it was read, the rest of it is missing ({reason(error)})")
                listing = iter(())
            for name, kind in listing:
                below = path + name
                if kind == FOLDER:
                    below += b"/"
                if excluded is not None and excluded(below[len(prefix) :]):
                    continue
                if kind != FOLDER:
                    yield Found(below, kind, parent, name)
                    continue
                if len(below) > FOLDER_PATH_BYTES_MAX:
                    trouble(below, "the folder lies too deep for an archive and is left out")
                    continue
                fd = _open_folder(parent, name)
                if fd is None:
                    yield Found(below, OTHER, parent, name)
                    continue
                descent.enter(name, fd)
                yield Found(below, FOLDER, parent, name, fd)
                foreign = one_file_system and os.fstat(fd).st_dev != device
                listings.append(iter(()) if foreign else _listing(fd, below, trouble))
                paths.append(below)
                break
            else:
                listings.pop()
                paths.pop()
                descent.leave()
    finally:
        descent.close()


def open_unseen(path: bytes | Path, flags: int, parent: int | None = None) -> int:
    """Open *path* so that reading leaves its access time alone, where that is allowed: to its owner and to root."""
    try:
        return os.open(path, flags | os.O_NOATIME, dir_fd=parent)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
    return os.open(path, flags, dir_fd=parent)


def _open_folder(parent: int, name: bytes) -> int | None:
    """The folder, open, or None where that cannot be: whoever looks closer will say why."""
    try:
        return open_unseen(name, FOLDER_FLAGS, parent)
    except OSError:
        return None


def _listing(fd: int, path: bytes, trouble: Trouble) -> Iterator[tuple[bytes, int]]:
    found = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    kind = FILE
                elif entry.is_dir(follow_symlinks=False):
                    kind = FOLDER
                else:
                    kind = OTHER
                found.append((os.fsencode(entry.name), kind))
    except OSError as error:
        trouble(path, f"the folder cannot be listed, content of it is missing: {reason(error)}")
    found.sort()
    return iter(found)
