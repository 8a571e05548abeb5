"""Removes from a folder what a state does not have, as `restore --delete` is asked to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from tapeloom.agent.rows import FOLDER
from tapeloom.errors import RestoreError

State = Iterable[tuple[bytes, int]]
"""(path, kind) of all entries, in canonical order; the root is b""."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prune(target: Path, state: State, *, in_the_way_only: bool = False) -> int:
    """Removes below `target` what `state` does not have, or with `in_the_way_only` folders where it has something else.

    What is mounted below `target` is left alone. Gives how many names were removed, each with all below it.

    Raises
    ------
    RestoreError
        Something cannot be listed or removed.
    """
    rows = iter(state)
    row = next(rows, None)
    removed = 0
    try:
        for place in _walk(target):
            while row is not None and _key(row[0]) < place.key:
                row = next(rows, None)
            known = row is not None and row[0] == place.path
            in_the_way = row is not None and known and place.is_folder and row[1] != FOLDER
            if in_the_way or not (known or in_the_way_only):
                place.remove()
                removed += 1
            place.entered = known and not in_the_way
    except OSError as error:
        raise RestoreError(f"{target}: deleting failed: {error.strerror or error}") from None
    return removed


def _key(path: bytes) -> bytes:
    """Orders paths canonically: component by component, as bytes."""
    return path.replace(b"/", b"\0")


class _Place:
    """One name below the folder. Whoever gets it says whether it is `entered`, if it is a folder."""

    __slots__ = ("_folder", "_name", "entered", "is_folder", "path")

    def __init__(self, path: bytes, name: bytes, folder: int, *, is_folder: bool):
        self.path, self.is_folder, self.entered = path, is_folder, False
        self._name, self._folder = name, folder

    @property
    def key(self) -> bytes:
        return _key(self.path)

    def remove(self) -> None:
        if self.is_folder:
            shutil.rmtree(self._name, dir_fd=self._folder)
        else:
            os.unlink(self._name, dir_fd=self._folder)


def _walk(target: Path) -> Iterator[_Place]:
    """Everything below `target`, in canonical order; on its file system alone."""
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    device = os.fstat(root).st_dev
    open_folders = [(b"", root, iter(_names(root)))]
    try:
        while open_folders:
            above, folder, names = open_folders[-1]
            name = next(names, None)
            if name is None:
                open_folders.pop()
                os.close(folder)
                continue
            there = os.lstat(name, dir_fd=folder)
            if there.st_dev != device:
                continue
            is_folder = (there.st_mode & 0o170000) == 0o040000
            path = above + b"/" + name if above else name
            place = _Place(path, name, folder, is_folder=is_folder)
            yield place
            if is_folder and place.entered:
                inner = os.open(name, _FOLDER, dir_fd=folder)
                open_folders.append((path, inner, iter(_names(inner))))
    finally:
        for _, folder, _ in open_folders:
            os.close(folder)


def _names(folder: int) -> list[bytes]:
    return sorted(map(os.fsencode, os.listdir(folder)))
