"""Trouble on purpose, for tests and demonstrations: what a drive shall fail at, and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """Blocks and filemark calls are counted from 1 over the life of the open drive; 0: never. See csrc/trouble.h.

    Attributes
    ----------
    fail_write : this block is not written, its call fails.
    late_write : this block and the rest of its call are not written, the call succeeds, and the next one of any kind
        fails.
    hang_write : the call with this block waits before it until `Device.release_hang` or `close`.
    fail_filemark : this call that would write filemarks fails, and writes none.
    fail_read_at : reading the block at this position fails, the tape stays before it. None: never.
    """

    fail_write: int = 0
    late_write: int = 0
    hang_write: int = 0
    fail_filemark: int = 0
    fail_read_at: int | None = None
