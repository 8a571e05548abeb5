"""Eight streams onto one virtual tape on a disk, against a plain writer of the same bytes."""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Callable
from pathlib import Path

from plain import Plain
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Engine, Rig, whole
from sizes import Sizes
from usage import Cost

from tapeloom.limits import BLOCK_BYTES_DEFAULT


def test_tape(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    scratch: Path,
    files: list[Path],
    plain: Plain,
    sizes: Sizes,
) -> None:
    folder = scratch / "tape"
    folder.mkdir()
    baseline: list[Cost] = []
    memory = mmap.mmap(-1, 256 << 20)
    memory.write(bytes(len(memory)))
    with Engine(
        Rig(folder, {"R": "vtape:R"}, [Agent("A", "R", [whole(file, sizes.tape_repeats) for file in files])])
    ) as engine:
        first = engine.run()  # from now on the disk space is there
        pieces = round(first.agents[0].blocks / first.agents[0].calls)

        def setup() -> None:
            """Over the tape's own file: the same place on the disk."""
            file, total = folder / "R" / "bench.tape", first.blocks * BLOCK_BYTES_DEFAULT
            baseline.append(plain.write(file, memory, BLOCK_BYTES_DEFAULT, pieces, total))

        def run() -> None:
            cost = engine.run().cost
            note("tape_rate", cost.gb_per_second / baseline[-1].gb_per_second)
            note("tape_gbs", cost.gb_per_second)
            note("writer_gbs", baseline[-1].gb_per_second)

        benchmark.pedantic(run, setup=setup, rounds=sizes.rounds)
    shutil.rmtree(folder)
