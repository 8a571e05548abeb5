"""The kernel alone: one thread publishes, interleaves and writes into nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from plain import Plain
from pytest_benchmark.fixture import BenchmarkFixture
from sizes import Sizes

RUN_BLOCKS = 16


@pytest.mark.parametrize("buffers", [1, 1000])
def test_kernel(
    benchmark: BenchmarkFixture, note: Callable[[str, float], None], plain: Plain, sizes: Sizes, buffers: int
) -> None:
    rounds = max(1, sizes.kernel_blocks // (buffers * RUN_BLOCKS))

    def cycle() -> None:
        note(f"kernel_{buffers}", plain.kernel_cycle_ns(buffers, RUN_BLOCKS, rounds))

    benchmark.pedantic(cycle, rounds=sizes.rounds)
