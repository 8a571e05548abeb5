"""One run of one schedule, from the first thread to the last word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from tapeloom._kernel import AgentStatistics, Stop
from tapeloom.runtime import arena as arenas
from tapeloom.runtime import drives, hanging
from tapeloom.runtime.lag import LagWatch
from tapeloom.runtime.media import AgentResult, Ending, MediaAgent, Tape
from tapeloom.runtime.objects import Objects, in_words
from tapeloom.runtime.pace import Pace, PaceWatch
from tapeloom.runtime.result import JobResult
from tapeloom.runtime.stream import Source, Stream
from tapeloom.schedule import Feed, Kind, Schedule

if TYPE_CHECKING:
    from tapeloom.device import Device
    from tapeloom.runtime.digest import Digest
    from tapeloom.runtime.splitting import Reads, RestoreAgent
    from tapeloom.runtime.spool import Spool, SpoolDisk, SpoolStatistics

TICK_SECONDS = 0.25


class Job:
    """Runs a schedule with open tapes and sources.

    Parameters
    ----------
    tapes
        For each agent of the schedule that writes to a drive, by its row.
    sources
        For each row of `schedule.sources`; those of streams that a drive feeds are not looked at.
    memory
        The arena of this schedule on its way, where it was begun before; it serves one job.
    disk
        Where agents spool; a schedule with SPOOL agents needs one.
    reads
        For each RESTORE agent of the schedule, by its row: what it reads.
    devices
        The drives of agents, by row: those in processes of their own are shared the job's memory, and can be abandoned.
    """

    def __init__(
        self,
        schedule: Schedule,
        tapes: Mapping[int, Tape],
        sources: Sequence[Source],
        objects: Objects,
        memory: arenas.Reserving | None = None,
        disk: SpoolDisk | None = None,
        reads: Mapping[int, Reads] | None = None,
        devices: Mapping[int, Device] | None = None,
    ):
        self.schedule = schedule
        self.objects = objects
        self._memory = memory or arenas.make(schedule)
        self._memory.check()
        self.arena = self._memory.arena
        self._ended: SimpleQueue[threading.Thread] = SimpleQueue()
        self._results: dict[int, AgentResult] = {}
        self._bugs: list[BaseException] = []
        self.result: JobResult | None = None
        """What became of everything, once `run` has ended; also where it raises a bug."""
        self._stopped = False
        self._asides = drives.Asides(devices or {})
        self._lag = LagWatch(schedule, self.arena, self.lags)
        self._spools = self._make_spools(disk)
        self._changing_places = threading.Lock()
        self._agents = {
            row: MediaAgent(
                self.arena,
                row,
                tape,
                checkpoint_bytes=int(schedule.agents[row]["checkpoint_bytes"]),
                checkpoint_seconds=float(schedule.agents[row]["checkpoint_seconds"]),
                spool=self._spools.get(row),
            )
            for row, tape in tapes.items()
        }
        self._streams = {
            row: Stream(
                self.arena,
                row,
                int(stream["header_bytes"]),
                sources[stream["first_source"] : stream["first_source"] + stream["sources"]],
                self.objects,
            )
            for row, stream in enumerate(schedule.streams)
            if stream["feed"] in (Feed.READER, Feed.PRODUCER)
        }
        self._pace = PaceWatch(self._agents, self._source_of)
        self._restores = self._make_restores(reads) if reads else {}
        self._digests = self._make_digests()
        self._drive_cursors: list[list[int]] = [[] for _ in schedule.streams]
        self._digest_agents: list[list[int]] = [[] for _ in schedule.streams]
        for row, cursor in enumerate(schedule.cursors):
            if schedule.agents[cursor["agent"]]["kind"] == Kind.DIGEST:
                self._digest_agents[cursor["stream"]].append(int(cursor["agent"]))
            else:
                self._drive_cursors[cursor["stream"]].append(row)
        self._hanging = hanging.HangWatch(
            schedule,
            self.arena,
            self._asides,
            agents=self._agents,
            restores=self._restores,
            spooling=self._spools,
            streams={row: (stream, self._drive_cursors[row]) for row, stream in self._streams.items()},
        )
        self._workers: list[threading.Thread] = []
        self._media: dict[int, threading.Thread] = {}
        self._fillers: dict[Spool, threading.Thread] = {}
        self._readers: dict[Spool, threading.Thread] = {}

    def run(self, on_tick: Callable[[], None] = lambda: None) -> JobResult:
        """Runs to the end. `on_tick` is called a few times a second by the calling thread.

        Raises what was never meant to be raised in a thread: a bug is not hidden, nor a catalog that cannot be written.
        UsageError before anything was begun: the machine has not the memory. A bug in a stream or a digest fails its
        object and ends the job in order, any other ends it at once.
        """
        begin = time.monotonic()
        self._memory.wait()
        self._asides.share(self.arena)
        for row, spool in self._spools.items():
            self._asides.share(spool.arena, [row])
        for number, stream in self._streams.items():
            self._workers.append(self._thread(f"stream-{number}", stream.run, Stop.IN_ORDER))
        for number, digest in enumerate(self._digests):
            self._workers.append(self._thread(f"digest-{number}", digest.run, Stop.IN_ORDER))
        for row, agent in self._agents.items():
            self._media[row] = self._thread(str(self.schedule.agent_names[row]), partial(self._run_agent, row, agent))
        for row, reader in self._restores.items():
            self._media[row] = self._thread(str(self.schedule.agent_names[row]), reader.run)
        for thread in [*self._media.values(), *self._workers]:  # who puts a tape in takes longest to begin
            thread.start()
        try:
            self._watch(on_tick)
        except BaseException:  # of the calling thread's: an interrupt, or `on_tick`
            self.stop(Stop.NOW)
            self._watch(lambda: None)
            raise
        finally:
            self._close_spools()
            self._give_memory_back()
        self.result = JobResult(
            objects=self.objects.all(),
            agents=[self._results[row] for row in sorted(self._agents)],
            readers=[self._restores[row].result for row in sorted(self._restores)],
            stopped=self._stopped,
            seconds=time.monotonic() - begin,
        )
        if self._bugs:
            raise self._bugs[0]
        return self.result

    def _give_memory_back(self) -> None:
        """In a thread: it takes its time, as having it did. Not where one is left that may come back to it."""
        self._asides.end_sharing(self.hung)
        threads = [*self._media.values(), *self._workers, *self._fillers.values(), *self._readers.values()]
        if not any(thread.is_alive() for thread in threads):
            threading.Thread(target=self.arena.give_back, name="giving memory back", daemon=True).start()

    def stop(self, how: Stop) -> None:
        """Ends the job: IN_ORDER breaks the sources off and writes what is buffered, NOW leaves everything where it
        is."""
        self._stopped = True
        self.arena.stop(how)
        for stream in self._streams.values():
            stream.stop()
        for agent in self._agents.values():
            agent.stop_waiting()
        for reader in self._restores.values():
            reader.stop_waiting()
        if how is Stop.NOW:
            self._hanging.give_up(self._agents)
            for spool in self._spools.values():
                spool.stop()

    def agent_statistics(self, agent: int) -> AgentStatistics:
        """What an agent with a drive did, in the streams and with its spool."""
        if agent in self._restores:
            return self.arena.agent_statistics(agent)
        return self._agents[agent].statistics()

    def spooled(self, agent: int) -> SpoolStatistics | None:
        """What went through an agent's spool; None where it has none."""
        return self._spools[agent].statistics() if agent in self._spools else None

    def pace(self, agent: int) -> Pace | None:
        """How fast its drive was, and what kept it from being faster; None for one that reads."""
        return self._pace.of(agent) if agent in self._agents else None

    def mounting(self, agent: int) -> bool:
        """Whether an agent that writes is being given a volume."""
        return agent in self._agents and self._agents[agent].mounting

    def waiting_for(self, agent: int) -> str | None:
        """A sentence, while an agent waits for a cartridge."""
        return found.waiting_for if (found := self._agents.get(agent) or self._restores.get(agent)) else None

    @property
    def hung(self) -> list[int]:
        """Agents whose thread has not come back, by row. Empty before and after any other run."""
        return [row for row, thread in self._media.items() if thread.is_alive()]

    def detach(self, agent: int, why: str) -> None:
        """Takes an agent out of its chains; everything else goes on."""
        self._agents[agent].detached_because = why
        self._take_out(agent)

    def _take_out(self, agent: int) -> None:
        self.arena.detach(agent)
        self._agents[agent].stop_waiting()
        self._hanging.give_up([agent])
        if agent in self._spools:
            self._spools[agent].detach()
        self._let_go()

    def _source_of(self, stream: int) -> str:
        """What the blocks of a stream come from just now."""
        if stream in self._streams:
            return f"source {self._streams[stream].source}"
        reader = self.schedule.agents[self.schedule.streams["agent"][stream]]
        return f"drive {self.schedule.drive_names[reader['drive']]}"

    def _make_digests(self) -> list[Digest]:
        cursors = [int(agent["first_cursor"]) for agent in self.schedule.agents if agent["kind"] == Kind.DIGEST]
        if not cursors:
            return []
        from tapeloom.runtime.digest import Digest  # with libraries that few jobs need

        return [Digest(self.arena, cursor, self.objects) for cursor in cursors]

    def _make_spools(self, disk: SpoolDisk | None) -> dict[int, Spool]:
        """By the agent that each is for."""
        rows = [row for row, agent in enumerate(self.schedule.agents) if agent["kind"] == Kind.SPOOL]
        spools: dict[int, Spool] = {}
        if rows:
            from tapeloom.runtime.spool import Spool  # which few jobs need

            assert disk is not None, "a schedule with spools needs a disk for them"
            for row in rows:
                spool = Spool(self.schedule, row, self.arena, disk, self.objects, self._let_go)
                spools[spool.owner] = spool
        return spools

    def lags(self, agent: int, why: str) -> None:
        """An agent is too slow for the others: it goes on from its spool, or is detached where it has none. A spool
        agent may lag, too. Called by the thread of `run`."""
        if self.schedule.agents[agent]["kind"] == Kind.SPOOL:
            self._spools[self.schedule.spool_owner(agent)].hold_nobody_up(why)
        elif agent in self._spools:
            self._agents[agent].detached_because = why
            self._start(self._spools[agent])
        else:
            self.detach(agent, why)

    def _make_restores(self, reads: Mapping[int, Reads]) -> dict[int, RestoreAgent]:
        from tapeloom.runtime.splitting import RestoreAgent

        pool, fed = self.schedule.pool, self.schedule.fed_by
        return {row: RestoreAgent(self.arena, row, pool(row), fed(row), one) for row, one in reads.items()}

    def _start(self, spool: Spool) -> None:
        with self._changing_places:
            spool.take_over()
        name = str(self.schedule.agent_names[spool.row])
        self._fillers[spool] = self._thread(name, spool.fill)
        self._readers[spool] = self._thread(f"{name}, back", spool.read_back)
        self._fillers[spool].start()
        self._readers[spool].start()

    def _close_spools(self) -> None:
        for spool in self._spools.values():
            spool.stop()
        for spool, filler in self._fillers.items():
            if filler.is_alive():
                spool.hold_nobody_up("its disk does not come back from a call")
        until = time.monotonic() + hanging.HUNG_SECONDS
        for reader in self._readers.values():
            reader.join(max(0.0, until - time.monotonic()))  # from a disk that hangs it comes back to nobody

    def _thread(self, name: str, body: Callable[[], None], on_bug: Stop = Stop.NOW) -> threading.Thread:
        def run() -> None:
            try:
                body()
            except BaseException as bug:
                self._bugs.append(bug)
                self.stop(on_bug)
            self._ended.put(threading.current_thread())

        return threading.Thread(target=run, name=name, daemon=True)

    def _run_agent(self, row: int, agent: MediaAgent) -> None:
        try:
            result = agent.run()
        except BaseException as bug:
            self._results.setdefault(row, AgentResult(row, Ending.FAILED, in_words(bug)))
            raise
        self._results.setdefault(row, result)
        if result.ending is not Ending.COMPLETE:
            self._take_out(row)

    def _let_go(self) -> None:
        """A stream that no drive takes any more needs no source, and a digest alone is no reason to read one."""
        for row, stream in self._streams.items():
            with self._changing_places:
                places = [self.arena.cursor_statistics(cursor) for cursor in self._drive_cursors[row]]
            if all(place.detached for place in places):
                for digest in self._digest_agents[row]:
                    self.arena.detach(digest)
                stream.stop()
        for reader in self._restores.values():
            reader.look_for_takers()

    def _watch(self, on_tick: Callable[[], None]) -> None:
        """Comes back when all threads have ended, but for those whose drive does not come back."""
        last = time.monotonic()
        while not self._over():
            with suppress(Empty):
                self._ended.get(timeout=TICK_SECONDS).join()  # it has said its last word
            now = time.monotonic()
            self._lag.tick(now - last)
            self._lag.at_the_end(now - last, self._in_calls(), self._whole())
            self._pace.tick(now - last)
            for spool in self._readers:
                spool.look_at_reader(hanging.READ_HUNG_SECONDS)
            for row in self._asides.hanging():
                self._abandon(row)
            last = now
            on_tick()

    def _in_calls(self) -> dict[int, int]:
        """The agents that still have something to write, and since when each is in one call of its drive that writes;
        0: it is in none."""
        writing = {row: self._agents[row] for row in self.hung if row in self._agents}
        return {row: self._writes_since_ns(row, one) for row, one in writing.items() if not one.statistics().detached}

    def _writes_since_ns(self, row: int, agent: MediaAgent) -> int:
        """While an agent is being given a volume, only its drive's own process can tell a label that is written from a
        cartridge that is being brought."""
        known = self._asides.short_call_since_ns(row)
        return known if known is not None else 0 if agent.mounting else agent.in_call_since_ns

    def _whole(self) -> set[int]:
        """The agents that have ended with all that was meant for them."""
        return {row for row, result in self._results.items() if result.ending is Ending.COMPLETE}

    def _abandon(self, row: int) -> None:
        """Takes an agent out whose drive does not come back, and kills the drive's process if it has one."""
        if self._asides.abandon(row) and row in self._agents:
            self._take_out(row)

    def _over(self) -> bool:
        running = self.hung
        for row in running:
            if self._hanging.hangs(row):
                self._abandon(row)
        hung = [row for row in running if self._hanging.hangs(row) and not self._asides.may_come_back(row)]
        if hung:
            self._hanging.cut_short(hung)
        if len(hung) < len(running):
            return False
        if any(thread.is_alive() for thread in self._workers):
            if any(stream.stuck for stream in self._streams.values()):
                self.arena.stop(Stop.NOW)  # nothing is left that this could cut short
            return False
        if any(thread.is_alive() and not spool.hangs(hanging.HUNG_SECONDS) for spool, thread in self._fillers.items()):
            return False
        for row in hung:
            if row in self._restores:
                self._restores[row].result.hung(self._hanging.why(row))
            else:
                self._results[row] = AgentResult(row, Ending.HUNG, self._hanging.why(row))
        return True
