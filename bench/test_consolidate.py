"""Consolidating a full object with ten increments, beside copying as many bytes on the same drives."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sizes import Sizes
from usage import Cost, measured

from tapeloom.config import Config, load
from tapeloom.limits import MIB
from tapeloom.ops.backup import open_backup
from tapeloom.ops.consolidate import open_consolidation
from tapeloom.ops.copying import open_copying
from tapeloom.ops.mergeplan import plan_consolidation
from tapeloom.volume.header import Level

INCREMENTS = 10
FILES = 1000
"""Of the same size; each increment has a hundredth of them."""

_CONFIGURATION = """\
[server]
state = "state"
memory = "256MiB"
[drives]
R = "vtape:R"
W = "vtape:W"
C = "vtape:C"
[sources]
D = "data"
[backup.bench.A]
drive = "R"
buffers = { B = "D" }
[restore.bench.R]
drive = "R"
buffers = { B = "D" }
[copy.1.C]
drive = "C"
on_lag = "wait"
buffers = { B = "R.B" }
"""


@pytest.fixture
def chain(scratch: Path, sizes: Sizes) -> Iterator[Path]:
    """The folder of a state in which a full object and its increments stand on one tape."""
    folder = scratch / "chain"
    data = folder / "data"
    data.mkdir(parents=True)
    each = sizes.chain_bytes // FILES
    pool = os.urandom(each + MIB)
    for number in range(FILES):
        at = number * 4099 % MIB
        (data / f"{number:04}").write_bytes(pool[at : at + each])
    (folder / "tapeloom.toml").write_text(_CONFIGURATION)
    config = load(folder / "tapeloom.toml")
    for day in range(INCREMENTS + 1):
        for number in range(day, FILES if day else 0, 100):
            at = (number + day) * 4099 % MIB
            (data / f"{number:04}").write_bytes(pool[at : at + each])
        with open_backup(config, level=Level.INCREMENTAL) as backup:
            assert backup.run().exit_status == 0
    shutil.rmtree(data)
    data.mkdir()
    shutil.copytree(folder / "state", folder / "before")
    yield folder
    shutil.rmtree(folder)


def forget(folder: Path) -> None:
    """As before, but for the page cache."""
    shutil.rmtree(folder / "state")
    shutil.copytree(folder / "before", folder / "state")
    for drive in ("W", "C"):
        shutil.rmtree(folder / drive, ignore_errors=True)
    os.sync()


def copied(config: Config) -> Cost:
    """Of what the chain holds, once."""
    with measured() as usage, open_copying(config) as copying:
        result = copying.run()
    assert result.well, result
    return Cost(result.bytes, usage)


def consolidated(config: Config) -> Cost:
    with measured() as usage, open_consolidation(config, plan_consolidation(config, "D", "W")) as running:
        result = running.run()
    assert result.exit_status == 0, result
    return Cost(running.plan.bytes, usage)


def test_consolidate(
    benchmark: BenchmarkFixture, note: Callable[[str, float], None], chain: Path, sizes: Sizes
) -> None:
    config = load(chain / "tapeloom.toml")
    costs: list[Cost] = []

    def setup() -> None:
        forget(chain)
        costs.append(copied(config))
        forget(chain)

    def run() -> None:
        cost, copy = consolidated(config), costs[-1]
        note("consolidate_rate", cost.gb_per_second / copy.gb_per_second)
        note("consolidate_cpu", cost.cpu_per_gb / copy.cpu_per_gb)
        note("consolidate_gbs", cost.gb_per_second)
        note("consolidate_copy_gbs", copy.gb_per_second)

    benchmark.pedantic(run, setup=setup, rounds=min(3, sizes.rounds))
