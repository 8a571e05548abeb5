"""The engine alone: a compiled schedule, sources that pump whole files, tapes without label, receipt or catalog."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from usage import Cost, measured

from tapeloom import _kernel
from tapeloom.compile import compile_job
from tapeloom.config import load
from tapeloom.device import open_drive
from tapeloom.limits import BLOCK_BYTES_DEFAULT, HEADER_BYTES
from tapeloom.ops.bench import BareTape, Deaf
from tapeloom.runtime import Job, JobResult, Objects
from tapeloom.schedule import NONE, Schedule

PAYLOAD_BYTES = BLOCK_BYTES_DEFAULT - HEADER_BYTES
"""What the engine reads at once."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer of an agent: the sources that feed it, each with its paths, or the buffer "AGENT.BUFFER" it is chained
    to."""

    feeds: Sequence[Sequence[Path]] | str


def whole(file: Path, times: int = 1) -> Buffer:
    """A buffer that takes one file, so many times: what the engine alone is measured with."""
    return Buffer([[file]] * times)


@dataclass(frozen=True, slots=True)
class Agent:
    name: str
    drive: str
    buffers: Sequence[Buffer]
    stage: int = 0
    """0: of the backup group, else of that mirror group."""
    run_blocks: int | None = None


@dataclass(slots=True)
class Rig:
    """A configuration file in a folder, written from agents and drives."""

    folder: Path
    drives: dict[str, str]
    agents: Sequence[Agent]
    block: str = "512KiB"
    memory: str = "256MiB"
    digest: bool = False
    sources: dict[str, Sequence[Path]] = field(default_factory=dict)

    def write(self) -> Path:
        """The file `tapeloom.toml`, for `tapeloom.config.load`."""
        lines = ["[server]", 'state = "state"', f'block = "{self.block}"', f'memory = "{self.memory}"', "", "[drives]"]
        lines += [f'{name} = "{spec}"' for name, spec in self.drives.items()]
        groups = []
        for agent in self.agents:
            kind = "backup.bench" if agent.stage == 0 else f"mirror.{agent.stage}"
            buffers = ", ".join(f"B{row} = {self._feeds(buffer)}" for row, buffer in enumerate(agent.buffers))
            groups += ["", f"[{kind}.{agent.name}]", f'drive = "{agent.drive}"', 'on_lag = "wait"']
            groups += [f"buffers = {{ {buffers} }}"]
            groups += [] if agent.run_blocks is None else [f"run_blocks = {agent.run_blocks}"]
        digest = 'digest = "sha256", ' if self.digest else ""
        lines += ["", "[sources]"]
        for name, paths in self.sources.items():
            listed = ", ".join(f'"{path}"' for path in paths)
            lines.append(f"{name} = {{ {digest}paths = [{listed}] }}")
        file = self.folder / "tapeloom.toml"
        file.write_text("\n".join([*lines, *groups]) + "\n")
        return file

    def _feeds(self, buffer: Buffer) -> str:
        if isinstance(buffer.feeds, str):
            return f'"{buffer.feeds}"'
        names = []
        for paths in buffer.feeds:
            names.append(f"D{len(self.sources)}")
            self.sources[names[-1]] = paths
        return "[" + ", ".join(f'"{name}"' for name in names) + "]"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the engine: what it cost to move the bytes of its sources, and the kernel's own counts."""

    cost: Cost
    blocks: int
    agents: list[_kernel.AgentStatistics]
    streams: list[_kernel.StreamStatistics]
    agent_cpu_seconds: list[float]
    """Of each agent's thread, from its first block to the filemark behind its last."""

    @property
    def wakes(self) -> int:
        """How often a thread slept until another one woke it: agents without a block, producers without a slot."""
        return sum(agent.sleeps for agent in self.agents) + sum(stream.stalls for stream in self.streams)


class Engine:
    """Opens the drives of a rig once; `run` backs up its sources from the beginning of their tapes, each time."""

    def __init__(self, rig: Rig):
        config = load(rig.write())
        self.schedule: Schedule = compile_job(config)
        self.sources: list[WholeFile] = [
            WholeFile(str(name), config.sources[str(name)].paths[0]) for name in self.schedule.source_names
        ]
        self._stack = ExitStack()
        self.devices = [
            self._stack.enter_context(open_drive(config.drives[str(name)].device, name=str(name)))
            for name in self.schedule.drive_names
        ]
        for device in self.devices:
            if not device.cartridges():
                device.new_cartridge("bench")
            device.load()

    def run(self) -> Run:
        agents = [row for row, agent in enumerate(self.schedule.agents) if agent["drive"] != NONE]
        tapes = {row: BareTape(self.devices[self.schedule.agents[row]["drive"]]) for row in agents}
        gc.collect()  # a job refers to itself: the memory of the one before goes now
        job = Job(self.schedule, tapes, self.sources, Objects(Deaf()))
        with measured() as usage:
            result = job.run()
        check(result)
        streams = [job.arena.stream_statistics(row) for row in range(len(self.schedule.streams))]
        return Run(
            Cost(sum(stream.bytes for stream in streams), usage),
            sum(stream.blocks for stream in streams),
            [job.arena.agent_statistics(row) for row in agents],
            streams,
            [tapes[row].cpu_seconds for row in agents],
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()


def check(result: JobResult) -> None:
    """A benchmark of something that did not work says nothing."""
    if not result.well:
        raise AssertionError(f"the job did not end well: {result}")


class WholeFile:
    """A source that is one file, byte for byte."""

    content = 0

    def __init__(self, name: str, path: Path):
        self.name = name
        self._path = path

    def run(self, sink: _kernel.Feeder) -> Report:
        with self._path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            got, error = sink.pump(file.fileno(), 0, size)
        assert (got, error) == (size, 0)
        return Report()


class Report:
    files = 1
    troubles: Sequence[object] = ()
    troubles_beyond = 0
