"""One round of copying: a job whose sources are drives.

What is carried is decided before: which objects, which ranges of their blocks, from which copies, through which
buffers. A round is compiled and run as a backup is; a block is read into the slot that the writers write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tapeloom.catalog import Catalog, Copy, JobRow, JobStatus, Object, Place, VolumeState
from tapeloom.catalog.ledger import JobLedger
from tapeloom.config import Config
from tapeloom.errors import CatalogError
from tapeloom.ident import new_id
from tapeloom.ops.damage import findings
from tapeloom.ops.mounts import Mounts
from tapeloom.ops.outcome import AgentEnd, agent_ends, agents_report
from tapeloom.ops.tapes import devices_of, drive_of, end_mounts, open_drives, places, remarks_of, writers
from tapeloom.runtime import Job, JobResult, Objects
from tapeloom.runtime.media import Tape
from tapeloom.runtime.objects import in_words
from tapeloom.runtime.splitting import Left, Pass, Reads, Want
from tapeloom.schedule import Kind, Schedule
from tapeloom.volume import runs as run_tables
from tapeloom.volume.runs import OBJECT, POSITION, Runs
from tapeloom.volume.spans import blocks_in
from tapeloom.volume.waiting import Waiting

if TYPE_CHECKING:
    from tapeloom.ops.unweaving import Unwoven
    from tapeloom.volume.writer import VolumeWriter

Span = tuple[int, int]
"""First and last seq, both included."""


class Carried(Struct, frozen=True):
    """Blocks of an object on their way out of one of its copies, through a buffer of a restore media agent."""

    object: Object
    source: Copy
    spans: tuple[Span, ...]
    agent: str
    buffer: str

    @property
    def blocks(self) -> int:
        return blocks_in(self.spans)


class Trip(Struct, frozen=True):
    """A round as it was decided: the job's configuration, the restore groups that it starts from, and what is carried.

    Of one object an agent carries one copy through one buffer. `about` is what the catalog's record of the job names
    in the place of its groups: volumes, say.
    """

    config: Config
    groups: tuple[str, ...]
    carried: tuple[Carried, ...]
    about: tuple[str, ...] = ()


class RoundResult(Struct, frozen=True):
    """What became of a round. `agents` are those that read, then those that wrote; `left` is what could not be read;
    `table` has a row for each copy that was to be written. `blocks` and `bytes` were read and handed on."""

    job: UUID
    status: JobStatus
    agents: list[AgentEnd]
    left: list[Left]
    table: list[JobRow]
    stopped: bool
    seconds: float
    blocks: int
    bytes: int


def targets(config: Config, buffer: str) -> list[Place]:
    """Who writes what an `AGENT.BUFFER` holds, by whatever chain."""
    found = []
    for agent in config.agents.values():
        for name, feeds in agent.buffers.items():
            if agent.kind == "copy" and buffer in feeds:
                found += [Place(agent.name, agent.group, agent.drive), *targets(config, f"{agent.name}.{name}")]
    return found


def passes_of(catalog: Catalog, carried: Sequence[Carried]) -> list[Pass]:
    """What one restore media agent reads: each volume once, in the order they were made, all that is wanted of it. The
    runs' first column indexes `carried`."""
    by_volume: dict[UUID, list[Runs]] = defaultdict(list)
    labels: dict[UUID, str] = {}
    for index, one in enumerate(carried):
        runs = catalog.runs(one.source.id)
        for number, volume in enumerate(runs.volumes):
            here = run_tables.of_object(runs.table, number)
            parts = [run_tables.clip(here, first, last) for first, last in one.spans]
            table = np.concatenate(parts) if parts else run_tables.table()
            if len(table):
                table[:, OBJECT] = index
                by_volume[volume.id].append(table)
                labels[volume.id] = volume.label
    made = {volume.id: number for number, volume in enumerate(catalog.volumes())}
    passes = []
    for id in sorted(by_volume, key=made.__getitem__):
        table = np.concatenate(by_volume[id])
        passes.append(Pass(id, labels[id], table[np.argsort(table[:, POSITION], kind="stable")]))
    return passes


def with_room(config: Config, catalog: Catalog, copies: Iterable[Copy]) -> Config:
    """The configuration with slots that hold the blocks of all volumes that these copies are on."""
    blocks = {volume.label: volume.block_bytes for volume in catalog.volumes()}
    need = max((blocks[label] for copy in copies for label in copy.volumes), default=0)
    if need <= config.server.block:
        return config
    return replace(config, server=replace(config.server, block=need))


class Round:
    """A round that is compiled and open, and about to run."""

    def __init__(
        self,
        schedule: Schedule,
        catalog: Catalog,
        id: UUID,
        job: Job,
        expected: Mapping[int, int],
        written: Mapping[int, VolumeWriter],
        mounts: Mapping[int, Mounts],
    ):
        self.schedule = schedule
        self.expected = expected
        """By row of the agent: the bytes that it should read or write, near enough for a bar."""
        self.id = id
        self.job = job
        self._catalog = catalog
        self._written = written
        self._mounts = mounts

    def run(self, on_tick: Callable[[], None] = lambda: None) -> RoundResult:
        """Runs to the end and writes the outcome into the catalog, also where it raises a bug or a CatalogError."""
        try:
            result = self.job.run(on_tick)
        except BaseException as bug:
            if self.job.result is not None:
                with suppress(CatalogError):
                    self._finish(self.job.result, bug)
            raise
        return self._finish(result)

    def _finish(self, result: JobResult, bug: BaseException | None = None) -> RoundResult:
        end_mounts(self._written, self.job.hung)
        for row, mounts in self._mounts.items():
            if row not in self.job.hung:
                mounts.end()
        left = [one for reader in result.readers for one in reader.left]
        self._catalog.found(findings((), (one.fault for one in left if one.fault.where.copy_id)))
        table = self._catalog.job_table(self.id)
        well = result.well and all(row.copy.status == "complete" for row in table)
        safe = any(row.blocks_safe for row in table)
        status = JobStatus.COMPLETE if well else JobStatus.PARTIAL if safe else JobStatus.FAILED
        ends = agent_ends(self.job, [*result.readers, *result.agents])
        report = {
            "seconds": round(result.seconds, 3),
            "stopped": result.stopped,
            **({} if bug is None else {"bug": in_words(bug)}),
            "agents": agents_report(self.job, ends),
            "left": [str(one.fault) for one in left[:LEFT_TOLD_MAX]],
            "remarks": [
                *(remark for mounts in self._mounts.values() for remark in mounts.waiting.remarks),
                *remarks_of(self._written.values()),
            ],
        }
        self._catalog.finish_job(self.id, status, report=report)
        return RoundResult(
            self.id,
            status,
            ends,
            left,
            table,
            result.stopped,
            result.seconds,
            sum(one.blocks for one in result.readers),
            sum(one.bytes for one in result.readers),
        )


LEFT_TOLD_MAX = 100
"""Faults that are kept with the record of the job; the ranges are all kept with the copies."""


@contextmanager
def open_round(
    catalog: Catalog,
    verb: str,
    trip: Trip,
    schedule: Schedule,
    unwoven: Unwoven | None = None,
    *,
    patient: bool = False,
) -> Iterator[Round]:
    """Opens everything that the round needs; what it is to write stands in the catalog from here on. With `unwoven`,
    the round's only restore media agent reads what that says. `patient`: cartridges that are not there are waited for.

    Raises
    ------
    UsageError
        The machine has not the memory.
    HeldError
        A drive is in another process's hands.
    """
    job_id = new_id()
    hung: set[str] = set()
    with ExitStack() as stack:
        own = {} if unwoven is None else {unwoven.drive: unwoven.open}
        devices = open_drives(trip.config, schedule, stack, hung, own)
        objects = Objects(_Nobody())
        reads = {}
        reading_mounts: dict[int, Mounts] = {}
        writes: dict[int, list[Object]] = defaultdict(list)
        restore_rows = [row for row, agent in enumerate(schedule.agents) if agent["kind"] == Kind.RESTORE]
        for row in restore_rows:
            drive = drive_of(schedule, row)
            mounts = reading_mounts[row] = Mounts(
                trip.config,
                catalog.volume,
                {drive: devices[drive]},
                keep=lambda volume, drive, health: catalog.keep_health(health, drive=drive, volume=volume, job=job_id),
                waiting=Waiting(patient=patient),
            )
            name = str(schedule.agent_names[row])
            buffers = dict(zip(trip.config.agents[name].buffers, schedule.fed_by(row), strict=True))
            carried = [one for one in trip.carried if one.agent == name]
            for one in carried:
                writes[buffers[one.buffer]].append(one.object)
            wants = _wants(objects, carried, buffers)
            if unwoven is None:
                reads[row] = Reads(wants, passes_of(catalog, carried), mounts)
            else:
                reads[row] = unwoven.reads(schedule, wants, buffers, mounts)
        reading = {volume.id for one in trip.carried for volume in catalog.runs(one.source.id).volumes}
        ledger = JobLedger(catalog, job_id, reading)
        writing = writers(schedule, devices, ledger, objects, job_id, trip.config, patient=patient)
        tapes: dict[int, Tape] = {**writing}
        if unwoven is not None:
            tapes.update(unwoven.tapes)
        disk = None
        if Kind.SPOOL in schedule.agents["kind"]:
            from tapeloom.runtime.spool import SpoolDisk

            server = trip.config.server
            disk = stack.enter_context(SpoolDisk(server.spool, job_id, server.spool_max))
        job = Job(schedule, tapes, (), objects, disk=disk, reads=reads, devices=devices_of(schedule, devices))
        if unwoven is not None:
            unwoven.begin(job.arena)
        catalog.begin_job(job_id, kind=verb, groups=list(trip.about or trip.groups))
        out = uncounted(catalog)
        for stream, written in places(schedule).items():
            for item in writes[stream]:
                for place in written:
                    _begin_copy(catalog, item, place, job_id, out)
        try:
            yield Round(schedule, catalog, job_id, job, _expected(schedule, trip), writing, reading_mounts)
        finally:
            hung |= {drive_of(schedule, row) for row in job.hung}


def _expected(schedule: Schedule, trip: Trip) -> dict[int, int]:
    expected: dict[str, int] = defaultdict(int)
    for one in trip.carried:
        share = round((one.object.bytes or 0) * one.blocks / (one.object.blocks or one.blocks))
        writers = {place.agent for place in targets(trip.config, f"{one.agent}.{one.buffer}")}
        for agent in (one.agent, *writers):
            expected[agent] += share
    return {row: expected[str(name)] for row, name in enumerate(schedule.agent_names)}


def _wants(objects: Objects, carried: Sequence[Carried], buffers: Mapping[str, int]) -> list[Want]:
    wants = []
    for one in carried:
        stream = buffers[one.buffer]
        item = objects.known(
            id=one.object.id,
            source=one.object.source,
            stream=stream,
            as_of_ns=one.object.as_of,
            content=one.object.content,
            level=one.object.level,
            parent=one.object.parent or one.object.stands_for,
            blocks=one.object.blocks or 0,
            bytes=one.object.bytes or 0,
        )
        wants.append(Want(item.id, stream, item.number, one.source.agent, one.source.id))
    return wants


def _begin_copy(catalog: Catalog, item: Object, place: Place, job: UUID, out: Collection[str]) -> None:
    """This job writes that copy: one that an earlier job began and did not end, or a new one."""
    unfinished = unfinished_copy(item, place, out)
    if unfinished is None:
        catalog.add_copy(item.id, job=job, place=place)
    else:
        catalog.resume_copy(unfinished.id, job=job)


def uncounted(catalog: Catalog) -> set[str]:
    """Labels of the volumes that are read while they are there, but that nobody counts on."""
    return {one.label for one in catalog.volumes() if one.state in (VolumeState.RETIRED, VolumeState.SCRATCH)}


def unfinished_copy(item: Object, place: Place, out: Collection[str]) -> Copy | None:
    """The newest copy that an agent has begun to write in a drive, and that lacks blocks; none that has some on a
    volume of `out`: it would be complete by what nobody counts on."""
    owing = [
        copy
        for copy in item.copies
        if (copy.agent, copy.drive) == (place.agent, place.drive)
        and copy.status in ("partial", "missing")
        and set(copy.volumes).isdisjoint(out)
    ]
    return owing[-1] if owing else None


class _Nobody:
    """Objects that are carried were made long ago: nothing becomes of them."""

    def object_begun(self, item: object) -> None: ...

    def object_ended(self, item: object) -> None: ...

    def object_digest(self, item: object) -> None: ...
