"""The records of a plan that unweaves volumes. Sizes are in bytes, times in seconds, places in blocks."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Runs = NDArray[np.int64]

OBJECT, POSITION, BLOCKS = range(3)


class SourceVolume(Struct, frozen=True, eq=False):
    """What stands on a volume of the things wanted.

    `runs` is an int64 array of shape (n, 3) in the order of position; its columns are `OBJECT` (a number that the
    caller gives, the same on all volumes), `POSITION` (of the run's first block) and `BLOCKS`. Every block counts as
    `block_bytes`, though it may be shorter: what is said of a spool is then never too little.
    """

    name: str
    block_bytes: int
    runs: Runs


class Place(Struct, frozen=True):
    """In front of the block at `position` of a volume, which is a row of the volumes given."""

    volume: int
    position: int


class Way(Struct, frozen=True):
    """How an object gets to its target in one pass.

    Its first `spooled_blocks` wait in the spool, until the tape that is read has come to `leaves_at` (None where
    nothing waits): what stands before it on the target has ended there. All later blocks go straight to the target.
    """

    object: int
    blocks: int
    bytes: int
    spooled_blocks: int
    spooled_bytes: int
    leaves_at: Place | None


class Stretch(Struct, frozen=True):
    """Blocks that a pass reads one after another; between two stretches of a volume there is a locate.

    Those of `blocks` that are not among `wanted_blocks` are read only because that is faster than going round them.
    """

    position: int
    blocks: int
    wanted_blocks: int


class Visit(Struct, frozen=True):
    """A volume in a pass. `mounts` is false where it is in the drive already."""

    volume: int
    name: str
    mounts: bool
    stretches: tuple[Stretch, ...]
    bytes_read: int
    bytes_wanted: int
    seconds: float


class Pass(Struct, frozen=True):
    """One way through the volumes.

    `targets` has for each target drive the objects in the order in which they stand on it. That order is all a runner
    has to keep to: a block goes straight to the target if its object is the first there that has not ended, into the
    spool if not.
    """

    targets: tuple[tuple[Way, ...], ...]
    visits: tuple[Visit, ...]
    spool_bytes_max: int
    """The most that waits in the spool at any moment."""
    seconds: float

    @property
    def ways(self) -> tuple[Way, ...]:
        return tuple(way for target in self.targets for way in target)

    @property
    def objects(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(way.object for way in self.ways))

    @property
    def bytes_read(self) -> int:
        return sum(visit.bytes_read for visit in self.visits)

    @property
    def bytes_written(self) -> int:
        return sum(way.bytes for way in self.ways)

    @property
    def bytes_spooled(self) -> int:
        return sum(way.spooled_bytes for way in self.ways)


class PassPlan(Struct, frozen=True):
    """All passes, in order.

    `passes_least` is proven: no plan in which each object is taken in one pass has fewer. `reason` says in a sentence
    why there are so many.
    """

    passes: tuple[Pass, ...]
    passes_least: int
    reason: str

    @property
    def fewest(self) -> bool:
        """Whether it is proven that fewer passes are not enough."""
        return len(self.passes) == self.passes_least

    @property
    def mounts(self) -> int:
        return sum(visit.mounts for each in self.passes for visit in each.visits)

    @property
    def bytes_read(self) -> int:
        return sum(each.bytes_read for each in self.passes)

    @property
    def bytes_written(self) -> int:
        return sum(each.bytes_written for each in self.passes)

    @property
    def spool_bytes_max(self) -> int:
        return max((each.spool_bytes_max for each in self.passes), default=0)

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.passes)
