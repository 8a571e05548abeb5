"""The rows of the catalog as records, on an open transaction: for questions and for changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from .. import numerics
from ..errors import NotFound
from ..volume.header import Level
from ..volume.spans import Span, union
from . import damage, schema
from .model import Copy, CopyStatus, Job, JobStatus, Object, Outcome, Volume, VolumeState

IDS_AT_ONCE = 400
"""Of so many ids one statement is made; SQLite bounds how many."""


def objects(t: Any, where: Any) -> list[Object]:
    query = (
        t.objects.select(*[getattr(t.objects, name) for name in schema.OBJECT], t.sources.name.alias("source_name"))
        .join(t.sources, on=(t.objects.source == t.sources.id))
        .order_by(t.objects.as_of, t.objects.stands_for.is_null(False), t.objects.id)
    )
    rows = list((query if where is None else query.where(where)).dicts())
    held: Mapping[UUID, list[Copy]] = defaultdict(list)
    of_these = None
    if where is not None:
        every = t.objects.select(t.objects.id).join(t.sources, on=(t.objects.source == t.sources.id)).where(where)
        of_these = _among(t.copies.object, [row["id"] for row in rows], every)
    for copy in copies(t, of_these):
        held[copy.object].append(copy)
    return [
        Object(
            id=UUID(row["id"]),
            source=row["source_name"],
            job=UUID(row["job"]),
            content=row["content"],
            level=Level(row["level"]),
            as_of=row["as_of"],
            parent=_id(row["parent"]),
            outcome=Outcome(row["outcome"]),
            blocks=row["blocks"],
            bytes=row["bytes"],
            files=row["files"],
            digest=row["digest"],
            troubles=tuple(json.loads(row["troubles"])),
            copies=tuple(held[UUID(row["id"])]),
            step=row["step"],
            codec=row["codec"],
            key=row["key"],
            stands_for=_id(row["stands_for"]),
            pieced=row["outcome"] == Outcome.WHOLE.value
            and damage.in_pieces(held[UUID(row["id"])], row["blocks"], partial(spans, t)),
        )
        for row in rows
    ]


def _among(column: Any, ids: list[Any], every: Any) -> Any:
    """That a column has one of these ids, which `every` selects as well: to write a selection down, within others,
    takes longer than to ask for a few by name."""
    return column << (ids if len(ids) <= IDS_AT_ONCE else every)


def copies(t: Any, where: Any) -> list[Copy]:
    query = t.copies.select().order_by(t.copies.id)
    rows = list((query if where is None else query.where(where)).dicts())
    labels: Mapping[int, dict[str, None]] = defaultdict(dict)
    with_labels = (
        t.receipts.select(t.receipts.copy, t.volumes.label)
        .join(t.volumes, on=(t.receipts.volume == t.volumes.id))
        .order_by(t.receipts.first_seq)
    )
    of_these = None
    if where is not None:
        ids, every = [row["id"] for row in rows], t.copies.select(t.copies.id).where(where)
        with_labels = with_labels.where(_among(t.receipts.copy, ids, every))
        of_these = _among(t.damages.copy, ids, every)
    for copy, label in with_labels.tuples():
        labels[copy][label] = None
    harmed = damage.of_copies(t, of_these)
    return [
        Copy(
            id=row["id"],
            object=UUID(row["object"]),
            job=UUID(row["job"]),
            agent=row["agent"],
            group=row["agent_group"],
            drive=row["drive"],
            status=CopyStatus(row["status"]),
            volumes=tuple(labels[row["id"]]),
            damage=harmed.get(row["id"], ()),
        )
        for row in rows
    ]


def jobs(t: Any, where: Any) -> list[Job]:
    query = t.jobs.select().order_by(t.jobs.started_at, t.jobs.id)
    return [
        Job(
            id=UUID(row["id"]),
            kind=row["kind"],
            groups=tuple(json.loads(row["groups"])),
            status=JobStatus(row["status"]),
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            report=json.loads(row["report"]),
        )
        for row in (query if where is None else query.where(where)).dicts()
    ]


def volumes(t: Any, where: Any) -> list[Volume]:
    query = t.volumes.select().order_by(t.volumes.made_at, t.volumes.id)
    return [
        Volume(
            **{
                **row,
                "id": UUID(row["id"]),
                "state": VolumeState(row["state"]),
                "previous": _id(row["previous"]),
                "successor": _id(row["successor"]),
            }
        )
        for row in (query if where is None else query.where(where)).dicts()
    ]


def spans(t: Any, copy: int) -> list[Span]:
    """What receipts cover of a copy. A receipt without a gap in it is its first and last seq; others are unpacked."""
    parts: list[Span] = []
    r = t.receipts
    for first, last, blocks, id in (
        r.select(r.first_seq, r.last_seq, r.blocks, r.id).where(r.copy == copy).order_by(r.first_seq).tuples()
    ):
        if last - first + 1 == blocks:
            parts.append((first, last))
        else:
            (packed,) = next(iter(r.select(r.runs).where(r.id == id).tuples()))
            numerics.load()  # for the few that have gaps
            from ..volume import runs as run_tables

            parts += run_tables.spans(run_tables.unpack(packed))
    return union(parts)


def blocks_met(t: Any, object_id: UUID) -> int:
    (blocks,) = next(iter(t.objects.select(t.objects.blocks).where(t.objects.id == str(object_id)).tuples()))
    if blocks is not None:
        return int(blocks)
    lasts = (
        t.receipts.select(t.receipts.last_seq)
        .join(t.copies, on=(t.receipts.copy == t.copies.id))
        .where(t.copies.object == str(object_id))
        .tuples()
    )
    return max((int(last) + 1 for (last,) in lasts), default=0)


def copy_of(t: Any, id: int, path: Path) -> Copy:
    found = copies(t, t.copies.id == id)
    if not found:
        raise NotFound(f"no copy {id} in {path}")
    return found[0]


def volume_of(t: Any, where: Any, name: object, path: Path) -> Volume:
    found = volumes(t, where)
    if not found:
        raise NotFound(f"no volume {name} in {path}; the verb `volumes` lists them")
    return found[0]


def no_source(t: Any, source: str, path: Path) -> str:
    known = [row[0] for row in t.sources.select(t.sources.name).order_by(t.sources.name).limit(20).tuples()]
    return f"no object of a source {source} in {path}" + (
        f"; it knows {', '.join(known)}" if known else "; it is empty"
    )


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
