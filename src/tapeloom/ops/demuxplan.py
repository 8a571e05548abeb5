"""What a demultiplexing would do, before anything moves (passes, what waits in each, seconds), and what it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict

from tapeloom.compile.passes import Pass, Visit

if TYPE_CHECKING:
    from tapeloom.ops.copying import CopyResult
    from tapeloom.ops.unweaving import Unit


class PlannedObject(Struct, frozen=True):
    """An object's way in a pass; its file index is counted with it. `spooled` of its `bytes` wait in the spool."""

    object: str
    source: str
    blocks: int
    bytes: int
    spooled: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class DemuxPass(Struct, frozen=True):
    """`targets` has for each drive the objects in the order in which they will stand there."""

    visits: tuple[Visit, ...]
    targets: tuple[tuple[str, tuple[PlannedObject, ...]], ...]
    spool_bytes_max: int
    seconds: float

    @property
    def bytes_read(self) -> int:
        return sum(visit.bytes_read for visit in self.visits)

    def as_json(self) -> dict[str, Any]:
        return {
            "volumes": [
                {
                    "label": visit.name,
                    "mounts": visit.mounts,
                    "locates": len(visit.stretches) - 1,
                    "bytes_read": visit.bytes_read,
                    "bytes_wanted": visit.bytes_wanted,
                    "seconds": visit.seconds,
                }
                for visit in self.visits
            ],
            "targets": {drive: [one.as_json() for one in objects] for drive, objects in self.targets},
            "spool_bytes_max": self.spool_bytes_max,
            "seconds": self.seconds,
        }


class DemuxPlan(Struct, frozen=True):
    """`reason` says in a sentence why there are so many passes, `fewest` whether it is proven that there are no fewer.
    `spool` is the folder of what waits, None: in memory. `spool_bytes` may wait at once, `spool_bytes_max` will."""

    source: str
    targets: tuple[str, ...]
    passes: tuple[DemuxPass, ...]
    reason: str
    fewest: bool
    spool_bytes: int
    spool_bytes_max: int
    spool: str | None
    memory: int
    seconds: float
    already: int
    indexes_apart: int
    remarks: tuple[str, ...]
    afterwards: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """To be read."""
        return sum(one.bytes_read for one in self.passes)

    def as_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__struct_fields__ if name != "passes"}
        return {
            "verb": "demux",
            **plain,
            "targets": list(self.targets),
            "passes": [one.as_json() for one in self.passes],
            "bytes": self.bytes,
            "remarks": list(self.remarks),
            "afterwards": list(self.afterwards),
        }


def planned_pass(one: Pass, targets: Sequence[str], units: Sequence[Unit]) -> DemuxPass:
    """A pass of the plan, its objects by name."""
    ways = []
    for drive, order in zip(targets, one.targets, strict=True):
        objects = []
        for way in order:
            item = units[way.object].members[0].object
            objects.append(PlannedObject(str(item.id), item.source, way.blocks, way.bytes, way.spooled_bytes))
        if objects:
            ways.append((drive, tuple(objects)))
    return DemuxPass(one.visits, tuple(ways), one.spool_bytes_max, one.seconds)


class DemuxResult(Struct, frozen=True):
    """`passes` are the rounds that unwove, all rounds are in `copied`. `spool_bytes_most` is what waited at most,
    `retired` are volumes that are out of use now, `kept` those that were to be and are not."""

    copied: CopyResult
    passes: int
    spool_bytes_most: int
    retired: list[str]
    kept: list[str]

    @property
    def exit_status(self) -> int:
        return self.copied.exit_status
