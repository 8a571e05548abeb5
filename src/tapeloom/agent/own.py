"""Which paths a restore made itself, so that it may replace and remove them where it must leave others alone."""

from __future__ import annotations

import os
import sqlite3
from hashlib import blake2b

HELD_MAX = 10_000
"""Paths held in memory; those beyond are in a temporary file."""


class Own:
    """A set of paths that takes little memory, however many they are.

    A path stands for itself by a keyed hash of 128 bits, so that no archive can be made in which two meet. SQLite's
    database without a name is a temporary file that nobody else sees and that is gone with the connection.
    """

    def __init__(self, held_max: int = HELD_MAX) -> None:
        self._held_max = held_max
        self._key = os.urandom(16)
        self._held: set[bytes] = set()
        self._spilled: sqlite3.Connection | None = None

    def add(self, path: bytes) -> None:
        self._held.add(self._hash(path))
        if len(self._held) >= self._held_max:
            self._spill()

    def __contains__(self, path: bytes) -> bool:
        hashed = self._hash(path)
        if hashed in self._held:
            return True
        if self._spilled is None:
            return False
        return self._spilled.execute("SELECT 1 FROM own WHERE path = ?", (hashed,)).fetchone() is not None

    def close(self) -> None:
        if self._spilled is not None:
            self._spilled.close()

    def _hash(self, path: bytes) -> bytes:
        return blake2b(path, digest_size=16, key=self._key).digest()

    def _spill(self) -> None:
        if self._spilled is None:
            self._spilled = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._spilled.execute("PRAGMA journal_mode = OFF")
            self._spilled.execute("CREATE TABLE own (path BLOB PRIMARY KEY) WITHOUT ROWID")
        self._spilled.execute("BEGIN")
        rows = ((hashed,) for hashed in sorted(self._held))
        self._spilled.executemany("INSERT OR IGNORE INTO own VALUES (?)", rows)
        self._spilled.execute("COMMIT")
        self._held.clear()
