"""Hard links, however many: the name under which the data of an inode stands."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import SourceError
from ..limits import MIB
from .report import reason

FIRST_NAMES_BYTES = 8 * MIB
NAME_BYTES_BESIDE = 250
"""What Python takes for an inode in a dictionary, beside the bytes of its path (measured, rounded up)."""

_FILTER_BITS = 8 * MIB


class FirstNames:
    """For every inode with several names: the path under which its data stands in this archive.

    *spill* is the folder for what is beyond *memory_bytes* (None: FIRST_NAMES_BYTES); without one the system's own
    for such files. For one thread at a time. Every call may raise SourceError, when that folder is full.
    """

    def __init__(self, spill: Path | None = None, *, memory_bytes: int | None = None):
        self._folder = spill
        self._memory_bytes = FIRST_NAMES_BYTES if memory_bytes is None else memory_bytes
        self._held: dict[bytes, tuple[bytes, int]] = {}  # inode -> first name, names still to come
        self._held_bytes = 0
        self._beyond: _Beyond | None = None

    def known(self, dev: int, ino: int, nlink: int, path: bytes, mtime_ns: int = 0) -> bytes | None:
        """The path that the data of this inode stands under, or None where *path* is the first name of it.

        The time of its last change tells it from another file that was given the inode's number meanwhile. An inode may
        be forgotten when all the *nlink* names that it had at the first have come.
        """
        inode = b"%b%b%b" % (ino.to_bytes(8, "big"), dev.to_bytes(8, "big"), mtime_ns.to_bytes(9, "big", signed=True))
        held = self._held.get(inode)
        if held is not None:
            first, names = held
            if names > 1:
                self._held[inode] = (first, names - 1)
            else:
                del self._held[inode]
                self._held_bytes -= len(first) + NAME_BYTES_BESIDE
            return first
        if self._beyond is not None:
            spilled = self._beyond.first(inode)
            if spilled is not None:
                return spilled
        self._held[inode] = (path, nlink - 1)
        self._held_bytes += len(path) + NAME_BYTES_BESIDE
        if self._held_bytes > self._memory_bytes:
            if self._beyond is None:
                self._beyond = _Beyond(self._folder)
            self._beyond.add([(inode, first) for inode, (first, _) in self._held.items()])
            self._held.clear()
            self._held_bytes = 0
        return None

    def close(self) -> None:
        """Give back all memory and files."""
        self._held.clear()
        if self._beyond is not None:
            self._beyond.close()
            self._beyond = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Beyond:
    """First names in a file without a name: a database, in one transaction that never ends, so nothing is made safe.

    Most of those asked for are new ones: a filter of one bit per hash keeps them from being looked up.
    """

    def __init__(self, folder: Path | None):
        import tempfile  # only for very many links: start-up time

        self._folder = folder
        self._filter = bytearray(_FILTER_BITS // 8)
        with spilling(folder):
            made, path = tempfile.mkstemp(prefix="tapeloom-links-", dir=folder)
            try:
                os.close(made)
                self._table = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            finally:
                os.unlink(path)
            for setting in (
                "journal_mode = OFF",
                "synchronous = OFF",
                "locking_mode = EXCLUSIVE",
                "cache_size = -4096",
            ):
                self._table.execute(f"PRAGMA {setting}")
            self._table.execute("BEGIN EXCLUSIVE")
            self._table.execute("CREATE TABLE names (inode BLOB PRIMARY KEY, first BLOB) WITHOUT ROWID")

    def add(self, names: list[tuple[bytes, bytes]]) -> None:
        names.sort()
        with spilling(self._folder):
            self._table.executemany("INSERT INTO names VALUES (?, ?)", names)
        for inode, _ in names:
            bit = hash(inode) % _FILTER_BITS
            self._filter[bit >> 3] |= 1 << (bit & 7)

    def first(self, inode: bytes) -> bytes | None:
        bit = hash(inode) % _FILTER_BITS
        if not self._filter[bit >> 3] >> (bit & 7) & 1:
            return None
        found: tuple[bytes] | None
        try:
            found = self._table.execute("SELECT first FROM names WHERE inode = ?", (inode,)).fetchone()
        except sqlite3.Error as error:
            raise no_room(self._folder, error) from None
        return None if found is None else found[0]

    def close(self) -> None:
        self._table.close()


@contextmanager
def spilling(folder: Path | None) -> Iterator[None]:
    """What goes wrong with a file that a table spills to, as a SourceError."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise no_room(folder, error) from None


def no_room(folder: Path | None, error: OSError | sqlite3.Error) -> SourceError:
    import tempfile

    why = reason(error) if isinstance(error, OSError) else str(error)
    where = folder or tempfile.gettempdir()
    return SourceError(f"the tables of hard links find no room in {where}: {why}; let TMPDIR name a roomier folder")
