"""Reading copies back and checking every block: both checksums, and that it is the block that belongs there.

What is found is taken down in the catalog: damage that is new, and damage that is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom.catalog import Catalog, Copy, CopyStatus, Object
from tapeloom.config import Config
from tapeloom.errors import EndOfData, NotFound, TapeloomError, VolumeWanted
from tapeloom.limits import PAGE_BYTES
from tapeloom.ops.choose import choose_object, segments
from tapeloom.ops.damage import findings, take_down
from tapeloom.ops.mounts import Mounts
from tapeloom.runtime.drives import Sharing
from tapeloom.runtime.reading import POOL, SLOTS_MIN, read_segment, restore_arena
from tapeloom.runtime.segments import Fault, Segment
from tapeloom.volume.harm import Harm

if TYPE_CHECKING:
    from tapeloom.volume.waiting import Waiting


class Checked(Struct, frozen=True):
    """One copy after reading it back. `copy` is as the catalog had it before; it has so many `blocks`."""

    object: Object
    copy: Copy
    blocks: int
    faults: list[Fault]

    @property
    def blocks_good(self) -> int:
        return self.blocks - sum(fault.where.blocks for fault in self.faults)

    @property
    def harmed(self) -> list[Fault]:
        """What is wrong on the medium. Where it is another fault, a drive or a volume could not be had, and nothing is
        known of the copy."""
        return [fault for fault in self.faults if fault.harm]

    @property
    def status(self) -> str:
        return "damaged" if self.harmed else "not read" if self.faults else "good"


class VerifyResult(Struct, frozen=True):
    """`checked` copies were read; `passed_over` were known as incomplete and were not. `cleared` are those of `checked`
    that were known as damaged, and are not any more: they are now what is given with them. `unrecorded` says why the
    catalog does not know what was found, where it does not; `wanted` are volumes that were not there, in words."""

    checked: list[Checked]
    passed_over: list[tuple[Object, Copy]]
    cleared: list[tuple[Checked, CopyStatus]] = field(default_factory=list)
    unrecorded: str | None = None
    wanted: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[Fault]:
        return [fault for one in self.checked for fault in one.faults]

    @property
    def exit_status(self) -> int:
        """3: nothing was done, since no drive gave a block of any volume."""
        if self.faults and not any(one.blocks_good or one.harmed for one in self.checked):
            return 3
        return 1 if self.faults else 0


def verify(
    config: Config,
    name: str | None = None,
    *,
    volume: str | None = None,
    copy: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    waiting: Waiting | None = None,
) -> VerifyResult:
    """Verifies an object's copies, those on one volume, or all there are; in order of volumes and positions, each
    volume in one pass.

    `on_progress` is told of blocks read and blocks in all. The catalog takes down which ranges are harmed, and that
    ranges are not any more. A volume that cannot be had says nothing of its blocks. With `waiting`, cartridges that are
    not there are waited for.

    Raises
    ------
    NotFound
        There is no such object, source or volume, or no agent of that name.
    """
    with Catalog.open(config.server.state, readonly=True) as catalog:
        if copy is not None and copy not in config.agents:
            _refuse_unknown_agent(catalog, copy)
        chosen, passed_over = _choose(catalog, name, volume, copy)
        work = [
            (part, item, one)
            for item, one in chosen
            for part in segments(catalog, one)
            if volume is None or part.label == volume
        ]
        order = {known.id: number for number, known in enumerate(catalog.volumes())}
        work.sort(key=lambda row: (order[row[0].volume], row[0].position))
        checked = {one.id: Checked(item, one, 0, []) for item, one in chosen}
        total = sum(part.blocks for part, _, _ in work)
        slot_bytes = max((catalog.volume(part.volume).block_bytes for part, _, _ in work), default=PAGE_BYTES)
        with Mounts(config, catalog.volume, waiting=waiting) as mounts:
            checker = _Checker(mounts, slot_bytes)
            done = 0
            for part, item, one in work:
                before = checked[one.id]
                faults = checker.check(part, item.id)
                checked[one.id] = replace(before, blocks=before.blocks + part.blocks, faults=before.faults + faults)
                done += part.blocks
                on_progress(done, total)
    state, every = config.server.state, list(checked.values())
    concerned = {each.copy.id for each in every if each.copy.damage or each.faults}
    looked_at = [part for part in checker.looked_at if part.copy_id in concerned]
    unrecorded = take_down(state, findings(looked_at, [fault for each in every for fault in each.faults]))
    cleared = [] if unrecorded else _cleared(state, every)
    return VerifyResult(every, passed_over, cleared, unrecorded, list(checker.wanted.values()))


def _cleared(state: Path, checked: Sequence[Checked]) -> list[tuple[Checked, CopyStatus]]:
    damaged = [each for each in checked if each.copy.damage]
    if not damaged:
        return []
    with Catalog.open(state, readonly=True) as catalog:
        return [(each, now.status) for each in damaged if not (now := catalog.copy(each.copy.id)).damage]


def _refuse_unknown_agent(catalog: Catalog, agent: str) -> None:
    """Who is gone from the configuration may have written copies all the same."""
    known = sorted({copy.agent for item in catalog.objects(indexes=True) for copy in item.copies})
    if agent not in known:
        raise NotFound(f"no media agent is called {agent}; there are copies of {', '.join(known) or 'none'}")


def _choose(
    catalog: Catalog, name: str | None, volume: str | None, agent: str | None
) -> tuple[list[tuple[Object, Copy]], list[tuple[Object, Copy]]]:
    if volume is not None:
        catalog.volume(volume)  # NotFound
    items: Sequence[Object] = (
        catalog.objects(indexes=True) if name is None else [choose_object(catalog, name, partial=True)]
    )
    chosen: list[tuple[Object, Copy]] = []
    passed_over: list[tuple[Object, Copy]] = []
    for item in items:
        for one in item.copies:
            if (volume is not None and volume not in one.volumes) or (agent is not None and one.agent != agent):
                continue
            if one.status is CopyStatus.RETIRED:  # nobody counts on it, and its volume may be blank by now
                continue
            known_good = one.status in (CopyStatus.COMPLETE, CopyStatus.DAMAGED)
            (chosen if known_good else passed_over).append((item, one))
    return chosen, passed_over


class _Checker:
    def __init__(self, mounts: Mounts, slot_bytes: int):
        self._mounts = mounts
        slots = max(SLOTS_MIN, 16)
        self._arena = restore_arena(-(-slot_bytes // PAGE_BYTES) * PAGE_BYTES, slots)
        self._sharing = Sharing(self._arena)
        nothing_wanted = np.zeros(0, _kernel.WANT)
        self._splitter = _kernel.Splitter(self._arena, POOL, nothing_wanted, faults_max=1)
        self.looked_at: list[Segment] = []
        """What was read, right or wrong."""
        self.wanted: dict[UUID, str] = {}
        """Volumes that were not there."""

    def check(self, segment: Segment, object_id: UUID) -> list[Fault]:
        """All faults of one segment."""
        faults: list[Fault] = []
        while segment.blocks:
            try:
                place = self._mounts.place(segment.volume, threading.Event())
                self._sharing.share_with(place.device)
            except VolumeWanted as error:
                self.wanted.setdefault(segment.volume, str(error))
                return [*faults, _unread(segment, error)]
            except TapeloomError as error:
                return [*faults, _unread(segment, error)]
            try:
                fault = read_segment(self._splitter, place, segment, object_id)
            except EndOfData as error:  # on the way there: the tape ends before it
                return [*faults, _unread(segment, error, Harm.MISSING)]
            except TapeloomError as error:
                return [*faults, _unread(segment, error)]
            if fault is None:
                self.looked_at.append(segment)
                return faults
            faults.append(fault)
            if fault.seq > segment.seq:
                self.looked_at.append(segment.part(segment.seq, fault.seq - 1))
            segment = segment.after(fault.seq)
        return faults


def _unread(segment: Segment, error: TapeloomError, harm: Harm | None = None) -> Fault:
    return Fault(segment, f"cannot be read: {error}", harm)
