"""Looking at what stands on a tape behind a position: whose records and blocks those are."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from tapeloom.device import Device
from tapeloom.errors import EndOfData, FormatError
from tapeloom.volume.header import Crc32c, Kind, crc32c, parse
from tapeloom.volume.records import Checkpoint, JobEnd, JobStart, Record, RecordAssembler


class Marked(Struct, frozen=True):
    """A checkpoint record and the filemark behind it, at whose far side `end_position` is."""

    record: Checkpoint
    end_position: int


class Look(Struct, frozen=True):
    """What was found: ids of jobs that records name, of objects that blocks belong to, and checkpoints with their
    filemark.

    `doubtful` is the place behind the first filemark that may be a receipt's although no sound checkpoint stands before
    it: a damaged block does, or another filemark (an agent that had no room for the record writes two), or something
    follows. A single one at the very end, behind sound blocks, is the one that a drive writes when its writer is gone.
    """

    jobs: frozenset[UUID]
    objects: frozenset[UUID]
    checkpoints: tuple[Marked, ...]
    doubtful: int | None = None


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
    damaged = empty = False
    bare: int | None = None
    doubtful: int | None = None
    while True:
        try:
            length = device.read_into(buffer)
        except EndOfData:
            return Look(frozenset(jobs), frozenset(objects), tuple(checkpoints), doubtful)
        position += 1
        if doubtful is None:
            doubtful = bare  # it is not the last thing on the tape
        if length == 0:
            if checkpoint is not None:
                checkpoints.append(Marked(checkpoint, position))
            elif damaged or empty:
                doubtful = doubtful or position
            else:
                bare = position
            checkpoint, damaged, empty = None, False, True
            continue
        empty = False
        checkpoint_before, checkpoint = checkpoint, None
        try:
            header, payload = parse(memoryview(buffer)[:length], crc32c=crc)
        except FormatError:
            assembler.broken()
            damaged = True
            continue
        if header.kind is not Kind.RECORD:
            objects.add(header.object)
            damaged = False
            continue
        record: Record | None = assembler.feed(header, payload)
        checkpoint = checkpoint_before
        if isinstance(record, JobStart | Checkpoint | JobEnd):
            jobs.add(record.job)
        if isinstance(record, Checkpoint):
            checkpoint = record
