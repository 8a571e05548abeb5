"""Removes from a folder what a state does not have, as `restore --delete` is asked to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

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
    removed = 0
    kept: str | None = None
    removal = Removal(lambda _: True, Notes())
    try:
        for place, kind in met(target, state):
            in_the_way = is_in_the_way(place, kind)
            if in_the_way or (kind is None and not in_the_way_only):
                try:
                    times = os.fstat(place.folder)
                    removal.remove(place.folder, place.name, place.path, place.is_folder, whole=True)
                    os.utime(place.folder, ns=(times.st_atime_ns, times.st_mtime_ns))  # it was dressed already
                    removed += 1
                except OSError as error:
                    kept = kept or f"{printable(place.path)} cannot be removed: {why(error)}"
    except OSError as error:
        raise RestoreError(f"{target}: deleting failed: {reason(error)}") from None
    if kept is not None:
        raise RestoreError(f"{target}: {kept}")
    return removed


def met(target: Path, state: State) -> Iterator[tuple[Place, int | None]]:
    """All that is in `target` and in the folders below it that `state` has; with it the kind that `state` says it is
    of, None where it does not have it. What `state` has something below is a folder. A place is good until the next.

    Raises OSError.
    """
    rows = iter(state)
    row = next(rows, None)
    for place in _walk(target):
        while row is not None and _key(row[0]) < place.key:
            row = next(rows, None)
        kind = None
        if row is not None:
            if row[0] == place.path:
                kind = row[1]
            elif row[0].startswith(place.path + b"/"):
                kind = FOLDER
        yield place, kind
        place.entered = kind is not None and not is_in_the_way(place, kind)


def is_in_the_way(place: Place, kind: int | None) -> bool:
    """Whether it is a folder where a state has something else."""
    return place.is_folder and kind is not None and kind != FOLDER


def _key(path: bytes) -> bytes:
    """Orders paths canonically: component by component, as bytes."""
    return path.replace(b"/", b"\0")


class Place(Struct):
    """One name in an open folder. Whoever gets it says whether it is `entered`, if it is a folder. `mtime` is in ns
    since 1970."""

    path: bytes
    name: bytes
    folder: int
    is_folder: bool
    mtime: int
    entered: bool = False

    @property
    def key(self) -> bytes:
        return _key(self.path)


def _walk(target: Path) -> Iterator[Place]:
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
            place = Place(above + b"/" + name if above else name, name, way.fd, is_folder, there.st_mtime_ns)
            yield place
            if is_folder and place.entered:
                way.enter(name, os.open(name, FOLDER_FLAGS, dir_fd=way.fd))
                levels.append((place.path, _names(way.fd)))
    finally:
        way.close()


def _names(folder: int) -> Iterator[bytes]:
    return iter(sorted(map(os.fsencode, os.listdir(folder))))
