"""Removes from a folder what a state does not have, as `restore --delete` is asked to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tapeloom.agent.descent import FOLDER_FLAGS, Descent
from tapeloom.agent.removal import Removal, is_mounted, mount_of, why
from tapeloom.agent.report import Notes, printable, reason
from tapeloom.agent.rows import FOLDER
from tapeloom.errors import RestoreError

State = Iterable[tuple[bytes, int]]
"""(path, kind) of all entries, in canonical order; the root is b""."""


def prune(target: Path, state: State, *, in_the_way_only: bool = False) -> int:
    """Removes below `target` what `state` does not have, or with `in_the_way_only` folders where it has something else.

    What is mounted below `target` is left alone, and so are the folders above it. Gives how many names were removed,
    each with all below it.

    Raises
    ------
    RestoreError
        Something cannot be listed; or, after all else was removed, something cannot be removed, for one a folder with a
        mount below it.
    """
    rows = iter(state)
    row = next(rows, None)
    removed = 0
    kept: str | None = None
    removal = Removal(lambda _: True, Notes())
    try:
        for place in _walk(target):
            while row is not None and _key(row[0]) < place.key:
                row = next(rows, None)
            known = row is not None and row[0] == place.path
            in_the_way = row is not None and known and place.is_folder and row[1] != FOLDER
            if in_the_way or not (known or in_the_way_only):
                try:
                    times = os.fstat(place.folder)
                    removal.remove(place.folder, place.name, place.path, place.is_folder, whole=True)
                    os.utime(place.folder, ns=(times.st_atime_ns, times.st_mtime_ns))  # it was dressed already
                    removed += 1
                except OSError as error:
                    kept = kept or f"{printable(place.path)} cannot be removed: {why(error)}"
            place.entered = known and not in_the_way
    except OSError as error:
        raise RestoreError(f"{target}: deleting failed: {reason(error)}") from None
    if kept is not None:
        raise RestoreError(f"{target}: {kept}")
    return removed


def _key(path: bytes) -> bytes:
    """Orders paths canonically: component by component, as bytes."""
    return path.replace(b"/", b"\0")


@dataclass(slots=True)
class _Place:
    """One name in an open folder. Whoever gets it says whether it is `entered`, if it is a folder."""

    path: bytes
    name: bytes
    folder: int
    is_folder: bool
    entered: bool = False

    @property
    def key(self) -> bytes:
        return _key(self.path)


def _walk(target: Path) -> Iterator[_Place]:
    """Everything below `target`, in canonical order; on its mount alone."""
    way = Descent(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        device, mount = os.fstat(way.root).st_dev, mount_of(way.root)
        levels = [(b"", _names(way.root))]
        while levels:
            above, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                way.leave()
                continue
            there = os.lstat(name, dir_fd=way.fd)
            is_folder = stat.S_ISDIR(there.st_mode)
            if there.st_dev != device or (is_folder and is_mounted(name, way.fd, mount)):
                continue
            place = _Place(above + b"/" + name if above else name, name, way.fd, is_folder)
            yield place
            if is_folder and place.entered:
                way.enter(name, os.open(name, FOLDER_FLAGS, dir_fd=way.fd))
                levels.append((place.path, _names(way.fd)))
    finally:
        way.close()


def _names(folder: int) -> Iterator[bytes]:
    return iter(sorted(map(os.fsencode, os.listdir(folder))))
