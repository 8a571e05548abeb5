"""The job's shared memory: a sealed memfd, allocated whole before the first byte moves."""

from __future__ import annotations

import fcntl
import os
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
    agents["patience_ns"] = round(PATIENCE_SECONDS * 1e9)
    return schedule.slot_bytes, schedule.slots_common, streams, cursors, agents


def make(schedule: Schedule, segments: Collection[int] = ()) -> _kernel.Arena:
    """The arena of a schedule, every slot free. Raises as `allocate`."""
    return allocate(*plans(schedule, segments))


def allocate(
    slot_bytes: int, slots_common: int, streams: np.ndarray, cursors: np.ndarray, agents: np.ndarray
) -> _kernel.Arena:
    """An arena in a sealed memfd.

    Raises
    ------
    UsageError
        The machine has not that much memory to share.
    """
    plan = (slot_bytes, slots_common, streams, cursors, agents)
    size = _kernel.arena_bytes(*plan)
    available = _available_bytes()
    if available is not None and size > available:
        raise UsageError(
            f"this machine has {available // MIB} MiB of memory to spare, not {size // MIB} MiB: "
            "make memory in [server] smaller"
        )
    fd = os.memfd_create("tapeloom-job", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        # Allocated now: a page that cannot be had later would be a SIGBUS in the middle of the job.
        os.posix_fallocate(fd, 0, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return _kernel.Arena(fd, *plan)
    except OSError as error:
        raise UsageError(
            f"this machine cannot give {size // MIB} MiB of shared memory ({error.strerror}): "
            "make memory in [server] smaller"
        ) from error
    finally:
        os.close(fd)


def _available_bytes() -> int | None:
    """What the system could give without swapping; None where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith("MemAvailable:")), None)
