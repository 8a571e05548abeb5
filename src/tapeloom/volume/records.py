"""Tape records: what an agent writes beside the object blocks, so that a volume explains itself (csrc/FORMAT.md).

`encode` makes the blocks of a record, `RecordAssembler` puts records together again from the blocks of a volume.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import Struct, field

from ..errors import FormatError
from ..limits import HEADER_BYTES, MIB
from . import runs as runs_module
from .header import Buffer, Codec, Content, Crc32c, Flag, Header, Kind, crc32c, pack
from .runs import Runs

RECORD_BYTES_MAX = 512 * MIB
"""A reader does not put together, nor inflate, a record of more: some ten million runs."""

_RUNS_AT_A_TIME = 8192
_LEFT_OUT = {"catalog", "pool", "barcode"}
"""Fields that a record does not have where there is nothing to say."""


class Entry(Struct, frozen=True):
    """One object in the list of a checkpoint or a volume-end; run tables refer to it by its index."""

    id: UUID
    source: str


class Ended(Struct, frozen=True):
    """One object in a job-end: what one agent wrote of it in this job, on all volumes."""

    id: UUID
    source: str
    as_of: int
    level: int
    parent: UUID | None
    blocks: int
    bytes: int
    status: str


class VolumeStart(Struct, frozen=True):
    """The label of a volume, as a record. `pool` and `barcode` are None where nobody has said."""

    volume: UUID
    label: str
    sequence: int
    previous: UUID | None
    block_bytes: int
    written_at: int
    software: str
    format: int = 1
    pool: str | None = None
    barcode: str | None = None


class JobStart(Struct, frozen=True):
    """An agent begins to write. `streams` are the names of its sources; `catalog` see `tapeloom.volume.telling`."""

    job: UUID
    agent: str
    group: str
    kind: str
    drive: str
    started_at: int
    streams: tuple[str, ...]
    catalog: Mapping[str, Any] = field(default_factory=dict)


class _WithRuns(Struct, frozen=True, eq=False):
    """A run table, whose first column counts in `objects`."""

    objects: tuple[Entry, ...] = ()
    runs: Runs = field(default_factory=runs_module.table)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return _scalars(self) == _scalars(other) and np.array_equal(self.runs, other.runs)

    __hash__ = None  # type: ignore[assignment]


class Checkpoint(_WithRuns, frozen=True, eq=False, kw_only=True):
    """The runs since the checkpoint before it on this volume. `number` counts from 0 in a job on this volume."""

    job: UUID
    agent: str
    number: int
    catalog: Mapping[str, Any] = field(default_factory=dict)


class VolumeEnd(_WithRuns, frozen=True, eq=False, kw_only=True):
    """The runs of the whole volume."""

    volume: UUID
    label: str


class JobEnd(Struct, frozen=True):
    """An agent has written what it had to, and what became of each object."""

    job: UUID
    agent: str
    status: str
    objects: tuple[Ended, ...]
    catalog: Mapping[str, Any] = field(default_factory=dict)


Record = VolumeStart | JobStart | Checkpoint | VolumeEnd | JobEnd

_TYPES: Mapping[type[Record], str] = {
    VolumeStart: "volume-start",
    JobStart: "job-start",
    Checkpoint: "checkpoint",
    VolumeEnd: "volume-end",
    JobEnd: "job-end",
}


def encode(
    record: Record,
    *,
    volume_id: UUID,
    first_seq: int,
    block_bytes: int,
    now: int,
    crc32c: Crc32c = crc32c,
) -> list[bytes]:
    """The blocks of `record`, ready to write one after another; deflated where it does not fit one block.

    Parameters
    ----------
    first_seq
        How many blocks of records the volume has already.
    block_bytes
        The largest block, header included.
    now
        Stands in the headers as the time of writing, ns since 1970 UTC.
    """
    room = block_bytes - HEADER_BYTES
    text = bytearray()
    chunks = _json(record)
    for chunk in chunks:
        text += chunk
        if len(text) > room:
            break
    if len(text) <= room:
        codec, stored, length = Codec.NONE, text, len(text)
    else:
        deflate = zlib.compressobj(6)
        codec, stored, length = Codec.ZLIB, bytearray(deflate.compress(text)), len(text)
        for chunk in chunks:
            stored += deflate.compress(chunk)
            length += len(chunk)
        stored += deflate.flush()
    blocks: list[bytes] = []
    for offset in range(0, len(stored), room):
        header = Header(
            object=volume_id,
            seq=first_seq + len(blocks),
            offset=offset,
            as_of=now,
            name=_TYPES[type(record)],
            kind=Kind.RECORD,
            codec=codec,
            flags=Flag.END if offset + room >= len(stored) else 0,
            sequence_bytes=length,
            content=Content.JSON,
        )
        blocks.append(pack(header, memoryview(stored)[offset : offset + room], crc32c=crc32c))
    return blocks


def _json(record: Record) -> Iterator[bytes]:
    """The record's text piece by piece: a million runs never stand in memory as text or as Python numbers."""
    plain = {name: _plain(value) for name, value in _scalars(record).items() if value or name not in _LEFT_OUT}
    if not isinstance(record, _WithRuns):
        yield _dumps(plain)
        return
    yield _dumps(plain)[:-1] + b',"runs":['
    for start in range(0, len(record.runs), _RUNS_AT_A_TIME):
        rows = _dumps(record.runs[start : start + _RUNS_AT_A_TIME].tolist())
        yield (b"," if start else b"") + rows[1:-1]
    yield b"]}"


def _scalars(record: Struct) -> dict[str, Any]:
    """Every field but the run table, in the order of declaration."""
    return {name: getattr(record, name) for name in record.__struct_fields__ if name != "runs"}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Entry | Ended):
        return {name: _plain(item) for name, item in _scalars(value).items()}
    return value


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogateescape")


class RecordAssembler:
    """Puts the records of one volume together, block by block, in the order they stand on it.

    A record with a missing or damaged piece is lost as a whole, the next one is not; `losses` says what was lost, one
    sentence each. Records of a type that this version does not know are passed over.
    """

    def __init__(self) -> None:
        self.losses: list[str] = []
        self._first: Header | None = None
        self._next_seq = 0
        self._stored = bytearray()

    def feed(self, header: Header, payload: Buffer) -> Record | None:
        """Takes the next record block, already verified; gives the record that it completes, if it does."""
        if header.kind is not Kind.RECORD:
            raise FormatError(f"block {header.seq} of {header.object} is a block of an object, not of a tape record")
        if self._first is not None and not self._continues(self._first, header):
            self.broken()
        if self._first is None:
            if header.offset:
                self._lose(header, "its beginning is missing")
                return None
            self._first = header
        self._stored += payload
        self._next_seq = header.seq + 1
        if len(self._stored) > RECORD_BYTES_MAX or header.sequence_bytes > RECORD_BYTES_MAX:
            self._drop("it is larger than any record")
            return None
        if not header.is_end:
            return None
        first, stored = self._first, bytes(self._stored)
        self._clear()
        try:
            return _decode(first, stored)
        except (FormatError, ValueError, KeyError, TypeError, zlib.error) as error:
            self._lose(first, f"its text is not what FORMAT.md says ({error or type(error).__name__})")
            return None

    def broken(self) -> None:
        """Tells that the record begun cannot go on: a block after it was damaged, or the volume ends here."""
        if self._first is not None:
            self._drop("a piece of it is missing")

    def _continues(self, first: Header, header: Header) -> bool:
        return (
            header.seq == self._next_seq
            and header.offset == len(self._stored)
            and header.offset > 0
            and (header.object, header.name, header.codec) == (first.object, first.name, first.codec)
        )

    def _drop(self, why: str) -> None:
        assert self._first is not None
        self._lose(self._first, why)
        self._clear()

    def _lose(self, header: Header, why: str) -> None:
        self.losses.append(f"tape record {header.name}, block {header.seq} of the records of {header.object}: {why}")

    def _clear(self) -> None:
        self._first = None
        self._stored = bytearray()


def _decode(first: Header, stored: bytes) -> Record | None:
    maker = _MAKERS.get(first.name)
    if maker is None:
        return None
    if first.codec is Codec.ZLIB:
        inflate = zlib.decompressobj()
        stored = inflate.decompress(stored, first.sequence_bytes)
        if len(stored) != first.sequence_bytes or not (inflate.eof or inflate.decompress(b"", 1) == b""):
            raise FormatError("its inflated length is not the one in its header")
    fields = json.loads(stored.decode(errors="surrogateescape"))
    if not isinstance(fields, dict):
        raise FormatError("not a JSON object")
    return maker(fields)


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _entries(fields: Mapping[str, Any]) -> tuple[tuple[Entry, ...], Runs]:
    entries = tuple(Entry(UUID(item["id"]), item["source"]) for item in fields["objects"])
    runs = runs_module.table(fields["runs"])
    if len(runs) and not 0 <= runs[:, runs_module.OBJECT].min() <= runs[:, runs_module.OBJECT].max() < len(entries):
        raise FormatError("a run of an object that is not in the list")
    return entries, runs


def _volume_start(fields: Mapping[str, Any]) -> VolumeStart:
    return VolumeStart(
        volume=UUID(fields["volume"]),
        label=fields["label"],
        sequence=int(fields["sequence"]),
        previous=_id(fields["previous"]),
        block_bytes=int(fields["block_bytes"]),
        written_at=int(fields["written_at"]),
        software=fields["software"],
        format=int(fields["format"]),
        pool=fields.get("pool"),
        barcode=fields.get("barcode"),
    )


def _job_start(fields: Mapping[str, Any]) -> JobStart:
    return JobStart(
        job=UUID(fields["job"]),
        agent=fields["agent"],
        group=fields["group"],
        kind=fields["kind"],
        drive=fields["drive"],
        started_at=int(fields["started_at"]),
        streams=tuple(fields["streams"]),
        catalog=fields.get("catalog", {}),
    )


def _checkpoint(fields: Mapping[str, Any]) -> Checkpoint:
    objects, runs = _entries(fields)
    return Checkpoint(
        job=UUID(fields["job"]),
        agent=fields["agent"],
        number=int(fields["number"]),
        objects=objects,
        runs=runs,
        catalog=fields.get("catalog", {}),
    )


def _volume_end(fields: Mapping[str, Any]) -> VolumeEnd:
    objects, runs = _entries(fields)
    return VolumeEnd(volume=UUID(fields["volume"]), label=fields["label"], objects=objects, runs=runs)


def _ended(items: Iterable[Mapping[str, Any]]) -> tuple[Ended, ...]:
    return tuple(
        Ended(
            id=UUID(item["id"]),
            source=item["source"],
            as_of=int(item["as_of"]),
            level=int(item["level"]),
            parent=_id(item["parent"]),
            blocks=int(item["blocks"]),
            bytes=int(item["bytes"]),
            status=item["status"],
        )
        for item in items
    )


def _job_end(fields: Mapping[str, Any]) -> JobEnd:
    return JobEnd(
        job=UUID(fields["job"]),
        agent=fields["agent"],
        status=fields["status"],
        objects=_ended(fields["objects"]),
        catalog=fields.get("catalog", {}),
    )


_MAKERS: Mapping[str, Callable[[Mapping[str, Any]], Record]] = {
    "volume-start": _volume_start,
    "job-start": _job_start,
    "checkpoint": _checkpoint,
    "volume-end": _volume_end,
    "job-end": _job_end,
}
