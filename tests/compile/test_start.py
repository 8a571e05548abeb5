"""How much an agent gathers before its drive starts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tapeloom.compile import compile_job
from tapeloom.compile.start import worth_starting
from tapeloom.config import Config
from tapeloom.timing import LTO9, Timing

Load = Callable[..., Config]

BLOCK = 512 * 1024


def starts(config: Config) -> dict[str, int]:
    schedule = compile_job(config)
    return dict(zip(schedule.agent_names.tolist(), schedule.agents["start_bytes"].tolist(), strict=True))


def text(memory: str, agents: str = "", drive: str = "/dev/nst0") -> str:
    return (
        f'[server]\nmemory = "{memory}"\n[drives]\nR1 = "{drive}"\nR2 = "/dev/nst1"\nR3 = "memory:"\n'
        f'[sources]\nD1 = "/D1"\nD2 = "/D2"\n[backup.b.A]\ndrive = "R1"\nbuffers = {{ B = "D1" }}\n{agents}'
    )


@pytest.fixture
def written(tmp_path: object) -> Callable[[str], Config]:
    from pathlib import Path

    from tapeloom.config import load

    def write(content: str) -> Config:
        file = Path(str(tmp_path)) / "tapeloom.toml"
        file.write_text(content)
        return load(file)

    return write


def test_as_much_as_is_written_in_twice_the_time_that_a_stop_takes() -> None:
    assert worth_starting(LTO9) == 2_400_000_000
    assert worth_starting(Timing.of(real=False)) == 0
    assert worth_starting(Timing(rate=100e6, locate=0, mount=0, rate_min=40e6)) == 0  # it starts at once


def test_where_there_is_memory_for_twice_of_it(written: Callable[[str], Config]) -> None:
    assert starts(written(text("4GB"))) == {"A": 1_800_000_000 // BLOCK * BLOCK}


def test_else_half_of_what_its_buffers_hold(written: Callable[[str], Config]) -> None:
    assert starts(written(text("64MiB"))) == {"A": 32 * 2**20}


def test_half_of_how_far_it_may_lag(written: Callable[[str], Config]) -> None:
    mirrors = (
        '[mirror.m.M]\ndrive = "R2"\nlag_max = "8MB"\nbuffers = { B = "A.B" }\n'
        '[mirror.n.N]\ndrive = "R3"\nbuffers = { B = "A.B" }\n'
    )
    assert starts(written(text("64MiB", mirrors))) == {"A": 32 * 2**20, "M": 4_000_000 // BLOCK * BLOCK, "N": 0}


def test_a_file_starts_at_once(written: Callable[[str], Config]) -> None:
    assert starts(written(text("64MiB", drive="vtape:R1"))) == {"A": 0}
