"""The catalog as one job's volume writers see it (`tapeloom.volume.writer.Ledger`)."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..errors import NotFound
from ..volume.choosing import label_of_its_own
from ..volume.looking import Look
from ..volume.records import Entry
from ..volume.runs import Runs
from ..volume.shelf import Known, Where
from .catalog import Catalog
from .model import Volume, VolumeState
from .tail import Seen, SeenCheckpoint, append_position

if TYPE_CHECKING:
    from ..health import Doubt, Health


class JobLedger:
    """One job's view. Safe to use from the threads of several agents.

    Two drives of a library never get one cartridge; nor does anybody get a volume of `reading`, which the job reads.
    """

    def __init__(self, catalog: Catalog, job: UUID, reading: Collection[UUID] = ()):
        self._catalog = catalog
        self._job = job
        self._reading = set(reading)
        self._naming = threading.Lock()  # between a look at the labels and a new one
        self._taken: dict[tuple[str, str], str] = {}

    def appendable(self, where: Where, drive: str) -> list[Known]:
        doubts = self._catalog.doubts()
        return [
            self._known(one, doubts.get(one.id))
            for one in self._catalog.appendable(where.home, where.pool)
            if one.id not in self._reading and self._taken.get((where.home, one.cartridge), drive) == drive
        ]

    def scratch(self, where: Where) -> list[Known]:
        found = self._catalog.scratch(where.home, where.pool)
        doubts = self._catalog.doubts()
        return [self._known(one, doubts.get(one.id)) for one in found if one.id not in self._reading]

    def by_cartridge(self, home: str, cartridge: str) -> Known | None:
        found = self._catalog.volume_in(home, cartridge)
        return None if found is None else self._known(found)

    def by_id(self, volume: UUID) -> Known | None:
        try:
            return self._known(self._catalog.volume(volume))
        except NotFound:
            return None

    def home_of(self, volume: UUID) -> str | None:
        found = self.by_id(volume)
        return None if found is None else self._catalog.volume(volume).home

    def take(self, home: str, cartridge: str, drive: str) -> bool:
        return self._taken.setdefault((home, cartridge), drive) == drive  # one step: no other thread comes between

    def make_volume(
        self,
        *,
        id: UUID,
        cartridge: str,
        where: Where,
        sequence: int,
        previous: UUID | None,
        block_bytes: int,
        barcode: str | None,
        replaces: UUID | None,
        label: str | None = None,
    ) -> str:
        with self._naming:
            if label is None and replaces is not None:
                label = self._catalog.volume(replaces).label
            elif label is None:
                label = cartridge if not self._catalog.has_label(cartridge) else label_of_its_own(cartridge, id)
            self._catalog.add_volume(
                id,
                label=label,
                drive=where.home,
                cartridge=cartridge,
                block_bytes=block_bytes,
                sequence=sequence,
                previous=previous,
                pool=where.pool,
                barcode=barcode,
                replaces=replaces,
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

    def health(self, volume: UUID, drive: str, health: Health) -> None:
        self._catalog.keep_health(health, drive=drive, volume=volume, job=self._job)

    def told_at_start(self, volume: UUID) -> dict[str, Any]:
        return self._catalog.told_at_start(self._job, volume)

    def told(self, objects: Iterable[UUID]) -> dict[str, Any]:
        return self._catalog.told(self._job, objects)

    def told_at_end(self) -> dict[str, Any]:
        return self._catalog.told_at_end(self._job)

    def _known(self, volume: Volume, doubt: Doubt | None = None) -> Known:
        return Known(
            id=volume.id,
            label=volume.label,
            cartridge=volume.cartridge,
            sequence=volume.sequence,
            previous=volume.previous,
            block_bytes=volume.block_bytes,
            end_position=volume.end_position,
            unfinished=self._catalog.tail_of(volume.id).unfinished,
            state=volume.state.value,
            pool=volume.pool,
            barcode=volume.barcode,
            replaces=self._catalog.predecessor(volume.id),
            doubt=doubt,
        )
