"""What restoring one woven object costs, and runs that are chosen for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.compile import compile_job, problems
from tapeloom.compile.cost import restore_cost, run_blocks_for
from tapeloom.config import Config, load
from tapeloom.errors import ConfigError
from tapeloom.limits import KIB
from tapeloom.timing import LTO9, Timing

Load = Callable[[str], Config]

BLOCK = 512 * KIB
FLAT = Timing(400e6, 3.0, 60.0)

EIGHT = "\n".join(f'S{row} = "data/S{row}"' for row in range(8)) + "\n[drives.V]\n{drive}\n"
BUFFERS = "{ " + ", ".join(f'B{row} = "S{row}"' for row in range(8)) + " }"


def test_an_object_alone_costs_what_it_costs() -> None:
    assert restore_cost(LTO9, 1, 16, BLOCK).bytes == 1
    assert restore_cost(LTO9, 1, 16, BLOCK).seconds == 1


def test_short_runs_are_read_through_and_long_ones_are_not() -> None:
    short, long = restore_cost(FLAT, 8, 16, BLOCK), restore_cost(FLAT, 8, 4096, BLOCK)
    assert (short.bytes, short.seconds) == (8, pytest.approx(8))
    assert long.bytes == 1
    assert long.seconds == pytest.approx(1 + 3 / FLAT.read(4096, BLOCK))


@given(st.integers(1, 40), st.integers(1, 3000), st.booleans())
def test_it_never_costs_more_than_reading_everything(streams: int, run_blocks: int, flat: bool) -> None:
    cost = restore_cost(FLAT if flat else LTO9, streams, run_blocks, BLOCK)
    assert 1 <= cost.bytes <= streams
    assert 1 <= cost.seconds <= streams * 1.000001


def test_the_shortest_runs_that_do() -> None:
    run_blocks = run_blocks_for(FLAT, 8, BLOCK, 1.5, 10**6)
    assert run_blocks == 8192
    assert restore_cost(FLAT, 8, 8192, BLOCK).seconds <= 1.5 < restore_cost(FLAT, 8, 4096, BLOCK).seconds
    assert run_blocks_for(FLAT, 8, BLOCK, 1.5, 8191) is None
    assert run_blocks_for(FLAT, 8, BLOCK, 8.1, 1) == 1


def group(config: Load, cost: str, drive: str = "", agent: str = "") -> Config:
    text = EIGHT.format(drive=f'device = "vtape:tapes/V"\n{drive}')
    return config(f'{text}[backup.b]\n{cost}\n[backup.b.A]\ndrive = "V"\n{agent}\nbuffers = {BUFFERS}\n')


def test_the_compiler_chooses_the_runs(config: Load) -> None:
    """A virtual tape reads on while a locate takes half a millisecond: two blocks are worth that."""
    schedule = compile_job(group(config, "max_restore_cost = 1.5"))
    assert schedule.agents["run_blocks"].tolist() == [2]
    schedule = compile_job(group(config, "max_restore_cost = 1.2"))
    assert schedule.agents["run_blocks"].tolist() == [8]


def test_the_agents_own_word_goes_first(config: Load) -> None:
    schedule = compile_job(group(config, "max_restore_cost = 1.5", agent="run_blocks = 5"))
    assert schedule.agents["run_blocks"].tolist() == [5]
    schedule = compile_job(group(config, "run_blocks = 5", agent="max_restore_cost = 1.5"))
    assert schedule.agents["run_blocks"].tolist() == [2]


def test_what_memory_cannot_hold_is_refused_with_what_would(config: Load) -> None:
    drive = 'rate = "400MB/s"\nlocate = "3s"'
    found = group(config, "max_restore_cost = 1.5", drive)
    with pytest.raises(ConfigError) as refused:
        compile_job(found)
    [problem] = refused.value.problems
    assert problem.what == (
        "A: max_restore_cost 1.5 with 8 streams on drive V needs runs of 8,192 blocks, and memory of 64MiB gives a "
        "stream 8 slots of its own"
    )
    assert problem.hint is not None
    assert problem.hint.endswith("or max_restore_cost = 8")
    assert problem.line == found.where("backup", "b", "max_restore_cost")
    assert problems(found) == [problem]
    memory = problem.hint.split('"')[1]
    mended = found.file.read_text().replace('memory = "64MiB"', f'memory = "{memory}"')
    found.file.write_text(mended)
    assert compile_job(load(found.file)).agents["run_blocks"].tolist() == [8192]
    assert compile_job(group(config, "max_restore_cost = 8", drive)).agents["run_blocks"].tolist() == [1]


def test_what_no_runs_can_keep_is_refused(config: Load) -> None:
    found = group(config, "max_restore_cost = 1", 'locate = "3s"')
    assert [problem.what for problem in problems(found)] == [
        "A: max_restore_cost 1 with 8 streams on drive V cannot be kept with runs of up to 1,000,000 blocks"
    ]


def test_runs_and_their_cost_are_not_both_said(config: Load) -> None:
    with pytest.raises(ConfigError, match="both run_blocks and max_restore_cost say how long runs are"):
        group(config, "max_restore_cost = 1.5\nrun_blocks = 4")


def test_both_ways_out_that_a_refusal_names_are_ways_out(config: Load) -> None:
    """With memory of which a stream's share is no power of two."""
    for memory in ("70MiB", "99MiB", "150MiB"):
        found = group(config, "max_restore_cost = 1.01")
        text = found.file.read_text().replace('memory = "64MiB"', f'memory = "{memory}"')
        found.file.write_text(text)
        [problem] = problems(load(found.file))
        assert problem.hint is not None
        more = problem.hint.split('"')[1]
        found.file.write_text(text.replace(f'"{memory}"', f'"{more}"'))
        assert problems(load(found.file)) == []
        found.file.write_text(text.replace("max_restore_cost = 1.01", problem.hint.split(", or ")[1]))
        assert problems(load(found.file)) == []
