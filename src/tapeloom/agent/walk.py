"""The canonical walk of a tree: depth first, a folder before its content, its names in the order of their bytes.

The order is that of path components, not of whole paths: `a/b` comes before `a.b`. Restores of several objects are
merged by it. The walk itself is the engine's (csrc/walk.h), in threads that go ahead of the one that writes.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from .._tree import Walk
from . import pax

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from .rules import Rules
    from .snapshot import Snapshot, SnapshotWriter

WORKERS_MAX = 4

FOLDER_PATH_BYTES_MAX = pax.PATH_BYTES_MAX - 2 * 255
"""A name in it still fits."""


class Limits(Struct, frozen=True):
    """How much the engine does by itself, and how far it goes ahead.

    `small_bytes`: files up to this size are read by its threads, into memory, and go out with their headers; about
    where the copy that this costs takes as long as the further calls that it saves. -1: none, every entry is made one
    at a time. `ahead_bytes`: it reads ahead until so much waits; 0: nothing is touched before what comes before it is
    written. `chunk_bytes`, `range_names`: what one thread takes at a time; `ahead_nodes`: how many such pieces ahead.
    `folders_open`: kept open beside those in use. `path_bytes_max`: of a folder, with its closing slash. `names_held`:
    of a folder that holds more names, they go through a file. `settle_ns`: stamps younger than this may be those of a
    later change as well: about the ticks of the clock that files are stamped by. `workers`: threads, None for as many
    as there are processors to run them.
    """

    small_bytes: int = 64 << 10
    ahead_bytes: int = 16 << 20
    chunk_bytes: int = 1 << 20
    range_names: int = 128
    ahead_nodes: int = 512
    folders_open: int = 64
    path_bytes_max: int = FOLDER_PATH_BYTES_MAX
    names_held: int = 100_000
    settle_ns: int = 20_000_000
    workers: int | None = None


LIMITS = Limits()

ONE_BY_ONE = Limits(small_bytes=-1, ahead_bytes=0, range_names=1, folders_open=64, workers=1)
"""Every entry is looked at when all before it are written: for those who want to see what happens in between."""


def workers(limits: Limits) -> int:
    """How many threads read a tree: as many as there are processors to run them, from 2 to WORKERS_MAX."""
    return limits.workers or min(max(len(os.sched_getaffinity(0)), 2), WORKERS_MAX)


@contextmanager
def walking(
    rules: Rules,
    *,
    since: Snapshot | None,
    keep: SnapshotWriter | None,
    forced: npt.NDArray[np.uint64] | None,
    rows: bool,
    spill: Path | None,
    looking: bool = False,
) -> Iterator[Walk]:
    """A walk and its threads, which have ended when the block is left."""
    limits = LIMITS
    walk = Walk(
        limits=limits,
        one_file_system=rules.one_file_system,
        caches=rules.cachedir_tag,
        markers=rules.nobackup,
        excluded=rules.matcher(),
        since=since.records if since is not None else None,
        forced=forced,
        snapshot=keep.records_at if keep is not None else None,
        rows=rows,
        looking=looking,
        spill=os.fsencode(spill if spill is not None else _temporary()),
    )
    threads: Sequence[threading.Thread] = [
        threading.Thread(target=walk.work, name=f"tree-{number}", daemon=True) for number in range(workers(limits))
    ]
    try:
        for thread in threads:
            thread.start()
        yield walk
    finally:
        walk.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _temporary() -> str:
    return os.environ.get("TMPDIR") or "/tmp"


def open_unseen(path: bytes | Path, flags: int, parent: int | None = None) -> int:
    """Open *path* so that reading leaves its access time alone, where that is allowed: to its owner and to root."""
    try:
        return os.open(path, flags | os.O_NOATIME, dir_fd=parent)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
    return os.open(path, flags, dir_fd=parent)
