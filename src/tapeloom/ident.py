"""Ids of objects, volumes and jobs: UUIDv7 (RFC 9562), so that they sort by the time they were made."""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_id(now: int | None = None) -> UUID:
    """A new id. `now` is ns since 1970 UTC, the system's clock where it is not given.

    The 12 bits behind the milliseconds hold their fraction (RFC 9562, 6.2, method 3), the other 62 are random.
    """
    if now is None:
        now = time.time_ns()
    milliseconds, rest = divmod(now, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8), "big") >> 2
    return UUID(int=(milliseconds & 0xFFFFFFFFFFFF) << 80 | 7 << 76 | fraction << 64 | 0b10 << 62 | random)
