"""What it costs to get one object back, against the streams it was woven with and the length of their runs.

The drive is a virtual tape with the timing of LTO-9 at a scale of 1 : 32: a block of 16 KiB takes as long as one of
512 KiB does there, and a wrap holds as many blocks. So everything is decided as on that drive, with a thirty-second of
the bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Buffer, Rig
from sizes import Sizes
from test_restore import bytes_read

from tapeloom.catalog import Catalog
from tapeloom.config import Config, load
from tapeloom.limits import BLOCK_BYTES_DEFAULT, KIB
from tapeloom.ops import mounts
from tapeloom.ops.backup import open_backup
from tapeloom.ops.choose import choose_object
from tapeloom.ops.preparing import stage_of
from tapeloom.ops.restore import open_object
from tapeloom.timing import LTO9, Timing

BLOCK = 16 * KIB
SCALE = BLOCK_BYTES_DEFAULT // BLOCK
SCALED = replace(LTO9, rate=LTO9.rate / SCALE, wrap_bytes=LTO9.wrap_bytes / SCALE)


@dataclass(frozen=True, slots=True)
class Cost:
    """A point of the curve. `bytes` and `seconds` are ratios to an object that lies alone and in one piece; `run` is
    the length of the object's runs, on the average, as they came out."""

    streams: int
    run_blocks: int
    run: float
    bytes: float
    seconds: float


def test_restore_curve(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    scratch: Path,
    sizes: Sizes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mounts, "timing_of", lambda _: SCALED)
    folder = scratch / "curve"
    curve: list[Cost] = []

    def run() -> None:
        for streams in sizes.curve_streams:
            for run_blocks in sizes.curve_runs:
                folder.mkdir()
                curve.append(measure(folder, streams, run_blocks, sizes.curve_blocks))
                shutil.rmtree(folder)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["curve"] = [asdict(cost) for cost in curve]
    for cost in curve:
        if (cost.streams, cost.run_blocks) == (8, 16):
            note("curve_bytes", cost.bytes)
            note("curve_seconds", cost.seconds)


def measure(folder: Path, streams: int, run_blocks: int, blocks: int) -> Cost:
    data = folder / "data"
    data.mkdir()
    (data / "noise").write_bytes(os.urandom(blocks * BLOCK))
    agent = Agent("A", "R", [Buffer([[data]]) for _ in range(streams)], run_blocks=run_blocks)
    memory = max(16 * KIB * KIB, 4 * streams * (run_blocks + 1) * BLOCK)
    config = load(Rig(folder, {"R": "vtape:R"}, [agent], block="16KiB", memory=f"{memory // KIB}KiB").write())
    with open_backup(config) as backup:
        assert backup.run().exit_status == 0
    wanted = f"D{streams // 2}"
    before, got = bytes_read(), 0
    with open_object(config, wanted) as (_, reading):
        while (payload := reading.sequence.payload()) is not None:
            got += len(payload)
    read = bytes_read() - before
    assert got >= blocks * BLOCK
    runs, seconds = timed(config, wanted, SCALED)
    length = sum(run[1] for run in runs)
    return Cost(streams, run_blocks, length / len(runs), read / got, seconds / SCALED.read(length, BLOCK))


def timed(config: Config, source: str, timing: Timing) -> tuple[list[tuple[int, int]], float]:
    """The runs of a source's newest object, as (position, blocks), and how long they take from the first one on."""
    with Catalog.open(config.server.state, readonly=True) as catalog:
        stage = stage_of(catalog, choose_object(catalog, source))
        runs = [(segment.position, segment.blocks) for segment in stage.segments()]
    seconds, at = 0.0, runs[0][0]
    for position, blocks in runs:
        seconds += timing.move(at, position, BLOCK).seconds + timing.read(blocks, BLOCK)
        at = position + blocks
    return runs, seconds
