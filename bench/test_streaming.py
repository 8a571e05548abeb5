"""A drive that is fed less than its slowest pace, by a source that comes in bursts: how often it stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Engine, Report, Rig, WholeFile, whole
from sizes import Sizes

from tapeloom import _kernel

BURST_BYTES, BURST_SECONDS = 200_000, 0.02
"""10 MB/s on the average."""
DRIVE = "null:?rate=40MB&rate_min=18MB&buffer=1MB&backhitch=0.05"
"""An LTO-9 drive in little: a tenth of its rates, and a sixtieth of the time that a stop takes."""


class Fitful(WholeFile):
    """The same, a burst at a time, again from its beginning when it ends."""

    def __init__(self, name: str, path: Path, bursts: int):
        super().__init__(name, path)
        self._bursts = bursts

    def run(self, sink: _kernel.Feeder) -> Report:
        begin = time.monotonic()
        size = self._path.stat().st_size
        with self._path.open("rb", buffering=0) as file:
            for burst in range(self._bursts):
                time.sleep(max(0.0, begin + burst * BURST_SECONDS - time.monotonic()))
                sink.pump(file.fileno(), burst * BURST_BYTES % (size - BURST_BYTES), BURST_BYTES)
        return Report()


def test_stops(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    tmp_path: Path,
    files: list[Path],
    sizes: Sizes,
) -> None:
    rig = Rig(tmp_path, {"R": DRIVE}, [Agent("A", "R", [whole(files[0])], run_blocks=1)], block="64KiB", memory="16MiB")
    with Engine(rig) as engine:
        gathers = engine.schedule
        assert gathers.agents["start_bytes"][0] > 0
        at_once = gathers.agents.copy()
        at_once["start_bytes"] = 0
        engine.sources = [Fitful(source.name, files[0], sizes.bursts) for source in engine.sources]

        def stops() -> float:
            before = engine.devices[0].model_counts().backhitches
            engine.run()
            return engine.devices[0].model_counts().backhitches - before

        def run() -> None:
            engine.schedule = replace(gathers, agents=at_once)
            plainly = stops()
            engine.schedule = gathers
            gathering = stops()
            seconds = sizes.bursts * BURST_SECONDS
            note("stops_ratio", gathering / plainly)
            note("stops", gathering / seconds)
            note("stops_plainly", plainly / seconds)

        benchmark.pedantic(run, rounds=min(3, sizes.rounds))
