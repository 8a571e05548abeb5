"""How long a drive takes: what a plan predicts, and what decides at run time whether a gap is sought or read through.

One function for both, so that what was predicted is what happens. A leaf: imports nothing of tapeloom.

A tape is written in wraps, there and back along its whole length. So two places that are far apart in bytes may lie
beside one another, and a locate takes as long as the way along the tape is: `LTO9` has the figures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

VIRTUAL_RATE = 1e9
VIRTUAL_LOCATE_SECONDS = 0.0
TAPE_RATE = 300e6
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
    """What is expected of a drive.

    `rate` in bytes per second, `mount` the seconds of changing the cartridge, `locate` those of a locate that leads
    nowhere (stopping, going back and starting again): to them comes `locate_end`, those from one end of the tape to the
    other, in the proportion that the way has to the tape's length. `wrap_bytes` is what one length of the tape holds;
    0: a drive on which all ways are equal, and `locate` is the whole. Between `rate_min` and `rate` the drive adapts to
    what it is fed; fed less, it stops whenever its buffer of `buffer_bytes` (0: of any size) is empty, which
    takes `backhitch` seconds.
    A `filemark` that waits for what stands before it to be on tape takes so many seconds.
    """

    rate: float
    locate: float
    mount: float
    locate_end: float = 0.0
    wrap_bytes: float = 0.0
    rate_min: float = 0.0
    backhitch: float = 0.0
    buffer_bytes: float = 0.0
    filemark: float = 0.0

    @classmethod
    def of(cls, *, real: bool, rate: float | None = None, locate: float | None = None) -> Timing:
        """With what is known of a drive, and defaults for the rest; `real`: a tape has to move. A given `locate` is
        what any locate takes."""
        if not real:
            return cls(rate or VIRTUAL_RATE, VIRTUAL_LOCATE_SECONDS if locate is None else locate, 0.0)
        usual = replace(LTO9, rate=rate or TAPE_RATE, mount=TAPE_MOUNT_SECONDS)
        return usual if locate is None else replace(usual, locate=locate, locate_end=0.0, wrap_bytes=0.0)

    def read(self, blocks: int, block_bytes: int) -> float:
        """Seconds to read so many blocks that follow one another."""
        return blocks * (block_bytes / self.rate + BLOCK_SECONDS)

    def move(self, here: int | None, there: int, block_bytes: int) -> Move:
        """The faster way from position `here` (None: nobody knows) to position `there`."""
        if here == there:
            return Move(False, 0.0)
        seek = Move(True, self.seek(here or 0, there, block_bytes))
        if here is None or there < here:
            return seek
        through = Move(False, self.read(there - here, block_bytes))
        return through if through.seconds <= seek.seconds else seek

    def seek(self, here: int, there: int, block_bytes: int) -> float:
        """Seconds of a locate from position `here` to position `there`."""
        way = abs(self._along(there * block_bytes) - self._along(here * block_bytes))
        return max(self.locate + self.locate_end * way, CALL_SECONDS)

    def write(self, size: float, feed_rate: float = math.inf) -> float:
        """Seconds to write so many bytes that come at `feed_rate`, which is more than 0."""
        seconds = size / min(feed_rate, self.rate)
        if self.buffer_bytes:
            # a buffer that is full before the tape is back where it stopped holds up what feeds it
            held_up = max(self.backhitch - self.buffer_bytes / feed_rate, 0.0)
            seconds += held_up * self.stops(size, feed_rate)
        return seconds

    def stops(self, size: float, feed_rate: float) -> float:
        """How often the drive stops, goes back and starts again while so many bytes come at `feed_rate`."""
        if feed_rate >= self.rate_min or not self.backhitch:
            return 0.0
        filled = min(self.buffer_bytes or math.inf, feed_rate * self.backhitch)
        # while the buffer is emptied, more comes
        return size / (filled * self.rate_min / (self.rate_min - feed_rate))

    def _along(self, at: int) -> float:
        """How far along the tape the byte `at` lies: 0 at the load point, 1 at the other end."""
        if not self.wrap_bytes:
            return 0.0
        wrap, part = divmod(at / self.wrap_bytes, 1)
        return 1 - part if wrap % 2 else part


LTO9 = Timing(
    rate=400e6,
    locate=3.0,
    mount=77.0,
    locate_end=84.0,
    wrap_bytes=18e12 / 280,
    rate_min=177e6,
    backhitch=3.0,
    buffer_bytes=1e9,
    filemark=3.0,
)
"""A full-height LTO-9 drive with LTO-9 media.

Stated by IBM ("Performance specifications for LTO tape drives", "Speed matching" and "LTO data cartridge", of several
libraries): 400 MB/s native, adapted down to 177 MB/s; 17 s from load to ready, 30 s to unload; 45 s to space
to a record from the load point, on the average, 55 s to rewind; 18 TB on 8,960 tracks, written 32 at a time: 280 wraps.

Made of that: a locate of 3 s + 84 s x the way along the tape, which is half the tape on the average from the load
point, and 45 s then; unloading, 30 s of fetching in a library, and loading are a mount of 77 s. Not stated there, and
assumed: a buffer of 1 GB, and 3 s for the shortest locate, for a back-hitch, and for a filemark that waits for the
buffer, which are one and the same motion: stop, go back, start again.
"""
