"""The tables of the catalog, and the ordered steps that lead from each version of them to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import peewee

Migration = Callable[[Any], None]
"""Takes a connected peewee.SqliteDatabase one step further, inside a transaction."""


def _run(db: Any, script: str) -> None:
    for statement in script.split(";"):
        if statement.strip():
            db.execute_sql(statement)


def first(db: Any) -> None:
    _run(db, _FIRST)


def second(db: Any) -> None:
    _run(db, _SECOND)


def third(db: Any) -> None:
    _run(db, _THIRD)


def fourth(db: Any) -> None:
    """A volume may be scratch."""
    _let_volumes_be(db, "'damaged', 'retired'))", "'damaged', 'retired', 'scratch'))")


def fifth(db: Any) -> None:
    _run(db, "ALTER TABLE objects ADD COLUMN stands_for TEXT")


def sixth(db: Any) -> None:
    """A volume belongs to a pool, and its state has a reason; nobody may know it."""
    _run(db, _SIXTH)
    _let_volumes_be(db, "'retired', 'scratch'))", "'retired', 'scratch', 'unknown'))")


def _let_volumes_be(db: Any, before: str, after: str) -> None:
    """The way that SQLite's manual gives for changing a CHECK that all stored rows meet (lang_altertable.html, "Making
    Other Kinds Of Table Schema Changes")."""
    (version,) = db.execute_sql("PRAGMA schema_version").fetchone()
    db.execute_sql("PRAGMA writable_schema = 1")
    db.execute_sql(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'volumes'", (before, after)
    )
    db.execute_sql(f"PRAGMA schema_version = {version + 1}")
    db.execute_sql("PRAGMA writable_schema = 0")


_FIRST = """
CREATE TABLE sources (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE
);

CREATE TABLE jobs (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    groups      TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('running', 'complete', 'partial', 'failed', 'interrupted')),
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER,
    report      TEXT NOT NULL
);

CREATE TABLE objects (
    id          TEXT PRIMARY KEY,
    source      INTEGER NOT NULL REFERENCES sources,
    job         TEXT NOT NULL REFERENCES jobs,
    content     INTEGER NOT NULL,
    level       INTEGER NOT NULL,
    as_of       INTEGER NOT NULL,
    parent      TEXT,
    outcome     TEXT NOT NULL CHECK (outcome IN ('reading', 'whole', 'failed', 'interrupted')),
    blocks      INTEGER,
    bytes       INTEGER,
    files       INTEGER,
    digest      TEXT,
    troubles    TEXT NOT NULL
);
CREATE INDEX objects_by_source ON objects (source, as_of);
CREATE INDEX objects_by_job ON objects (job);

CREATE TABLE copies (
    id          INTEGER PRIMARY KEY,
    object      TEXT NOT NULL REFERENCES objects,
    job         TEXT NOT NULL REFERENCES jobs,
    writer      TEXT NOT NULL REFERENCES jobs,
    agent       TEXT NOT NULL,
    agent_group TEXT NOT NULL,
    drive       TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('complete', 'partial', 'missing', 'damaged', 'retired')),
    UNIQUE (object, agent, job)
);
CREATE INDEX copies_by_job ON copies (job);
CREATE INDEX copies_by_writer ON copies (writer);

CREATE TABLE volumes (
    id           TEXT PRIMARY KEY,
    label        TEXT NOT NULL UNIQUE,
    drive        TEXT NOT NULL,
    cartridge    TEXT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('appendable', 'full', 'damaged', 'retired')),
    sequence     INTEGER NOT NULL,
    previous     TEXT,
    block_bytes  INTEGER NOT NULL,
    made_at      INTEGER NOT NULL,
    end_position INTEGER NOT NULL,
    UNIQUE (drive, cartridge)
);

CREATE TABLE receipts (
    id          INTEGER PRIMARY KEY,
    copy        INTEGER NOT NULL REFERENCES copies,
    volume      TEXT NOT NULL REFERENCES volumes,
    job         TEXT NOT NULL REFERENCES jobs,
    filemark    INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    blocks      INTEGER NOT NULL,
    bytes       INTEGER,
    runs        BLOB NOT NULL,
    given_at    INTEGER NOT NULL,
    UNIQUE (copy, volume, filemark)
);
CREATE INDEX receipts_by_volume ON receipts (volume, filemark);

CREATE TABLE appends (
    volume      TEXT NOT NULL REFERENCES volumes,
    job         TEXT NOT NULL REFERENCES jobs,
    agent       TEXT NOT NULL,
    checkpoints INTEGER NOT NULL,
    PRIMARY KEY (volume, job, agent)
)
"""

_SECOND = """
ALTER TABLE objects ADD COLUMN step INTEGER;
ALTER TABLE objects ADD COLUMN codec TEXT;
ALTER TABLE objects ADD COLUMN key TEXT
"""

_THIRD = """
CREATE TABLE damages (
    copy        INTEGER NOT NULL REFERENCES copies,
    volume      TEXT NOT NULL REFERENCES volumes,
    first_seq   INTEGER NOT NULL,
    last_seq    INTEGER NOT NULL,
    harm        TEXT NOT NULL CHECK (harm IN ('checksum', 'unreadable', 'missing')),
    found_at    INTEGER NOT NULL,
    PRIMARY KEY (copy, volume, first_seq)
)
"""

_SIXTH = """
ALTER TABLE volumes ADD COLUMN pool TEXT DEFAULT 'default';
ALTER TABLE volumes ADD COLUMN barcode TEXT;
ALTER TABLE volumes ADD COLUMN reason TEXT;
ALTER TABLE volumes ADD COLUMN state_at INTEGER;
ALTER TABLE volumes ADD COLUMN successor TEXT;

CREATE TABLE drive_health (
    drive       TEXT NOT NULL,
    at          INTEGER NOT NULL,
    job         TEXT,
    volume      TEXT,
    alerts      TEXT NOT NULL,
    figures     TEXT NOT NULL,
    PRIMARY KEY (drive, at)
);

CREATE TABLE volume_health (
    volume      TEXT NOT NULL REFERENCES volumes,
    at          INTEGER NOT NULL,
    job         TEXT,
    drive       TEXT NOT NULL,
    alerts      TEXT NOT NULL,
    figures     TEXT NOT NULL,
    PRIMARY KEY (volume, at)
)
"""

MIGRATIONS: Sequence[Migration] = (first, second, third, fourth, fifth, sixth)
"""Step n leads from version n to version n + 1. Steps that have been released are never changed, only added to."""

APPLICATION_ID = 0x544C4F4D
"""`TLOM`: marks the file as a catalog of tapeloom (PRAGMA application_id)."""

_OBJECT = "id job content level as_of parent outcome blocks bytes files digest troubles step codec key stands_for"
OBJECT = _OBJECT.split()
"""What of an object is shown as it stands."""

_COLUMNS = {
    "sources": "id name",
    "jobs": "id kind groups status started_at ended_at report",
    "objects": f"{_OBJECT} source",
    "copies": "id object job writer agent agent_group drive status",
    "volumes": "id label drive cartridge state sequence previous block_bytes made_at end_position "
    "pool barcode reason state_at successor",
    "receipts": "id copy volume job filemark first_seq last_seq blocks bytes runs given_at",
    "appends": "volume job agent checkpoints",
    "damages": "copy volume first_seq last_seq harm found_at",
    "drive_health": "drive at job volume alerts figures",
    "volume_health": "volume at job drive alerts figures",
}


def tables(db: peewee.SqliteDatabase) -> Any:
    """The tables as peewee sees them, bound to `db`: no global state, so that one process may open two catalogs."""
    return SimpleNamespace(**{name: peewee.Table(name, columns.split()).bind(db) for name, columns in _COLUMNS.items()})
