"""How long a drive takes: what a plan predicts, what decides at run time whether a gap is sought or read through, and
what a drive in software keeps to (csrc/model.h).

One description for all three, so that what was predicted is what happens. A leaf.

A tape is written in wraps, there and back along its whole length. So two places that are far apart in bytes may lie
beside one another, and a locate takes as long as the way along the tape is: `LTO9` has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from tapeloom.quantity import size_of

VIRTUAL_RATE = 1e9
VIRTUAL_LOCATE_SECONDS = 0.0
TAPE_RATE = 300e6
TAPE_MOUNT_SECONDS = 60.0
"""Unloading, fetching, threading and looking at the label: where nobody says otherwise."""

BLOCK_SECONDS = 20e-6
"""What a block costs beside its bytes: a system call, two checksums of a header, a slot that changes hands."""
CALL_SECONDS = 500e-6
"""What a locate costs at least, wherever it leads: what the drive has read ahead is void."""


class Move(Struct, frozen=True):
    """How a tape gets to a place: by a locate, or by reading through the blocks before it."""

    seeks: bool
    seconds: float


class Timing(Struct, frozen=True):
    """What is expected of a drive.

    `rate` in bytes per second, `mount` the seconds of changing the cartridge, `locate` those of a locate that leads
    nowhere (stopping, going back and starting again): to them comes `locate_end`, those from one end of the tape to the
    other, in the proportion that the way has to the tape's length. `wrap_bytes` is what one length of the tape holds;
    0: a drive on which all ways are equal, and `locate` is the whole. Between `rate_min` and `rate` the drive adapts to
    what it is fed; fed less, it stops whenever its buffer of `buffer_bytes` (0: of any size) is empty, which
    takes `backhitch` seconds.
    A `filemark` that waits for what stands before it to be on tape takes so many seconds.

    `steps` are the rates between `rate_min` and `rate` that the tape can run at, rising: by changing between two of
    them it comes to any rate that lies between. Of `mount`, `unload` seconds are those until the cartridge is out.
    `capacity` is what a cartridge holds, 0 where there is no usual one.
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
    steps: tuple[float, ...] = ()
    unload: float = 0.0
    capacity: float = 0.0

    @classmethod
    def of(
        cls, *, real: bool, rate: float | None = None, locate: float | None = None, model: Timing | None = None
    ) -> Timing:
        """With what is known of a drive, and defaults for the rest: those of its `model`, or where it has none, of a
        tape (`real`: it has to move) or of a file. A given `locate` is what any locate takes."""
        if model is None and not real:
            return cls(rate or VIRTUAL_RATE, VIRTUAL_LOCATE_SECONDS if locate is None else locate, 0.0)
        usual = model or replace(LTO9.at_rate(TAPE_RATE), mount=TAPE_MOUNT_SECONDS)
        if rate is not None:
            usual = usual.at_rate(rate)
        return usual if locate is None else replace(usual, locate=locate, locate_end=0.0, wrap_bytes=0.0)

    def at_rate(self, rate: float) -> Timing:
        """The same drive, no faster than that."""
        steps = tuple(step for step in self.steps if step < rate)
        return replace(self, rate=rate, rate_min=min(self.rate_min, rate), steps=steps)

    def scaled(self, by: float) -> Timing:
        """A drive with as many times less on its tape, that is as many times slower: all takes as long with so many
        times less data."""
        return replace(
            self,
            rate=self.rate / by,
            rate_min=self.rate_min / by,
            steps=tuple(step / by for step in self.steps),
            wrap_bytes=self.wrap_bytes / by,
            buffer_bytes=self.buffer_bytes / by,
            capacity=self.capacity / by,
        )

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
        """How often the drive stops, goes back and starts again while so many bytes come at `feed_rate`. That is at its
        slowest; the model takes what is above three quarters of its buffer faster, and stops up to a third more often
        where the buffer fills while it goes back."""
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


LTO7: Final = Timing(
    rate=300e6,
    locate=3.0,
    mount=65.0,
    locate_end=106.0,
    wrap_bytes=6e12 / 112,
    rate_min=101.46e6,
    backhitch=3.0,
    buffer_bytes=1e9,
    filemark=3.0,
    steps=(120.11e6, 138.52e6, 157.67e6, 175.46e6, 194.26e6, 213.06e6, 231.86e6, 250.66e6, 268.56e6, 287.52e6),
    unload=20.0,
    capacity=6e12,
)
LTO8: Final = Timing(
    rate=360e6,
    locate=3.0,
    mount=69.0,
    locate_end=112.0,
    wrap_bytes=12e12 / 208,
    rate_min=112e6,
    backhitch=3.0,
    buffer_bytes=1e9,
    filemark=3.0,
    steps=(135e6, 157.5e6, 180e6, 203e6, 226e6, 249.5e6, 273e6, 306.4e6, 318e6, 341e6),
    unload=24.0,
    capacity=12e12,
)
LTO9: Final = Timing(
    rate=400e6,
    locate=3.0,
    mount=77.0,
    locate_end=84.0,
    wrap_bytes=18e12 / 280,
    rate_min=177e6,
    backhitch=3.0,
    buffer_bytes=1e9,
    filemark=3.0,
    steps=(203e6, 223e6, 244e6, 263e6, 284e6, 305e6, 325e6, 347e6, 366e6, 385e6),
    unload=30.0,
    capacity=18e12,
)
"""A full-height LTO-9 drive with LTO-9 media, and its two forerunners with theirs.

Stated by IBM ("Performance specifications for LTO tape drives", "Speed matching" and "LTO data cartridge", of several
libraries), for full-height drives unless said otherwise:

| | LTO-9 | LTO-8 | LTO-7 |
| --- | --- | --- | --- |
| native rate, MB/s | 400 | 360 | 300 |
| speed matching, MB/s, lowest to highest | 177 to 408 | 112 to 365 | 101.46 to 306 |
| load to ready, unload, s | 17, 30 | 15, 24 | 15, 20 |
| spacing to a record from the load point, on the average, s | 45 | 59, half-height | 56, half-height |
| capacity, TB | 18 | 12 | 6 |
| tracks, written 32 at a time | 8,960: 280 wraps | 6,656: 208 | 3,584: 112 |

The highest of the rates that it lists is above the native one, and left out: that is what the tape takes with what the
drive adds, the native rate what it takes of ours. Where a host's rate lies between two steps, "the drive calculates
the appropriate rate": changing between the two comes to the same.

Made of that: a locate of 3 s and twice what is left of the average times the way along the tape, which is half the
tape on the average from the load point (LTO-9: 3 s + 84 s, and 45 s then). A mount is unloading, 30 s of fetching in a
library, and loading. Not stated there, and assumed: these 30 s; a buffer of 1 GB; 3 s for the shortest locate, for a
back-hitch, and for a filemark that waits for the buffer, which are one and the same motion: stop, go back, start
again; that a full-height LTO-8 or LTO-7 drive spaces as a half-height one does; and that a rewind is a locate.
"""

MODELS: Final = {"lto7": LTO7, "lto8": LTO8, "lto9": LTO9}
PLAIN_BUFFER_BYTES: Final = 16 * 2**20


def _seconds(text: str) -> float:
    return _number(text, 0.0, "is not a count of seconds")


def _scale(text: str) -> float:
    return _number(text, 1e-3, "is not a scale; 32 is one thirty-second of the data in the same time")


def _number(text: str, least: float, wrong: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number < math.inf:
        raise ValueError(f"{text!r} {wrong}")
    return number


def _some(text: str) -> float:
    if (size := size_of(text)) == 0:
        raise ValueError(f"{text!r} never ends")
    return float(size)


def _model(text: str) -> Timing:
    if text not in MODELS:
        raise ValueError(f"{text!r} is no model of a drive; there are {', '.join(MODELS)}")
    return MODELS[text]


_FIELDS: Final = {"buffer": "buffer_bytes", "wrap": "wrap_bytes"}
OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "model": _model,
    "rate": _some,
    "rate_min": _some,
    "buffer": _some,
    "wrap": _some,
    "locate": _seconds,
    "locate_end": _seconds,
    "backhitch": _seconds,
    "filemark": _seconds,
    "mount": _seconds,
    "unload": _seconds,
    "scale": _scale,
}
"""What can stand behind the question mark of a drive for its model, as in "vtape:R1?model=lto9&rate=300MB&scale=32": a
name of `MODELS`, fields of `Timing` that are otherwise (`buffer` and `wrap` in bytes), and last what `Timing.scaled`
does."""


def modelled(options: Mapping[str, str]) -> Timing | None:
    """The timing that the options of a drive ask for; None where none of them is of `OPTIONS`. Without a model, `rate`
    is a plain one: that rate, and a buffer of 16 MiB, where nothing else is said.

    Raises ValueError.
    """
    given = {}
    for key, text in options.items():
        if key in OPTIONS:
            try:
                given[key] = OPTIONS[key](text)
            except ValueError as wrong:
                raise ValueError(f"{key}: {wrong}") from None
    if not given:
        return None
    base, rate, scale = given.pop("model", None), given.pop("rate", None), given.pop("scale", 1.0)
    if base is None and rate is None:
        raise ValueError(
            f"{', '.join(given) or 'scale'}: of which drive? say model= ({', '.join(MODELS)}) or rate= too"
        )
    timing = base if isinstance(base, Timing) else Timing(math.inf, 0.0, 0.0, buffer_bytes=PLAIN_BUFFER_BYTES)
    if isinstance(rate, float):
        timing = timing.at_rate(rate)
    timing = replace(timing, **{_FIELDS.get(key, key): value for key, value in given.items()})
    timing = replace(timing, steps=tuple(step for step in timing.steps if timing.rate_min < step < timing.rate))
    if timing.rate_min > timing.rate:
        raise ValueError(f"rate_min: {timing.rate_min:g} is more than the rate, {timing.rate:g} bytes a second")
    if timing.unload > timing.mount:
        raise ValueError(
            f"mount: {timing.mount:g} s are less than unloading takes, {timing.unload:g} s; set unload= too"
        )
    assert isinstance(scale, float)
    return timing.scaled(scale)
