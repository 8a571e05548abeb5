"""What a pass reads: stretches of the volumes, and how long it takes.

The drive goes on from one wanted run to the next by reading through or by a locate, as `Timing.move` decides: that is
what it does at run time, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from tapeloom.compile.passes.records import BLOCKS, OBJECT, POSITION, Runs, SourceVolume, Stretch, Visit
from tapeloom.timing import CALL_SECONDS, Timing


def visit(row: int, volume: SourceVolume, objects: Collection[int], timing: Timing, *, mounts: bool) -> Visit | None:
    """The volume, read once for `objects`; None if it has nothing of them. A volume that is mounted is at its load
    point, one that was in the drive already is somewhere."""
    runs = volume.runs[np.isin(volume.runs[:, OBJECT], list(objects))]
    if not len(runs):
        return None
    stretches = tuple(_stretches(runs, volume.block_bytes, timing))
    seconds = timing.mount if mounts else 0.0
    at = 0
    for stretch in stretches:
        seconds += timing.move(at, stretch.position, volume.block_bytes).seconds
        seconds += timing.read(stretch.blocks, volume.block_bytes)
        at = stretch.position + stretch.blocks
    read = sum(stretch.blocks for stretch in stretches) * volume.block_bytes
    wanted = sum(stretch.wanted_blocks for stretch in stretches) * volume.block_bytes
    return Visit(row, volume.name, mounts, stretches, read, wanted, seconds)


def _stretches(runs: Runs, block_bytes: int, timing: Timing) -> Iterable[Stretch]:
    starts, ends = runs[:, POSITION], runs[:, POSITION] + runs[:, BLOCKS]
    gaps = starts[1:] - ends[:-1]
    # most gaps are shorter than any locate pays for, and there may be millions
    worth = max(timing.locate, CALL_SECONDS) / timing.read(1, block_bytes)
    breaks = [
        int(row) + 1
        for row in np.flatnonzero(gaps > worth)
        if timing.move(int(ends[row]), int(starts[row + 1]), block_bytes).seeks
    ]
    wanted = np.concatenate(([0], np.cumsum(runs[:, BLOCKS])))
    for first, last in zip([0, *breaks], [*breaks, len(runs)], strict=True):
        begin, end = int(starts[first]), int(ends[last - 1])
        yield Stretch(begin, end - begin, int(wanted[last] - wanted[first]))
