"""From a configuration to a frozen `Schedule`: nine passes over the graph of one job.

========  ===================================================================================
check     what cannot run is refused, all mistakes at once, each with file and line
place     who runs in which thread
share     chained buffers use the same slots: one stream for each tree of chains
spool     who stands in for an agent that spools, should it lag
size      how many slots there are, and who may hold how many of them
runs      how long the runs of one object are on each drive
start     how much an agent gathers before its drive starts
order     the rows of the tables, and with them the order in which agents visit their buffers
freeze    numpy arrays and nothing else
========  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tapeloom import graph
from tapeloom.compile.check import check, find_problems
from tapeloom.compile.draft import Draft
from tapeloom.compile.freeze import freeze
from tapeloom.compile.order import order
from tapeloom.compile.place import place
from tapeloom.compile.runs import find_costly, runs
from tapeloom.compile.share import share
from tapeloom.compile.size import find_shortage, size
from tapeloom.compile.spool import spool
from tapeloom.compile.start import start
from tapeloom.errors import Problem
from tapeloom.schedule import Schedule

if TYPE_CHECKING:
    from tapeloom.config import Config

PASSES: tuple[Callable[[Draft], None], ...] = (check, place, share, spool, size, runs, start, order)
"""In order. Each fills its part of the draft; `freeze` makes the schedule of it."""

__all__ = ["PASSES", "Draft", "compile_job", "freeze", "problems"]


def compile_job(config: Config, groups: Sequence[str] | None = None) -> Schedule:
    """The schedule of the job that runs `groups` (None: all backup groups) and what they feed.

    Raises
    ------
    ConfigError
        The job cannot run as configured: one problem for each mistake.
    UsageError
        There is no such group.
    """
    draft = Draft(config, graph.build(config, groups))
    for step in PASSES:
        step(draft)
    return freeze(draft)


def problems(config: Config) -> list[Problem]:
    """Everything that would keep a group of this file from running, each group taken by itself. For `config check`."""
    found: dict[Problem, None] = {}
    for kind, name in config.groups:
        if kind in graph.FEEDING_KINDS:
            draft = Draft(config, graph.build(config, [f"{kind}.{name}"]))
            wrong = find_problems(draft)
            shortage = find_shortage(draft)
            if shortage is not None:
                wrong.append(shortage)
            if not wrong:
                for step in (place, share, spool, size):
                    step(draft)
                wrong = find_costly(draft)
            found.update(dict.fromkeys(wrong))
    return list(found)
