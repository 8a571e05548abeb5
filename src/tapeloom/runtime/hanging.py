"""Which agents do not come back from their drives, and what is then cut short.

Nobody is hurried: an agent counts as hung only when it was given up and its call has taken too long since then.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tapeloom import _kernel
from tapeloom._kernel import Stop
from tapeloom.runtime import drives
from tapeloom.schedule import Schedule

if TYPE_CHECKING:
    from tapeloom.runtime.media import MediaAgent
    from tapeloom.runtime.splitting import RestoreAgent
    from tapeloom.runtime.stream import Stream

HUNG_SECONDS = 5.0
"""How long an agent that was given up may still be with its drive before nobody waits for it any more. For a call of a
drive in a process of its own it is `drives.PATIENCE_SECONDS`, unless the job was stopped at once."""
SPOOLING_HUNG_SECONDS = 15 * 60.0
"""The same for an agent that goes on from its spool: a drive may try again and again, and a changer takes its time."""
READING_HUNG_SECONDS = 30 * 60.0
"""How long a call of a restore media agent's drive may take, a locate or the reading of one block, before nobody waits
for it any more."""
READ_HUNG_SECONDS = 60.0
"""How long a spool's disk may take to read. It is given more time than one that others wait for: what it holds is lost
to the copy."""


class HangWatch:
    """Over the agents of a job that have a drive: those that write, those that read, by row; some have a spool.

    `streams` are those that sources fill, each with the cursors of its drives. Used by one thread, but for `give_up`.
    """

    def __init__(
        self,
        schedule: Schedule,
        arena: _kernel.Arena,
        asides: drives.Asides,
        *,
        agents: Mapping[int, MediaAgent],
        restores: Mapping[int, RestoreAgent],
        spooling: Collection[int],
        streams: Mapping[int, tuple[Stream, Sequence[int]]],
    ):
        self._schedule = schedule
        self._arena = arena
        self._asides = asides
        self._agents = agents
        self._restores = restores
        self._spooling = spooling
        self._streams = streams
        self._given_up_ns: dict[int, int] = {}

    def give_up(self, rows: Iterable[int]) -> None:
        """From now on they are waited for a while and no longer."""
        now = time.monotonic_ns()
        for row in rows:
            self._given_up_ns.setdefault(row, now)

    def hangs(self, row: int) -> bool:
        """Whether this agent was given up, and has not come back from its drive for too long since then."""
        if self._asides.abandoned(row):
            return True
        stopped = self._arena.stopping is Stop.NOW
        if row in self._restores:
            return self._restores[row].hangs(HUNG_SECONDS if stopped else READING_HUNG_SECONDS)
        since = self._agents[row].in_call_since_ns
        given_up = self._arena.agent_statistics(row).detached or stopped
        spools = row in self._spooling and not self._agents[row].statistics().detached and not stopped
        patience = SPOOLING_HUNG_SECONDS if spools else HUNG_SECONDS
        call_since = self._asides.in_call_since_ns(row)
        if call_since is not None and not stopped:
            since, patience = call_since, max(patience, drives.PATIENCE_SECONDS)
        last_sign = max(since, self._given_up_ns.get(row, 0))
        return given_up and since != 0 and time.monotonic_ns() - last_sign >= patience * 1e9

    def why(self, row: int) -> str:
        """Of one that hangs, or that was abandoned."""
        reading = row in self._restores
        since = self._restores[row].in_call_since_ns if reading else self._agents[row].in_call_since_ns
        why = self._asides.why(row)
        if why is None:
            why = f"its drive has not come back from a call for {(time.monotonic_ns() - since) / 1e9:.0f} s"
        before = None if reading else self._agents[row].why_detached
        return f"{before}; {why}" if before else why

    def cut_short(self, hung: Collection[int]) -> None:
        """Ends the streams that cannot go on: those that such a drive feeds, and those whose slots are all under calls
        of such drives, and come back only with them."""
        for row in hung:
            if row in self._restores:
                self._restores[row].end_streams()
        for row, (stream, cursors) in self._streams.items():
            guilty = {int(self._schedule.cursors[cursor]["agent"]) for cursor in cursors} & set(hung)
            now = self._arena.stream_statistics(row)
            since = now.waiting_since_ns
            if not guilty or since == 0 or time.monotonic_ns() - since < HUNG_SECONDS * 1e9:
                continue
            places = [self._arena.cursor_statistics(cursor) for cursor in cursors]
            if all(place.detached or place.released == now.head for place in places):
                names = ", ".join(self._drive_of(agent) for agent in guilty)
                stream.give_up(
                    f"all memory of its chain is in the hands of drive {names}, which does not come back from a call"
                )

    def _drive_of(self, agent: int) -> str:
        return str(self._schedule.drive_names[self._schedule.agents[agent]["drive"]])
