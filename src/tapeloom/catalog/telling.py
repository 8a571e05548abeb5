"""What the records of a tape say of the catalog: its rows, column by column, so that it can be made again from them.

`tell` makes the field `catalog` of a record. The names in it are those of the tables' columns (csrc/FORMAT.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Any
from uuid import UUID

from . import schema
from .model import CopyStatus
from .standing import VARIABLES_MAX

RECENT_JOBS = 32
"""So many of the jobs before it the start of a job names: a job that wrote nothing is known by them alone."""

_COPY = ("job", "writer", "agent", "agent_group", "drive")
_JOB = ("id", "kind", "groups", "status", "started_at", "ended_at")


def tell(t: Any, *, at: int, objects: Collection[UUID], job: UUID, everything: bool) -> dict[str, Any]:
    """What is known at `at` of these objects, with all their copies, and of the jobs that they and their copies belong
    to; of `job` too. `everything`: also of the jobs before it, and of all volumes."""
    told = list(_objects(t, [str(id) for id in objects]))
    named = {str(job)} | {one["job"] for one in told}
    named |= {copy[key] for one in told for copy in one["copies"] for key in ("job", "writer")}
    jobs = {row["id"]: row for part in _parts(named) for row in _jobs(t, t.jobs.id << part)}
    volumes: list[dict[str, Any]] = []
    if everything:
        recent = t.jobs.select(t.jobs.id).order_by(t.jobs.started_at.desc(), t.jobs.id.desc()).limit(RECENT_JOBS)
        jobs |= {row["id"]: row for row in _jobs(t, t.jobs.id << [row[0] for row in recent.tuples()])}
        volumes = [_without_nothing(row) for row in t.volumes.select().order_by(t.volumes.made_at).dicts()]
    found: dict[str, Any] = {"at": at, "jobs": sorted(jobs.values(), key=lambda row: str(row["id"])), "objects": told}
    return found | ({"volumes": volumes} if volumes else {})


def of_job(t: Any, job: UUID) -> set[UUID]:
    """The objects that a job writes copies of, or has written."""
    mine = (t.copies.job == str(job)) | (t.copies.writer == str(job))
    return {UUID(row[0]) for row in t.copies.select(t.copies.object).where(mine).tuples()}


def job_before(t: Any, volume: UUID, job: UUID) -> UUID | None:
    """The job that wrote to a volume before `job`, as far as receipts say: what its records left open is settled."""
    r = t.receipts
    others = (r.volume == str(volume)) & (r.job != str(job))
    row = next(iter(r.select(r.job).where(others).order_by(r.filemark.desc()).limit(1).tuples()), None)
    return None if row is None else UUID(row[0])


def _jobs(t: Any, where: Any) -> Iterator[dict[str, Any]]:
    for row in t.jobs.select(*[getattr(t.jobs, name) for name in _JOB]).where(where).dicts():
        yield _without_nothing(row | {"groups": json.loads(row["groups"])})


def _objects(t: Any, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    for part in _parts(ids):
        columns = [getattr(t.objects, name) for name in schema.OBJECT]
        query = t.objects.select(*columns, t.sources.name.alias("source")).join(
            t.sources, on=(t.objects.source == t.sources.id)
        )
        copies: dict[str, list[dict[str, Any]]] = {id: [] for id in part}
        for row in t.copies.select().where(t.copies.object << part).order_by(t.copies.id).dicts():
            retired = {"retired": True} if row["status"] == CopyStatus.RETIRED.value else {}
            copies[row["object"]].append({name: row[name] for name in _COPY} | retired)
        for row in query.where(t.objects.id << part).order_by(t.objects.id).dicts():
            shown = row | {"troubles": json.loads(row["troubles"]) or None, "copies": copies[row["id"]]}
            if row["key"] is not None:
                shown["digest"] = None  # of what is sealed: it would tell whoever guesses the content that it is right
            yield _without_nothing(shown)


def _without_nothing(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    left = sorted(ids)
    for first in range(0, len(left), VARIABLES_MAX):
        yield left[first : first + VARIABLES_MAX]
