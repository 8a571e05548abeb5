"""Consolidating: the objects of a chain, read off their volumes, become one new full object, as any source does."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tapeloom.agent.entries import Archive
from tapeloom.agent.filed import WINDOW_BYTES, Filing
from tapeloom.agent.merge import MergeSource
from tapeloom.catalog import Object
from tapeloom.config import Config, Group
from tapeloom.errors import FormatError, SourceError, Stopped, TapeloomError
from tapeloom.ops.backup import Backup, open_backup
from tapeloom.ops.codings import coding_of
from tapeloom.ops.damage import taking_down
from tapeloom.ops.feeding import reading_of
from tapeloom.ops.mergeplan import Consolidation, Link
from tapeloom.ops.mounts import Mounts, open_configured, reader_for
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.owed import media_agent
from tapeloom.runtime.reading import Reading
from tapeloom.runtime.segments import Fault
from tapeloom.runtime.stream import Facts
from tapeloom.volume.header import Content, Level
from tapeloom.volume.waiting import Waiting

if TYPE_CHECKING:
    from tapeloom.agent.sink import Sink
    from tapeloom.device import Device
    from tapeloom.ops.keeping import Keeping
    from tapeloom.runtime import Job
    from tapeloom.runtime.coding import Coding
    from tapeloom.runtime.stream import Report
    from tapeloom.schedule import Schedule

VERB = "consolidate"


class Consolidating:
    """A consolidation that is compiled and open, and about to run."""

    def __init__(self, plan: Consolidation, backup: Backup, source: Consolidated):
        self.plan = plan
        self._backup = backup
        self._source = source

    @property
    def schedule(self) -> Schedule:
        return self._backup.schedule

    @property
    def job(self) -> Job:
        return self._backup.job

    @property
    def faults(self) -> list[Fault]:
        """Blocks that had to come from other copies, or did not come at all."""
        return self._source.faults

    @property
    def remarks(self) -> list[str]:
        """After the `with` block: why the catalog does not know of them."""
        return self._source.remarks

    @property
    def waiting_for(self) -> list[str]:
        """Sentences on the cartridges that are to be read and are not there."""
        return self._source.waiting_for

    def run(self, on_tick: Callable[[], None] = lambda: None) -> BackupResult:
        """As `tapeloom.ops.backup.Backup.run` does."""
        return self._backup.run(on_tick)


@contextmanager
def open_consolidation(config: Config, plan: Consolidation, *, patient: bool = False) -> Iterator[Consolidating]:
    """The job, with the drives that are read and the one that is written. At the end of the `with` block the catalog
    knows what was found damaged. `patient`: cartridges that are not there are waited for.

    Raises
    ------
    UsageError
        Nothing was touched.
    HeldError
        A drive or the state folder is in another process's hands.
    """
    agent = media_agent(config, f"{VERB}-{plan.to}", "backup", VERB, plan.to, {"B1": (plan.source,)})
    group = Group("backup", VERB, (agent.name,), "full")
    own = replace(config, agents={agent.name: agent}, groups={("backup", VERB): group})
    source = Consolidated(config, plan, patient=patient)
    try:
        source.open_drives()
        with taking_down(config.server.state, source.remarks) as met:
            met.append(source)
            reading = {part.volume for link in plan.links for copy in link.stage.copies for part in copy}
            with open_backup(own, [VERB], {plan.source: source}, kind=VERB, reading=reading, patient=patient) as backup:
                yield Consolidating(plan, backup, source)
    finally:
        source.close()


class _Told(Struct, frozen=True):
    """What the job hears in the end."""

    files: int
    troubles: Sequence[object]
    troubles_beyond: int = 0


class Consolidated:
    """The objects of a chain as the source of a full one (see `tapeloom.runtime.stream.Source`, `Described` and
    `Stoppable`). `faults` are what was met in reading them, `remarks` sentences on them."""

    content = int(Content.PAX)

    def __init__(self, config: Config, plan: Consolidation, *, patient: bool = False):
        configured = config.sources[plan.source]
        self.name = plan.source
        self.faults: list[Fault] = []
        self.remarks: list[str] = []
        self._plan = plan
        self._digest = configured.digest
        self._config = config
        self._state = config.server.state
        self._spool = config.server.spool
        self._coding: Coding | None = coding_of(config, configured)
        self._keeping: Keeping | None = None
        self._id: UUID | None = None
        self._devices: dict[str, Device] = {}
        self._patient = patient
        self._waiting: list[Waiting] = []
        self._stopped = threading.Event()
        self._running = False

    @property
    def index(self) -> Path | None:
        return self._keeping.index if self._keeping else None

    def open_drives(self) -> None:
        """Those that will be read, before anything is begun. Raises HeldError, DeviceError."""
        for home in sorted(self._plan.drives):
            name = reader_for(self._config, home, (self._plan.to,))
            assert name is not None, "the plan has only what can be read"
            self._devices[name] = open_configured(self._config, name)

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        self._id = object_id
        last = self._plan.last
        return Facts(int(Level.FULL), last.id, self._coding, self._digest, as_of_ns=last.as_of)

    def run(self, sink: Sink) -> Report:
        from tapeloom.ops.keeping import Keeping

        assert self._id is not None, "a source runs after its object has begun"
        self._running = True
        self._keeping = keeping = Keeping(self._state, self.name, self._id, self._coding)
        keeping.begin_index()
        try:
            with ExitStack() as held:
                held.callback(self._close_drives)  # by this thread: it may be the one that a drive does not answer
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
        return _Told(report.files, [*self._handed_on(), *keeping.troubles])

    def stop(self) -> None:
        self._stopped.set()
        for one in list(self._waiting):
            one.stop()

    @property
    def waiting_for(self) -> list[str]:
        """Sentences on the cartridges that it waits for just now."""
        return [one.for_what for one in list(self._waiting) if one.for_what is not None]

    def close(self) -> None:
        """The job is over: nobody asks for the index any more."""
        if self._keeping is not None:
            self._keeping.close()
        if not self._running:
            self._close_drives()

    def _close_drives(self) -> None:
        for device in self._devices.values():
            device.close()

    def _handed_on(self) -> Iterator[str]:
        """What the objects lack is lacking here, too."""
        for link in self._plan.links:
            yield from (f"object {link.item.id}, which it was made from: {trouble}" for trouble in link.item.troubles)

    def _archives(self, held: ExitStack) -> Sequence[Archive]:
        """All objects, on their way or here already."""
        found: dict[UUID, Archive] = {}
        self._spool.mkdir(parents=True, exist_ok=True)
        with self._mounts() as mounts:
            for stage in self._plan.spooling.stages:
                link = next(link for link in self._plan.links if link.stage is stage)
                found[link.item.id] = self._filed(link, mounts, held)
        for link in self._plan.links:
            if not link.waits:
                mounts = held.enter_context(self._mounts())
                found[link.item.id] = held.enter_context(self._reading(link, mounts)).sequence
        return [found[link.item.id] for link in self._plan.links]

    def _mounts(self) -> Mounts:
        waiting = Waiting(patient=self._patient)
        self._waiting.append(waiting)
        if self._stopped.is_set():
            waiting.stop()
        return Mounts(self._config, self._plan.volumes.__getitem__, self._devices, waiting=waiting)

    def _filed(self, link: Link, mounts: Mounts, held: ExitStack) -> Archive:
        """All of an object, in a file without a name; what is sealed is sealed there, too."""
        file: IO[bytes] = held.enter_context(tempfile.TemporaryFile(dir=self._spool))  # noqa: SIM115
        filing = self._filing(link.item, file.fileno())
        size = 0
        with self._reading(link, mounts) as reading:
            while piece := reading.sequence.read(WINDOW_BYTES):
                if self._stopped.is_set():
                    raise Stopped("the job was told to stop")
                filing.add(piece)
                size += len(piece)
            reading.sequence.proof()
        if size != link.item.bytes:
            raise FormatError(f"object {link.item.id} has {size:,} bytes, and {link.item.bytes:,} in the catalog")
        return filing.archive()

    def _filing(self, item: Object, fd: int) -> Filing:
        if item.key is None:
            return Filing(fd)
        from tapeloom.ops.sealedspool import SealedFiling  # with libraries that only few need

        return SealedFiling(fd)

    @contextmanager
    def _reading(self, link: Link, mounts: Mounts) -> Iterator[Reading]:
        reading = reading_of(link.stage, mounts, self._plan.keys, partial=False)
        try:
            with reading:
                yield reading
        finally:
            self.faults += reading.faults
