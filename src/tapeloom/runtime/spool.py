"""An agent that lags goes on from a spool: its blocks go to disk as fast as to the others, then to its drive.

::

    the job's streams -> spool agent -> segments on disk -> reader -> an arena of its own -> the agent's drive
                         `fill`                             `read_back`                      MediaAgent, as ever

The spool agent is the dormant twin that the compiler has put beside the agent. At `take_over` the kernel gives it the
agent's places in all streams, so that no block is lost and none comes twice; the agent writes what is in its hands, and
goes on from the spool to the end of the job. A segment is a virtual tape with nothing but blocks. It goes as soon as
it has been read: if the drive fails after that, the copy has a hole with a spool as without one, and is completed from
another.
"""

from __future__ import annotations

import fcntl
import os
import queue
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from uuid import UUID

import numpy as np
from msgspec import Struct

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, Stop, TurnReason
from tapeloom.device import Device, Trouble, open_drive
from tapeloom.errors import BlockDamaged, Stopped, TapeloomError, UsageError
from tapeloom.limits import PAGE_BYTES, SPOOL_SLOTS
from tapeloom.quantity import rough_bytes
from tapeloom.runtime.objects import Objects
from tapeloom.runtime.reading import POOL, STREAM, restore_arena
from tapeloom.schedule import Schedule

CARTRIDGE = "blocks"
OURS = "tapeloom-spool"
"""In the spool folder, which may be anybody's: what jobs make and remove is in here."""
JOB_NAME = re.compile(r"job-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LOCK = "lock"
"""A file in each job's folder: says that a job made it, and that job holds it as long as it lives."""
SEGMENT_SECONDS = 1.0
"""After so long a segment that is not full ends if the reader has nothing else: a drive that caught up is not idle."""
NO_LIMIT = 2**63 - 1


class Segment(Struct):
    """A folder with a virtual tape in it. `reserved` bytes of the disk's share are its own."""

    folder: Path
    reserved: int
    blocks: int = 0
    bytes: int = 0


class SpoolStatistics(Struct, frozen=True):
    """What went through the spool of one agent. All zero where it was never needed."""

    segments: int
    blocks: int
    bytes: int


class SpoolDisk:
    """One job's share of the spool folder, in a folder of its own that goes with the job.

    What jobs of this user that died have left is removed when the next one begins: the lock in a dead job's folder is
    free. Nothing else in the spool folder is touched. Safe to use from any thread.

    Parameters
    ----------
    bytes_max
        What all segments of this job may hold at once.
    trouble
        What shall fail on every segment, for tests.
    """

    def __init__(self, folder: Path, job: UUID, bytes_max: int, trouble: Trouble | None = None):
        self._folder = folder
        self._ours = folder / OURS
        self._mine = self._ours / f"job-{job}"
        self._bytes_max = self._free = bytes_max
        self._trouble = trouble
        self._guard = threading.Lock()
        self._lock = -1

    def __enter__(self) -> SpoolDisk:
        """Makes the folders. UsageError: this cannot be done; nothing was touched."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._ours.mkdir(mode=0o700, exist_ok=True)
            # Held while a folder is made and locked, so that nobody takes it for a dead one's.
            making = _locked(self._ours, os.O_RDONLY | os.O_DIRECTORY, wait=True)
            try:
                self._refuse_foreign(os.fstat(making))
                self._remove_dead()
                self._mine.mkdir(mode=0o700)
                self._lock = _locked(self._mine / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, wait=False)
            finally:
                os.close(making)
        except OSError as error:
            raise UsageError(
                f"the spool folder {self._folder} cannot be used ({error.strerror}): make it writable, or name another "
                "one as spool in [server]"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _remove_job(self._mine)
        os.close(self._lock)

    def new(self, name: str, bytes: int) -> Segment:
        """An empty segment for so many bytes. TapeloomError: that is more than there is left, or the disk refuses."""
        with self._guard:
            if self._free < bytes:
                used = (
                    f"{rough_bytes(self._bytes_max - self._free)} of spool_max {rough_bytes(self._bytes_max)} are used"
                )
                raise TapeloomError(f"the spool in {self._folder} is full: {used}")
            self._free -= bytes
        segment = Segment(self._mine / name, bytes)
        try:
            with self.open(segment) as device:
                device.new_cartridge(CARTRIDGE)
        except TapeloomError:
            self.remove(segment)
            raise
        return segment

    def open(self, segment: Segment) -> Device:
        """The segment's drive, nothing loaded."""
        return open_drive(
            f"vtape:{segment.folder}",
            name=f"spool segment {segment.folder.name}",
            capacity=segment.reserved,
            early_warning=PAGE_BYTES,
            trouble=self._trouble,
        )

    def trim(self, segment: Segment) -> None:
        """Nothing more will be written: what it does not need is free for others."""
        self._give_back(segment, min(segment.reserved, segment.bytes + segment.blocks * PAGE_BYTES))

    def remove(self, segment: Segment) -> None:
        shutil.rmtree(segment.folder, ignore_errors=True)
        self._give_back(segment, 0)

    def _give_back(self, segment: Segment, keeps: int) -> None:
        with self._guard:
            self._free += segment.reserved - keeps
            segment.reserved = keeps

    def _refuse_foreign(self, ours: os.stat_result) -> None:
        if ours.st_uid != os.geteuid() or stat.S_IMODE(ours.st_mode) & 0o077:
            raise UsageError(
                f"{self._ours} must belong to the user who runs the job, and be closed to others (chmod 700); or name "
                "another folder as spool in [server]"
            )

    def _remove_dead(self) -> None:
        for folder in self._ours.iterdir():
            if not (JOB_NAME.fullmatch(folder.name) and _is_own_folder(folder)):
                continue
            try:
                lock = _locked(folder / LOCK, os.O_RDWR, wait=False)
            except OSError:
                continue  # its job lives, or no job made it
            _remove_job(folder)
            os.close(lock)


def _is_own_folder(path: Path) -> bool:
    """Whether it is a folder of this user's, and not a link to one."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _remove_job(folder: Path) -> None:
    """What stays for whatever reason, the next job removes: so the lock goes when nothing else is left."""
    with suppress(OSError):
        for segment in folder.iterdir():
            if segment.name != LOCK:
                shutil.rmtree(segment)
        (folder / LOCK).unlink()
        folder.rmdir()


def _locked(path: Path, flags: int, wait: bool) -> int:
    """A descriptor that holds the lock of a file or folder until it is closed, or its process is dead."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


class Spool:
    """Of the agent `owner`, by the SPOOL agent in row `row`. All is allocated here; no thread runs before `take_over`.

    `fill` and `read_back` are the bodies of two threads, and raise nothing but bugs. `on_lost` is called by any thread,
    when the spool takes no more.
    """

    def __init__(
        self,
        schedule: Schedule,
        row: int,
        arena: _kernel.Arena,
        disk: SpoolDisk,
        objects: Objects,
        on_lost: Callable[[], None],
    ):
        agent = schedule.agents[row]
        self.row = row
        self.owner = schedule.spool_owner(row)
        self.took_over = False
        self.lost: str | None = None
        """Why something that waited for the agent will never reach it."""
        self._job_arena = arena
        self._disk = disk
        self._objects = objects
        self._on_lost = on_lost
        self._segment_bytes = int(agent["checkpoint_bytes"])
        self._filler = _kernel.Interleaver(arena, row, 4096)
        self._arena = restore_arena(
            schedule.slot_bytes, SPOOL_SLOTS, run_blocks=min(int(agent["run_blocks"]), SPOOL_SLOTS // 2)
        )
        self.interleaver = _kernel.Interleaver(self._arena, 0)
        """What the owner goes on with after `take_over`."""
        # None: whatever may follow is not read.
        self._written: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._segments = 0
        self._reader_waits = False
        self._filling_since_ns = 0
        self._reading_since_ns = 0
        self._read_sign: tuple[int, ...] = ()
        self._read_sign_ns = 0

    @property
    def arena(self) -> _kernel.Arena:
        """What the owner writes from after `take_over`."""
        return self._arena

    def take_over(self) -> None:
        """Takes the owner's place in all its streams. Then the two threads start."""
        self.took_over = True  # before the owner can hear of it
        self._job_arena.hand_over(self.owner, self.row)

    def give_up(self, why: str) -> None:
        """Takes nothing more from the streams; what is spooled still reaches the owner."""
        if self.lost is None:
            self.lost = why
        self._job_arena.detach(self.row)
        self._on_lost()

    def hold_nobody_up(self, why: str) -> None:
        """The disk is too slow: as `give_up`, but nobody waits for `fill` either, which may never come back from it."""
        self.give_up(f"its spool cannot keep up: {why}")
        self._written.put(None)

    def hangs(self, seconds: float) -> bool:
        """Whether nobody waits for it any more and it is still with its disk, for so long."""
        since = self._filling_since_ns or self._job_arena.agent_statistics(self.row).in_call_since_ns
        given_up = self.lost is not None or self._job_arena.stopping is Stop.NOW
        return given_up and since != 0 and time.monotonic_ns() - since >= seconds * 1e9

    def look_at_reader(self, seconds: float) -> None:
        """Gives up what is spooled when `read_back` has been with its disk for so long without a block: its owner ends
        with what it has. To be called every now and then, by one thread."""
        pool, read = self._arena.stream_statistics(POOL), self._arena.stream_statistics(STREAM)
        if read.ended:
            return
        sign = (self._reading_since_ns, pool.stalls, read.head)
        now = time.monotonic_ns()
        # A reader that waits for a slot waits for the drive, not for its disk.
        if sign != self._read_sign or self._reading_since_ns == 0 or pool.waiting_since_ns:
            self._read_sign, self._read_sign_ns = sign, now
        elif now - self._read_sign_ns >= seconds * 1e9:
            self.give_up(f"its spool does not come back from a read for {(now - self._read_sign_ns) / 1e9:.0f} s")
            self._arena.end_stream(STREAM)

    def detach(self) -> None:
        """The owner takes nothing more. To be called when it is detached from the job's streams, or will be."""
        self._job_arena.detach(self.row)
        self._arena.detach(0)

    def stop(self) -> None:
        """Everything stays where it is; both threads come to an end."""
        self._arena.stop(Stop.NOW)

    def owner_statistics(self) -> _kernel.AgentStatistics:
        """What the owner did from the spool."""
        return self._arena.agent_statistics(0)

    def statistics(self) -> SpoolStatistics:
        spooled = self._job_arena.agent_statistics(self.row)
        return SpoolStatistics(self._segments, spooled.blocks, spooled.bytes)

    def fill(self) -> None:
        """From the streams into segments, until the streams end or the disk takes no more."""
        try:
            # A segment is made for a block that is there: the last one may have filled the one before.
            while self._filler.wait() is TurnReason.CHECKPOINT:
                self._filling_since_ns = time.monotonic_ns()
                self._fill_one()
                self._filling_since_ns = 0
        except TapeloomError as error:
            self.give_up(str(error))
        finally:
            self._filling_since_ns = 0
            self._written.put(None)

    def _fill_one(self) -> None:
        self._segments += 1
        segment = self._disk.new(f"{self.row:04d}-{self._segments:06d}", self._segment_bytes)
        try:
            with self._disk.open(segment) as device:
                device.load(CARTRIDGE)
                self._write(segment, device)
                device.write_filemarks()
        except TapeloomError:
            self._disk.remove(segment)
            raise
        self._disk.trim(segment)
        self._written.put(segment)

    def _write(self, segment: Segment, device: Device) -> None:
        """Until the segment is full, nothing will come any more, or the reader waits for this one."""
        while True:
            self._filling_since_ns = 0
            turn = self._filler.turn(
                device.ops_address,
                device.handle_address,
                position=segment.blocks,
                bytes_max=NO_LIMIT,
                deadline_ns=time.monotonic_ns() + round(SEGMENT_SECONDS * 1e9),
            )
            self._filling_since_ns = time.monotonic_ns()
            segment.blocks += turn.blocks
            segment.bytes += turn.bytes
            if turn.reason is TurnReason.FAILED:
                raise device.failure(turn.status, f"write block {segment.blocks}")
            if turn.reason is not TurnReason.CHECKPOINT or self._reader_waits:
                return

    def read_back(self) -> None:
        """From segments into the slots that the owner writes from, until `fill` has ended."""
        reading = True
        while (segment := self._next()) is not None:
            self._reading_since_ns = time.monotonic_ns()
            try:
                if reading:
                    self._read(segment)
            except Stopped:
                reading = False
            except TapeloomError as error:
                reading = False
                self.give_up(str(error))
            finally:
                self._disk.remove(segment)
                self._reading_since_ns = 0
        self._arena.end_stream(STREAM)

    def _next(self) -> Segment | None:
        self._reader_waits = True
        segment = self._written.get()
        self._reader_waits = False
        return segment

    def _read(self, segment: Segment) -> None:
        # Made for each segment: whatever stands in it had begun before it was written.
        wants = np.array([(item.id.bytes, STREAM, item.number) for item in self._objects.all()], _kernel.WANT)
        splitter = _kernel.Splitter(self._arena, POOL, wants, faults_max=1)
        with self._disk.open(segment) as device:
            device.load(CARTRIDGE)
            split = splitter.run(device.ops_address, device.handle_address, position=0, blocks_max=segment.blocks)
            match split.reason:
                case SplitReason.DONE:
                    return
                case SplitReason.STOPPED | SplitReason.NO_READERS:
                    raise Stopped("nobody reads on")
                case SplitReason.FAILED:
                    raise device.failure(split.status, f"read block {split.position}")
                case _:
                    raise BlockDamaged(f"{device.name}: block {split.position} is not what was written")
