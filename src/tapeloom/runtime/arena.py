"""The job's shared memory: a sealed memfd, allocated whole before the first byte moves."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Collection
from pathlib import Path

import numpy as np

from tapeloom import _kernel
from tapeloom.errors import UsageError
from tapeloom.limits import KIB, MIB, PATIENCE_SECONDS, PRODUCER_END_SLOTS
from tapeloom.schedule import Feed, Kind, Schedule


def plans(schedule: Schedule, segments: Collection[int]) -> tuple[int, int, np.ndarray, np.ndarray, np.ndarray]:
    """What the kernel wants to know of a schedule: slot bytes, common slots, and a row for each stream, cursor and
    agent.

    `segments` are the streams whose producer stands in another process: their quota lies in shared memory of its own,
    and in the arena they have only the slots for what the server says in the producer's place.
    """
    streams = np.zeros(len(schedule.streams), _kernel.STREAM_PLAN)
    for row, stream in zip(streams, schedule.streams, strict=True):
        row["quota"], row["cap"] = stream["quota"], stream["cap"]
        if stream["feed"] == Feed.PRODUCER:
            row["quota"] += PRODUCER_END_SLOTS
            row["cap"] += PRODUCER_END_SLOTS
    for index in segments:
        streams[index] = (PRODUCER_END_SLOTS, PRODUCER_END_SLOTS, schedule.streams[index]["quota"])
    cursors = np.zeros(len(schedule.cursors), _kernel.CURSOR_PLAN)
    agents = np.zeros(len(schedule.agents), _kernel.AGENT_PLAN)
    for name in ("stream", "agent"):
        cursors[name] = schedule.cursors[name]
    for name in ("first_cursor", "cursors", "run_blocks"):
        agents[name] = schedule.agents[name]
    agents["dormant"] = schedule.agents["kind"] == Kind.SPOOL
    agents["start_blocks"] = schedule.agents["start_bytes"] // schedule.block_bytes
    agents["patience_ns"] = round(PATIENCE_SECONDS * 1e9)
    return schedule.slot_bytes, schedule.slots_common, streams, cursors, agents


def make(schedule: Schedule, segments: Collection[int] = ()) -> Reserving:
    """The arena of a schedule, every slot free, on its way to being allocated. Raises as `allocate`."""
    return Reserving(*plans(schedule, segments))


def allocate(
    slot_bytes: int, slots_common: int, streams: np.ndarray, cursors: np.ndarray, agents: np.ndarray
) -> _kernel.Arena:
    """An arena of such tables, allocated.

    Raises
    ------
    UsageError
        The machine has not that much memory to share.
    """
    return Reserving(slot_bytes, slots_common, streams, cursors, agents).wait()


class Reserving:
    """An arena in a sealed memfd whose memory a thread of its own takes: that lasts some tenths of a second for each
    gigabyte, in which tapes can be loaded. Before `wait` nobody may count on more than its control page, and `arena` is
    there only where `check` finds nothing."""

    arena: _kernel.Arena

    def __init__(
        self, slot_bytes: int, slots_common: int, streams: np.ndarray, cursors: np.ndarray, agents: np.ndarray
    ):
        plan = (slot_bytes, slots_common, streams, cursors, agents)
        self._size = size = _kernel.arena_bytes(*plan)
        self._failed: OSError | None = None
        self._available = _available_bytes()
        if self._available is not None and size > self._available:
            return  # for `check`
        fd = os.memfd_create("tapeloom-job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self.arena = _kernel.Arena(fd, *plan)
        except OSError as error:
            os.close(fd)
            raise self._refused(error) from error
        self._thread = threading.Thread(target=self._reserve, args=(fd,), name="reserving memory", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises UsageError where the machine had not that much to spare. That is not said at once: if another job has
        the memory, it holds the state folder, too, and that is what is to be said."""
        if self._available is not None and self._size > self._available:
            raise UsageError(
                f"this machine has {self._available // MIB} MiB of memory to spare, not {self._size // MIB} MiB: "
                "make memory in [server] smaller"
            )

    def wait(self) -> _kernel.Arena:
        """The arena, all of its memory allocated. Raises UsageError where the machine cannot give it."""
        self.check()
        self._thread.join()
        if self._failed is not None:
            raise self._refused(self._failed) from self._failed
        return self.arena

    def _reserve(self, fd: int) -> None:
        try:
            # Allocated now: a page that cannot be had later would be a SIGBUS in the middle of the job.
            os.posix_fallocate(fd, 0, self._size)
        except OSError as error:
            self._failed = error
        finally:
            os.close(fd)

    def _refused(self, error: OSError) -> UsageError:
        return UsageError(
            f"this machine cannot give {self._size // MIB} MiB of shared memory ({error.strerror}): "
            "make memory in [server] smaller"
        )


def _available_bytes() -> int | None:
    """What the system could give without swapping; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith("MemAvailable:")), None)
