"""Consolidating: the objects of a chain, read off their volumes, become one new full object, as any source does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import UUID

from tapeloom.agent.entries import Archive
from tapeloom.agent.filed import FiledArchive
from tapeloom.agent.merge import MergeSource
from tapeloom.catalog import Catalog, Object, Volume
from tapeloom.config import Agent, Config, Group
from tapeloom.errors import FormatError, SourceError, TapeloomError, UsageError
from tapeloom.limits import CHECKPOINT_BYTES_DEFAULT, CHECKPOINT_SECONDS_DEFAULT, RUN_BLOCKS_DEFAULT
from tapeloom.ops.backup import Backup, open_backup
from tapeloom.ops.chain import find_chain
from tapeloom.ops.choose import dated
from tapeloom.ops.codings import coding_of
from tapeloom.ops.feeding import reading_of
from tapeloom.ops.indexes import open_index
from tapeloom.ops.mounts import Mounts
from tapeloom.ops.planning import Stage
from tapeloom.ops.preparing import keys_of, stage_of
from tapeloom.runtime.reading import Reading
from tapeloom.runtime.stream import Facts
from tapeloom.volume.header import Content, Level

if TYPE_CHECKING:
    from tapeloom.agent.sink import Sink
    from tapeloom.config import Drive
    from tapeloom.config import Source as Configured
    from tapeloom.ops.keeping import Keeping
    from tapeloom.runtime.coding import Coding
    from tapeloom.runtime.stream import Report
    from tapeloom.seal import KeyRing

GROUP = "consolidate"


@dataclass(frozen=True, slots=True)
class Link:
    """An object of the chain. `spooled`: it is read before all others, for its drive is needed for another one too."""

    stage: Stage
    drives: frozenset[str]
    spooled: bool
    severed: frozenset[bytes]
    """Paths whose data is needed though their entries are not (see `tapeloom.agent.merge`)."""

    @property
    def item(self) -> Object:
        return self.stage.item


@dataclass(frozen=True, slots=True)
class Consolidation:
    """What is merged, the oldest first, and where to."""

    source: str
    links: tuple[Link, ...]
    to: str
    volumes: Mapping[UUID, Volume]
    keys: KeyRing | None

    @property
    def last(self) -> Object:
        """The object whose state the new one has."""
        return self.links[-1].item

    @property
    def bytes(self) -> int:
        """To be read, before compression."""
        return sum(link.item.bytes or 0 for link in self.links)

    @property
    def spool_bytes(self) -> int:
        """Of them, what waits in memory or on disk."""
        return sum(link.item.bytes or 0 for link in self.links if link.spooled)


def plan_consolidation(config: Config, source: str, to: str, *, at: int | None = None) -> Consolidation:
    """What `consolidate` would read and write. No tape is touched.

    Raises
    ------
    NotFound, RestoreError
        There is no such chain, or no complete copy of one of its objects.
    UsageError
        It is one full object already, no archive, or stands on the drive `to` alone.
    """
    if to not in config.drives:
        raise UsageError(f"there is no drive {to} in {config.shown}: --to names one of {', '.join(config.drives)}")
    if source not in config.sources:
        raise UsageError(f"there is no source {source} in {config.shown}")
    with Catalog.open(config.server.state, readonly=True) as catalog:
        chain = find_chain(catalog, source, at=at)
        if chain.wanted.content != Content.PAX or len(chain.objects) == 1:
            raise UsageError(f"object {chain.wanted.id} of {source} ({dated(chain.wanted)}) is full already")
        newest = find_chain(catalog, source).wanted
        if newest.id != chain.wanted.id:
            raise UsageError(
                f"object {chain.wanted.id} of {source} ({dated(chain.wanted)}) is not the newest state: what is made "
                f"of it would be taken for newer than object {newest.id} ({dated(newest)})"
            )
        volumes = {volume.id: volume for volume in catalog.volumes()}
        stages = [_readable(stage_of(catalog, item), volumes, to) for item in chain.objects]
        drives = [_drives(stage, volumes) for stage in stages]
        keys = keys_of(config, chain.objects)
        severed = _severed(catalog, chain.objects, keys)
    flowing = _flowing(stages, drives)
    links = tuple(
        Link(stage, mine, n not in flowing, paths)
        for n, (stage, mine, paths) in enumerate(zip(stages, drives, severed, strict=True))
    )
    plan = Consolidation(source, links, to, volumes, keys)
    if plan.spool_bytes > config.server.spool_max:
        raise UsageError(
            f"the increments of {source} share drives and have to wait in {config.server.spool}: that takes "
            f"{plan.spool_bytes:,} bytes, more than spool_max allows ({config.server.spool_max:,})"
        )
    return plan


@contextmanager
def open_consolidation(config: Config, plan: Consolidation) -> Iterator[Backup]:
    """The job, compiled and open, and about to run."""
    configured = config.sources[plan.source]
    agent = Agent(
        name=f"{GROUP}-{plan.to}",
        kind="backup",
        group=GROUP,
        drive=plan.to,
        buffers={"B1": (plan.source,)},
        run_blocks=RUN_BLOCKS_DEFAULT,
        on_lag="wait",
        lag_bytes=0,
        lag_seconds=0.0,
        checkpoint_bytes=CHECKPOINT_BYTES_DEFAULT,
        checkpoint_seconds=CHECKPOINT_SECONDS_DEFAULT,
    )
    own = replace(
        config, agents={agent.name: agent}, groups={("backup", GROUP): Group("backup", GROUP, (agent.name,), "full")}
    )
    source = Consolidated(
        plan, configured, config.drives, config.server.state, config.server.spool, coding_of(config, configured)
    )
    try:
        with open_backup(own, [GROUP], {plan.source: source}) as backup:
            yield backup
    finally:
        source.close()


@dataclass(frozen=True, slots=True)
class _Told:
    """What the job hears in the end."""

    files: int
    troubles: Sequence[object]
    troubles_beyond: int = 0


class Consolidated:
    """The objects of a chain as the source of a full one (see `tapeloom.runtime.stream.Source` and `Described`)."""

    content = int(Content.PAX)

    def __init__(
        self,
        plan: Consolidation,
        configured: Configured,
        drives: Mapping[str, Drive],
        state: Path,
        spool: Path,
        coding: Coding | None,
    ):
        self.name = plan.source
        self._plan = plan
        self._digest = configured.digest
        self._drives = drives
        self._state = state
        self._spool = spool
        self._coding = coding
        self._keeping: Keeping | None = None
        self._id: UUID | None = None

    @property
    def index(self) -> Path | None:
        return self._keeping.index if self._keeping else None

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        self._id = object_id
        return Facts(int(Level.FULL), None, self._coding, self._digest)

    def run(self, sink: Sink) -> Report:
        from tapeloom.ops.keeping import Keeping

        assert self._id is not None, "a source runs after its object has begun"
        self._keeping = keeping = Keeping(self._state, self.name, self._id, self._coding, with_snapshot=False)
        try:
            with ExitStack() as held:
                archives = self._archives(held)
                severed = {n: link.severed for n, link in enumerate(self._plan.links) if link.severed}
                report = MergeSource(archives, severed=severed, spill=self._spool).run(sink, rows=keeping.rows)
        except SourceError:
            keeping.abandon()
            raise
        except (OSError, TapeloomError) as error:
            keeping.abandon()
            raise SourceError(f"{self.name} cannot be consolidated: {error}") from None
        except BaseException:
            keeping.abandon()
            raise
        keeping.finish(report.end)
        return _Told(report.files, keeping.troubles)

    def close(self) -> None:
        """The job is over: nobody asks for the index any more."""
        if self._keeping is not None:
            self._keeping.close()

    def _archives(self, held: ExitStack) -> Sequence[Archive]:
        """All objects, on their way or here already."""
        spooled: dict[UUID, Archive] = {}
        waiting = [link for link in self._plan.links if link.spooled]
        if waiting:
            self._spool.mkdir(parents=True, exist_ok=True)
            with Mounts(self._drives, self._plan.volumes.__getitem__) as mounts:
                for link in waiting:
                    spooled[link.item.id] = self._spooled(link, mounts, held)
        found: list[Archive] = []
        for link in self._plan.links:
            if link.spooled:
                found.append(spooled[link.item.id])
                continue
            mounts = held.enter_context(Mounts(self._drives, self._plan.volumes.__getitem__))
            found.append(held.enter_context(self._reading(link, mounts)).sequence)
        return found

    def _spooled(self, link: Link, mounts: Mounts, held: ExitStack) -> Archive:
        """All of an object, in a file without a name."""
        file: IO[bytes] = held.enter_context(tempfile.TemporaryFile(dir=self._spool))  # noqa: SIM115
        size = link.item.bytes or 0
        with self._reading(link, mounts) as reading:
            if reading.sequence.pump_to(file.fileno(), 0, size) != size:
                raise FormatError(f"object {link.item.id} is shorter than the catalog has it")
            reading.sequence.proof()
        return FiledArchive(file.fileno(), size)

    def _reading(self, link: Link, mounts: Mounts) -> Reading:
        return reading_of(link.stage, mounts, self._plan.keys, partial=False)


def _flowing(stages: Sequence[Stage], drives: Sequence[frozenset[str]]) -> set[int]:
    """Which of them are read at the same time, each in drives of its own: the full one, and of the others the largest
    that can."""
    flowing, busy = {0}, drives[0]
    for n in sorted(range(1, len(stages)), key=lambda n: -stages[n].bytes):
        if not drives[n] & busy:
            flowing.add(n)
            busy |= drives[n]
    return flowing


def _drives(stage: Stage, volumes: Mapping[UUID, Volume]) -> frozenset[str]:
    return frozenset(volumes[segment.volume].drive for copy in stage.copies for segment in copy)


def _readable(stage: Stage, volumes: Mapping[UUID, Volume], to: str) -> Stage:
    """Without the copies for which the drive that is written would be needed."""
    others = [n for n, copy in enumerate(stage.copies) if all(volumes[one.volume].drive != to for one in copy)]
    complete = sum(n < stage.complete for n in others)
    if not complete:
        raise UsageError(
            f"object {stage.item.id} of {stage.item.source} can only be read in drive {to}, which is to be written: "
            "name another drive"
        )
    return replace(stage, copies=tuple(stage.copies[n] for n in others), complete=complete)


def _severed(catalog: Catalog, items: Sequence[Object], keys: KeyRing | None) -> list[frozenset[bytes]]:
    """What of each object's data hard links need though its own name has gone; nothing where an index is missing, for
    it is a rare thing: the merge says so if it should meet one."""
    from tapeloom.index import final_rows

    with ExitStack() as held:
        indexes = []
        for item in items:
            index = open_index(catalog, item, keys)
            if index is None:
                return [frozenset()] * len(items)
            indexes.append(held.enter_context(index))
        return [frozenset(one.target for one in share.pulled) for share in final_rows(indexes)]
