"""Getting one object out of a medium that holds eight, woven together."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Buffer, Rig
from sizes import Sizes

from tapeloom.config import load
from tapeloom.ops.backup import open_backup
from tapeloom.ops.restore import open_object


def bytes_read() -> int:
    """What this process has asked the system to read, page cache or not."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def test_restore(
    benchmark: BenchmarkFixture, note: Callable[[str, float], None], scratch: Path, files: list[Path], sizes: Sizes
) -> None:
    folder = scratch / "restore"
    folder.mkdir()
    agent = Agent("A", "R", [Buffer([[file.parent]]) for file in files])
    config = load(Rig(folder, {"R": "vtape:R"}, [agent]).write())
    with open_backup(config) as backup:
        assert backup.run().exit_status == 0

    def run() -> None:
        before, got = bytes_read(), 0
        with open_object(config, "D3") as (_, reading):
            while (payload := reading.sequence.payload()) is not None:
                got += len(payload)
        note("restore_bytes", (bytes_read() - before) / got)
        assert got > sizes.file_bytes
        assert not reading.faults

    benchmark.pedantic(run, rounds=min(3, sizes.rounds))
    shutil.rmtree(folder)
