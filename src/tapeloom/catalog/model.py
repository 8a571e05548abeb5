"""What the catalog answers with: frozen records, nothing of the database behind them. Times are ns since 1970 UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from ..limits import DEFAULT_POOL, PAX_END_BYTES
from ..volume.harm import Harm
from ..volume.header import Content, Level

if TYPE_CHECKING:
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
    """Blocks of it that have a receipt were found harmed. Beside that it may be complete or partial."""
    RETIRED = "retired"
    """No longer counted on: its volume is out of use."""


class VolumeState(StrEnum):
    APPENDABLE = "appendable"
    FULL = "full"
    DAMAGED = "damaged"
    RETIRED = "retired"
    """No job goes on with it; what it holds may still be read."""
    SCRATCH = "scratch"
    """Nothing on it is wanted any more: it may be written from its beginning."""
    UNKNOWN = "unknown"
    """Its tape does not say what became of it after it was last written: it is read, and nothing else."""


class Place(Struct, frozen=True):
    """Who is to write a copy: an agent, its group, its drive."""

    agent: str
    group: str
    drive: str


class Job(Struct, frozen=True):
    """One run of one schedule. `report` is what its end said of it."""

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


class Damage(Struct, frozen=True):
    """Blocks `first` to `last` of a copy, which were found harmed on the volume `label`, and when they last were."""

    volume: UUID
    label: str
    first: int
    last: int
    harm: Harm
    found_at: int

    @property
    def blocks(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        blocks = f"block {self.first}" if self.first == self.last else f"blocks {self.first} to {self.last}"
        return f"{blocks} on {self.label}: {self.harm.words}"

    def as_json(self) -> dict[str, Any]:
        return {
            "volume": self.label,
            "first": self.first,
            "last": self.last,
            "harm": self.harm.value,
            "found_at": iso(self.found_at),
        }


class Copy(Struct, frozen=True):
    """One object's instance on the volumes of one agent. `volumes` are labels, in the order of the object's blocks,
    `damage` what is known to be harmed, in order of seq."""

    id: int
    object: UUID
    job: UUID
    agent: str
    group: str
    drive: str
    status: CopyStatus
    volumes: tuple[str, ...]
    damage: tuple[Damage, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "group": self.group,
            "drive": self.drive,
            "volumes": list(self.volumes),
            "status": self.status.value,
            "damage": [one.as_json() for one in self.damage],
        }


class Object(Struct, frozen=True):
    """One version of one source's data sequence. `blocks`, `bytes` and `files` are None until its source has ended.

    `step`: every block but the last stands for so many bytes of the sequence, None where they differ or nobody knows.
    `codec` names the compression of its blocks, `key` is the id of the key that they are sealed with; None: neither.
    The parent of a file index is the object that it is the index of. `pieced`: each of its copies lacks something, one
    at least because it is damaged, but together they still give every block. `stands_for`: of a full one that was made
    of other objects, the one whose state it has.
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
    pieced: bool = False
    stands_for: UUID | None = None

    @property
    def is_index(self) -> bool:
        """Whether it is a file index, which goes along with another object."""
        return self.content == Content.INDEX

    @property
    def is_export(self) -> bool:
        """Whether it is an exported catalog."""
        return self.content == Content.CATALOG

    @property
    def is_empty_archive(self) -> bool:
        """Whether it is an archive whose source ended well without a single entry: an increment of a tree in which
        nothing had changed. No file index is made of it."""
        return self.content == Content.PAX and self.outcome is Outcome.WHOLE and self.bytes == PAX_END_BYTES

    @property
    def shown(self) -> str:
        """Its source for people, and whether it is the index of something rather than that itself."""
        return f"{self.source} (index)" if self.is_index else self.source

    @property
    def status(self) -> str:
        """`complete`: its source ended well and a copy is complete. `retired`: all its copies are. Else what became of
        reading it; or `damaged` where no copy is complete and one is damaged; or `partial`."""
        of_copies = {copy.status for copy in self.copies}
        if of_copies == {CopyStatus.RETIRED}:
            return CopyStatus.RETIRED.value
        if self.outcome is not Outcome.WHOLE:
            return self.outcome.value
        return next((one.value for one in (CopyStatus.COMPLETE, CopyStatus.DAMAGED) if one in of_copies), "partial")

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "source": self.source,
            "job": str(self.job),
            "level": self.level.name.lower(),
            "as_of": iso(self.as_of),
            "parent": None if self.parent is None else str(self.parent),
            "stands_for": None if self.stands_for is None else str(self.stands_for),
            "bytes": self.bytes,
            "files": self.files,
            "digest": self.digest,
            "codec": self.codec,
            "key": self.key,
            "status": self.status,
            "copies": [copy.as_json() for copy in self.copies],
        }


class JobRow(Struct, frozen=True):
    """One line of a job's table: a copy, and how many of the object's blocks have a receipt in it."""

    object: UUID
    source: str
    outcome: Outcome
    copy: Copy
    blocks_safe: int
    blocks: int | None


class Volume(Struct, frozen=True):
    """`end_position` is the place behind the last filemark with a receipt, or behind the label's; 0: no label yet.

    `drive` is its home: a library, or a drive that stands alone. `pool` None: any pool may take it, once it is scratch.
    `reason` and `state_at` say why it is in its state, and since when; None: it has always been. `successor` is the
    volume that was written from the beginning of its cartridge, so that nothing is left of this one.
    """

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
    pool: str | None = DEFAULT_POOL
    barcode: str | None = None
    reason: str | None = None
    state_at: int | None = None
    successor: UUID | None = None

    @property
    def home(self) -> str:
        return self.drive

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
            "pool": self.pool,
            "barcode": self.barcode,
            "reason": self.reason,
            "state_at": None if self.state_at is None else iso(self.state_at),
            "successor": None if self.successor is None else str(self.successor),
        }


class Receipt(Struct, frozen=True):
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


class CopyRuns(Struct, frozen=True):
    """Where a copy's blocks are, each once, in the order of seq. The first column of `table` indexes `volumes`."""

    volumes: tuple[Volume, ...]
    table: Runs

    def rows(self) -> list[tuple[Volume, int, int, int]]:
        """(volume, position, first seq, blocks) of each run."""
        return [(self.volumes[index], position, seq, blocks) for index, seq, blocks, position in self.table.tolist()]


class Append(Struct, frozen=True):
    """A job of this catalog that began to append to a volume and did not say that it had done.

    `checkpoints` is how many of its checkpoints on this volume have a receipt, so the number of the next one.
    """

    job: UUID
    agent: str
    checkpoints: int


class Tail(Struct, frozen=True):
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
