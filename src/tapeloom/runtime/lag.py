"""Who holds the others up, and when that is enough.

A buffer lags when it stands behind another drive's buffer of its stream. It holds the others up while the stream's
producer waits for a slot, the foremost drive has written all there is, and this buffer is the one furthest behind: so
two equally fast drives never blame one another, and what is added up is the time that was really lost. An agent that
nobody shall wait for may stand `lag_bytes` behind, and may hold the job up for `lag_seconds` in all. Whatever the
reason is: a slow drive, one that hangs, one that waits for a cartridge. A spool can hold the others up, too, but no
drive is measured by it: a disk is faster.

When the others have written all, an agent holds nobody up but the job's end. Then only what does not move counts: the
time that it stands in one and the same call of its drive. One that still has something to write, and writes it, is let
finish, however slow it is; and one that is being given a volume may take as long as that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from tapeloom import _kernel
from tapeloom.schedule import Feed, Kind, OnLag, Schedule


class LagWatch:
    """Looks at all cursors every now and then; `tick` is called by one thread."""

    def __init__(self, schedule: Schedule, arena: _kernel.Arena, lags: Callable[[int, str], None]):
        self._arena = arena
        self._lags = lags
        self._block_bytes = schedule.block_bytes
        self._limits = {
            row: (int(agent["lag_bytes"]), float(agent["lag_seconds"]))
            for row, agent in enumerate(schedule.agents)
            if agent["on_lag"] != OnLag.WAIT
        }
        self._agent_of = [int(cursor["agent"]) for cursor in schedule.cursors]
        self._streams: dict[int, list[int]] = {}
        for row, cursor in enumerate(schedule.cursors):
            if schedule.agents[cursor["agent"]]["kind"] != Kind.DIGEST:
                self._streams.setdefault(int(cursor["stream"]), []).append(row)
        self._spools = {row for row, agent in enumerate(self._agent_of) if schedule.agents[agent]["kind"] == Kind.SPOOL}
        pools = {int(one["agent"]): row for row, one in enumerate(schedule.streams) if one["feed"] == Feed.POOL}
        # Who fills a stream sleeps for a slot on the stream itself, or on the pool that its drive reads into.
        self._slept_on = {row: pools.get(int(schedule.streams["agent"][row]), row) for row in self._streams}
        self._held_up = dict.fromkeys(self._limits, 0.0)
        self._streams_of: dict[int, set[int]] = {}
        for stream, cursors in self._streams.items():
            for row in cursors:
                self._streams_of.setdefault(self._agent_of[row], set()).add(stream)
        self._spoolless = {row for row in self._limits if schedule.agents[row]["on_lag"] == OnLag.DETACH}
        self._calls: Mapping[int, int] = {}

    def tick(self, seconds: float) -> None:
        """Looks once; `seconds` have passed since the look before."""
        guilty: set[int] = set()
        for stream, cursors in self._streams.items():
            now = self._arena.stream_statistics(stream)
            places = {row: self._arena.cursor_statistics(row) for row in cursors}
            attached = {row: place for row, place in places.items() if not place.detached}
            if len(attached) < 2:
                continue
            drives = [place for row, place in attached.items() if row not in self._spools]
            if not drives:
                continue
            foremost = max(drives, key=lambda place: place.released)
            last = min(place.released for place in attached.values())
            starving = (
                self._arena.stream_statistics(self._slept_on[stream]).waiting_since_ns != 0
                and foremost.released == now.head
            )
            for row, place in attached.items():
                agent = self._agent_of[row]
                if agent not in self._limits or place.released >= foremost.released:
                    continue
                lag_bytes, _ = self._limits[agent]
                behind = (foremost.released - place.released) * self._block_bytes
                if lag_bytes and behind > lag_bytes:
                    self._give_up(agent, f"it stood {behind / 1e6:.0f} MB behind (lag_max {lag_bytes / 1e6:.0f} MB)")
                elif starving and place.released == last:
                    guilty.add(agent)
        for agent in guilty & self._limits.keys():
            self._count(agent, seconds, "it held the others up")

    def at_the_end(self, seconds: float, writing: Mapping[int, int], whole: Collection[int]) -> None:
        """Looks once at the agents that still have something to write, when all they take is whole on the tape of
        another: nothing is left then to wait for but them.

        `writing` says since when each is in the call of its drive that it is in, 0 for none and for one that is being
        given a volume; `whole` are the agents that have ended with all that was meant for them. One that goes on from a
        spool is waited for.
        """
        before, self._calls = self._calls, dict(writing)
        safe = {stream for agent in whole for stream in self._streams_of[agent]}
        if not all(self._streams_of[agent] <= safe for agent in writing):
            return
        for agent in writing.keys() & self._limits.keys() & self._spoolless:
            if writing[agent] != 0 and before.get(agent) == writing[agent]:
                self._count(agent, seconds, "it held up the end of the job")

    def _count(self, agent: int, seconds: float, what: str) -> None:
        self._held_up[agent] += seconds
        limit = self._limits[agent][1]
        if self._held_up[agent] > limit:
            self._give_up(agent, f"{what} for {self._held_up[agent]:.1f} s (lag_max {limit:g} s)")

    def _give_up(self, agent: int, why: str) -> None:
        if self._limits.pop(agent, None) is not None:
            self._lags(agent, why)
