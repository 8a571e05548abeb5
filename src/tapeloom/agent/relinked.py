"""Inodes whose set of names in a tree is another than last time.

A name that came or went by the renaming of a folder above it leaves no trace at the other names: so before an increment
is written, all names of inodes with several are looked at. Folders in which nothing came or went are not: the snapshot
knows what is in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .._tree import Linked
from ..errors import SourceError
from .metadata import handle_of
from .namesets import NameSets
from .report import reason
from .rows import RowBatch
from .rules import Rules
from .snapshot import Snapshot
from .walk import open_unseen, walking

_BATCH = 8192

Root = tuple[bytes, Path, int | None]


def relinked(rules: Rules, roots: Iterable[Root], since: Snapshot, spill: Path | None) -> npt.NDArray[np.uint64] | None:
    """The numbers of these inodes, sorted; None when *since* knows none with several names: the ctime of one that has
    them now tells."""
    if not since.linked:
        return None
    with NameSets(spill) as names:
        known = Linked(since.records, since.begin)
        while (batch := known.next(_BATCH)) is not None:
            _feed(names.old, batch)
        enters = {record[0]: record[9] for record in since.level() if record[1]}
        with walking(rules, since=since, keep=None, forced=None, rows=True, spill=spill, looking=True) as walk:
            for name, path, fd in roots:
                if fd is None:
                    _feed_single(names, name, path)
                    continue
                again = _open_again(fd, path)
                walk.begin(again, name + b"/", 2 if name == b"." else 0, enters.get(name))
                while walk.next() is not None:  # trouble is told when the archive is written
                    if walk.rows_waiting >= _BATCH:
                        _feed(names.new, walk.take_rows())
            _feed(names.new, walk.take_rows())
        return names.changed().inodes


def _open_again(fd: int, path: Path) -> int:
    """The open folder *fd*, which is *path*, with a place of its own in its list: its name "." takes more rights."""
    try:
        return open_unseen(handle_of(fd), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {reason(error)}") from None


def _feed(side: object, batch: RowBatch) -> None:
    """Rows of a walk that looks have the inode's number as size and ctime as time."""
    if len(batch):
        side(np.zeros(len(batch), np.uint64), batch.size, batch.paths, batch.path_ends, stamps=batch.mtime)  # type: ignore[operator]


def _feed_single(names: NameSets, name: bytes, path: Path) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return
    if status.st_nlink > 1:
        ends = np.array([len(name)], np.uint64)
        inode, stamp = np.array([status.st_ino], np.uint64), np.array([status.st_ctime_ns], np.int64)
        names.new(np.zeros(1, np.uint64), inode, name, ends, stamps=stamp)
