"""What it costs to get one object back, against the streams it was woven with and the length of their runs.

The drive is a virtual tape that counts its time, as an LTO-9 drive at a scale of 1 : 32: a block of 16 KiB takes as
long as one of 512 KiB does there, and a wrap holds as many blocks. So everything is decided as on that drive, and takes
as long, with a thirty-second of the bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Buffer, Rig
from sizes import Sizes
from test_restore import bytes_read

from tapeloom._kernel import Splitter
from tapeloom.catalog import Catalog
from tapeloom.config import Config, load
from tapeloom.device import Device
from tapeloom.limits import BLOCK_BYTES_DEFAULT, KIB
from tapeloom.ops.backup import open_backup
from tapeloom.ops.choose import choose_object
from tapeloom.ops.preparing import stage_of
from tapeloom.ops.restore import open_object
from tapeloom.runtime.reading import Place

BLOCK = 16 * KIB
SCALE = BLOCK_BYTES_DEFAULT // BLOCK
DEVICE = f"vtape:R?model=lto9&scale={SCALE}&time=simulated"


@dataclass(frozen=True, slots=True)
class Cost:
    """A point of the curve. `bytes`, `seconds` by the drive's clock, and `predicted` ones are ratios to an object that
    lies alone and in one piece; `run` is the length of the object's runs, on the average, as they came out."""

    streams: int
    run_blocks: int
    run: float
    bytes: float
    seconds: float
    predicted: float


def test_restore_curve(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    scratch: Path,
    sizes: Sizes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = scratch / "curve"
    curve: list[Cost] = []

    def run() -> None:
        for streams in sizes.curve_streams:
            for run_blocks in sizes.curve_runs:
                folder.mkdir()
                curve.append(measure(folder, streams, run_blocks, sizes.curve_blocks, monkeypatch))
                shutil.rmtree(folder)

    benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["curve"] = [asdict(cost) for cost in curve]
    for cost in curve:
        if (cost.streams, cost.run_blocks) == (8, 16):
            note("curve_bytes", cost.bytes)
            note("curve_seconds", cost.seconds)


def measure(folder: Path, streams: int, run_blocks: int, blocks: int, monkeypatch: pytest.MonkeyPatch) -> Cost:
    data = folder / "data"
    data.mkdir()
    (data / "noise").write_bytes(os.urandom(blocks * BLOCK))
    agent = Agent("A", "R", [Buffer([[data]]) for _ in range(streams)], run_blocks=run_blocks)
    memory = max(16 * KIB * KIB, 4 * streams * (run_blocks + 1) * BLOCK)
    config = load(Rig(folder, {"R": DEVICE}, [agent], block="16KiB", memory=f"{memory // KIB}KiB").write())
    with open_backup(config) as backup:
        assert backup.run().exit_status == 0
    wanted = f"D{streams // 2}"
    before, got = bytes_read(), 0
    with watched(monkeypatch) as began, open_object(config, wanted) as (_, reading):
        while (payload := reading.sequence.payload()) is not None:
            got += len(payload)
        seconds = sum(seconds_of(device) - since for device, since in began)
    read = bytes_read() - before
    assert got >= blocks * BLOCK
    runs, predicted = timed(config, wanted)
    timing = config.drives["R"].timing
    length = sum(run[1] for run in runs)
    return Cost(
        streams=streams,
        run_blocks=run_blocks,
        run=length / len(runs),
        bytes=read / got,
        seconds=seconds / (length * BLOCK / timing.rate),
        predicted=predicted / timing.read(length, BLOCK),
    )


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Device, float]]]:
    """The drive that is read, and when it stood at the first run."""
    began: list[tuple[Device, float]] = []
    go_to = Place.go_to

    def noting(place: Place, position: int, passing: Splitter) -> None:
        go_to(place, position, passing)
        if not began:
            began.append((place.device, seconds_of(place.device)))

    with monkeypatch.context() as patch:
        patch.setattr(Place, "go_to", noting)
        yield began


def seconds_of(device: Device) -> float:
    assert device.simulated_seconds is not None
    return device.simulated_seconds


def timed(config: Config, source: str) -> tuple[list[tuple[int, int]], float]:
    """The runs of a source's newest object, as (position, blocks), and how long they should take from the first one
    on."""
    timing = config.drives["R"].timing
    with Catalog.open(config.server.state, readonly=True) as catalog:
        stage = stage_of(catalog, choose_object(catalog, source))
        runs = [(segment.position, segment.blocks) for segment in stage.segments()]
    seconds, at = 0.0, runs[0][0]
    for position, blocks in runs:
        seconds += timing.move(at, position, BLOCK).seconds + timing.read(blocks, BLOCK)
        at = position + blocks
    return runs, seconds
