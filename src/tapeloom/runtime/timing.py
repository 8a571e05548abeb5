"""How long a drive takes: what a plan predicts, and what decides at run time whether a gap is sought or read through.

One function for both, so that what was predicted is what happens.
"""

from __future__ import annotations

from dataclasses import dataclass

VIRTUAL_RATE = 1e9
VIRTUAL_LOCATE_SECONDS = 0.0
TAPE_RATE = 300e6
TAPE_LOCATE_SECONDS = 3.0
TAPE_MOUNT_SECONDS = 60.0
"""Unloading, fetching, threading and looking at the label: where nobody says otherwise."""

BLOCK_SECONDS = 20e-6
"""What a block costs beside its bytes: a system call, two checksums of a header, a slot that changes hands."""
CALL_SECONDS = 500e-6
"""What a locate costs at least, wherever it leads: what the drive has read ahead is void."""


@dataclass(frozen=True, slots=True)
class Move:
    """How a tape gets to a place: by a locate, or by reading through the blocks before it."""

    seeks: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Timing:
    """What is expected of a drive: bytes per second, seconds of a locate and of changing the cartridge."""

    rate: float
    locate: float
    mount: float

    @classmethod
    def of(cls, *, real: bool, rate: float | None = None, locate: float | None = None) -> Timing:
        """With what is known of a drive, and defaults for the rest; `real`: a tape has to move."""
        return cls(
            rate or (TAPE_RATE if real else VIRTUAL_RATE),
            locate if locate is not None else TAPE_LOCATE_SECONDS if real else VIRTUAL_LOCATE_SECONDS,
            TAPE_MOUNT_SECONDS if real else 0.0,
        )

    def read(self, blocks: int, block_bytes: int) -> float:
        """Seconds to read so many blocks that follow one another."""
        return blocks * (block_bytes / self.rate + BLOCK_SECONDS)

    def move(self, here: int | None, there: int, block_bytes: int) -> Move:
        """The faster way from position `here` (None: nobody knows) to position `there`."""
        if here == there:
            return Move(False, 0.0)
        seek = Move(True, max(self.locate, CALL_SECONDS))
        if here is None or there < here:
            return seek
        through = Move(False, self.read(there - here, block_bytes))
        return through if through.seconds <= seek.seconds else seek
