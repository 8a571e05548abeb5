"""What is seen of sleeping agents, in seconds that are real."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tapeloom._kernel import AgentStatistics
from tapeloom.runtime.pace import PaceWatch

SECOND_NS = 10**9


@dataclass
class Posed:
    """An agent that says what a test wants."""

    waits: list[list[tuple[int, int | None]]] = field(default_factory=list)
    asleep_ns: int = 0

    def lacks(self) -> list[tuple[int, int | None]]:
        return self.waits.pop(0)

    def statistics(self) -> AgentStatistics:
        return AgentStatistics(100, 51_200_000, 25, 7, 0, 12, self.asleep_ns, 2 * SECOND_NS, 3, 0, 0, False)

    seconds = (10.0, 1.5)


def watch(agents: dict[int, Posed]) -> PaceWatch:
    return PaceWatch(agents, lambda stream: f"source D{stream}")


def test_what_it_slept_for_is_shared_out_by_what_was_seen() -> None:
    agent = Posed([[(0, None)], [], [(0, None), (1, None)], [(1, 4)]], asleep_ns=6 * SECOND_NS)
    watching = watch({2: agent})
    for _ in range(4):
        watching.tick(0.25)
    pace = watching.of(2)
    assert pace.sources == pytest.approx({"source D0": 3.0, "source D1": 1.0})
    assert pace.agents == pytest.approx({4: 2.0})
    assert (pace.seconds, pace.drive_seconds, pace.asleep_seconds, pace.starvations) == (10.0, 3.5, 6.0, 3)
    assert pace.rate_writing == pytest.approx(51_200_000 / 4)


def test_each_agent_is_looked_at_for_itself() -> None:
    agents = {1: Posed([[(0, 7)]], SECOND_NS), 7: Posed([[]], 0)}
    watching = watch(agents)
    watching.tick(0.25)
    assert (watching.of(1).agents, watching.of(7).agents) == ({7: 1.0}, {})


def test_one_that_was_never_seen_asleep_has_slept_all_the_same() -> None:
    watching = watch({0: Posed([[]], 5)})
    watching.tick(0.25)
    pace = watching.of(0)
    assert (pace.sources, pace.agents, pace.asleep_seconds) == ({}, {}, 5e-9)
