"""A job of the runtime without configuration files on disk, catalog and labels: sources of seeded bytes, tapes in
memory."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import UUID

import numpy as np

from tapeloom import _kernel
from tapeloom.compile import compile_job
from tapeloom.config import load
from tapeloom.device import Device, open_drive
from tapeloom.errors import DeviceError
from tapeloom.runtime import AgentResult, Job, JobObject, JobResult, Objects
from tapeloom.runtime.spool import SpoolDisk
from tapeloom.runtime.stream import Facts
from tapeloom.schedule import NONE, Schedule
from tapeloom.volume.header import Flag, parse

BLOCK = 16 * 1024
PAYLOAD = BLOCK - 512
PATIENCE_SECONDS = 30
"""No job of these tests takes nearly as long; one that does is stuck, and its test fails."""


def schedule_of(text: str) -> Schedule:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "tapeloom.toml")
        file.write_text(text, encoding="utf-8")
        return compile_job(load(file))


@dataclass(frozen=True)
class Told:
    files: int = 0
    troubles: Sequence[object] = ()
    troubles_beyond: int = 0


class Seeded:
    """So many bytes that follow from the name. `before` is called with the sink ahead of every piece."""

    content = 0
    index = None
    PIECE = 10_000

    def __init__(self, name: str, bytes: int, before: Callable[[_kernel.Feeder, int], None] = lambda sink, at: None):
        self.name = name
        self.sequence = Random(name).randbytes(bytes)
        self.before = before

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        return Facts(digest="sha256")  # made where the stream has a digest

    def run(self, sink: _kernel.Feeder) -> Told:
        for at in range(0, len(self.sequence), self.PIECE):
            self.before(sink, at)
            sink.write(self.sequence[at : at + self.PIECE])
        return Told()


class BareTape:
    """`tapeloom.runtime.media.Tape` with filemarks and nothing else: cartridges 1, 2, ... of a drive."""

    waiting = None

    def __init__(self, device: Device):
        self.device = device
        self.position = 0
        self.cartridges = 0
        self.pending: list[np.ndarray] = []
        self.proved: list[tuple[int, np.ndarray]] = []
        """(cartridge, runs) of all that has a filemark behind it."""

    @property
    def ops_address(self) -> int:
        return self.device.ops_address

    @property
    def handle_address(self) -> int:
        return self.device.handle_address

    def begin(self) -> None:
        self.cartridges += 1
        self.position = 0
        self.device.new_cartridge(f"{self.cartridges:04d}")
        self.device.load(f"{self.cartridges:04d}")

    def wrote(self, runs: np.ndarray, position: int) -> None:
        self.position = position
        self.pending.append(runs.copy())

    def checkpoint(self) -> None:
        self.device.write_filemarks()
        self.position += 1
        assert self.device.position().position == self.position
        self.proved += [(self.cartridges, runs) for runs in self.pending]
        self.pending.clear()

    def next_volume(self) -> None:
        self.checkpoint()
        self.device.unload()
        self.begin()

    def finish(self, *, whole: bool) -> None:
        self.checkpoint()

    def failure(self, status: int) -> DeviceError:
        return self.device.failure(status, "write")


class Unheard:
    """A listener that listens to nothing."""

    def object_begun(self, item: JobObject) -> None: ...

    def object_ended(self, item: JobObject) -> None: ...

    def object_digest(self, item: JobObject) -> None: ...


@dataclass
class Rig:
    """An open job: its parts by name."""

    job: Job
    schedule: Schedule
    devices: dict[str, Device]
    tapes: dict[str, BareTape]
    sources: dict[str, Seeded]
    rows: dict[str, int]

    def run_into_hang(self, drive: str, ticks: int = 20) -> Callable[[], JobResult]:
        """As `run_aside`; comes back when this drive hangs and the job has looked at that so often."""
        looked = threading.Semaphore(0)
        join = self.run_aside(looked.release)
        assert self.devices[drive].wait_hang(30)
        for _ in range(ticks):
            assert looked.acquire(timeout=30)
        return join

    def run_aside(self, on_tick: Callable[[], None] = lambda: None) -> Callable[[], JobResult]:
        """Runs the job in a thread; what it gives waits for the end and gives the result."""
        results: list[JobResult] = []
        thread = threading.Thread(target=lambda: results.append(self.job.run(on_tick)), daemon=True)
        thread.start()

        def join() -> JobResult:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the job does not end"
            return results[0]

        return join

    def run(self) -> JobResult:
        return self.run_aside()()

    def ending(self, result: JobResult, drive: str) -> AgentResult:
        return next(agent for agent in result.agents if agent.agent == self.rows[drive])

    def proved(self, drive: str) -> int:
        """Blocks that have a filemark behind them."""
        return sum(int(runs["blocks"].sum()) for _, runs in self.tapes[drive].proved)

    def content(self, drive: str) -> dict[str, bytes]:
        """Sequences of all objects on a drive's cartridges, by source; every block must be whole and in its order."""
        found: dict[str, bytearray] = {}
        seqs: dict[str, int] = {}
        ended: set[str] = set()
        for header, payload in blocks_on(self.devices[drive]):
            assert header.name not in ended, "a block behind the last one"
            assert header.seq == seqs.get(header.name, 0), "each block once, and in order"
            assert header.offset == len(found.setdefault(header.name, bytearray()))
            seqs[header.name] = header.seq + 1
            found[header.name] += payload
            if header.flags & Flag.END:
                ended.add(header.name)
        return {name: bytes(sequence) for name, sequence in found.items()}


def text(
    mirrors: int = 1, *, below: bool = False, slots: int = 16, settings: str = "", mirror: str = "", sources: int = 1
) -> str:
    """A on R0 with D0, D1, ...; mirrors M1, M2, ... of it on R1, R2, ..., with `below` each a mirror of the one
    before."""

    def buffers(above: str) -> str:
        return "buffers = { " + ", ".join(f'B{n} = "{above}{n}"' for n in range(sources)) + " }"

    lines = ["[server]", 'block = "16KiB"', f'memory = "{slots * 16}KiB"', "[drives]"]
    lines += [f'R{number} = "memory:"' for number in range(mirrors + 1)]
    lines += ["[sources]", *(f'D{n} = "unused"' for n in range(sources))]
    lines += ["[backup.nightly.A]", 'drive = "R0"', settings, buffers("D")]
    for number in range(1, mirrors + 1):
        above = f"M{number - 1}" if below and number > 1 else "A"
        lines += [f"[mirror.{number}.M{number}]", f'drive = "R{number}"', mirror, buffers(f"{above}.B")]
    return "\n".join(lines)


def blocks_on(device: Device) -> Iterator[tuple]:
    """(header, payload) of every block on every cartridge of a drive, read back and checked."""
    buffer = bytearray(BLOCK)
    for cartridge in device.cartridges():
        device.load(cartridge)
        device.to_end_of_data()
        end = device.position().position
        device.rewind()
        for _ in range(end):
            length = device.read_into(buffer)
            if length:
                header, payload = parse(memoryview(buffer)[:length], crc32c=_kernel.crc32c)
                yield header, bytes(payload)


@contextmanager
def rig(
    text: str,
    sources: Callable[[str], Seeded],
    drives: Mapping[str, str] | None = None,
    capacity: int | None = None,
    early_warning: int = 2 * BLOCK,
    disk: SpoolDisk | None = None,
) -> Iterator[Rig]:
    """A job on a configuration's text. `sources` makes each by its name; `drives` are memory drives if nothing else
    is said."""
    schedule = schedule_of(text)
    with ExitStack() as stack:
        devices = {
            name: stack.enter_context(
                open_drive(
                    (drives or {}).get(name, "memory:"),
                    name=name,
                    capacity=capacity,
                    early_warning=None if capacity is None else early_warning,
                )
            )
            for name in map(str, schedule.drive_names)
        }
        tapes = {name: BareTape(device) for name, device in devices.items()}
        rows = {
            str(schedule.drive_names[agent["drive"]]): row
            for row, agent in enumerate(schedule.agents)
            if agent["drive"] != NONE
        }
        made = [sources(str(name)) for name in schedule.source_names]
        job = Job(
            schedule,
            {row: tapes[drive] for drive, row in rows.items()},
            made,
            Objects(Unheard()),
            disk=disk,
            devices={row: devices[drive] for drive, row in rows.items()},
        )
        yield Rig(job, schedule, devices, tapes, {source.name: source for source in made}, rows)
