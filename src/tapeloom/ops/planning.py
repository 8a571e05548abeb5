"""What a restore will read, from where, in which order, and how long that should take.

The copies, the order and the blocks are chosen for the least predicted time; the drives decide by the same numbers
(`tapeloom.timing`) at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from tapeloom.catalog import Object, Volume
from tapeloom.catalog.model import iso
from tapeloom.ops.chain import Chain
from tapeloom.runtime.segments import Segment, Span, clip
from tapeloom.timing import Timing
from tapeloom.volume.spans import blocks_in

WORTH_SECONDS = 0.1
WORTH_SHARE = 0.1
"""Another copy than the first is taken where it saves so much, or mounting, by what is predicted."""

Part = tuple[int, int]
"""Bytes of a sequence, from the first one up to but not including the second."""


class Stage(Struct, frozen=True):
    """One object's share in a restore.

    `copies` are those to read from, the best first, each as segments in order of seq; the first `complete` of them are
    complete, `block_bytes` is the length of the largest block. `parts` are the bytes of its sequence that are wanted,
    ascending, None: all of it; `spans` the blocks that hold them, None: all of them. `entries` counts what stands in
    the parts, where that is known.
    """

    item: Object
    copies: tuple[tuple[Segment, ...], ...]
    complete: int
    blocks: int
    block_bytes: int
    parts: Sequence[Part] | None = None
    spans: Sequence[Span] | None = None
    entries: int | None = None

    def only(self, parts: Sequence[Part]) -> Stage:
        """The same with these parts alone. Where nobody knows which block a byte is in, all blocks hold them."""
        step = self.item.step
        return replace(self, parts=parts, spans=None if step is None else spans_of(parts, step))

    @property
    def blocks_wanted(self) -> int:
        return self.blocks if self.spans is None else blocks_in(self.spans)

    @property
    def bytes(self) -> int:
        """What of the sequence, before compression, stands in the blocks to read."""
        return self.bytes_before(None)

    def bytes_before(self, offset: int | None) -> int:
        """The same, of it what lies before `offset` in the sequence."""
        end = self.item.bytes or 0
        limit = end if offset is None else min(offset, end)
        step = self.item.step
        if self.spans is None or step is None:
            return limit
        return sum(max(0, min((last + 1) * step, limit) - first * step) for first, last in self.spans)

    def segments(self) -> Iterator[Segment]:
        """What is read of the best copy, in order."""
        for first, last in self.spans or [(0, self.blocks - 1)]:
            yield from clip(self.copies[0], first, last)


class VolumeRun(Struct, frozen=True):
    """A volume from its mounting until the next one is mounted in its drive. `passed` are blocks and filemarks that are
    read only because they lie in the way, `passes` how often it is gone through from front to back. `seconds` is None
    for a drive that nothing is known of."""

    label: str
    drive: str
    cartridge: str
    blocks: int
    passed: int
    seeks: int
    passes: int
    seconds: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RestorePlan(Struct, frozen=True):
    """`stages` are in the order in which they are read, `volumes` in that of their mounting. `indexed`: the stages'
    parts make up the state, in any order; else the stages are applied whole, the oldest first."""

    chain: Chain
    stages: tuple[Stage, ...]
    volumes: tuple[VolumeRun, ...]
    indexed: bool
    remarks: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(stage.bytes for stage in self.stages)

    @property
    def blocks(self) -> int:
        return sum(stage.blocks_wanted for stage in self.stages)

    @property
    def seeks(self) -> int:
        return sum(run.seeks for run in self.volumes)

    @property
    def seconds(self) -> float | None:
        """None where nothing is known of a drive."""
        known = [run.seconds for run in self.volumes if run.seconds is not None]
        return sum(known) if len(known) == len(self.volumes) else None

    def as_json(self) -> dict[str, Any]:
        stages = {stage.item.id: stage for stage in self.stages}
        return {
            "chain": [_in_json(item, stages.get(item.id)) for item in self.chain.objects],
            "volumes": [run.as_json() for run in self.volumes],
            "blocks": self.blocks,
            "bytes": self.bytes,
            "seeks": self.seeks,
            "seconds": self.seconds,
            "remarks": list(self.remarks),
        }


def _in_json(item: Object, stage: Stage | None) -> dict[str, Any]:
    return {
        "id": str(item.id),
        "source": item.source,
        "level": item.level.name.lower(),
        "as_of": iso(item.as_of),
        "blocks": 0 if stage is None else stage.blocks_wanted,
        "bytes": 0 if stage is None else stage.bytes,
        "entries": 0 if stage is None else stage.entries,
    }


def spans_of(parts: Iterable[Part], step: int) -> list[Span]:
    """The blocks that these bytes are in, where each block but the last stands for `step` bytes.

    >>> spans_of([(0, 10), (15, 16), (95, 101), (300, 301)], 10)
    [(0, 1), (9, 10), (30, 30)]
    """
    spans: list[Span] = []
    for begin, end in parts:
        if begin == end:
            continue
        first, last = begin // step, (end - 1) // step
        if spans and first <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], last))
        else:
            spans.append((first, last))
    return spans


class _Mounted(Struct):
    volume: Volume
    position: int | None = None
    blocks: int = 0
    passed: int = 0
    seeks: int = 0
    passes: int = 1
    seconds: float = 0.0

    def run(self) -> VolumeRun:
        return VolumeRun(
            self.volume.label,
            self.volume.drive,
            self.volume.cartridge,
            self.blocks,
            self.passed,
            self.seeks,
            self.passes,
            self.seconds if math.isfinite(self.seconds) else None,
        )


class _Cost(Struct, frozen=True):
    seconds: float
    mounts: int

    def beats(self, other: _Cost) -> bool:
        """Whether it is worth to leave the order of copies that is customary, the original first."""
        if not math.isfinite(self.seconds):
            return False
        saved = other.seconds - self.seconds
        worth = max(WORTH_SECONDS, WORTH_SHARE * other.seconds) if math.isfinite(other.seconds) else 0.0
        return saved > worth or (self.mounts < other.mounts and saved > -worth)


class Planner(Struct):
    """Chooses copies and order. `volume_of` as the catalog knows it; `timings` by drive: those that can be used;
    `order` of the volumes, by number."""

    volume_of: Callable[[UUID], Volume]
    timings: Mapping[str, Timing]
    order: Mapping[UUID, int]
    _known: dict[UUID, Volume] = field(default_factory=dict)

    def plan(self, chain: Chain, stages: Sequence[Stage], *, indexed: bool, remarks: Sequence[str]) -> RestorePlan:
        """`stages` come oldest first; what has nothing wanted in it is left out."""
        chosen = [stage for stage in stages if stage.parts is None or stage.parts]
        best = self._cost(self._ordered(chosen, indexed))
        for at, stage in enumerate(chosen):
            for n in range(1, stage.complete):
                way = [*chosen[:at], replace(stage, copies=_first(stage.copies, n)), *chosen[at + 1 :]]
                cost = self._cost(self._ordered(way, indexed))
                if cost.beats(best):
                    best, chosen = cost, way
        ordered = self._ordered(chosen, indexed)
        runs = tuple(mounted.run() for mounted in self._course(ordered))
        return RestorePlan(chain, tuple(ordered), runs, indexed, (*chain.remarks, *remarks, *_remarks(runs)))

    def _ordered(self, stages: list[Stage], indexed: bool) -> list[Stage]:
        """In the order of volumes and positions, where the order is free."""
        return sorted(stages, key=self._beginning) if indexed else stages

    def _beginning(self, stage: Stage) -> tuple[int, int]:
        first = next(stage.segments(), None)
        return (-1, 0) if first is None else (self.order[first.volume], first.position)

    def _cost(self, stages: Iterable[Stage]) -> _Cost:
        course = self._course(stages)
        return _Cost(sum(mounted.seconds for mounted in course), len(course))

    def _course(self, stages: Iterable[Stage]) -> list[_Mounted]:
        """Goes through all that is to be read, as the drives will."""
        course: list[_Mounted] = []
        inside: dict[str, _Mounted] = {}
        for stage in stages:
            for segment in stage.segments():
                volume = self._volume(segment.volume)
                timing = self.timings.get(volume.drive)
                mounted = inside.get(volume.drive)
                if mounted is None or mounted.volume.id != volume.id:
                    mounted = inside[volume.drive] = _Mounted(volume)
                    mounted.seconds = math.inf if timing is None else timing.mount
                    course.append(mounted)
                if timing is None:
                    mounted.blocks += segment.blocks
                    continue
                move = timing.move(mounted.position, segment.position, volume.block_bytes)
                if mounted.position is not None:
                    mounted.passed += 0 if move.seeks else segment.position - mounted.position
                    mounted.passes += segment.position < mounted.position
                mounted.seeks += move.seeks
                mounted.seconds += move.seconds + timing.read(segment.blocks, volume.block_bytes)
                mounted.blocks += segment.blocks
                mounted.position = segment.position + segment.blocks
        return course

    def _volume(self, id: UUID) -> Volume:
        if id not in self._known:
            self._known[id] = self.volume_of(id)
        return self._known[id]


def _first(copies: tuple[tuple[Segment, ...], ...], n: int) -> tuple[tuple[Segment, ...], ...]:
    """The n-th copy in front of the others."""
    return (copies[n], *copies[:n], *copies[n + 1 :])


def _remarks(runs: Sequence[VolumeRun]) -> Iterator[str]:
    mounts: dict[str, int] = {}
    for run in runs:
        mounts[run.label] = mounts.get(run.label, 0) + 1
        if run.passes > 1:
            yield f"volume {run.label} is gone through {run.passes} times: its objects lie among one another"
    for label, times in mounts.items():
        if times > 1:
            yield f"volume {label} is mounted {times} times: objects of this chain go on from it and come back to it"
