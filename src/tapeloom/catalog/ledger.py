"""The catalog as one job's volume writers see it (`tapeloom.volume.writer.Ledger`)."""

from __future__ import annotations

import threading
from uuid import UUID

from ..errors import NotFound
from ..volume.looking import Look
from ..volume.mounting import Known, label_of_its_own
from ..volume.records import Entry
from ..volume.runs import Runs
from .catalog import Catalog
from .model import Volume, VolumeState
from .tail import Seen, SeenCheckpoint, append_position


class JobLedger:
    """One job's view. Safe to use from the threads of several agents."""

    def __init__(self, catalog: Catalog, job: UUID):
        self._catalog = catalog
        self._job = job
        self._naming = threading.Lock()  # between a look at the labels and a new one

    def appendable(self, drive: str) -> Known | None:
        return self._known(self._catalog.appendable(drive))

    def by_cartridge(self, drive: str, cartridge: str) -> Known | None:
        return self._known(self._catalog.volume_in(drive, cartridge))

    def drive_of(self, volume: UUID) -> str | None:
        try:
            return self._catalog.volume(volume).drive
        except NotFound:
            return None

    def make_volume(
        self,
        *,
        id: UUID,
        cartridge: str,
        drive: str,
        sequence: int,
        previous: UUID | None,
        block_bytes: int,
    ) -> str:
        with self._naming:
            label = cartridge
            if self._catalog.has_label(label):
                label = label_of_its_own(label, id)
            self._catalog.add_volume(
                id,
                label=label,
                drive=drive,
                cartridge=cartridge,
                block_bytes=block_bytes,
                sequence=sequence,
                previous=previous,
            )
            return label

    def labelled(self, id: UUID, end_position: int) -> None:
        self._catalog.labelled(id, end_position)

    def append_at(self, id: UUID, end_of_data: int, tail: Look | None) -> int:
        seen = None
        if tail is not None:
            seen = Seen(
                jobs=tail.jobs,
                checkpoints=tuple(
                    SeenCheckpoint(one.record.job, one.record.agent, one.record.number, one.end_position)
                    for one in tail.checkpoints
                ),
                strange_objects=tail.objects - self._catalog.knows(tail.objects),
                doubtful=tail.doubtful,
            )
        return append_position(self._catalog.tail_of(id), end_of_data, seen)

    def appending(self, volume: UUID, agent: str, position: int) -> None:
        self._catalog.append_begins(self._job, agent, volume, position)

    def receipt(self, *, agent: str, volume: UUID, end_position: int, runs: dict[UUID, Runs]) -> None:
        self._catalog.receipt(job=self._job, agent=agent, volume=volume, filemark=end_position - 1, runs=runs)

    def append_ends(self, volume: UUID, agent: str) -> None:
        self._catalog.append_ends(self._job, agent, volume)

    def volume_full(self, volume: UUID) -> None:
        self._catalog.set_volume_state(volume, VolumeState.FULL)

    def runs_on(self, volume: UUID) -> tuple[list[Entry], Runs]:
        return self._catalog.runs_on(volume)

    def _known(self, volume: Volume | None) -> Known | None:
        if volume is None:
            return None
        return Known(
            id=volume.id,
            label=volume.label,
            cartridge=volume.cartridge,
            sequence=volume.sequence,
            previous=volume.previous,
            block_bytes=volume.block_bytes,
            end_position=volume.end_position,
            unfinished=self._catalog.tail_of(volume.id).unfinished,
        )
