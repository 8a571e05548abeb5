"""Drives at the pace of a tape: what the machine has to do for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Engine, Rig, whole
from sizes import Sizes


@pytest.mark.parametrize("drives", [1, 4, 8])
def test_paced(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    tmp_path: Path,
    files: list[Path],
    sizes: Sizes,
    drives: int,
) -> None:
    agents = [Agent(f"A{row}", f"R{row}", [whole(files[row], sizes.paced_repeats)]) for row in range(drives)]
    rig = Rig(tmp_path, {agent.drive: "null:?rate=400MB" for agent in agents}, agents)
    with Engine(rig) as engine:

        def run() -> None:
            run = engine.run()
            slowest = min(agent.bytes for agent in run.agents)
            note(f"paced_{drives}_rate", slowest / run.cost.usage.seconds / 1e6)
            note(f"paced_{drives}_cpu", run.cost.cpu_per_gb)
            note(f"paced_{drives}_writes", sum(agent.calls for agent in run.agents) / run.blocks)
            note(f"paced_{drives}_wakes", run.wakes / run.blocks)
            if run.cost.usage.calls is not None:
                note(f"paced_{drives}_calls", run.cost.usage.calls / run.blocks)

        benchmark.pedantic(run, rounds=min(3, sizes.rounds))
