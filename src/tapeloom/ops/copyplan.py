"""What copying would read and write, before anything moves: rounds, volumes, blocks, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from tapeloom.catalog import Catalog, Object, Volume
from tapeloom.config import Config
from tapeloom.limits import HEADER_BYTES
from tapeloom.ops.mounts import timing_of
from tapeloom.ops.owed import Unpaid
from tapeloom.ops.rounds import Carried, Trip, passes_of, targets
from tapeloom.timing import Timing
from tapeloom.volume.runs import BLOCKS, OBJECT, Runs


class VolumeRead(Struct, frozen=True):
    """One pass of one volume. `passed` are blocks and filemarks that are read only because they lie in the way."""

    agent: str
    drive: str
    label: str
    blocks: int
    bytes: int
    passed: int
    seeks: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class DriveWrite(Struct, frozen=True):
    """What one media agent writes."""

    agent: str
    drive: str
    objects: int
    blocks: int
    bytes: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class PlannedRound(Struct, frozen=True):
    """Drives work at the same time: the slowest decides."""

    reads: tuple[VolumeRead, ...]
    writes: tuple[DriveWrite, ...]

    @property
    def seconds(self) -> float:
        by_drive: dict[str, float] = {}
        for read in self.reads:
            by_drive[read.drive] = by_drive.get(read.drive, 0.0) + read.seconds
        return max([*by_drive.values(), *(write.seconds for write in self.writes)], default=0.0)

    def as_json(self) -> dict[str, Any]:
        return {
            "reads": [one.as_json() for one in self.reads],
            "writes": [one.as_json() for one in self.writes],
            "seconds": self.seconds,
        }


class CopyPlan(Struct, frozen=True):
    """Rounds, one after another; `unpaid` is what no copy can give, `already` counts the copies that are complete.
    `afterwards` says what becomes of volumes when all receipts are there."""

    verb: str
    rounds: tuple[PlannedRound, ...]
    memory: int
    unpaid: tuple[Unpaid, ...]
    already: int
    remarks: tuple[str, ...]
    afterwards: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.rounds)

    @property
    def bytes(self) -> int:
        """To be read."""
        return sum(read.bytes for one in self.rounds for read in one.reads)

    def as_json(self) -> dict[str, Any]:
        return {
            "verb": self.verb,
            "rounds": [one.as_json() for one in self.rounds],
            "seconds": self.seconds,
            "bytes": self.bytes,
            "memory": self.memory,
            "already": self.already,
            "unpaid": [one.as_json() for one in self.unpaid],
            "remarks": list(self.remarks),
            "afterwards": list(self.afterwards),
        }


def plan_round(config: Config, catalog: Catalog, trip: Trip) -> PlannedRound:
    """One round, at the rates that the drives are expected to have."""
    volumes = {volume.id: volume for volume in catalog.volumes()}
    reads = []
    for name in dict.fromkeys(one.agent for one in trip.carried):
        carried = [one for one in trip.carried if one.agent == name]
        drive = trip.config.agents[name].drive
        timing = timing_of(config.drives[drive])
        reads += [_read(name, timing, volumes[one.volume], one.runs, carried) for one in passes_of(catalog, carried)]
    written: dict[tuple[str, str], list[Carried]] = {}
    for one in trip.carried:
        for place in targets(trip.config, f"{one.agent}.{one.buffer}"):
            written.setdefault((place.agent, place.drive), []).append(one)
    writes = []
    for (agent, drive), carried in written.items():
        total = sum(_bytes_of(one.object, one.blocks, config.server.block) for one in carried)
        timing = timing_of(config.drives[drive])
        seconds = timing.mount + total / timing.rate
        blocks, items = sum(one.blocks for one in carried), sum(not one.object.is_index for one in carried)
        writes.append(DriveWrite(agent, drive, items, blocks, total, seconds))
    return PlannedRound(tuple(reads), tuple(writes))


def _read(agent: str, timing: Timing, volume: Volume, runs: Runs, carried: Sequence[Carried]) -> VolumeRead:
    seconds, seeks, passed, here = timing.mount, 0, 0, None
    for _, _, blocks, position in runs.tolist():
        move = timing.move(here, position, volume.block_bytes)
        if here is not None and not move.seeks:
            passed += position - here
        seeks += move.seeks
        seconds += move.seconds + timing.read(blocks, volume.block_bytes)
        here = position + blocks
    total = sum(
        _bytes_of(one.object, int(runs[runs[:, OBJECT] == index, BLOCKS].sum()), volume.block_bytes)
        for index, one in enumerate(carried)
    )
    return VolumeRead(agent, volume.drive, volume.label, int(runs[:, BLOCKS].sum()), total, passed, seeks, seconds)


def _bytes_of(item: Object, blocks: int, block_bytes: int) -> int:
    """So many blocks of an object on tape, headers included; no more than that where compression has made it less."""
    most = blocks * block_bytes
    if not item.blocks or item.bytes is None:
        return most
    return min(most, round(item.bytes * blocks / item.blocks) + blocks * HEADER_BYTES)
