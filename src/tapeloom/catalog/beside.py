"""What is kept beside the catalog, in the state folder: file indexes, and the snapshots that increments are made from.

Both are named by their object. Those of objects that are sealed are sealed too, and end in `.sealed`.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from ..errors import CatalogError

INDEXES = "index"
SNAPSHOTS = "snapshots"
SEALED = ".sealed"

_ID = "([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_WHOLE = re.compile(rf"{_ID}\.(?:parquet|snapshot)(?:\{SEALED})?")
_IN_THE_MAKING = re.compile(rf"{_WHOLE.pattern}\.part")
_BEING_PUT_THERE = re.compile(rf"\.{_WHOLE.pattern}-.*")


def index_path(state: Path, id: UUID, *, sealed: bool) -> Path:
    """Where the file index of the object `id` stands, if it has one."""
    return state / INDEXES / f"{id}.parquet{SEALED if sealed else ''}"


def snapshot_path(state: Path, id: UUID, *, sealed: bool) -> Path:
    """Where the snapshot of the object `id` stands, if it has one."""
    return state / SNAPSHOTS / f"{id}.snapshot{SEALED if sealed else ''}"


def snapshots(state: Path) -> dict[UUID, Path]:
    """The whole snapshots that are kept, by their objects. OSError: the folder cannot be read."""
    folder = state / SNAPSHOTS
    if not folder.exists():
        return {}
    found = ((_WHOLE.fullmatch(name), name) for name in os.listdir(folder))
    return {UUID(match[1]): folder / name for match, name in found if match is not None}


def make_folder(path: Path) -> None:
    """The folder of one of these files, for its owner alone: names of files may be a secret, too."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"{path.parent} cannot be made: {error.strerror}") from error


@contextmanager
def bringing(folder: Path) -> Iterator[None]:
    """While a file is brought into `folder` by somebody who does not hold the catalog: what is unfinished stays."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def clean(state: Path, interrupted: Collection[UUID]) -> None:
    """Removes what processes left that came to no end: unfinished files, and the whole ones of objects that were
    `interrupted`. For who holds the catalog: then no job is running. What cannot be removed stays, and hurts nobody."""
    for folder in (state / INDEXES, state / SNAPSHOTS):
        with suppress(OSError):
            _clean(folder, interrupted)


def _clean(folder: Path, interrupted: Collection[UUID]) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        quiet = _nobody_brings(fd)
        for name in os.listdir(fd):
            whole = _WHOLE.fullmatch(name)
            if (
                (whole is not None and UUID(whole[1]) in interrupted)
                or _IN_THE_MAKING.fullmatch(name)
                or (quiet and _BEING_PUT_THERE.fullmatch(name))
            ):
                with suppress(OSError):
                    os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)


def _nobody_brings(fd: int) -> bool:
    """And nobody begins to until it is closed, if so."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
