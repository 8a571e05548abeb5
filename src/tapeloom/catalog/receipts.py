"""The run tables in receipts: where blocks are. Loaded when one is read or written, for they take numpy; most questions
to the catalog do without."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np

from ..errors import CatalogError
from ..volume import runs as run_tables
from ..volume.records import Entry
from ..volume.runs import BLOCKS, OBJECT, POSITION, Runs
from ..volume.spans import blocks_in
from .database import Database
from .model import CopyRuns
from .rows import volumes


def of_copy(database: Database, copy: int) -> CopyRuns:
    """Where the blocks of a copy are, each once, in the order of seq."""
    with database.reading() as t:
        rows = list(
            t.receipts.select(t.receipts.volume, t.receipts.runs)
            .where(t.receipts.copy == copy)
            .order_by(t.receipts.first_seq, t.receipts.id)
            .tuples()
        )
        names = list(dict.fromkeys(volume for volume, _ in rows))
        known = {str(one.id): one for one in volumes(t, t.volumes.id << names)}
    table = _joined([(names.index(volume), packed) for volume, packed in rows])
    return CopyRuns(tuple(known[name] for name in names), run_tables.each_block_once(table))


def on_volume(database: Database, volume: UUID) -> tuple[list[Entry], Runs]:
    """Everything that has a receipt on a volume, by position; the table's first column indexes the list."""
    with database.reading() as t:
        rows = list(
            t.receipts.select(t.copies.object, t.sources.name, t.receipts.runs)
            .join(t.copies, on=(t.receipts.copy == t.copies.id))
            .join(t.objects, on=(t.copies.object == t.objects.id))
            .join(t.sources, on=(t.objects.source == t.sources.id))
            .where(t.receipts.volume == str(volume))
            .tuples()
        )
    entries = {id: Entry(UUID(id), source) for id, source, _ in rows}
    indices = {id: index for index, id in enumerate(entries)}
    table = _joined([(indices[id], packed) for id, _, packed in rows])
    return list(entries.values()), table[np.argsort(table[:, POSITION], kind="stable")]


def columns(table: Runs) -> dict[str, Any]:
    """What a receipt says of the runs of one object; their first column is ignored."""
    own: Runs = np.array(table, dtype=np.int64)
    own[:, OBJECT] = 0
    parts = run_tables.spans(own)
    return {
        "first_seq": parts[0][0],
        "last_seq": parts[-1][1],
        "blocks": blocks_in(parts),  # each once: `rows.spans` counts on it
        "runs": run_tables.pack(own),
    }


def refuse_outside(table: Runs, first: int, filemark: int, object_id: UUID) -> None:
    """Runs that are not between the last receipt and this filemark would be believed at every restore."""
    if table[:, POSITION].min() < first or (table[:, POSITION] + table[:, BLOCKS]).max() > filemark:
        raise CatalogError(
            f"runs of object {object_id} outside of positions {first} to {filemark}: no receipt is given"
        )


def _joined(parts: list[tuple[int, bytes]]) -> Runs:
    """Packed tables one behind the other, each with its index in the first column."""
    tables = [run_tables.table()]
    for index, packed in parts:
        table = run_tables.unpack(packed)
        table[:, OBJECT] = index
        tables.append(table)
    return np.concatenate(tables)
