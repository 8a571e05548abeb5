"""What `ops.bench` found, row by row."""

from __future__ import annotations

from msgspec import Struct, to_builtins

from tapeloom.device.model import ModelCounts
from tapeloom.quantity import rough_rate, rough_size


class ModelledRow(Struct, frozen=True):
    """What a first drive with a model did in one measurement, by its own clock, which does not pass where its time is
    simulated. `starved_seconds` is how long it stood for want of data, behind its back-hitches, which took
    `backhitch_seconds`."""

    seconds: float
    bytes_per_second: float
    backhitches: int
    backhitch_seconds: float
    starved_seconds: float

    @classmethod
    def between(cls, before: ModelCounts | None, after: ModelCounts | None) -> ModelledRow | None:
        """None: the drive has no model."""
        if before is None or after is None:
            return None
        seconds = after.seconds - before.seconds
        return cls(
            seconds=seconds,
            bytes_per_second=(after.bytes - before.bytes) / seconds if seconds else 0.0,
            backhitches=after.backhitches - before.backhitches,
            backhitch_seconds=after.hitching - before.hitching,
            starved_seconds=after.starved - before.starved,
        )

    def cells(self) -> tuple[str, ...]:
        """As text, under `_TITLES`."""
        return (
            f"{self.seconds:.1f} s",
            rough_rate(self.bytes_per_second),
            str(self.backhitches),
            f"{self.starved_seconds:.1f} s",
        )


_TITLES = ("drive time", "drive rate", "back-hitches", "starved")


class BenchRow(Struct, frozen=True):
    """One measurement. `bytes` are those of one copy; `seconds` end with the filemark behind the last block.

    `wakes_per_block` counts how often a thread slept until another one woke it, `blocks_per_run` how many blocks of one
    object followed one another on tape, `drive_share` how much of the time the first drive had something to do.
    """

    block_bytes: int
    streams: int
    mirrors: int
    bytes: int
    seconds: float
    bytes_per_second: float
    cpu_seconds_per_gb: float
    wakes_per_block: float
    blocks_per_run: float
    drive_share: float
    modelled: ModelledRow | None


class BenchResult(Struct, frozen=True):
    """`crc32c` names the implementation in use, `crc32c_bytes_per_second` is what one processor does with it. `remarks`
    are sentences for the user."""

    devices: tuple[str, ...]
    processors: int
    crc32c: str
    crc32c_bytes_per_second: float
    rows: list[BenchRow]
    remarks: list[str]

    def as_json(self) -> dict[str, object]:
        """Plain types, for `json.dumps`."""
        found: dict[str, object] = to_builtins(self)
        return found

    def table(self) -> list[tuple[str, ...]]:
        """The rows as text under their headings, for people."""
        headings = ("block", "streams", "mirrors", "rate", "CPU s/GB", "wakes/block", "blocks/run", "drive busy")
        modelled = any(row.modelled for row in self.rows)
        lines: list[tuple[str, ...]] = [headings + (_TITLES if modelled else ())]
        for row in self.rows:
            lines.append(
                (
                    rough_size(row.block_bytes),
                    str(row.streams),
                    str(row.mirrors),
                    rough_rate(row.bytes_per_second),
                    f"{row.cpu_seconds_per_gb:.3f}",
                    f"{row.wakes_per_block:.2f}",
                    f"{row.blocks_per_run:.1f}",
                    f"{row.drive_share:.0%}",
                    *(row.modelled.cells() if row.modelled else ()),
                )
            )
        return lines
