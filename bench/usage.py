"""What a piece of work costs this process: seconds, CPU seconds, times it fell asleep, system calls."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_TYPE_TRACEPOINT, _INHERIT, _ATTR_BYTES = 2, 1 << 1, 64
_TRACEPOINT = "events/raw_syscalls/sys_enter/id"


@dataclass(slots=True)
class Usage:
    """Filled in when the `with` block of `measured` ends. `calls` is None where the system does not count them."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    sleeps: int = 0
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """So many bytes, and what moving them took."""

    bytes: int
    usage: Usage

    @property
    def gb_per_second(self) -> float:
        return self.bytes / self.usage.seconds / 1e9

    @property
    def cpu_per_gb(self) -> float:
        """CPU seconds."""
        return self.usage.cpu_seconds / (self.bytes / 1e9)


@contextmanager
def measured() -> Iterator[Usage]:
    """Measures this process: all its threads, also those that begin and end inside; not its children."""
    usage = Usage()
    counter = _open_counter()
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    try:
        yield usage
    finally:
        usage.seconds = time.perf_counter() - begin
        after = resource.getrusage(resource.RUSAGE_SELF)
        usage.cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        usage.sleeps = after.ru_nvcsw - before.ru_nvcsw
        if counter is not None:
            usage.calls = int.from_bytes(os.read(counter, 8), "little")
            os.close(counter)


def cost_of_child(command: list[str], bytes: int, **options: Any) -> Cost:
    """Runs a command that moves so many bytes."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, **options)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(bytes, Usage(seconds, cpu, after.ru_nvcsw - before.ru_nvcsw))


def _open_counter() -> int | None:
    """Counts system calls of this thread and of those that it starts from now on; None where that is not allowed."""
    for folder in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        try:
            tracepoint = int(Path(folder, _TRACEPOINT).read_text())
            break
        except OSError:
            continue
    else:
        return None
    if platform.machine() not in _PERF_EVENT_OPEN:
        return None
    attributes = struct.pack("<IIQQQQQ", _TYPE_TRACEPOINT, _ATTR_BYTES, tracepoint, 0, 0, 0, _INHERIT).ljust(
        _ATTR_BYTES, b"\0"
    )
    call = ctypes.CDLL(None, use_errno=True).syscall
    fd = call(ctypes.c_long(_PERF_EVENT_OPEN[platform.machine()]), attributes, 0, -1, -1, ctypes.c_ulong(0))
    return fd if fd >= 0 else None
