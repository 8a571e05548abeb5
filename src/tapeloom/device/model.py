"""A drive in software that takes its time: what a model is made of, and what it has to say afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tapeloom import timing
from tapeloom._devio import ffi, lib
from tapeloom.quantity import size_of
from tapeloom.timing import Timing

OPTIONS: Final = (*timing.OPTIONS, "feed", "time")
"""What may stand behind the question mark of a drive for its model."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a drive is to be like. See csrc/model.h for its rules.

    Attributes
    ----------
    timing : the drive.
    simulated : its time is counted, not passed: a call comes back as soon as the files are written, and the drive's
        clock, which begins at 0 when it is opened, goes on by what a real drive would have taken. What comes of it
        holds for one drive whose host does nothing but wait for it, or gives and takes `feed`: where it locates, how
        long it reads and writes, how often it stops. It says nothing of how several drives and their sources hold up
        one another: each drive has a clock of its own, and the time that its host really took is not on it. For that,
        let the time pass.
    feed : bytes a second that the host gives and takes at most, 0 for no limit.
    """

    timing: Timing
    simulated: bool = False
    feed: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelCounts:
    """What a modelled drive did since it was opened, and what its time went into, in seconds.

    `seconds` are all of them by its clock, idle ones included. `backhitches` is how often it ran out of data, or of
    room to read ahead into, and went back; `hitching` the time that it was on its way back, `starved` that it stood
    behind it. `held` is how long its host waited for it; it is no part of the others.
    """

    bytes: int
    backhitches: int
    moves: int
    filemarks: int
    streaming: float
    hitching: float
    starved: float
    moving: float
    marking: float
    changing: float
    held: float
    seconds: float


def model_of(options: Mapping[str, str]) -> Model | None:
    """The model that a drive's options ask for: those of `timing.OPTIONS`, `feed` and `time` ("real" or "simulated").
    None: none of them is there.

    Raises ValueError.
    """
    described = timing.modelled(options)
    if described is None:
        if own := [key for key in ("feed", "time") if key in options]:
            raise ValueError(f"{own[0]}: of which drive? say model= ({', '.join(timing.MODELS)}) or rate= too")
        return None
    pace = options.get("time", "real")
    if pace not in ("real", "simulated"):
        raise ValueError(f"time: {pace!r} is none; it is real or simulated")
    try:
        return Model(described, pace == "simulated", float(size_of(options.get("feed", "0"))))
    except ValueError as wrong:
        raise ValueError(f"feed: {wrong}") from None


class Modelled:
    """The table around a drive's. `bytes_before` is the name of the function that knows how much tape lies before the
    place where it stands."""

    def __init__(self, model: Model, ops: Any, handle: Any, bytes_before: str) -> None:
        self.model = model
        drive = model.timing
        slowest = [drive.rate_min] if 0 < drive.rate_min < drive.rate else []
        steps = [*slowest, *drive.steps, drive.rate]
        described = ffi.new(
            "struct tl_model_drive *",
            {
                "step_count": len(steps),
                "steps": steps,
                "buffer_bytes": drive.buffer_bytes,
                "backhitch": drive.backhitch,
                "filemark": drive.filemark,
                "locate": drive.locate,
                "locate_end": drive.locate_end,
                "wrap_bytes": drive.wrap_bytes,
                "feed": model.feed,
            },
        )
        clock = ffi.NULL if model.simulated else lib.tl_clock_real()
        made = lib.tl_model_new(ops, handle, ffi.addressof(lib, bytes_before), described, clock)
        if not made:
            raise MemoryError
        self._owned = ffi.gc(made, lib.tl_model_free)
        self._began = float(lib.tl_model_now(made))
        self.ops = lib.tl_model_ops(made)
        self.handle = ffi.cast("void *", made)

    def put_in(self) -> None:
        """A cartridge was fetched and loaded."""
        lib.tl_model_change(self._owned, self.model.timing.mount - self.model.timing.unload)

    def taken_out(self) -> None:
        """A cartridge, which stood at its beginning, was unloaded."""
        lib.tl_model_change(self._owned, self.model.timing.unload)

    @property
    def seconds(self) -> float:
        """By the drive's clock, since it was opened."""
        return float(lib.tl_model_now(self._owned)) - self._began

    def counts(self) -> ModelCounts:
        found = ffi.new("struct tl_model_counts *")
        lib.tl_model_counts(self._owned, found)
        return ModelCounts(
            bytes=found.bytes,
            backhitches=found.backhitches,
            moves=found.moves,
            filemarks=found.filemarks,
            streaming=found.streaming,
            hitching=found.hitching,
            starved=found.starved,
            moving=found.moving,
            marking=found.marking,
            changing=found.changing,
            held=found.held,
            seconds=self.seconds,
        )
