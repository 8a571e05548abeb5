"""Copying out of a virtual tape that holds eight interleaved objects, beside reading and writing the same plainly."""

from __future__ import annotations

import gc
import mmap
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from plain import Plain
from pytest_benchmark.fixture import BenchmarkFixture
from rig import Agent, Rig
from sizes import Sizes
from test_backup import archive
from test_memory import PROGRAM
from usage import Cost, Usage, measured

from tapeloom.catalog import Catalog
from tapeloom.config import Config, load
from tapeloom.limits import BLOCK_BYTES_DEFAULT, MIB
from tapeloom.ops.backup import open_backup
from tapeloom.ops.copying import open_copying
from tapeloom.ops.rounds import Round
from tapeloom.volume.runs import BLOCKS, POSITION

HEAD_BYTES = 4096
"""Of a virtual tape's index; what is behind it says what is on tape."""


@dataclass(frozen=True, slots=True)
class Eight:
    """A virtual tape R with eight objects, D0 to D7, woven together, and the state folder that knows it."""

    folder: Path
    rig: Rig

    @property
    def tape(self) -> Path:
        (file,) = (self.folder / "R").glob("*.tape")
        return file

    def stretches(self, sources: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Where the objects of these sources stand, in blocks of the tape's file: the first, and behind the last.
        Short blocks and filemarks before them are taken for whole ones, as far as the file reaches."""
        with Catalog.open(self.folder / "state", readonly=True) as catalog:
            copies = [item.copies[0] for item in catalog.objects(indexes=True) if item.source in sources]
            runs = np.concatenate([catalog.runs(copy.id).table for copy in copies])
        whole = self.tape.stat().st_size // BLOCK_BYTES_DEFAULT
        begin = end = 0
        for first, blocks in sorted(runs[:, (POSITION, BLOCKS)].tolist()):
            first = min(first, whole - blocks)
            if first > end:
                yield from [(begin, end)] if end else []
                begin = first
            end = first + blocks
        yield begin, end


@pytest.fixture(scope="module")
def eight(scratch: Path, files: list[Path], sizes: Sizes) -> Iterator[Eight]:
    folder = scratch / "eight"
    folder.mkdir()
    rig = Rig(
        folder, {"R": "vtape:R"}, [Agent("A", "R", [archive(f.parent, folder, sizes.copy_repeats) for f in files])]
    )
    with open_backup(load(rig.write())) as backup:
        assert backup.run().exit_status == 0
    yield Eight(folder, rig)
    shutil.rmtree(folder)


class Case:
    """Copying of `objects` out of the eight, into so many other drives: in a folder of its own."""

    def __init__(self, eight: Eight, folder: Path, objects: Sequence[str], targets: int):
        self._eight = eight
        self._folder = folder
        folder.mkdir()
        self.targets = [folder / f"W{number}" for number in range(targets)]
        self.config = self._configure(objects)
        self._stretches = list(eight.stretches(objects))
        self.requests: list[tuple[int, int]] = []
        self.write_blocks = 0
        self._moving = Usage()
        self.moving = Cost(0, self._moving)

    def _configure(self, objects: Sequence[str]) -> Config:
        rig = Rig(self._folder, {"R": f"vtape:{self._eight.folder / 'R'}"}, [])
        rig.drives.update({target.name: f"vtape:{target}" for target in self.targets})
        rig.sources.update(self._eight.rig.sources)
        file = rig.write()
        lines = ["[restore.bench.C]", 'drive = "R"', _buffers({f"B{row}": name for row, name in enumerate(objects)})]
        fed_by = "C"
        for stage, target in enumerate(self.targets, 1):
            lines += [f"[copy.{stage}.C{stage}]", f'drive = "{target.name}"', 'on_lag = "wait"']
            lines += [_buffers({f"B{row}": f"{fed_by}.B{row}" for row in range(len(objects))})]
            fed_by = f"C{stage}"
        with file.open("a") as more:
            more.write("\n".join(lines) + "\n")
        self.file = file
        return load(file)

    def forget(self) -> None:
        """As before the first copying, but that the disk space is there."""
        state = self.config.server.state
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(self._eight.folder / "state", state)
        for target in self.targets:
            for index in target.glob("*.index"):
                os.truncate(index, HEAD_BYTES)
        gc.collect()  # a job refers to itself: the memory of the one before goes now

    def copy(self) -> Cost:
        """What it costs from reading the catalog to the last receipt; `moving` is what of that moving blocks cost."""
        self.forget()
        with measured() as usage, open_copying(self.config) as copying:
            result = copying.run(self._watch)
        assert result.well, result
        assert len(result.rounds) == 1
        self.moving = Cost(result.bytes, self._moving)
        return Cost(result.bytes, usage)

    @contextmanager
    def _watch(self, running: Round) -> Iterator[Callable[[], None]]:
        """Notes in which requests blocks are read and written: the plain ways use the same."""
        with measured() as self._moving:
            yield lambda: None
        reader, *writers = (running.job.agent_statistics(row) for row in range(len(running.schedule.agents)))
        at_once = -(-reader.blocks // reader.calls)
        self.write_blocks = max(-(-one.blocks // one.calls) for one in writers)
        self.requests = [
            (at * BLOCK_BYTES_DEFAULT, min(at_once, end - at))
            for first, end in self._stretches
            for at in range(first, end, at_once)
        ]

    def plain(self, plain: Plain, memory: mmap.mmap, *, check: bool, threads: bool) -> Cost:
        """The same requests, onto the very files of the virtual tapes."""
        files = [next(target.glob("*.tape")) for target in self.targets]
        block = BLOCK_BYTES_DEFAULT
        return plain.carry(
            self._eight.tape, self.requests, files, memory, block, self.write_blocks, check=check, threads=threads
        )


def _buffers(feeds: dict[str, str]) -> str:
    return "buffers = { " + ", ".join(f'{name} = "{feed}"' for name, feed in feeds.items()) + " }"


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("objects", [1, 8])
def test_copying(
    benchmark: BenchmarkFixture,
    note: Callable[[str, float], None],
    scratch: Path,
    eight: Eight,
    plain: Plain,
    sizes: Sizes,
    objects: int,
    targets: int,
) -> None:
    case = Case(eight, scratch / "copying", [f"D{row}" for row in range(objects)], targets)
    memory = mmap.mmap(-1, 256 << 20)
    memory.write(bytes(len(memory)))
    case.copy()  # from now on the disk space is there
    costs: list[dict[tuple[bool, bool], Cost]] = []

    def setup() -> None:
        costs.append(
            {(c, t): case.plain(plain, memory, check=c, threads=t) for c in (False, True) for t in (False, True)}
        )

    def run() -> None:
        cost = case.copy()
        key, was = f"copy_{objects}_{targets}", costs[-1]
        rate = cost.gb_per_second
        note(f"{key}_rate", rate / was[False, True].gb_per_second)
        note(f"{key}_rate_checked", rate / was[True, True].gb_per_second)
        note(f"{key}_moving", case.moving.gb_per_second / was[False, True].gb_per_second)
        note(f"{key}_cpu", cost.cpu_per_gb / was[False, False].cpu_per_gb)
        note(f"{key}_cpu_checked", cost.cpu_per_gb / was[True, False].cpu_per_gb)
        note(f"{key}_cpu_moving", case.moving.cpu_per_gb / was[True, False].cpu_per_gb)
        note(f"{key}_gbs", rate)
        note(f"{key}_plain_gbs", was[False, True].gb_per_second)
        note(f"{key}_cpu_gb", cost.cpu_per_gb)

    benchmark.pedantic(run, setup=setup, rounds=min(5, sizes.rounds))
    shutil.rmtree(scratch / "copying")


def test_memory_of_copying(
    benchmark: BenchmarkFixture, note: Callable[[str, float], None], scratch: Path, eight: Eight, sizes: Sizes
) -> None:
    case = Case(eight, scratch / "copying", [f"D{row}" for row in range(8)], 2)
    command = [sys.executable, "-c", PROGRAM, "-c", str(case.file), "copy"]

    def run() -> None:
        with open_copying(case.config) as copying:
            planned = copying.plan().memory
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        note("copy_memory", (int(ended.stdout.split()[-1]) * 1024 - planned) / MIB)

    benchmark.pedantic(run, setup=case.forget, rounds=min(3, sizes.rounds))
    shutil.rmtree(scratch / "copying")
