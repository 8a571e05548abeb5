"""Which trees of a job are read already while it is made ready: modules loaded, memory taken, drives opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tapeloom.ops.named import Named, named
from tapeloom.volume.header import Level

if TYPE_CHECKING:
    from tapeloom.catalog import Catalog
    from tapeloom.config import Config
    from tapeloom.config.model import Group


def backup_groups(config: Config, names: Sequence[str] | None) -> list[Group]:
    """The backup groups that a job is asked for by these names, all where None. None of them where one of the names is
    no such group: who compiles the job has the words."""
    there = {name: group for (kind, name), group in config.groups.items() if kind == "backup"}
    if names is None:
        return list(there.values())
    found = [there.get(name.removeprefix("backup.")) for name in dict.fromkeys(names)]
    return [] if None in found else [group for group in found if group is not None]


@contextmanager
def read_ahead(
    config: Config, groups: Sequence[Group], catalog: Catalog, level: Level | None, producers: Collection[str]
) -> Iterator[dict[str, Named]]:
    """The sources of a job that begin at once, by name, where they are trees and can be read by now.

    For the other parameters see `open_backup`.
    """
    with ExitStack() as stack:
        ahead = {}
        for name, group in _first(config, groups):
            configured = config.sources[name]
            if not configured.paths or name in producers:
                continue
            one = named(config, configured, catalog, group, level)
            if isinstance(one, Named):
                stack.callback(one.close)
                one.read_ahead()
                ahead[name] = one
        yield ahead


def _first(config: Config, groups: Sequence[Group]) -> Iterator[tuple[str, Group]]:
    """The first source of each buffer, and its group. Not one that several groups have: it gives an object to each."""
    buffers = [
        (feeds, group) for group in groups for agent in group.agents for feeds in config.agents[agent].buffers.values()
    ]
    times = Counter(name for feeds, _ in buffers for name in feeds)
    yield from ((feeds[0], group) for feeds, group in buffers if times[feeds[0]] == 1)
