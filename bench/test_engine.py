"""The engine alone: page-cached files into a drive that takes everything, against reading them and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from plain import Plain
from pytest_benchmark.fixture import BenchmarkFixture
from rig import PAYLOAD_BYTES, Agent, Engine, Rig, whole
from sizes import Sizes
from usage import Cost


def test_engine(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    tmp_path: Path,
    files: list[Path],
    plain: Plain,
    sizes: Sizes,
) -> None:
    agent = Agent("A", "R", [whole(file, sizes.repeats) for file in files])
    baseline: list[Cost] = []

    def read() -> None:
        baseline.append(plain.read_crc(files, PAYLOAD_BYTES, sizes.repeats))

    with Engine(Rig(tmp_path, {"R": "null:"}, [agent])) as engine:

        def run() -> None:
            cost = engine.run().cost
            note("engine_rate", cost.gb_per_second / baseline[-1].gb_per_second)
            note("engine_cpu", cost.cpu_per_gb / baseline[-1].cpu_per_gb)
            note("engine_gbs", cost.gb_per_second)
            note("plain_gbs", baseline[-1].gb_per_second)

        benchmark.pedantic(run, setup=read, rounds=sizes.rounds)
