"""Consolidating, before anything moves: which objects are merged, which of them are read side by side, which wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Volume
from tapeloom.catalog.model import iso
from tapeloom.config import Config
from tapeloom.config.faults import nearest, quoted
from tapeloom.errors import UsageError
from tapeloom.ops.chain import Chain, find_chain
from tapeloom.ops.choose import dated
from tapeloom.ops.indexes import open_index
from tapeloom.ops.mounts import reader_for, refuse_unknown_target, timing_of
from tapeloom.ops.planning import Planner, RestorePlan, Stage
from tapeloom.ops.preparing import keys_of, planner_of, stage_of
from tapeloom.quantity import rough_bytes
from tapeloom.runtime.reading import MEMORY_BYTES
from tapeloom.volume.header import Content

if TYPE_CHECKING:
    from tapeloom.ops.planning import VolumeRun
    from tapeloom.seal import KeyRing


class Link(Struct, frozen=True):
    """An object of the chain. `waits`: it is read before the merging begins, for its drive is needed for another then.
    `severed`: paths whose data is needed though their entries are not (see `tapeloom.agent.merge`)."""

    stage: Stage
    drives: frozenset[str]
    waits: bool
    severed: frozenset[bytes]

    @property
    def item(self) -> Object:
        return self.stage.item


class Consolidation(Struct, frozen=True):
    """What is merged, the oldest first, and where to. `spooling` is how those that wait are read, in its order, each of
    `flowing` how one of the others is. `result_bytes` is what the new object will have, as far as file indexes say."""

    source: str
    links: tuple[Link, ...]
    to: str
    volumes: Mapping[UUID, Volume]
    keys: KeyRing | None
    spooling: RestorePlan
    flowing: tuple[RestorePlan, ...]
    result_bytes: int
    write_seconds: float
    memory: int

    @property
    def last(self) -> Object:
        """The object whose state the new one has."""
        return self.links[-1].item

    @property
    def drives(self) -> frozenset[str]:
        """All that are read, unless blocks have to come from other copies."""
        return frozenset(run.drive for run in self.runs)

    @property
    def runs(self) -> list[VolumeRun]:
        return [run for plan in (self.spooling, *self.flowing) for run in plan.volumes]

    @property
    def passes(self) -> int:
        """Of a volume, from front to back."""
        return sum(run.passes for run in self.runs)

    @property
    def bytes(self) -> int:
        """To be read, before compression."""
        return sum(link.item.bytes or 0 for link in self.links)

    @property
    def spool_bytes(self) -> int:
        """Of them, what waits on disk."""
        return sum(link.item.bytes or 0 for link in self.links if link.waits)

    @property
    def seconds(self) -> float | None:
        """First what waits is read, one after another, then all flows at the pace of the slowest. None where nothing is
        known of a drive."""
        if self.spooling.seconds is None:
            return None
        known = [plan.seconds for plan in self.flowing if plan.seconds is not None]
        return self.spooling.seconds + max([self.write_seconds, *known]) if len(known) == len(self.flowing) else None

    @property
    def remarks(self) -> list[str]:
        """On how tapes are gone through."""
        return list(dict.fromkeys(remark for plan in (self.spooling, *self.flowing) for remark in plan.remarks))

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "stands_for": str(self.last.id),
            "as_of": iso(self.last.as_of),
            "to": self.to,
            "chain": [
                {
                    "id": str(link.item.id),
                    "level": link.item.level.name.lower(),
                    "as_of": iso(link.item.as_of),
                    "bytes": link.item.bytes,
                    "drives": sorted(link.drives),
                    "waits": link.waits,
                }
                for link in self.links
            ],
            "volumes": [run.as_json() for run in self.runs],
            "passes": self.passes,
            "bytes": self.bytes,
            "result_bytes": self.result_bytes,
            "spool_bytes": self.spool_bytes,
            "memory": self.memory,
            "seconds": self.seconds,
            "remarks": self.remarks,
        }


def plan_consolidation(
    config: Config, source: str, to: str, *, at: int | None = None, key_files: Sequence[Path] = ()
) -> Consolidation:
    """What `consolidate` would read and write. No tape is touched. `at`, in ns since 1970 UTC: the state of that time.

    Raises
    ------
    NotFound, RestoreError
        There is no such chain, or no complete copy of one of its objects.
    SealError
        A key is not here.
    UsageError
        It is one full object already, no archive, or one of its objects can be read on the drive `to` alone; or more
        would have to wait than the spool may hold.
    """
    refuse_unknown_target(config, to)
    if source not in config.sources:
        hint = nearest(source, config.sources, "there are")
        raise UsageError(f"{config.shown}: there is no source {quoted(source)}{f' ({hint})' if hint else ''}")
    with Catalog.open(config.server.state, readonly=True) as catalog:
        volumes = {volume.id: volume for volume in catalog.volumes()}
        reach = _Reach(config, {volume.label: volume.drive for volume in volumes.values()}, to)
        chain = find_chain(catalog, source, at=at, avoid=reach.without(catalog.objects(source)))
        if chain.wanted.content != Content.PAX:
            raise UsageError(
                f"object {chain.wanted.id} of {source} is one sequence of bytes: there is nothing to merge"
            )
        if len(chain.objects) == 1:
            raise UsageError(f"object {chain.wanted.id} of {source} ({dated(chain.wanted)}) is full already")
        keys = keys_of(config, chain.objects, key_files)
        stages = [reach.stage(catalog, item) for item in chain.objects]
        severed, result_bytes = _looked_up(catalog, chain.objects, keys)
        planner = planner_of(config, catalog)
        flows = flowing([[_drives(copy, volumes) for copy in _choices(stage)] for stage in stages], _sizes(stages))
        busy = frozenset[str]().union(*(drives for _, drives in flows.values()))
        spooling = _plan(planner, chain, [stage for n, stage in enumerate(stages) if n not in flows])
        links, plans = list[Link](), list[RestorePlan]()
        for n, stage in enumerate(stages):
            if n in flows:
                choice, drives = flows[n]
                stage = _only(stage, choice, volumes, busy - drives)
                plans.append(_plan(planner, chain, [stage]))
            else:
                stage = next(one for one in spooling.stages if one.item.id == stage.item.id)
                drives = _drives(stage.copies[0], volumes)
            links.append(Link(stage, drives, n not in flows, severed[n]))
    timing = timing_of(config.drives[to])
    plan = Consolidation(
        source,
        tuple(links),
        to,
        volumes,
        keys,
        spooling,
        tuple(plans),
        result_bytes,
        timing.mount + timing.write(result_bytes),
        config.server.memory + (len(plans) + bool(spooling.stages)) * MEMORY_BYTES,
    )
    if plan.spool_bytes > config.server.spool_max:
        raise UsageError(
            f"{config.shown}: objects of {source} share drives, so that {rough_bytes(plan.spool_bytes)} have to wait "
            f"in {config.server.spool}, more than spool_max allows ({rough_bytes(config.server.spool_max)})"
        )
    return plan


def flowing(choices: Sequence[Sequence[frozenset[str]]], sizes: Sequence[int]) -> dict[int, tuple[int, frozenset[str]]]:
    """Which objects are read at the same time, each in drives of its own, so that as few bytes as possible wait.

    `choices` are, for each object, the drives that each of its copies takes. Gives by object the number of the copy and
    its drives. The largest come first, and one in the way moves to another copy where it has one: that is the best
    there is, as long as each copy takes one drive.
    """
    found: dict[int, tuple[int, frozenset[str]]] = {}

    def take(n: int, tried: set[str]) -> bool:
        for choice, drives in enumerate(choices[n]):
            if not drives.isdisjoint(tried):
                continue
            holders = [other for other, (_, theirs) in found.items() if not theirs.isdisjoint(drives)]
            if len(holders) > 1 or (holders and len(drives) > 1):
                continue
            tried |= drives
            if not holders or take(holders[0], tried):
                found[n] = choice, drives
                return True
        return False

    for n in sorted(range(len(choices)), key=lambda n: -sizes[n]):
        take(n, set())
    return found


def _choices(stage: Stage) -> Sequence[Sequence[Any]]:
    """From what an object can be read as a whole: one of its complete copies, or what several have together."""
    return stage.copies[: max(stage.complete, 1)]


def _sizes(stages: Sequence[Stage]) -> list[int]:
    return [stage.bytes for stage in stages]


def _only(stage: Stage, choice: int, volumes: Mapping[UUID, Volume], others: frozenset[str]) -> Stage:
    """With one copy in front, behind it those that are in nobody else's drive: damaged blocks come from there."""
    first = stage.copies[choice]
    rest = [copy for copy in stage.copies if copy is not first and _drives(copy, volumes).isdisjoint(others)]
    return replace(stage, copies=(first, *rest), complete=1)


def _plan(planner: Planner, chain: Chain, stages: Sequence[Stage]) -> RestorePlan:
    return planner.plan(Chain(chain.objects), stages, indexed=True, remarks=())


def _drives(copy: Iterable[Any], volumes: Mapping[UUID, Volume]) -> frozenset[str]:
    return frozenset(volumes[segment.volume].drive for segment in copy)


class _Reach(Struct, frozen=True):
    """What can be read while the drive `to` is written; `home_of` by the label of a volume."""

    config: Config
    home_of: Mapping[str, str]
    to: str

    def without(self, items: Iterable[Object]) -> set[UUID]:
        """Those of `items` that cannot be read."""
        return {item.id for item in items if all(copy.status is not CopyStatus.COMPLETE for copy in self.left(item))}

    def left(self, item: Object) -> tuple[Copy, ...]:
        return tuple(copy for copy in item.copies if all(self._reads(self.home_of[label]) for label in copy.volumes))

    def _reads(self, home: str) -> bool:
        return reader_for(self.config, home, (self.to,)) is not None

    def stage(self, catalog: Catalog, item: Object) -> Stage:
        """Without the other copies. Raises UsageError where there is no whole one then."""
        left = self.left(item)
        if len(left) < len(item.copies):
            if not any(copy.status is CopyStatus.COMPLETE for copy in left):
                raise UsageError(
                    f"object {item.id} of {item.source} can only be read in drive {self.to}, which is to be written, "
                    f"or in one that {self.config.shown} does not have: name another drive"
                )
            item = replace(item, copies=left, pieced=False)
        return stage_of(catalog, item)


def _looked_up(catalog: Catalog, items: Sequence[Object], keys: KeyRing | None) -> tuple[list[frozenset[bytes]], int]:
    """What of each object's data hard links need though its own name has gone, and how much all of the state is, by the
    file indexes. Where one is missing, nothing and a guess: such links are rare, and the merge says so if it meets
    one."""
    from tapeloom.index import final_rows

    with ExitStack() as held:
        indexes = []
        for item in items:
            index = open_index(catalog, item, keys)
            if index is None:
                return [frozenset()] * len(items), items[0].bytes or 0
            indexes.append(held.enter_context(index))
        shares = final_rows(indexes)
        size = sum(share.sequence_bytes for share in shares)
        return [frozenset(one.target for one in share.pulled) for share in shares], size
