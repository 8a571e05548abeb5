"""Small indexes out of plain dictionaries, and what they mean, row by row."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO
from uuid import UUID

import numpy as np

from tapeloom.agent.rows import FILE, FOLDER, GONE, HARDLINK, RowBatch
from tapeloom.index import EmptyIndex, Index, IndexWriter

OBJECT = UUID(int=7)
HEADER = 512


@dataclass(frozen=True)
class Entry:
    """One row, as tests write it. `version` makes its time: two versions of one file differ by it."""

    kind: int = FILE
    size: int = 0
    link: bytes = b""
    version: int = 0


Rows = Mapping[bytes, Entry]


def key(path: bytes) -> tuple[bytes, ...]:
    """Canonical order, the slow way."""
    return tuple(path.split(b"/")) if path else ()


def entry_bytes(entry: Entry) -> int:
    if entry.kind == GONE:
        return 0
    return HEADER + (-(-entry.size // 512) * 512 if entry.kind == FILE else 0)


def layout(rows: Rows) -> dict[bytes, tuple[int, int]]:
    """Where each entry stands in the sequence."""
    at, found = 0, {}
    for path in sorted(rows, key=key):
        found[path] = (at, at + entry_bytes(rows[path]))
        at = found[path][1]
    return found


def end_of(rows: Rows) -> int:
    return max((end for _, end in layout(rows).values()), default=0)


def batch_of(rows: Rows, paths: Sequence[bytes] | None = None) -> RowBatch:
    """The rows at `paths`, as they are given; of None, all in canonical order."""
    paths = sorted(rows, key=key) if paths is None else list(paths)
    entries = [rows[path] for path in paths]
    places = layout(rows)
    return RowBatch(
        paths=b"".join(paths),
        path_ends=np.cumsum([len(path) for path in paths], dtype=np.uint64),
        kind=np.array([entry.kind for entry in entries], np.uint8),
        mode=np.array([0o755 if entry.kind == FOLDER else 0o644 for entry in entries], np.uint32),
        uid=np.full(len(paths), 1000, np.uint32),
        gid=np.full(len(paths), 100, np.uint32),
        size=np.array([entry.size for entry in entries], np.uint64),
        mtime=np.array([entry.version for entry in entries], np.int64),
        offset=np.array([places[path][0] for path in paths], np.uint64),
        links=b"".join(entry.link for entry in entries),
        link_ends=np.cumsum([len(entry.link) for entry in entries], dtype=np.uint64),
    )


def write(target: Path | int | IO[bytes], rows: Rows, *, batches: int = 1, object_id: UUID = OBJECT) -> None:
    writer = IndexWriter(target, object_id, "docs", step=4096)
    paths = sorted(rows, key=key)
    size = max(-(-len(paths) // batches), 1)
    for at in range(0, len(paths), size):
        writer.add(batch_of(rows, paths[at : at + size]))
    writer.finish(end_of(rows))


def stored(rows: Rows, *, batches: int = 1) -> bytes:
    with tempfile.TemporaryFile() as file:
        write(file, rows, batches=batches)
        file.seek(0)
        return file.read()


@contextmanager
def opened(*chain: Rows) -> Iterator[list[Index]]:
    indexes = [Index.open(io.BytesIO(stored(rows))) if rows else EmptyIndex(OBJECT, "docs") for rows in chain]
    try:
        yield indexes
    finally:
        for index in indexes:
            index.close()


def paths_of(batches: Iterable[RowBatch]) -> list[bytes]:
    found = []
    for batch in batches:
        starts = [0, *batch.path_ends.tolist()]
        found += [batch.paths[first:last] for first, last in pairwise(starts)]
    return found


def is_below(path: bytes, folder: bytes) -> bool:
    return path != folder and (not folder or path.startswith(folder + b"/"))


def state_after(chain: Sequence[Rows]) -> dict[bytes, tuple[int, Entry]]:
    """The final state: for each path the object that has it, and its entry."""
    state: dict[bytes, tuple[int, Entry]] = {}
    for level, rows in enumerate(chain):
        for path in sorted(rows, key=key):
            entry = rows[path]
            if entry.kind != FOLDER:
                state = {old: have for old, have in state.items() if not is_below(old, path) or have[0] == level}
            if entry.kind == GONE:
                state.pop(path, None)
            else:
                state[path] = (level, entry)
    return state


__all__ = [
    "FILE",
    "FOLDER",
    "GONE",
    "HARDLINK",
    "Entry",
    "batch_of",
    "end_of",
    "key",
    "layout",
    "opened",
    "paths_of",
    "state_after",
    "stored",
    "write",
]
