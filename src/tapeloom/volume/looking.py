"""Looking at what stands on a tape behind a position: whose records and blocks those are."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from tapeloom.device import Device
from tapeloom.errors import EndOfData, FormatError
from tapeloom.volume.header import Crc32c, Kind, crc32c, parse
from tapeloom.volume.records import Checkpoint, JobEnd, JobStart, Record, RecordAssembler


@dataclass(frozen=True, slots=True)
class Marked:
    """A checkpoint record and the filemark behind it, at whose far side `end_position` is."""

    record: Checkpoint
    end_position: int


@dataclass(frozen=True, slots=True)
class Look:
    """What was found: ids of jobs that records name, of objects that blocks belong to, and checkpoints with their
    filemark."""

    jobs: frozenset[UUID]
    objects: frozenset[UUID]
    checkpoints: tuple[Marked, ...]


def look(device: Device, position: int, *, crc: Crc32c = crc32c) -> Look:
    """Reads from `position` to the end of data. Damaged blocks are passed over: they prove nothing.

    Raises
    ------
    DeviceError
        The drive cannot read on.
    """
    device.locate(position)
    buffer = bytearray(device.block_bytes_max)
    assembler = RecordAssembler()
    jobs: set[UUID] = set()
    objects: set[UUID] = set()
    checkpoints: list[Marked] = []
    checkpoint: Checkpoint | None = None
    while True:
        try:
            length = device.read_into(buffer)
        except EndOfData:
            return Look(frozenset(jobs), frozenset(objects), tuple(checkpoints))
        position += 1
        if length == 0:
            if checkpoint is not None:
                checkpoints.append(Marked(checkpoint, position))
            checkpoint = None
            continue
        try:
            header, payload = parse(memoryview(buffer)[:length], crc32c=crc)
        except FormatError:
            assembler.broken()
            continue
        if header.kind is not Kind.RECORD:
            objects.add(header.object)
            checkpoint = None
            continue
        record: Record | None = assembler.feed(header, payload)
        if isinstance(record, JobStart | Checkpoint | JobEnd):
            jobs.add(record.job)
        if isinstance(record, Checkpoint):
            checkpoint = record
