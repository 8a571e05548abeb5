"""What the catalog answers with: frozen records, nothing of the database behind them. Times are ns since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ..volume.header import Content, Level
from ..volume.runs import Runs


class JobStatus(StrEnum):
    RUNNING = "running"
    COMPLETE = "complete"
    PARTIAL = "partial"
    """It ended in order, with trouble."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Its process was gone before it could say how it ended."""


class Outcome(StrEnum):
    """What became of reading an object."""

    READING = "reading"
    WHOLE = "whole"
    FAILED = "failed"
    """Its source broke off."""
    INTERRUPTED = "interrupted"
    """Its job ended before its source did."""


class CopyStatus(StrEnum):
    COMPLETE = "complete"
    """Receipts cover every block of the object."""
    PARTIAL = "partial"
    MISSING = "missing"
    """No block has a receipt."""
    DAMAGED = "damaged"
    """Found unreadable in part after it was complete or partial."""
    RETIRED = "retired"
    """No longer counted on: its volume is out of use."""


class VolumeState(StrEnum):
    APPENDABLE = "appendable"
    FULL = "full"
    DAMAGED = "damaged"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Place:
    """Who is to write a copy: an agent, its group, its drive."""

    agent: str
    group: str
    drive: str


@dataclass(frozen=True, slots=True)
class Job:
    id: UUID
    kind: str
    groups: tuple[str, ...]
    status: JobStatus
    started_at: int
    ended_at: int | None
    report: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "kind": self.kind,
            "groups": list(self.groups),
            "status": self.status.value,
            "started_at": iso(self.started_at),
            "ended_at": None if self.ended_at is None else iso(self.ended_at),
            "report": dict(self.report),
        }


@dataclass(frozen=True, slots=True)
class Copy:
    """One object's instance on the volumes of one agent. `volumes` are labels, in the order of the object's blocks."""

    id: int
    object: UUID
    job: UUID
    agent: str
    group: str
    drive: str
    status: CopyStatus
    volumes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "group": self.group,
            "drive": self.drive,
            "volumes": list(self.volumes),
            "status": self.status.value,
        }


@dataclass(frozen=True, slots=True)
class Object:
    """One version of one source's data sequence. `blocks`, `bytes` and `files` are None until its source has ended.

    `step`: every block but the last stands for so many bytes of the sequence, None where they differ or nobody knows.
    `codec` names the compression of its blocks, `key` is the id of the key that they are sealed with; None: neither.
    The parent of a file index is the object that it is the index of.
    """

    id: UUID
    source: str
    job: UUID
    content: int
    level: Level
    as_of: int
    parent: UUID | None
    outcome: Outcome
    blocks: int | None
    bytes: int | None
    files: int | None
    digest: str | None
    troubles: tuple[str, ...]
    copies: tuple[Copy, ...]
    step: int | None = None
    codec: str | None = None
    key: str | None = None

    @property
    def is_index(self) -> bool:
        """Whether it is a file index, which goes along with another object."""
        return self.content == Content.INDEX

    @property
    def shown(self) -> str:
        """Its source for people, and whether it is the index of something rather than that itself."""
        return f"{self.source} (index)" if self.is_index else self.source

    @property
    def status(self) -> str:
        """`complete`: its source ended well and a copy is complete. Else `partial`, or what became of reading it."""
        if self.outcome is not Outcome.WHOLE:
            return self.outcome.value
        return "complete" if any(copy.status is CopyStatus.COMPLETE for copy in self.copies) else "partial"

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "source": self.source,
            "job": str(self.job),
            "level": self.level.name.lower(),
            "as_of": iso(self.as_of),
            "parent": None if self.parent is None else str(self.parent),
            "bytes": self.bytes,
            "files": self.files,
            "digest": self.digest,
            "codec": self.codec,
            "key": self.key,
            "status": self.status,
            "copies": [copy.as_json() for copy in self.copies],
        }


@dataclass(frozen=True, slots=True)
class JobRow:
    """One line of a job's table: a copy, and how many of the object's blocks have a receipt in it."""

    object: UUID
    source: str
    outcome: Outcome
    copy: Copy
    blocks_safe: int
    blocks: int | None


@dataclass(frozen=True, slots=True)
class Volume:
    """`end_position` is the place behind the last filemark with a receipt, or behind the label's; 0: no label yet."""

    id: UUID
    label: str
    drive: str
    cartridge: str
    state: VolumeState
    sequence: int
    previous: UUID | None
    block_bytes: int
    made_at: int
    end_position: int

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "label": self.label,
            "drive": self.drive,
            "cartridge": self.cartridge,
            "state": self.state.value,
            "sequence": self.sequence,
            "previous": None if self.previous is None else str(self.previous),
            "block_bytes": self.block_bytes,
            "made_at": iso(self.made_at),
            "end_position": self.end_position,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that `runs` of one copy are on `volume`, before the filemark at position `filemark`."""

    copy: int
    volume: UUID
    job: UUID
    filemark: int
    first_seq: int
    last_seq: int
    blocks: int
    bytes: int | None
    given_at: int


@dataclass(frozen=True, slots=True)
class CopyRuns:
    """Where a copy's blocks are, each once, in the order of seq. The first column of `table` indexes `volumes`."""

    volumes: tuple[Volume, ...]
    table: Runs

    def rows(self) -> list[tuple[Volume, int, int, int]]:
        """(volume, position, first seq, blocks) of each run."""
        return [(self.volumes[index], position, seq, blocks) for index, seq, blocks, position in self.table.tolist()]


@dataclass(frozen=True, slots=True)
class Append:
    """A job of this catalog that began to append to a volume and did not say that it had done.

    `checkpoints` is how many of its checkpoints on this volume have a receipt, so the number of the next one.
    """

    job: UUID
    agent: str
    checkpoints: int


@dataclass(frozen=True, slots=True)
class Tail:
    """What the catalog knows of the end of a volume: what stands behind `end_position` has no receipt."""

    volume: Volume
    appends: tuple[Append, ...]

    @property
    def end_position(self) -> int:
        return self.volume.end_position

    @property
    def unfinished(self) -> bool:
        return bool(self.appends)


def iso(ns: int) -> str:
    """`ns` since 1970 UTC as ISO 8601, to the ns."""
    seconds, rest = divmod(ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
