"""What writes the sources of a job, in the order of its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from tapeloom.ops.named import Named, named
from tapeloom.runtime.stream import Described, Facts, Source, Stoppable
from tapeloom.schedule import Kind, Schedule
from tapeloom.volume.header import Level

if TYPE_CHECKING:
    from tapeloom.catalog import Catalog
    from tapeloom.config import Config


class _Produced:
    """A source that a program writes, with what the configuration says of it."""

    index = None

    def __init__(self, source: Source, digest: str):
        self.name, self.content, self.run = source.name, source.content, source.run
        self.stop = source.stop if isinstance(source, Stoppable) else lambda: None
        self._digest = digest

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        return Facts(digest=self._digest)


def job_sources(
    config: Config,
    schedule: Schedule,
    catalog: Catalog,
    level: Level | None,
    producers: Mapping[str, Source],
    on_waiting: Callable[[str], None],
    ahead: Mapping[str, Named],
) -> Iterator[Source]:
    """What writes each row of the schedule's sources: a producer that is given, or what the configuration says.

    `level` is what objects of files are to be; None: what the group of each says. `ahead` are read already.
    """
    groups = {
        int(cursor["stream"]): str(schedule.group_names[schedule.agents[cursor["agent"]]["group"]])
        for cursor in schedule.cursors
        if schedule.agents[cursor["agent"]]["kind"] == Kind.BACKUP
    }
    for row, name in zip(schedule.sources, map(str, schedule.source_names), strict=True):
        configured = config.sources[name]
        if name in producers:
            given = producers[name]
            yield given if isinstance(given, Described) else _Produced(given, configured.digest)
        elif configured.producer:
            from tapeloom.runtime.producer import ProducerSource

            source = ProducerSource(name, config.server.state, partial(on_waiting, name))
            yield _Produced(source, configured.digest)
        elif name in ahead:
            yield ahead[name]
        else:
            group = config.groups["backup", groups[int(row["stream"])]]
            yield named(config, configured, catalog, group, level)
