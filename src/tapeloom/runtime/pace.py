"""How fast each drive was, and what kept it from being faster.

How long an agent slept and how long its drive was busy, the kernel counts to the nanosecond. What it slept for is
looked at every now and then: so it costs nothing where blocks move, and a job that is worth a word has many looks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct, field

from tapeloom._kernel import AgentStatistics


class Agent(Protocol):
    """As much of a media agent as is looked at (`tapeloom.runtime.media.MediaAgent`)."""

    def lacks(self) -> list[tuple[int, int | None]]: ...

    def statistics(self) -> AgentStatistics: ...

    @property
    def seconds(self) -> tuple[float, float]: ...


class Pace(Struct, frozen=True):
    """Of one agent with a drive: from its first turn at writing to the end of its last volume, `seconds` later.

    Of these it was with its drive for `drive_seconds`, and slept for `asleep_seconds`, for want of blocks: because
    sources had none yet (`sources`: seconds by name), or because all memory of a stream stood full of blocks that
    another agent had still to write (`agents`: seconds by row). `starvations` counts how often its drive ran dry.
    """

    bytes: int
    seconds: float
    drive_seconds: float
    asleep_seconds: float
    starvations: int
    sources: dict[str, float] = field(default_factory=dict)
    agents: dict[int, float] = field(default_factory=dict)

    @property
    def rate_writing(self) -> float:
        """Bytes per second while it had something to write: into a buffer of the drive, faster than onto tape."""
        writing = self.seconds - self.asleep_seconds
        return self.bytes / writing if writing > 0 else 0.0


class PaceWatch:
    """Looks at agents that sleep; `tick` is called by one thread. `source_of` says what the blocks of a stream come
    from just now."""

    def __init__(self, agents: Mapping[int, Agent], source_of: Callable[[int], str]):
        self._agents = agents
        self._source_of = source_of
        self._sources: dict[int, dict[str, float]] = {row: defaultdict(float) for row in agents}
        self._holders: dict[int, dict[int, float]] = {row: defaultdict(float) for row in agents}

    def tick(self, seconds: float) -> None:
        """Looks once; `seconds` have passed since the look before."""
        for row, agent in self._agents.items():
            lacks = agent.lacks()
            for stream, holder in lacks:
                share = seconds / len(lacks)
                if holder is None:
                    self._sources[row][self._source_of(stream)] += share
                else:
                    self._holders[row][holder] += share

    def of(self, row: int) -> Pace:
        """What was seen of an agent, scaled to how long it really slept."""
        statistics = self._agents[row].statistics()
        seconds, aside = self._agents[row].seconds
        asleep = statistics.sleep_ns / 1e9
        seen = sum(self._sources[row].values()) + sum(self._holders[row].values())
        scale = asleep / seen if seen else 0.0
        return Pace(
            bytes=statistics.bytes,
            seconds=seconds,
            drive_seconds=statistics.device_ns / 1e9 + aside,
            asleep_seconds=asleep,
            starvations=statistics.starvations,
            sources={name: share * scale for name, share in self._sources[row].items()},
            agents={holder: share * scale for holder, share in self._holders[row].items()},
        )
