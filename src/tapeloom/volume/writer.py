"""One agent's tape in one job: volumes one after another, and the records and receipts between the blocks of
objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct

from tapeloom.device import Device
from tapeloom.errors import DeviceError, EndOfMedium, PositionLost, VolumeWanted
from tapeloom.volume import runs as run_tables
from tapeloom.volume.condition import Condition
from tapeloom.volume.header import Crc32c
from tapeloom.volume.labelling import stands_at
from tapeloom.volume.mounting import Mounted, Shelf, Where, mount_for_append
from tapeloom.volume.records import Checkpoint, Ended, Entry, JobEnd, JobStart, Record, VolumeEnd, encode
from tapeloom.volume.runs import BLOCKS, OBJECT, Runs
from tapeloom.volume.waiting import Waiting

if TYPE_CHECKING:
    from tapeloom.health import Health

SEAM_TRIES = 3
"""Near the end of the tape a drive refuses every other write, and takes the next: so does the st driver of Linux."""


class Whose(Struct, frozen=True):
    """What the writer has to know of an object by its number in the job."""

    id: UUID
    source: str
    as_of_ns: int
    level: int
    parent: UUID | None
    blocks: int | None
    """None while its source is still read."""
    bytes: int
    failed: bool


class Ledger(Shelf, Protocol):
    """The catalog, as far as receipts go. Each call is one transaction, on disk when it returns."""

    def appending(self, volume: UUID, agent: str, position: int) -> None:
        """Before the first block: what this volume has behind `position` is this job's."""

    def receipt(self, *, agent: str, volume: UUID, end_position: int, runs: dict[UUID, Runs]) -> None:
        """A filemark stands right before `end_position` and every call since the one before has succeeded."""

    def append_ends(self, volume: UUID, agent: str) -> None:
        """Nothing of this job stands behind the volume's last receipt, and nothing will."""

    def volume_full(self, volume: UUID) -> None: ...

    def health(self, volume: UUID, drive: str, health: Health) -> None:
        """What the drive told of itself and of this volume, at the end of a mount."""

    def runs_on(self, volume: UUID) -> tuple[list[Entry], Runs]:
        """Everything that has a receipt on this volume, in order of position."""

    def told_at_start(self, volume: UUID) -> dict[str, Any]:
        """For the field `catalog` of a record (FORMAT.md): what is known before this job, and before its first block
        on this volume."""

    def told(self, objects: Iterable[UUID]) -> dict[str, Any]:
        """The same, of some objects."""

    def told_at_end(self) -> dict[str, Any]:
        """The same, of all objects of this job."""


class Errand(Struct, frozen=True):
    """Who writes, and why: what job-start says."""

    job: UUID
    agent: str
    group: str
    kind: str
    streams: tuple[str, ...]
    block_bytes: int
    software: str
    started_at: int


class VolumeWriter:
    """See `tapeloom.runtime.media.Tape` for the contract. Belongs to its agent's thread.

    `remarks` say which cartridges were left alone, and why, and what else there is to say of the drive before it is
    written to; `condition` what the drive said of its health.
    """

    def __init__(
        self,
        device: Device,
        errand: Errand,
        ledger: Ledger,
        whose: Callable[[int], Whose],
        crc: Crc32c,
        where: Where,
        waiting: Waiting | None = None,
    ):
        self._device = device
        self._errand = errand
        self._ledger = ledger
        self._whose = whose
        self._crc = crc
        self._where = where
        self.waiting = waiting or Waiting()
        self.remarks: list[str] = []
        self.condition = Condition(device, ledger.health)
        self._volume: Mounted | None = None
        self._pending: list[Runs] = []
        self._written: dict[int, int] = {}
        self._checkpoints = 0
        self.position = 0

    @property
    def ops_address(self) -> int:
        return self._device.ops_address

    @property
    def handle_address(self) -> int:
        return self._device.handle_address

    def begin(self) -> None:
        self._mount(previous=None)

    def wrote(self, runs: np.ndarray, position: int) -> None:
        self.position = position
        if len(runs):
            self._pending.append(np.ascontiguousarray(runs).view(np.int64).reshape(-1, 4))

    def checkpoint(self) -> None:
        runs = self._take_pending()
        self._receipt(runs, recorded=self._write_if_room(self._checkpoint_record(runs)))

    def next_volume(self) -> None:
        runs = self._take_pending()
        volume = self._mounted
        recorded = self._write_if_room(self._checkpoint_record(runs))
        self._write_if_room(self._volume_end(runs))
        self._receipt(runs, recorded=recorded)
        self._put_away_full()
        self._mount(previous=volume)

    def finish(self, *, whole: bool) -> None:
        runs = self._take_pending()
        recorded = self._write_if_room(self._checkpoint_record(runs))
        self._write_if_room(self._job_end(whole))
        self._receipt(runs, recorded=recorded)
        self._ledger.append_ends(self._mounted.id, self._errand.agent)
        self.condition.ends()

    def failure(self, status: int) -> DeviceError:
        return self._device.failure(status, f"write at position {self.position}")

    @property
    def _mounted(self) -> Mounted:
        assert self._volume is not None, "begin() comes first"
        return self._volume

    def _mount(self, previous: Mounted | None) -> None:
        """The volume to go on with. One that an earlier job filled so far that not even job-start fits is full, and
        the next one is taken."""
        try:
            self._begin_on(previous)
        except EndOfMedium:
            if self._volume is None or self._volume is previous:
                raise  # not even a label fits
            self._put_away_full()
            self._begin_on(previous)

    def _begin_on(self, previous: Mounted | None) -> None:
        errand = self._errand
        try:
            self._volume = self.waiting.when_there(self._device, partial(self._mounted_now, previous))
        except VolumeWanted as wanted:
            if self.waiting.patient:
                raise
            what = "nothing was written" if previous is None else f"nothing was written behind volume {previous.label}"
            raise VolumeWanted(f"{what}: {wanted.absent}", status=wanted.status) from None
        self.position = self._volume.position
        self._checkpoints = 0
        self._ledger.appending(self._volume.id, errand.agent, self.position)
        self.condition.begins(self._volume.id, self._volume.label)
        stands_at(self._device, self.position)
        self._write(
            JobStart(
                job=errand.job,
                agent=errand.agent,
                group=errand.group,
                kind=errand.kind,
                drive=self._device.name,
                started_at=errand.started_at,
                streams=errand.streams,
                catalog=self._ledger.told_at_start(self._volume.id),
            )
        )

    def _mounted_now(self, previous: Mounted | None) -> Mounted:
        return mount_for_append(
            self._device,
            self._ledger,
            where=self._where,
            block_bytes=self._errand.block_bytes,
            software=self._errand.software,
            previous=previous,
            crc=self._crc,
            passed=self.remarks,
        )

    def _put_away_full(self) -> None:
        self._ledger.append_ends(self._mounted.id, self._errand.agent)
        self._ledger.volume_full(self._mounted.id)
        self.condition.ends()
        self._device.unload()

    def _take_pending(self) -> Runs:
        runs = run_tables.merge(np.concatenate(self._pending)) if self._pending else run_tables.table()
        self._pending.clear()
        for number in run_tables.objects(runs):
            blocks = int(runs[runs[:, OBJECT] == number, BLOCKS].sum())
            self._written[int(number)] = self._written.get(int(number), 0) + blocks
        return runs

    def _receipt(self, runs: Runs, *, recorded: bool) -> None:
        """The filemark, and what it proves. Without a checkpoint record before it there are two: a single one could be
        taken for the one that a drive writes when its writer is gone."""
        marks = 1 if recorded else 2
        self._device.write_filemarks(marks)
        self.position += marks
        at = self._device.position().position
        if at != self.position:
            raise PositionLost(
                f"drive {self._device.name}, volume {self._mounted.label}: the tape stands at {at} and not at "
                f"{self.position}, so somebody "
                "else has moved it; nothing since the last checkpoint has a receipt",
                status=23,
            )
        by_object = {
            self._whose(int(number)).id: run_tables.of_object(runs, number) for number in run_tables.objects(runs)
        }
        self._ledger.receipt(
            agent=self._errand.agent, volume=self._mounted.id, end_position=self.position, runs=by_object
        )

    def _entries(self, runs: Runs) -> tuple[tuple[Entry, ...], Runs]:
        """The objects of a run table, and the table with indices into that list."""
        numbers = run_tables.objects(runs)
        indices = np.searchsorted(numbers, runs[:, OBJECT])
        local = runs.copy()
        local[:, OBJECT] = indices
        return tuple(Entry(self._whose(int(n)).id, self._whose(int(n)).source) for n in numbers), local

    def _checkpoint_record(self, runs: Runs) -> Checkpoint:
        objects, local = self._entries(runs)
        number = self._checkpoints
        self._checkpoints += 1
        return Checkpoint(
            job=self._errand.job,
            agent=self._errand.agent,
            number=number,
            objects=objects,
            runs=local,
            catalog=self._ledger.told(entry.id for entry in objects),
        )

    def _volume_end(self, runs: Runs) -> VolumeEnd:
        before, runs_before = self._ledger.runs_on(self._mounted.id)
        objects, local = self._entries(runs)
        entries = list(before)
        rows = []
        for index, entry in enumerate(objects):
            if entry not in entries:
                entries.append(entry)
            part = run_tables.of_object(local, index).copy()
            part[:, OBJECT] = entries.index(entry)
            rows.append(part)
        table = np.concatenate([runs_before, *rows]) if rows else runs_before
        ordered = table[np.argsort(table[:, run_tables.POSITION], kind="stable")]
        return VolumeEnd(volume=self._mounted.id, label=self._mounted.label, objects=tuple(entries), runs=ordered)

    def _job_end(self, whole_job: bool) -> JobEnd:
        objects = []
        for number, blocks in sorted(self._written.items()):
            whose = self._whose(number)
            whole = whose.blocks is not None and blocks >= whose.blocks
            status = "failed" if whose.failed else "complete" if whole else "partial"
            objects.append(
                Ended(
                    id=whose.id,
                    source=whose.source,
                    as_of=whose.as_of_ns,
                    level=whose.level,
                    parent=whose.parent,
                    blocks=blocks,
                    bytes=whose.bytes,
                    status=status,
                )
            )
        well = whole_job and all(item.status == "complete" for item in objects)
        return JobEnd(
            job=self._errand.job,
            agent=self._errand.agent,
            status="complete" if well else "partial",
            objects=tuple(objects),
            catalog=self._ledger.told_at_end(),
        )

    def _blocks(self, record: Record) -> Sequence[bytes]:
        return encode(
            record,
            volume_id=self._mounted.id,
            first_seq=self.position,
            block_bytes=self._errand.block_bytes,
            now=time.time_ns(),
            crc32c=self._crc,
        )

    def _write(self, record: Record) -> None:
        for block in self._blocks(record):
            self._write_seam(block)

    def _write_if_room(self, record: Record) -> bool:
        """Behind early warning there may be no room left for a record. The receipts are what counts then; a rebuild of
        the catalog reads this volume through instead of its tables."""
        try:
            self._write(record)
        except EndOfMedium:
            return False
        return True

    def _write_seam(self, block: bytes) -> None:
        for attempt in range(SEAM_TRIES):
            try:
                self._device.write(block)
            except EndOfMedium:
                if attempt + 1 == SEAM_TRIES:
                    raise
            else:
                self.position += 1
                return
