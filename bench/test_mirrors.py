"""What two more mirror stages cost: the slots are shared, so a stage is a cursor and its writes."""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from plain import Plain
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Buffer, Engine, Rig, Run, whole
from sizes import Sizes
from usage import Cost

from tapeloom.limits import BLOCK_BYTES_DEFAULT

STAGES = 2


def chain(files: list[Path], repeats: int) -> list[Agent]:
    """An original and its mirror stages, each fed by the stage above."""
    agents = [Agent("A0", "R0", [whole(file, repeats) for file in files])]
    for stage in range(1, STAGES + 1):
        buffers = [Buffer(f"A{stage - 1}.B{row}") for row in range(len(files))]
        agents.append(Agent(f"A{stage}", f"R{stage}", buffers, stage))
    return agents


def test_mirrors_on_null_drives(
    benchmark: BenchmarkFixture, note: Callable[[str, float], None], tmp_path: Path, files: list[Path], sizes: Sizes
) -> None:
    before: list[Run] = []
    agents = chain(files, sizes.repeats)
    with ExitStack() as stack:
        engines = []
        for taking_part in (agents[:1], agents):
            place = tmp_path / str(len(taking_part))
            place.mkdir()
            rig = Rig(place, {agent.drive: "null:" for agent in taking_part}, taking_part)
            engines.append(stack.enter_context(Engine(rig)))
        alone, mirrored = engines

        def run() -> None:
            run, one = mirrored.run(), before[-1]
            note("mirrors_null", run.cost.cpu_per_gb / one.cost.cpu_per_gb)
            note("mirrors_null_threads", 1 + sum(run.agent_cpu_seconds[1:]) / run.cost.usage.cpu_seconds)

        benchmark.pedantic(run, setup=lambda: before.append(alone.run()), rounds=2 * sizes.rounds)


def test_mirrors_on_virtual_tapes(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    scratch: Path,
    files: list[Path],
    plain: Plain,
    sizes: Sizes,
) -> None:
    """A stage's CPU time is that of its thread: it shares everything else with the stage above it."""
    folder = scratch / "mirrors"
    folder.mkdir()
    agents = chain(files[:4], 1)
    writer: list[Cost] = []
    memory = mmap.mmap(-1, 256 << 20)
    memory.write(bytes(len(memory)))
    with Engine(Rig(folder, {agent.drive: f"vtape:{agent.drive}" for agent in agents}, agents)) as engine:
        first = engine.run()  # from now on the disk space is there
        pieces = round(first.agents[-1].blocks / first.agents[-1].calls)

        def setup() -> None:
            """Over the first tape's own file: the same place on the disk."""
            file, total = folder / "R0" / "bench.tape", first.blocks * BLOCK_BYTES_DEFAULT
            writer.append(plain.write(file, memory, BLOCK_BYTES_DEFAULT, pieces, total))

        def run() -> None:
            run = engine.run()
            for seconds in run.agent_cpu_seconds[1:]:
                stage = seconds / (run.cost.bytes / 1e9)
                note("mirrors_tape", stage / writer[-1].cpu_per_gb)
                note("mirrors_tape_cpu", stage)
            note("writer_cpu", writer[-1].cpu_per_gb)

        benchmark.pedantic(run, setup=setup, rounds=sizes.rounds)
    shutil.rmtree(folder)
