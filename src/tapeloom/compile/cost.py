"""What it costs to get one object back that was woven with others, and which runs make it cheap enough.

Of streams that are equally fast, a tape has runs in turn. To restore one of them, a drive reads a run and then goes on
to the next, by reading through what lies between or by a locate, whichever is faster: that is for `Timing` to say, as
it is when a restore runs.
"""

from __future__ import annotations

from msgspec import Struct

from tapeloom.timing import Timing

_NOTHING = 1e-6
"""A difference that sums of fractions have by themselves."""
_TURNS = 256
"""What a locate takes hangs on where on its wraps the tape stands, so that the mean of so many is taken."""


class RestoreCost(Struct, frozen=True):
    """Bytes read, and seconds, both as multiples of what an object in one piece would take."""

    bytes: float
    seconds: float


def restore_cost(timing: Timing, streams: int, run_blocks: int, block_bytes: int) -> RestoreCost:
    """For one of so many streams, in runs of so many blocks. Mounting and the way to the first run are left out: they
    are the same for any object."""
    turn = streams * run_blocks
    alone = timing.read(run_blocks, block_bytes)
    blocks, moving = 0, 0.0
    for number in range(_TURNS):
        end = number * turn + run_blocks
        move = timing.move(end, (number + 1) * turn, block_bytes)
        blocks += run_blocks if move.seeks else turn
        moving += move.seconds
    return RestoreCost(blocks / (_TURNS * run_blocks), 1 + moving / (_TURNS * alone))


def run_blocks_for(timing: Timing, streams: int, block_bytes: int, cost_max: float, run_blocks_max: int) -> int | None:
    """The shortest runs, of 2**n blocks, with which restoring one of so many streams takes at most `cost_max` times the
    seconds of an object in one piece; None if that needs more than `run_blocks_max`."""
    run_blocks = 1
    while run_blocks <= run_blocks_max:
        if restore_cost(timing, streams, run_blocks, block_bytes).seconds <= cost_max + _NOTHING:
            return run_blocks
        run_blocks *= 2
    return None
