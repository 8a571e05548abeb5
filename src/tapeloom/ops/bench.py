"""What this machine and a drive of its user can do: the engine without archive, labels and catalog, block size by block
size.

Every measurement runs a schedule that the compiler made from a configuration of its own, with sources that give
incompressible bytes out of the page cache and tapes that hold nothing but test data. What it costs is counted for this
process, which should do nothing else meanwhile.
"""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tapeloom import _kernel
from tapeloom.compile import compile_job
from tapeloom.config import load
from tapeloom.device import Device, open_drive
from tapeloom.errors import DeviceError, TapeloomError, UsageError
from tapeloom.limits import KIB, MEMORY_BYTES_DEFAULT, MIB
from tapeloom.ops.benchrows import BenchResult, BenchRow, ModelledRow
from tapeloom.runtime import Job, JobObject, Objects
from tapeloom.schedule import Schedule
from tapeloom.volume.header import Content

BLOCKS_DEFAULT = (128 * KIB, 512 * KIB, 1024 * KIB)
STREAMS_DEFAULT = (1, 8)
MIRRORS_DEFAULT = (0, 2)
SECONDS_DEFAULT = 1.0
BYTES_DEFAULT = 1024 * MIB
"""How much goes onto a drive that keeps it, where nobody says how long or how much."""

CARTRIDGE = "bench"
_DATA_BYTES = 64 * MIB
_CRC_PASSES = 8


def run(
    devices: Sequence[str] = ("null:",),
    *,
    blocks: Sequence[int] = BLOCKS_DEFAULT,
    streams: Sequence[int] = STREAMS_DEFAULT,
    mirrors: Sequence[int] | None = None,
    seconds: float | None = None,
    bytes: int | None = None,
    memory: int = MEMORY_BYTES_DEFAULT,
    overwrite: bool = False,
    on_row: Callable[[BenchRow], None] = lambda row: None,
) -> BenchResult:
    """Measures every combination of block size, number of streams and number of mirrors.

    Parameters
    ----------
    devices
        Drives as in a configuration, the original's first, then one for each mirror. A null drive alone stands for as
        many as are needed.
    mirrors
        Without it: none and two, or as many as there are drives for.
    blocks
        Bytes of a tape block.
    seconds, bytes
        How long each measurement takes, and how much it moves at most. Without either: a second on null drives, and
        a GiB on drives that keep what they get.
    overwrite
        The explicit word that data on the cartridges may be lost.
    on_row
        Told of each row when it is there.

    Raises
    ------
    UsageError
        There are too few drives, a number makes no sense, or a cartridge has data and `overwrite` was not said.
    ConfigError
        A block size is none, or the memory does not hold the schedule.
    DeviceError, HeldError
    """
    mirrors = mirrors_for(devices) if mirrors is None else mirrors
    _check(blocks, streams, mirrors, seconds, bytes)
    specs = _specs(devices, max(mirrors))
    if seconds is None and bytes is None:
        if all(spec.startswith("null:") for spec in specs):
            seconds = SECONDS_DEFAULT
        else:
            bytes = BYTES_DEFAULT
    data = os.urandom(_DATA_BYTES)
    rows: list[BenchRow] = []
    with ExitStack() as stack:
        opened = [stack.enter_context(open_drive(spec, name=f"R{row}")) for row, spec in enumerate(specs)]
        _check_drives(len(opened), max(mirrors))  # now, so that a drive that is none is told of first
        remarks = [remark for device in opened if (remark := _put_in(device, overwrite))]
        fd = stack.enter_context(_in_page_cache(data))
        for block, wanted, stages in product(blocks, streams, mirrors):
            schedule = _schedule(block, wanted, stages, memory)
            pace = _Pace(fd, wanted, seconds, bytes)
            gc.collect()  # a job refers to itself: the memory of the one before goes now, not some time
            rows.append(_measure(schedule, opened[: stages + 1], pace, block, wanted, stages))
            on_row(rows[-1])
    return BenchResult(tuple(specs), os.cpu_count() or 1, _kernel.crc32c_names()[-1], _crc_rate(data), rows, remarks)


def _check(
    blocks: Sequence[int], streams: Sequence[int], mirrors: Sequence[int], seconds: float | None, bytes: int | None
) -> None:
    if not (blocks and streams and mirrors):
        raise UsageError("a benchmark needs at least one block size, one number of streams and one of mirrors")
    if min(streams) < 1:
        raise UsageError(f"{min(streams)} streams move nothing: take 1 or more")
    if min(mirrors) < 0:
        raise UsageError(f"{min(mirrors)} mirrors cannot be: take 0 or more")
    if (seconds is not None and not seconds > 0) or (bytes is not None and bytes <= 0):
        raise UsageError("a measurement takes more than 0 seconds and moves more than 0 bytes")


def _specs(devices: Sequence[str], mirrors: int) -> list[str]:
    """A drive for the original and for each mirror, as far as there are."""
    if _multiplies(devices):
        return [devices[0]] * (mirrors + 1)
    return list(devices[: mirrors + 1])


def _multiplies(devices: Sequence[str]) -> bool:
    return len(devices) == 1 and devices[0].startswith("null:")


def mirrors_for(devices: Sequence[str]) -> Sequence[int]:
    """The numbers of mirrors to measure where nobody says how many: MIRRORS_DEFAULT, as far as there are drives."""
    if not devices or _multiplies(devices):
        return MIRRORS_DEFAULT
    return sorted({min(wanted, len(devices) - 1) for wanted in MIRRORS_DEFAULT})


def _check_drives(drives: int, mirrors: int) -> None:
    if drives <= mirrors:
        named = "1 drive is" if drives == 1 else f"{drives} drives are"
        needed = f"1 mirror needs {mirrors + 1}" if mirrors == 1 else f"{mirrors} mirrors need {mirrors + 1}"
        raise UsageError(f"{needed} drives, and {named} named: name a drive for each, or take fewer (--mirrors)")


def _put_in(device: Device, overwrite: bool) -> str | None:
    """A cartridge to write on, at its beginning. Returns what the user should know of it.

    Raises
    ------
    UsageError
        It has data, and nobody said that this may be lost.
    """
    names = device.cartridges()
    made = not names
    if made:
        device.new_cartridge(CARTRIDGE)
    device.load(CARTRIDGE if made or CARTRIDGE in names else None)
    if not made and _has_data(device) and not overwrite:
        raise UsageError(
            f"drive {device.spec}: cartridge {device.loaded} has data, which a benchmark would overwrite: "
            "take an empty drive, or say explicitly that it may be lost (--overwrite)"
        )
    if device.spec.startswith("null:"):
        return None
    return (
        f"cartridge {device.loaded} of {device.spec} now holds test data that no backup can be appended to: remove it"
    )


def _has_data(device: Device) -> bool:
    end = device.position().end_of_data
    if end is not None:
        return end > 0
    try:
        device.to_end_of_data()
        return device.position().position > 0
    finally:
        device.rewind()


@contextmanager
def _in_page_cache(data: bytes) -> Iterator[int]:
    """A descriptor that gives `data` as a file does that has just been read."""
    fd = os.memfd_create("tapeloom-bench", os.MFD_CLOEXEC)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        yield fd
    finally:
        os.close(fd)


def _schedule(block: int, streams: int, mirrors: int, memory: int) -> Schedule:
    buffers = [f"B{row}" for row in range(streams)]
    lines = ["[server]", 'state = "state"', f"block = {block}", f"memory = {memory}", "[drives]"]
    lines += [f'R{stage} = "null:"' for stage in range(mirrors + 1)]
    lines += ["[sources]", *(f'S{row} = "."' for row in range(streams))]
    for stage in range(mirrors + 1):
        feeds = [f"S{row}" if stage == 0 else f"A{stage - 1}.{buffer}" for row, buffer in enumerate(buffers)]
        coupled = ", ".join(f'{buffer} = "{feed}"' for buffer, feed in zip(buffers, feeds, strict=True))
        group = "backup.bench" if stage == 0 else f"mirror.{stage}"
        lines += [f"[{group}.A{stage}]", f'drive = "R{stage}"', 'on_lag = "wait"', f"buffers = {{ {coupled} }}"]
    with TemporaryDirectory() as folder:
        file = Path(folder, "bench.toml")
        file.write_text("\n".join(lines) + "\n")
        return compile_job(load(file))


class _Pace:
    """When the sources of one measurement have given enough."""

    def __init__(self, fd: int, streams: int, seconds: float | None, bytes: int | None):
        self.fd = fd
        self.bytes_each = None if bytes is None else -(-bytes // streams)
        self._seconds = seconds
        self._deadline: float | None = None

    def start(self) -> None:
        """The clock runs from here: allocating the slots does not count."""
        self._deadline = None if self._seconds is None else time.monotonic() + self._seconds

    @property
    def over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline


class _Given:
    """A source's report: nothing went wrong."""

    files = 0
    troubles: Sequence[object] = ()
    troubles_beyond = 0


class _Endless:
    """A source that gives the same data round and round, until it is enough."""

    content = int(Content.OPAQUE)

    def __init__(self, name: str, pace: _Pace):
        self.name = name
        self._pace = pace

    def run(self, sink: _kernel.Feeder) -> _Given:
        pace, step = self._pace, 8 * MIB
        given = at = 0
        while not pace.over and given != pace.bytes_each:
            wanted = step if pace.bytes_each is None else min(step, pace.bytes_each - given)
            got, error = sink.pump(pace.fd, at, wanted)
            if error:
                raise AssertionError(f"memory cannot be read: {os.strerror(error)}")
            given += got
            at = (at + got) % _DATA_BYTES
        return _Given()


class BareTape:
    """A tape that begins with the first block and ends with a filemark: no label, no records, no receipts."""

    waiting = None

    def __init__(self, device: Device):
        self._device = device
        self.position = 0
        self.cpu_seconds = 0.0
        """Of the agent's thread, from its first block to the filemark behind its last."""

    @property
    def ops_address(self) -> int:
        return self._device.ops_address

    @property
    def handle_address(self) -> int:
        return self._device.handle_address

    def begin(self) -> None:
        self.cpu_seconds = -time.thread_time()
        self._device.rewind()

    def wrote(self, runs: np.ndarray, position: int) -> None:
        self.position = position

    def checkpoint(self) -> None:
        self._device.write_filemarks()
        self.position += 1

    def next_volume(self) -> None:
        raise DeviceError(f"drive {self._device.name}: the tape is full: measure with fewer bytes")

    def finish(self, *, whole: bool) -> None:
        self._device.write_filemarks()
        self.cpu_seconds += time.thread_time()

    def failure(self, status: int) -> DeviceError:
        return self._device.failure(status, f"write at position {self.position}")


class Deaf:
    """A listener for whom it is enough that the job runs."""

    def object_begun(self, item: JobObject) -> None: ...

    def object_ended(self, item: JobObject) -> None: ...

    def object_digest(self, item: JobObject) -> None: ...


def _measure(
    schedule: Schedule, devices: Sequence[Device], pace: _Pace, block: int, streams: int, mirrors: int
) -> BenchRow:
    tapes = {row: BareTape(device) for row, device in enumerate(devices)}
    sources = [_Endless(str(name), pace) for name in schedule.source_names]
    job = Job(schedule, tapes, sources, Objects(Deaf()))
    before, drive = resource.getrusage(resource.RUSAGE_SELF), devices[0].model_counts()
    pace.start()
    result = job.run()
    after = resource.getrusage(resource.RUSAGE_SELF)
    if not result.well:
        reasons = [agent.why for agent in result.agents if agent.why]
        reasons += [trouble for item in result.objects for trouble in item.troubles]
        raise TapeloomError(f"the measurement broke off: {reasons[0] if reasons else 'it was stopped'}")
    given = [job.arena.stream_statistics(row) for row in range(streams)]
    written = [job.agent_statistics(row) for row in tapes]
    total, count = sum(stream.bytes for stream in given), sum(stream.blocks for stream in given)
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wakes = sum(agent.sleeps for agent in written) + sum(stream.stalls for stream in given)
    return BenchRow(
        block_bytes=block,
        streams=streams,
        mirrors=mirrors,
        bytes=total,
        seconds=result.seconds,
        bytes_per_second=total / result.seconds,
        cpu_seconds_per_gb=cpu_seconds / (total / 1e9),
        wakes_per_block=wakes / count,
        blocks_per_run=written[0].blocks / written[0].runs,
        drive_share=written[0].device_ns / 1e9 / result.seconds,
        modelled=ModelledRow.between(drive, devices[0].model_counts()),
    )


def _crc_rate(data: bytes) -> float:
    """What one processor does with the checksum alone, over data that fits into its cache."""
    piece = memoryview(data)[: 256 * KIB]
    passes = _CRC_PASSES * (_DATA_BYTES // len(piece))
    begin = time.perf_counter()
    for _ in range(passes):
        _kernel.crc32c(piece)
    return passes * len(piece) / (time.perf_counter() - begin)
