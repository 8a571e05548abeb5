"""How the threads of a job share the processors."""

from __future__ import annotations

import os
from contextlib import suppress


def give_way() -> None:
    """For a thread that computes: when it is woken, it takes no processor from a thread that feeds a drive.

    A media agent wakes the producers of the slots that it lets go, and right after that has the drive's next blocks to
    hand on: a producer that came first would leave the drive without work for as long as its slice lasts. Whoever chose
    another policy than the ordinary one for this process keeps it; what is started from here is ordinary again.
    """
    with suppress(OSError):  # forbidden here: it is slower so, not wrong
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
