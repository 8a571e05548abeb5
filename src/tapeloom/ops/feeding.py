"""Runs a plan: each stage is read and fed to a tree, and damage is passed over where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tapeloom.errors import BlockDamaged, DigestWrong, FormatError, RestoreError, VolumeWanted
from tapeloom.ops.planning import Part, Stage
from tapeloom.runtime.reading import Mounts, Reading
from tapeloom.runtime.segments import Fault
from tapeloom.volume.header import Level

if TYPE_CHECKING:
    from tapeloom.agent.extract import TreeRestore
    from tapeloom.catalog import Object
    from tapeloom.index import Index
    from tapeloom.ops.preparing import Prepared
    from tapeloom.seal import KeyRing

REST = 1 << 62

OnOpen = Callable[[Stage, Reading], None]


def reading_of(stage: Stage, mounts: Mounts, keys: KeyRing | None, *, partial: bool) -> Reading:
    """What a stage wants of its object, on its way."""
    item = stage.item
    return Reading(
        item.id,
        stage.blocks,
        stage.copies,
        mounts,
        stage.block_bytes,
        partial=partial,
        spans=stage.spans,
        keys=keys,
        digest=item.digest if stage.parts is None else None,
        sealed=item.key,
    )


def prove(stage: Stage, reading: Reading) -> str | None:
    """Reads an object to its end and proves its digest. The sentence is about one that differs."""
    reading.sequence.skip(REST)
    try:
        reading.sequence.proof()
    except DigestWrong as wrong:
        return f"object {stage.item.id} of {stage.item.source} is unproven: {wrong}"
    return None


def unprovable(reading: Reading) -> list[str]:
    """Why a digest could not be compared, where it is for lack of a library."""
    why = reading.sequence.unproven
    return [] if why is None else [why]


def what_was_lost(item: Object, reading: Reading, damaged: BlockDamaged) -> str:
    """A sentence on what no copy of an object gave, which names it once."""
    why = reading.lost or str(damaged).removeprefix(f"object {item.id}: ")
    return f"object {item.id} of {item.source}: {why}"


def lost(item: Object, reading: Reading, damaged: BlockDamaged) -> RestoreError | VolumeWanted:
    """The same as an error; VolumeWanted where volumes that are not there may give it."""
    what = what_was_lost(item, reading, damaged)
    return VolumeWanted("; ".join([what, *reading.wanted])) if reading.wanted else RestoreError(what)


class Feeding:
    """The running of a plan, and what came of it.

    `lost` are sentences on what no copy gave, `missing` the names of what is not restored because of it, `unproven`
    sentences on digests that differ, `remarks` on those that could not be compared and on where an archive was cut;
    `broken_off`: a source had given no more.
    """

    def __init__(self, prepared: Prepared, mounts: Mounts, *, partial: bool, on_open: OnOpen):
        self.faults: list[Fault] = []
        self.lost: list[str] = []
        self.missing: list[str] = []
        self.unproven: list[str] = []
        self.remarks: list[str] = []
        self.broken_off = False
        self._prepared = prepared
        self._mounts = mounts
        self._partial = partial
        self._on_open = on_open

    def feed(self, tree: TreeRestore) -> None:
        """All stages in order.

        Raises
        ------
        VolumeWanted
            The cartridge of one that may give it is not there.
        RestoreError
            No copy gives a block, and what follows was not asked for (`partial`), or there is nothing of it.
        """
        stages = self._prepared.plan.stages
        for at, stage in enumerate(stages):
            rest: Stage | None = stage
            while rest is not None:
                rest = self._feed(tree, rest, last=at + 1 == len(stages))

    def _feed(self, tree: TreeRestore, stage: Stage, *, last: bool) -> Stage | None:
        """Feeds one stage. Gives what is left of it behind damage."""
        deletions = not self._prepared.plan.indexed and stage.item.level is not Level.FULL
        renamed = self._prepared.renamed.get(stage.item.id)
        try:
            with self.reading(stage) as reading:
                try:
                    tree.feed(reading.sequence, stage.parts, deletions=deletions, wanted=self._matches, renamed=renamed)
                except FormatError as cut:
                    if not self._is_cut(reading):
                        raise
                    self.remarks.append(f"object {stage.item.id} of {stage.item.source}: {cut}")
            return None
        except _Damaged as damaged:
            rest = self._behind(stage, damaged.reading) if self._partial else None
            if not self._partial or (last and rest is None):
                raise
            self.lost.append(damaged.what)
            return rest

    @contextmanager
    def reading(self, stage: Stage) -> Iterator[Reading]:
        """A stage on its way. At the end of the `with` block an object of which all was wanted is proven.

        Raises
        ------
        RestoreError
            No copy gives a block.
        """
        item = stage.item
        reading = reading_of(stage, self._mounts, self._prepared.keys, partial=self._partial)
        try:
            with reading:
                self._on_open(stage, reading)
                yield reading
                if stage.parts is None and (wrong := prove(stage, reading)):
                    self.unproven.append(wrong)
                self.remarks += unprovable(reading)
                self.broken_off |= reading.sequence.broken_off
        except BlockDamaged as damaged:
            if reading.wanted and not self._partial:
                raise lost(item, reading, damaged) from None
            what = what_was_lost(item, reading, damaged)
            raise _Damaged("; ".join([*self.lost, what]), what, reading) from None
        finally:
            self.faults += reading.faults

    @property
    def _matches(self) -> Callable[[bytes], bool] | None:
        asked = self._prepared.asked
        return None if asked is None or self._prepared.plan.indexed else asked.matches

    def _is_cut(self, reading: Reading) -> bool:
        """Whether an archive that breaks off is all that its source gave, and that will do."""
        return self._partial and reading.sequence.broken_off and not len(reading.sequence.peek())

    def _behind(self, stage: Stage, reading: Reading) -> Stage | None:
        """What is left of a stage behind the blocks that are lost; notes what is missing because of them."""
        index, step = self._prepared.indexes.get(stage.item.id), stage.item.step
        if reading.lost_blocks is None or index is None or step is None:
            return None
        parts = self._prepared.parts[stage.item.id] if stage.parts is None else stage.parts
        begin, end = reading.lost_blocks[0] * step, (reading.lost_blocks[1] + 1) * step
        self.missing += _names(index, parts, begin, end)
        go_on = index.next_entry(end)
        rest = behind(parts, go_on) if go_on is not None else []
        return stage.only(rest) if rest else None


class _Damaged(RestoreError):
    """What no copy gave; `what` is about this alone."""

    def __init__(self, lost: str, what: str, reading: Reading):
        super().__init__(f"{lost}; what was restored before is whole")
        self.what = what
        self.reading = reading


def _names(index: Index, parts: Sequence[Part], begin: int, end: int) -> Iterator[str]:
    """What of `parts` stands between these bytes of the sequence."""
    wanted = [part for part in parts if part[0] < end and part[1] > begin]
    for path in index.overlapping(begin, end) if wanted else ():
        row = index.find(path)
        if row is not None and any(first <= row.begin < last for first, last in wanted):
            yield os.fsdecode(path)


def behind(parts: Sequence[Part], offset: int) -> list[Part]:
    """What of `parts` begins at `offset` or later.

    >>> behind([(0, 10), (20, 40), (50, 60)], 30)
    [(30, 40), (50, 60)]
    """
    return [(max(begin, offset), end) for begin, end in parts if end > offset]
