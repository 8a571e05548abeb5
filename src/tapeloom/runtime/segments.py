"""Where the blocks of a copy stand, in pieces that follow one another on a volume, and what can be wrong with them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tapeloom._kernel import Verdict
from tapeloom.volume.harm import Harm

Span = tuple[int, int]
"""First and last seq, both included."""


class Segment(Struct, frozen=True):
    """Blocks of one object that follow one another on one volume. `copy` names whose they are, for messages; `copy_id`
    is that copy's number in the catalog, 0 where it has none."""

    volume: UUID
    label: str
    copy: str
    position: int
    seq: int
    blocks: int
    copy_id: int = 0

    @property
    def last(self) -> int:
        return self.seq + self.blocks - 1

    def part(self, first: int, last: int) -> Segment:
        """Blocks `first` to `last` of it, both included."""
        return replace(self, position=self.position + first - self.seq, seq=first, blocks=last + 1 - first)

    def after(self, seq: int) -> Segment:
        """What follows block `seq` in it, which may be nothing."""
        return self.part(seq + 1, self.last)


class Fault(Struct, frozen=True):
    """Blocks that are not what they should be, and where. `harm` is how the medium was found; None where that says
    nothing of the medium: the volume could not be had, or what is sealed does not open."""

    where: Segment
    what: str
    harm: Harm | None = None

    @property
    def copy(self) -> str:
        return self.where.copy

    @property
    def label(self) -> str:
        return self.where.label

    @property
    def position(self) -> int:
        return self.where.position

    @property
    def seq(self) -> int:
        return self.where.seq

    def __str__(self) -> str:
        one = self.where
        blocks = f"block {one.seq}" if one.blocks == 1 else f"blocks {one.seq} to {one.last}"
        return f"{blocks} on {self.copy}'s volume {self.label}, position {self.position}: {self.what}"


VERDICT_WORDS = {
    Verdict.FOREIGN: "no block of tapeloom",
    Verdict.HEADER: "its header is damaged",
    Verdict.VERSION_NEW: "it was written by a newer version of tapeloom",
    Verdict.PAYLOAD: "its data is damaged",
    Verdict.MISPLACED: "another block stands there",
}
VERDICT_HARMS = {
    Verdict.FOREIGN: Harm.MISSING,
    Verdict.HEADER: Harm.CHECKSUM,
    Verdict.PAYLOAD: Harm.CHECKSUM,
    Verdict.MISPLACED: Harm.MISSING,
}


def clip(segments: Sequence[Segment], first: int, last: int) -> list[Segment]:
    """The parts of `segments`, which are in order of seq, that hold blocks `first` to `last`, both included."""
    parts = []
    at = bisect_right(segments, first, key=lambda item: item.seq)
    for n in range(max(at - 1, 0), len(segments)):
        segment = segments[n]
        if segment.seq > last:
            break
        begin = max(segment.seq, first)
        end = min(segment.seq + segment.blocks, last + 1)
        if begin < end:
            parts.append(segment.part(begin, end - 1))
    return parts


def cut(segments: Sequence[Segment], spans: Sequence[Span]) -> tuple[list[Segment], list[Segment]]:
    """The parts of `segments` that lie in `spans`, and the others. All are ascending and apart from one another."""
    inside, outside = [], []
    begin = 0
    for segment in segments:
        seq = segment.seq
        while begin < len(spans) and spans[begin][1] < seq:
            begin += 1
        for n in range(begin, len(spans)):
            first, last = spans[n]
            if first > segment.last:
                break
            if first > seq:
                outside.append(segment.part(seq, first - 1))
            inside.append(segment.part(max(first, seq), min(last, segment.last)))
            seq = inside[-1].last + 1
        if seq <= segment.last:
            outside.append(segment.part(seq, segment.last))
    return inside, outside
