"""The same as test_engine through a whole backup: archive, labels, receipts and catalog. And others beside it."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Buffer, Engine, Rig, whole
from sizes import Sizes
from usage import Cost, cost_of_child, measured

from tapeloom.config import Config, load
from tapeloom.ops.backup import open_backup

Note = Callable[[str, float], None]


def archive(folder: Path, at: Path, times: int) -> Buffer:
    """A buffer that takes one object, in which the folder stands so many times: under names that lead to it."""
    names = [at / f"{folder.name}-{number}" for number in range(times)]
    for name in names:
        name.symlink_to(folder)
    return Buffer([names])


def back_up(config: Config) -> Cost:
    gc.collect()  # a job refers to itself: the memory of the one before goes now
    with measured() as usage, open_backup(config) as backup:
        result = backup.run()
    assert result.exit_status == 0, result
    return Cost(result.bytes, usage)


@pytest.mark.parametrize("digest", [False, True])
def test_backup(
    benchmark: BenchmarkFixture, note: Note, tmp_path: Path, files: list[Path], sizes: Sizes, digest: bool
) -> None:
    name = "digest" if digest else "backup"
    repeats = sizes.repeats if digest else sizes.backup_repeats
    places = [tmp_path / "engine", tmp_path / "backup"]
    for place in places:
        place.mkdir()
    buffers = [archive(file.parent, tmp_path, repeats) for file in files]
    config = load(Rig(places[1], {"R": "null:"}, [Agent("A", "R", buffers)], digest=digest).write())
    baseline: list[Cost] = []
    with Engine(Rig(places[0], {"R": "null:"}, [Agent("A", "R", [whole(file, repeats) for file in files])])) as engine:

        def run() -> None:
            cost = back_up(config)
            note(f"{name}_rate", cost.gb_per_second / baseline[-1].gb_per_second)
            note(f"{name}_cpu", cost.cpu_per_gb / baseline[-1].cpu_per_gb)
            note(f"{name}_gbs", cost.gb_per_second)
            note(f"{name}_cpu_gb", cost.cpu_per_gb)

        def setup() -> None:
            # A null drive forgets its volume, and a catalog that knows it would rightly ask for it.
            shutil.rmtree(config.server.state, ignore_errors=True)
            baseline.append(engine.run().cost)

        benchmark.pedantic(run, setup=setup, rounds=min(5, sizes.rounds))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.skipif(shutil.which("mbuffer") is None, reason="mbuffer is not installed")
def test_mbuffer(benchmark: BenchmarkFixture, note: Note, files: list[Path], sizes: Sizes, outputs: int) -> None:
    """Files through mbuffer, one after another, into /dev/zero: it takes everything, and nobody treats it specially."""
    command = ["mbuffer", "-q", "-s", "512k", "-m", "64M", *["-o", "/dev/zero"] * outputs, "-i"]

    def run() -> None:
        costs = [cost_of_child([*command, str(file)], sizes.file_bytes) for file in files]
        add_up(note, f"mbuffer_{outputs}", costs)

    benchmark.pedantic(run, rounds=min(3, sizes.rounds))


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_tar(benchmark: BenchmarkFixture, note: Note, files: list[Path], sizes: Sizes) -> None:
    command = ["tar", "--create", "--format=posix", "--blocking-factor=1024", "--file=/dev/zero"]
    command += [f"--directory={files[0].parent.parent}", *(file.parent.name for file in files)]

    def run() -> None:
        add_up(note, "tar", [cost_of_child(command, sizes.file_bytes * len(files))])

    benchmark.pedantic(run, rounds=min(3, sizes.rounds))


def add_up(note: Note, name: str, costs: list[Cost]) -> None:
    total = sum(cost.bytes for cost in costs)
    note(f"{name}_gbs", total / sum(cost.usage.seconds for cost in costs) / 1e9)
    note(f"{name}_cpu_gb", sum(cost.usage.cpu_seconds for cost in costs) / (total / 1e9))
