"""What a backup's process takes beside the memory that its plan announces."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Buffer, Rig
from sizes import Sizes

from tapeloom.compile import compile_job
from tapeloom.config import load

PROGRAM = """
import ctypes, sys
from tapeloom.cli.main import main
from tapeloom.runtime import arena

def whole(self, wait=arena.Reserving.wait):
    made = wait(self)
    for line in open("/proc/self/maps"):
        if "memfd:tapeloom-job" in line:
            first, end = (int(place, 16) for place in line.split()[0].split("-"))
            (ctypes.c_char * (end - first)).from_address(first)[::4096]  # every page: a job that lasts does so, too
    return made

arena.Reserving.wait = whole
status = main()
assert status == 0, status
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])
"""


def test_memory(
    benchmark: BenchmarkFixture, note: Callable[[str, float], None], tmp_path: Path, files: list[Path], sizes: Sizes
) -> None:
    buffers = [Buffer([[file.parent]]) for file in files]
    mirror = Agent("A1", "R1", [Buffer(f"A0.B{row}") for row in range(len(files))], 1)
    file = Rig(tmp_path, {"R0": "null:", "R1": "null:"}, [Agent("A0", "R0", buffers), mirror]).write()
    planned = compile_job(load(file)).memory_bytes
    command = [sys.executable, "-c", PROGRAM, "-c", str(file), "backup"]

    def run() -> None:
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        note("memory", (int(ended.stdout.split()[-1]) * 1024 - planned) / (1 << 20))

    benchmark.pedantic(run, rounds=min(3, sizes.rounds))
