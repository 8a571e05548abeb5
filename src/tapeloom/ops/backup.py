"""A backup: from a configuration to objects on tape and in the catalog."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from uuid import UUID

from tapeloom.catalog import Catalog, JobStatus, Outcome, Place
from tapeloom.catalog.ledger import JobLedger
from tapeloom.config import Config
from tapeloom.errors import CatalogError, UsageError
from tapeloom.ident import new_id
from tapeloom.ops.beginning import Beginning, begin
from tapeloom.ops.levels import prune_snapshots
from tapeloom.ops.named import Named
from tapeloom.ops.outcome import AgentEnd, BackupResult, agent_ends, agents_report, kept_troubles, troubles_by_source
from tapeloom.ops.sources import job_sources
from tapeloom.ops.tapes import devices_of, drive_of, end_mounts, group_of, open_drives, places, remarks_of, writers
from tapeloom.runtime import Job, JobObject, JobResult, Objects, Source, State
from tapeloom.runtime.objects import in_words
from tapeloom.schedule import Kind, Schedule
from tapeloom.volume.header import Content, Level
from tapeloom.volume.writer import VolumeWriter


class Backup:
    """A backup that is compiled and open, and about to run: drives held, catalog held, job recorded."""

    def __init__(
        self,
        config: Config,
        schedule: Schedule,
        catalog: Catalog,
        job_id: UUID,
        job: Job,
        groups: Sequence[str],
        sources: Sequence[Source],
        tapes: Mapping[int, VolumeWriter] | None = None,
    ):
        self.config = config
        self.schedule = schedule
        self.id = job_id
        self.job = job
        self._catalog = catalog
        self._groups = groups
        self._sources = sources
        self._tapes = tapes or {}

    @property
    def levels(self) -> dict[str, Level]:
        """What each source's object is going to be."""
        return {one.name: one.level if isinstance(one, Named) else Level.FULL for one in self._sources}

    def run(self, on_tick: Callable[[], None] = lambda: None) -> BackupResult:
        """Runs to the end and writes the outcome into the catalog, also where it raises a bug or a CatalogError."""
        try:
            result = self.job.run(on_tick)
        except BaseException as bug:
            if self.job.result is not None:
                with suppress(CatalogError):  # it may be what failed; then the next job says that this one broke off
                    self._finish(self.job.result, bug)
            elif isinstance(bug, UsageError):  # the memory cannot be had after all: nothing has begun
                self._catalog.finish_job(self.id, JobStatus.FAILED, report={"remarks": [str(bug)]})
            raise
        return self._finish(result)

    def _finish(self, result: JobResult, bug: BaseException | None = None) -> BackupResult:
        begun = {item.source for item in result.objects}
        untouched = [str(name) for name in self.schedule.source_names if str(name) not in begun]
        agents = agent_ends(self.job, result.agents)
        named = [one for one in self._sources if isinstance(one, Named)]
        end_mounts(self._tapes, self.job.hung)
        remarks = [*(remark for one in named for remark in one.remarks), *remarks_of(self._tapes.values())]
        table = self._catalog.job_table(self.id)
        well = result.well and not untouched and all(row.copy.status == "complete" for row in table)
        status = (
            JobStatus.COMPLETE
            if well
            else JobStatus.PARTIAL
            if any(row.blocks_safe for row in table)
            else JobStatus.FAILED
        )
        self._catalog.finish_job(
            self.id, status, report=self._report(result, agents, untouched, bug) | {"remarks": remarks}
        )
        prune_snapshots(self._catalog, [one.name for one in named])
        objects = [item for item in result.objects if item.content != Content.INDEX or item.troubles]
        return BackupResult(self.id, status, objects, agents, table, untouched, result.stopped, result.seconds, remarks)

    def _report(
        self, result: JobResult, agents: Sequence[AgentEnd], untouched: Sequence[str], bug: BaseException | None
    ) -> dict[str, object]:
        return {
            "seconds": round(result.seconds, 3),
            "stopped": result.stopped,
            "untouched": list(untouched),
            **({} if bug is None else {"bug": in_words(bug)}),
            "agents": agents_report(self.job, agents),
            "troubles": troubles_by_source(result.objects),
        }


class _Recorder:
    """Tells the catalog what becomes of the job's objects."""

    def __init__(self, catalog: Catalog, job: UUID, copies: Mapping[int, Sequence[Place]]):
        self._catalog = catalog
        self._job = job
        self._copies = copies

    def object_begun(self, item: JobObject) -> None:
        # Whatever the clock says: a source's newest object is the one that was read from it last.
        newest = self._catalog.newest_as_of(item.source)
        if newest is not None and item.content != Content.INDEX and item.stands_for is None:
            item.as_of_ns = max(item.as_of_ns, newest + 1)
        self._catalog.add_object(
            item.id,
            source=item.source,
            job=self._job,
            as_of=item.as_of_ns,
            content=item.content,
            level=Level(item.level),
            parent=item.parent if item.stands_for is None else None,
            stands_for=item.stands_for,
            codec=item.codec,
            key=item.key,
            copies=self._copies[item.stream],
        )

    def object_ended(self, item: JobObject) -> None:
        self._catalog.object_ended(
            item.id,
            outcome=Outcome.WHOLE if item.state is State.COMPLETE else Outcome.FAILED,
            blocks=item.blocks,
            bytes=item.bytes,
            files=item.files,
            troubles=kept_troubles(item),
            step=item.step,
        )

    def object_digest(self, item: JobObject) -> None:
        assert item.digest is not None
        self._catalog.set_digest(item.id, item.digest)


@contextmanager
def open_backup(
    config: Config,
    groups: Sequence[str] | None = None,
    producers: Mapping[str, Source] | None = None,
    on_waiting: Callable[[str], None] = lambda source: None,
    level: Level | None = None,
    beginning: Beginning | None = None,
    kind: str = "backup",
    patient: bool = True,
    reading: Collection[UUID] = (),
) -> Iterator[Backup]:
    """Compiles, and opens everything that the job needs; nothing is written yet.

    Parameters
    ----------
    groups
        Names of backup groups; all of them where None.
    producers
        For sources with `producer = true` that are written in this process: what writes them. The others wait for a
        program that attaches (see `tapeloom.attach`).
    on_waiting
        Told the name of such a source when its program can attach.
    level
        What the objects of files are to be; None: what the group of each says. A source's first is always full.
    beginning
        That of this very job, where the caller has made it already: of the same groups, producers and level.
    kind
        What the catalog calls the job.
    reading
        Volumes that its sources read: they are not written to.
    patient
        Whether drives wait for cartridges that are not there; else their agents fail at once.

    Raises
    ------
    ConfigError, UsageError
        Nothing was touched.
    HeldError
        A drive or the state folder is in another process's hands.
    """
    here = producers or {}
    job_id = new_id()
    hung: set[str] = set()
    with ExitStack() as stack:
        begun = beginning or stack.enter_context(begin(config, groups, level, here))
        catalog, schedule = begun.catalog, begun.schedule
        sources = []
        for source in job_sources(config, schedule, catalog, level, here, on_waiting, begun.ahead):
            sources.append(source)
            if isinstance(source, Named):
                stack.callback(source.close)
        devices = open_drives(config, schedule, stack, hung)
        names = sorted({group_of(schedule, row) for row in range(len(schedule.agents)) if is_primary(schedule, row)})
        recorder = _Recorder(catalog, job_id, places(schedule))
        objects = Objects(recorder)
        tapes = writers(
            schedule, devices, JobLedger(catalog, job_id, reading), objects, job_id, config, patient=patient
        )
        disk = None
        if Kind.SPOOL in schedule.agents["kind"]:
            from tapeloom.runtime.spool import SpoolDisk

            disk = stack.enter_context(SpoolDisk(config.server.spool, job_id, config.server.spool_max))
        job = Job(schedule, tapes, sources, objects, begun.memory, disk, devices=devices_of(schedule, devices))
        catalog.begin_job(job_id, kind=kind, groups=names)
        backup = Backup(config, schedule, catalog, job_id, job, names, sources, tapes)
        try:
            yield backup
        finally:
            hung |= {drive_of(schedule, row) for row in job.hung}


def is_primary(schedule: Schedule, agent: int) -> bool:
    return bool(schedule.agents[agent]["kind"] == Kind.BACKUP)
