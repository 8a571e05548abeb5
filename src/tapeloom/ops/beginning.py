"""What a backup begins with: the catalog, trees that are read already, its schedule, and its memory, which the system
takes its time to give.

It imports little by little: whatever else a job needs can be loaded while trees are read and memory is on its way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from tapeloom import kept, numerics
from tapeloom.catalog import Catalog
from tapeloom.config import Config
from tapeloom.errors import UsageError
from tapeloom.ops.ahead import backup_groups, read_ahead
from tapeloom.volume.header import Level

if TYPE_CHECKING:
    from tapeloom.ops.named import Named
    from tapeloom.runtime.arena import Reserving
    from tapeloom.schedule import Schedule


class Beginning(Struct, frozen=True):
    """`ahead` are sources by name. `memory` is on its way."""

    catalog: Catalog
    ahead: Mapping[str, Named]
    schedule: Schedule
    memory: Reserving


@contextmanager
def begin(
    config: Config,
    groups: Sequence[str] | None = None,
    level: Level | None = None,
    producers: Collection[str] = (),
    *,
    ahead: bool = True,
) -> Iterator[Beginning]:
    """The beginning of a job; for the parameters see `open_backup`. It serves one job. Without `ahead` no tree is read
    before its object begins.

    Raises
    ------
    ConfigError, UsageError
        Nothing was written.
    HeldError
        The state folder is in another process's hands. No memory is taken by one who waits for it.
    """
    with ExitStack() as stack:
        catalog: Catalog | None = None
        read: Mapping[str, Named] = {}
        starting = backup_groups(config, groups)
        if starting and Catalog.is_in(config.server.state):  # none is made, or waited for, for what may be no job
            catalog = stack.enter_context(Catalog.open(config.server.state))
            if ahead:
                read = stack.enter_context(read_ahead(config, starting, catalog, level, producers))
        numerics.load()
        schedule = _schedule_of(config, groups)
        if catalog is None:
            catalog = stack.enter_context(Catalog.open(config.server.state))
        yield Beginning(catalog, read, schedule, _reserve(schedule, producers))


def _schedule_of(config: Config, groups: Sequence[str] | None = None) -> Schedule:
    """The schedule of a job of these backup groups, all of them where None.

    Raises
    ------
    ConfigError, UsageError
        Nothing was touched.
    """
    from tapeloom.schedule import Kind

    schedule = kept.schedule(config, groups)
    for name, kind in zip(schedule.group_names, schedule.group_kinds, strict=True):
        if kind == Kind.RESTORE:
            raise UsageError(f"{config.shown}: restore.{name} is no backup group, which is what a backup starts from")
    return schedule


def _reserve(schedule: Schedule, producers: Collection[str]) -> Reserving:
    """The memory of a job, on its way. `producers` are sources that are written in this process: each other one has its
    slots in memory of its own."""
    from tapeloom.runtime import arena
    from tapeloom.schedule import Feed

    segments = [
        row
        for row, stream in enumerate(schedule.streams)
        if stream["feed"] == Feed.PRODUCER and str(schedule.source_names[stream["first_source"]]) not in producers
    ]
    return arena.make(schedule, segments)
