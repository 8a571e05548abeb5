"""What a backup begins with: its schedule, and its memory, which the system takes its time to give.

It imports little, so that all else that a job needs can be loaded while that memory is on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct

from tapeloom import kept
from tapeloom.config import Config
from tapeloom.errors import UsageError
from tapeloom.runtime import arena as arenas
from tapeloom.schedule import Feed, Kind, Schedule


class Beginning(Struct, frozen=True):
    """`segments` are the rows of the streams whose producer stands in another process."""

    schedule: Schedule
    segments: Sequence[int]
    memory: arenas.Reserving


def begin(config: Config, groups: Sequence[str] | None = None) -> Beginning:
    """The beginning of a job of these backup groups, all of them where None. Raises as `schedule_of`."""
    return reserve(schedule_of(config, groups))


def schedule_of(config: Config, groups: Sequence[str] | None = None) -> Schedule:
    """The schedule of a job of these backup groups, all of them where None.

    Raises
    ------
    ConfigError, UsageError
        Nothing was touched.
    """
    schedule = kept.schedule(config, groups)
    for name, kind in zip(schedule.group_names, schedule.group_kinds, strict=True):
        if kind == Kind.RESTORE:
            raise UsageError(f"{config.shown}: restore.{name} is no backup group, which is what a backup starts from")
    return schedule


def reserve(schedule: Schedule, producers: Collection[str] = ()) -> Beginning:
    """The memory of a job, on its way. `producers` are sources that are written in this process."""
    segments = [
        row
        for row, stream in enumerate(schedule.streams)
        if stream["feed"] == Feed.PRODUCER and str(schedule.source_names[stream["first_source"]]) not in producers
    ]
    return Beginning(schedule, segments, arenas.make(schedule, segments))
