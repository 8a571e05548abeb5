"""The catalog's file: opening, versions, transactions, and SQLite's errors in words."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peewee

from ..errors import CatalogError, CatalogTooNew, NotFound
from .lock import StateLock
from .schema import APPLICATION_ID, MIGRATIONS, Migration, tables

FILE_NAME = "catalog.sqlite"
LOCK_NAME = "lock"
BUSY_SECONDS = 30
"""How long a statement waits for another process's transaction: only a migration takes longer than a moment."""


class Database:
    """One open catalog file. May be used from several threads: they take turns.

    A writer holds the folder's lock; readers need no lock and are never blocked (write-ahead log). What a transaction
    wrote is on the disk when it returns (synchronous=FULL).
    """

    def __init__(self, state: Path, *, readonly: bool, migrations: Sequence[Migration] = MIGRATIONS):
        self.path = state / FILE_NAME
        self.readonly = readonly
        self._turn = threading.RLock()
        self._lock: StateLock | None = None
        if readonly:
            self._migrate_for_reader(state, migrations)
            self._connect()
            return
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"{state}: the state folder cannot be made: {error.strerror}") from error
        self._lock = StateLock(state / LOCK_NAME)
        try:
            self._connect()
            with self._words():
                _migrate(self._db, self.path, migrations)
        except BaseException:
            self.close()
            raise

    def _migrate_for_reader(self, state: Path, migrations: Sequence[Migration]) -> None:
        """A reader cannot read older tables: it opens as a writer for a moment, which brings them up to date."""
        if not self.path.is_file():
            raise NotFound(
                f"{self.path}: there is no catalog yet: the first backup makes it, or `tapeloom import` from tapes"
            )
        self._connect()
        with self._words():
            version = _version(self._db, self.path, migrations)
        self._db.close()
        if version < len(migrations):
            Database(state, readonly=False, migrations=migrations).close()

    def _connect(self) -> None:
        if not self.readonly:
            # Before SQLite makes it, and for its owner alone: names of files may be a secret, too.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        name = self.path.absolute().as_uri() + ("?mode=ro" if self.readonly else "?mode=rwc")
        pragmas = {"synchronous": "full", "foreign_keys": 1, "busy_timeout": BUSY_SECONDS * 1000}
        self._db = peewee.SqliteDatabase(
            name, pragmas=pragmas, uri=True, thread_safe=False, check_same_thread=False, autoconnect=False
        )
        with self._words():
            self._db.connect()
        self.tables = tables(self._db)

    def close(self) -> None:
        with self._turn:
            self._db.close()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """The tables, as they are at one moment."""
        with self._turn, self._words(), self._db.atomic("DEFERRED"):
            yield self.tables

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """The tables, for one transaction: all of it is on the disk when the block ends, or nothing if it raises."""
        if self.readonly:
            raise CatalogError(f"{self.path} was opened for reading only")
        with self._turn, self._words(), self._db.atomic("IMMEDIATE"):
            yield self.tables

    def copy_from(self, other: sqlite3.Connection) -> None:
        """All that another catalog has, in the place of what this one has."""
        with self._turn:
            here: sqlite3.Connection = self._db.connection()  # type: ignore[no-untyped-call]
            other.backup(here)

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except peewee.PeeweeException as error:
            raise CatalogError(f"the catalog {self.path}: {_first(error)}") from error


def _first(error: peewee.PeeweeException) -> peewee.PeeweeException:
    """What went wrong first: where the disk is full SQLite has rolled back already, and a second rollback fails too."""
    first, before = error, error.__context__
    while before is not None:
        if isinstance(before, peewee.PeeweeException):
            first = before
        before = before.__context__
    return first


def _version(db: Any, path: Path, migrations: Sequence[Migration]) -> int:
    def number(question: str) -> int:
        return int(db.execute_sql(question).fetchone()[0])

    version = number("PRAGMA user_version")
    ours = number("PRAGMA application_id") == APPLICATION_ID
    if not ours and (version or number("SELECT count(*) FROM sqlite_master")):
        raise CatalogError(f"{path} is a database, but not a catalog of tapeloom; point `state` to another folder")
    if version > len(migrations):
        raise CatalogTooNew(
            f"{path} was written by a newer tapeloom (version {version} of its tables; this one knows up to version "
            f"{len(migrations)}): update tapeloom, or point `state` to another folder"
        )
    return version


def _migrate(db: Any, path: Path, migrations: Sequence[Migration]) -> None:
    """Takes the missing steps, each in a transaction with its version number."""
    version = _version(db, path, migrations)
    db.execute_sql("PRAGMA journal_mode = wal")  # changes the file: not before it is known to be ours
    for number in range(version, len(migrations)):
        with db.atomic("IMMEDIATE"):
            migrations[number](db)
            db.execute_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute_sql(f"PRAGMA user_version = {number + 1}")
