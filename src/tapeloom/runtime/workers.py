"""Threads that compute for a job: one set for the whole process, and threads of one task that keeps an order."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from tapeloom.limits import MIB
from tapeloom.runtime.manners import give_way

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


AHEAD_BYTES_MAX = 16 * MIB


@cache
def workers() -> ThreadPoolExecutor:
    """As many threads as this process has processors, for work that waits for nothing. They begin when they are
    needed."""
    from concurrent.futures import ThreadPoolExecutor  # takes its time to load

    return ThreadPoolExecutor(workers_max(), thread_name_prefix="coding", initializer=give_way)


def workers_max() -> int:
    return len(os.sched_getaffinity(0))


def depth(block_bytes: int) -> int:
    """How many blocks of so many clear bytes a sequence has on their way through the workers at most: one more than
    there are workers, but no more than AHEAD_BYTES_MAX, and two at least."""
    return max(2, min(workers_max() + 1, AHEAD_BYTES_MAX // max(block_bytes, 1)))


def one_thread(name: str) -> ThreadPoolExecutor:
    """A thread that does what it is given in the order in which it is given. Whoever makes it shuts it down."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, thread_name_prefix=name, initializer=give_way)
