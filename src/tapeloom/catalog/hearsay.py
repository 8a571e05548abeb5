"""Rows of a catalog as the records of a tape tell them (`telling` wrote them), checked before they are believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from ..volume.evidence import Found, Seen
from ..volume.header import Content, Level
from .model import JobStatus, Outcome, VolumeState

T = TypeVar("T")
Row = Mapping[str, Any]


class ToldJob(Struct, frozen=True):
    """`guessed`: no catalog's row, but what the start of an agent's record lets one think."""

    id: str
    kind: str
    groups: tuple[str, ...]
    status: JobStatus
    started_at: int
    ended_at: int | None = None
    guessed: bool = False


class ToldCopy(Struct, frozen=True):
    job: str
    writer: str
    agent: str
    group: str
    drive: str
    retired: bool = False


class ToldObject(Struct, frozen=True):
    """`guessed`: what its own blocks say, and the agents that wrote them."""

    id: str
    source: str
    job: str
    content: int
    level: int
    as_of: int
    parent: str | None
    stands_for: str | None
    outcome: Outcome
    blocks: int | None
    bytes: int | None
    files: int | None
    digest: str | None
    troubles: tuple[str, ...]
    step: int | None
    codec: str | None
    key: str | None
    copies: tuple[ToldCopy, ...] = ()
    guessed: bool = False

    @property
    def ended(self) -> bool:
        return self.outcome in (Outcome.WHOLE, Outcome.FAILED)


class ToldVolume(Struct, frozen=True):
    id: str
    label: str
    state: VolumeState
    row: Row
    """All its columns."""


class Told(Struct, frozen=True):
    """All that one volume's records tell: of each row what stands last on tape. `begun`: the job a copy belongs to,
    by its object, its agent and the job that wrote it then."""

    jobs: tuple[ToldJob, ...]
    objects: tuple[ToldObject, ...]
    volumes: tuple[ToldVolume, ...]
    begun: Mapping[tuple[str, str, str], str]
    unfit: int
    """Rows that are not what FORMAT.md says, and were passed over."""


def told_by(found: Found) -> Told:
    unfit: list[object] = []

    def each(kind: str, made: Callable[[Row], T]) -> Iterable[T]:
        for said in found.said:
            for row in said.get(kind, ()):
                try:
                    yield made(row)
                except (KeyError, TypeError, ValueError, AttributeError):
                    unfit.append(row)

    jobs = {one.id: one for one in each("jobs", _job)}
    volumes = {one.id: one for one in each("volumes", _volume)}
    objects: dict[tuple[str, bool], ToldObject] = {}
    begun: dict[tuple[str, str, str], str] = {}
    for one in each("objects", _object):
        objects[one.id, one.ended] = one
        begun |= {(one.id, copy.agent, copy.writer): copy.job for copy in one.copies}
    last = tuple(one for (id, ended), one in objects.items() if ended or (id, True) not in objects)
    return Told(tuple(jobs.values()), last, tuple(volumes.values()), begun, len(unfit))


def seen_object(id: UUID, seen: Seen, job: str, found: Found) -> ToldObject:
    """An object that no record tells of, by its blocks, and by the end of a job that had it whole."""
    outcome, blocks, size = Outcome.INTERRUPTED, seen.blocks, seen.bytes
    if blocks is not None:
        outcome = Outcome.FAILED if seen.failed else Outcome.WHOLE
    ended = found.ended.get(id)
    if blocks is None and ended is not None and ended.status == "complete":
        outcome, blocks, size = Outcome.WHOLE, ended.blocks, ended.bytes
    parent = None if seen.parent is None else str(seen.parent)
    made_from = seen.level is Level.FULL and seen.content == Content.PAX
    return ToldObject(
        id=str(id),
        source=seen.source,
        job=job,
        content=seen.content,
        level=int(seen.level),
        as_of=seen.as_of,
        parent=None if made_from else parent,
        stands_for=parent if made_from else None,
        outcome=outcome,
        blocks=blocks,
        bytes=size,
        files=None,
        digest=None,
        troubles=(),
        step=seen.step,
        codec=seen.codec,
        key=seen.key,
        guessed=True,
    )


def _job(row: Row) -> ToldJob:
    groups = tuple(str(one) for one in row["groups"])
    status = JobStatus(row["status"])
    return ToldJob(_id(row["id"]), str(row["kind"]), groups, status, int(row["started_at"]), _number(row, "ended_at"))


def _copy(row: Row) -> ToldCopy:
    return ToldCopy(
        job=_id(row["job"]),
        writer=_id(row["writer"]),
        agent=str(row["agent"]),
        group=str(row["agent_group"]),
        drive=str(row["drive"]),
        retired=bool(row.get("retired")),
    )


def _object(row: Row) -> ToldObject:
    outcome = Outcome(row["outcome"])
    return ToldObject(
        id=_id(row["id"]),
        source=str(row["source"]),
        job=_id(row["job"]),
        content=int(row["content"]),
        level=int(Level(row["level"])),
        as_of=int(row["as_of"]),
        parent=_maybe_id(row.get("parent")),
        stands_for=_maybe_id(row.get("stands_for")),
        outcome=Outcome.INTERRUPTED if outcome is Outcome.READING else outcome,
        blocks=_number(row, "blocks"),
        bytes=_number(row, "bytes"),
        files=_number(row, "files"),
        digest=_text(row, "digest"),
        troubles=tuple(str(one) for one in row.get("troubles", ())),
        step=_number(row, "step"),
        codec=_text(row, "codec"),
        key=_text(row, "key"),
        copies=tuple(_copy(one) for one in row["copies"]),
    )


def _volume(row: Row) -> ToldVolume:
    whole = {"sequence": 1, "cartridge": row["label"]} | dict(row)
    for name in ("sequence", "block_bytes", "made_at", "end_position"):
        whole[name] = int(whole[name])
    return ToldVolume(_id(row["id"]), str(row["label"]), VolumeState(row["state"]), whole)


def _id(text: Any) -> str:
    return str(UUID(text))


def _maybe_id(text: Any) -> str | None:
    return None if text is None else _id(text)


def _number(row: Row, name: str) -> int | None:
    return None if row.get(name) is None else int(row[name])


def _text(row: Row, name: str) -> str | None:
    return None if row.get(name) is None else str(row[name])
