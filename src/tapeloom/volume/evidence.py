"""What one volume says of itself and of the catalog, as it was found: what a catalog is made again from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from .header import Codec, Content, Flag, Header, Level
from .records import Ended, JobEnd, JobStart, VolumeStart
from .runs import Runs


class Proof(Struct, frozen=True):
    """Blocks before a filemark, and whose they are, for a receipt. `job` None: no record says who wrote them.
    `scanned`: the blocks themselves were read, in the place of a table."""

    job: UUID | None
    agent: str
    filemark: int
    at: int
    runs: Mapping[UUID, Runs]
    scanned: bool = False


class Left(Struct, frozen=True):
    """A job's agent that began to write and did not say that it had done: how many of its checkpoints stand here."""

    job: UUID
    agent: str
    checkpoints: int


class Seen(Struct):
    """What an object's own blocks say of it."""

    source: str
    as_of: int
    level: Level
    parent: UUID | None
    content: int
    codec: str | None = None
    key: str | None = None
    step: int | None = None
    blocks: int | None = None
    """How many there are, once the last one was met."""
    bytes: int | None = None
    failed: bool = False

    def add(self, header: Header) -> None:
        if header.codec is Codec.ZSTD:
            self.codec = "zstd"
        ends = bool(header.flags & Flag.END)
        regular = header.content in (Content.PAX, Content.INDEX) or header.codec is Codec.ZSTD or self.key is not None
        if regular and (not ends or header.seq == 0):
            self.step = max(self.step or 0, header.sequence_bytes)
        if ends:
            self.blocks, self.bytes = header.seq + 1, header.offset + header.sequence_bytes
            self.failed = bool(header.flags & Flag.FAILED)


def seen_in(header: Header) -> Seen:
    sealed = header.key_id.hex() if header.flags & Flag.SEALED else None
    seen = Seen(header.name, header.as_of, header.level, header.parent, int(header.content), key=sealed)
    seen.add(header)
    return seen


class Harmed(Struct, frozen=True):
    """A block with a sound header whose payload is damaged."""

    object: UUID
    seq: int


class Found(Struct, frozen=True):
    """One volume. `end_position` is the place behind its last filemark that proves anything; `behind` counts what
    stands after that and proves nothing. `scanned` counts blocks that were read instead of tables, `by_tables` the
    checkpoints that were taken as they are. `said` are the fields `catalog` of its records, in the order on tape.
    `remarks` are sentences on what was damaged.

    `start` None: its label is damaged, and no drive will take it for what it is.
    """

    id: UUID
    cartridge: str
    label: str | None
    start: VolumeStart | None
    block_bytes: int
    end_position: int
    behind: int
    full: bool
    left: Left | None
    proofs: tuple[Proof, ...]
    starts: tuple[JobStart, ...]
    ends: tuple[tuple[int, JobEnd], ...]
    said: tuple[Mapping[str, Any], ...]
    seen: Mapping[UUID, Seen]
    harmed: tuple[Harmed, ...] = ()
    scanned: int = 0
    by_tables: int = 0
    remarks: tuple[str, ...] = field(default=())

    @property
    def objects(self) -> set[UUID]:
        return {object for proof in self.proofs for object in proof.runs}

    @property
    def ended(self) -> dict[UUID, Ended]:
        """What agents said of the objects that they had written."""
        return {one.id: one for _, end in self.ends for one in end.objects}

    @property
    def way(self) -> str:
        """How it was gone through: by its tables, or block by block."""
        if not self.scanned:
            return "tables"
        return "scan" if not self.by_tables else "tables and scan"
