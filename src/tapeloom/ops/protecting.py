"""What is protected on a volume, and why: by its pool's retention, as the newest good state of its source, or since
something that is kept builds on it.

A volume without anything protected may become scratch. Another complete copy is counted on only where it stays, on a
volume that jobs may go on with or that is full.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from uuid import UUID

from msgspec import Struct

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Outcome, Volume, VolumeState
from tapeloom.catalog.exported import newest_export
from tapeloom.config import Config
from tapeloom.ops.lineage import Lineage
from tapeloom.quantity import local_time
from tapeloom.volume.header import Level

COUNTED_ON = (VolumeState.APPENDABLE, VolumeState.FULL)


class Protected(Struct, frozen=True):
    """An object on a volume that has to stay there. `why` goes on a sentence that begins with the object."""

    object: Object
    why: str

    def __str__(self) -> str:
        return f"{self.object.source} {self.object.id}, {self.object.level.name.lower()}, {self.why}"


class Verdict(Struct, frozen=True):
    """About one volume. `copies` are those that count and would be lost with it, `expires_at` (ns since 1970 UTC) is
    when its pool keeps none of them any longer; None: it never stops, or there is nothing to keep."""

    volume: Volume
    copies: tuple[tuple[Object, Copy], ...]
    protected: tuple[Protected, ...]
    expires_at: int | None

    @property
    def free(self) -> bool:
        return not self.protected


class Protection:
    """The catalog at one moment. `now_ns` since 1970 UTC."""

    def __init__(self, config: Config, catalog: Catalog, now_ns: int | None = None):
        self.now_ns = time.time_ns() if now_ns is None else now_ns
        self._retention = {
            name: round(pool.retention * 1e9) for name, pool in config.pools.items() if pool.retention is not None
        }
        every = catalog.objects(indexes=True)
        self._objects = {one.id: one for one in every}
        self._volumes = {one.label: one for one in catalog.volumes()}
        self._on: Mapping[str, list[tuple[Object, Copy]]] = defaultdict(list)
        by_source: dict[str, list[Object]] = defaultdict(list)
        for one in every:
            if not one.is_index:
                by_source[one.source].append(one)
            for copy in live(one):
                for label in copy.volumes:
                    self._on[label].append((one, copy))
        self._lineages = {source: Lineage(objects) for source, objects in by_source.items()}
        self._last: dict[UUID, str] = {}
        self._export = newest_export(every)
        for objects in by_source.values():
            if objects[0].is_export:
                continue  # of which the newest alone counts
            good = [one for one in objects if one.outcome is Outcome.WHOLE and (one.status == "complete" or one.pieced)]
            sure = [one for one in good if any(self._stays(copy, ()) for copy in live(one))]
            for some in (good, sure):
                fulls = [one for one in some if one.level is Level.FULL]
                self._last.update({one.id: "the newest good state of its source" for one in some[-1:]})
                self._last.update({one.id: "the last good full of its source" for one in fulls[-1:]})
        self._needs: dict[frozenset[str], Mapping[UUID, list[Object]]] = {}

    def verdict(self, volume: Volume, going: Collection[str] = (), *, asked_for: bool = False) -> Verdict:
        """`going` are labels of volumes that become scratch as well. `asked_for`: somebody has named the volume; then a
        pool without retention does not keep by itself what nothing else needs."""
        going = {volume.label, *going}
        held = tuple(self._on[volume.label])
        needed = self._needed(frozenset(going) if asked_for else frozenset())
        ways = (self._why(item, copy, volume, going, needed, asked_for) for item, copy in held)
        protected: dict[UUID, Protected] = {}
        for (item, _), why in zip(held, ways, strict=True):
            if why is not None:
                meant = self._meant(item)
                protected.setdefault(meant.id, Protected(meant, why))
        return Verdict(volume, held, tuple(protected.values()), self.expires_at(volume))

    def expires_at(self, volume: Volume) -> int | None:
        """See `Verdict`."""
        retention = self._retention.get(volume.pool or "")
        if retention is None:
            return None
        counting = (item for item, _ in self._on[volume.label] if not item.is_export or item == self._export)
        return max((item.as_of + retention for item in counting), default=None)

    def _why(
        self,
        item: Object,
        copy: Copy,
        volume: Volume,
        going: Collection[str],
        needed: Mapping[UUID, list[Object]],
        asked_for: bool,
    ) -> str | None:
        if item.is_export:
            return self._why_export(item, copy, going)
        retention = self._retention.get(volume.pool or "")
        if retention is None and not asked_for:
            return f"is kept for ever: pool {volume.pool} has no retention"
        if retention is not None and item.as_of + retention > self.now_ns:
            return f"is kept by pool {volume.pool} until {local_time(item.as_of + retention)}"
        meant = self._meant(item)
        staying = [other for other in live(item) if other.id != copy.id and self._stays(other, going)]
        if copy.status is not CopyStatus.COMPLETE and staying:
            return None
        if meant.id in self._last:
            return f"is {self._last[meant.id]}"
        for keeper in needed.get(meant.id, ()):
            here = any(self._keeps(keeper, one, volume.pool) for one in live(keeper))
            if not any(not here or self._pools(one) == {volume.pool} for one in staying):
                return f"is needed by {keeper.id} of {local_time(keeper.as_of)}, which is kept"
        return None

    def _why_export(self, item: Object, copy: Copy, going: Collection[str]) -> str | None:
        """Whatever its pool keeps: the newest one has to be somewhere, and those before it have had their day."""
        elsewhere = any(other.id != copy.id and self._stays(other, going) for other in live(item))
        return None if item != self._export or elsewhere else "is the newest exported catalog"

    def _meant(self, item: Object) -> Object:
        """A file index goes along with its object."""
        return self._objects.get(item.parent, item) if item.is_index and item.parent else item

    def _needed(self, going: frozenset[str]) -> Mapping[UUID, list[Object]]:
        """By object, what is kept and builds on it. Without being asked for, nothing goes whose pool has no
        retention."""
        if going in self._needs:
            return self._needs[going]
        found: Mapping[UUID, list[Object]] = defaultdict(list)
        for item in self._objects.values():
            if not item.is_index and (item.id in self._last or self._is_kept(item, going)):
                for below in self._chain(item):
                    found[below.id].append(item)
        self._needs[going] = found
        return found

    def _is_kept(self, item: Object, going: Collection[str]) -> bool:
        for copy in live(item):
            for pool in self._pools(copy):
                if pool in self._retention:
                    if self._keeps(item, copy, pool):
                        return True
                elif not set(copy.volumes) <= set(going):
                    return True
        return False

    def _keeps(self, item: Object, copy: Copy, pool: str | None) -> bool:
        retention = self._retention.get(pool or "")
        return retention is not None and pool in self._pools(copy) and item.as_of + retention > self.now_ns

    def _chain(self, item: Object) -> Iterator[Object]:
        """What it builds on, by however many steps. Where a full one stands for a state, that is what is needed."""
        lineage = self._lineages[item.source]
        met, due = {item.id}, [item]
        while due:
            one = due.pop()
            if one.parent is None:
                continue
            ways = [way for way in lineage.same_state(one.parent) if list(live(way))]
            fulls = [way for way in ways if way.level is Level.FULL and any(self._stays(c, ()) for c in live(way))]
            for way in fulls[:1] or ways:
                if way.id not in met:
                    met.add(way.id)
                    due.append(way)
                    yield way

    def _stays(self, copy: Copy, going: Collection[str]) -> bool:
        """Whether it is complete, and counted on."""
        return copy.status is CopyStatus.COMPLETE and all(
            label not in going and self._volumes[label].state in COUNTED_ON for label in copy.volumes
        )

    def _pools(self, copy: Copy) -> set[str | None]:
        return {self._volumes[label].pool for label in copy.volumes}


def expiry(config: Config, catalog: Catalog) -> dict[UUID, int]:
    """By volume: when its pool keeps nothing on it any longer, in ns since 1970 UTC; where that is ever."""
    protection = Protection(config, catalog)
    found = {volume.id: protection.expires_at(volume) for volume in catalog.volumes(current=True)}
    return {id: at for id, at in found.items() if at is not None}


def live(item: Object) -> Iterator[Copy]:
    """Its copies that count, and of which anything is on tape."""
    return (copy for copy in item.copies if copy.volumes and copy.status is not CopyStatus.RETIRED)
