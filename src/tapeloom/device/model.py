"""A drive in software that takes its time (`Model`), and what it has to say afterwards."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from tapeloom._devio import ffi, lib
from tapeloom.softdrive import Model


class ModelCounts(Struct, frozen=True):
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
