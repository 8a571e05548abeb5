"""The agents of a file as far as it describes them: read from its tables as they were parsed, good or bad."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct, field

from tapeloom.config.faults import Path

KINDS: Final = ("backup", "mirror", "restore", "copy")
FEEDS_FROM: Final = {"mirror": ("backup", "mirror"), "copy": ("restore", "copy")}
_WRITING: Final = ("run_blocks", "max_restore_cost", "on_lag", "lag_max", "checkpoint", "pool")
GROUP_SETTINGS: Final = {"backup": (*_WRITING, "level"), "mirror": _WRITING, "restore": (), "copy": _WRITING}


class Wired(Struct, frozen=True):
    """An agent, as far as the file describes it. A buffer whose feeds are no strings has none here."""

    name: str
    kind: str
    group: str
    drive: str | None
    buffers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def at(self) -> Path:
        return (self.kind, self.group, self.name)

    def buffer_at(self, buffer: str) -> Path:
        return (*self.at, "buffers", buffer)


def agents_in(tables: dict[str, Any]) -> Iterator[Wired]:
    """Every agent of the file, also those that have a name twice."""
    for kind in KINDS:
        for group, members in items(tables.get(kind)):
            for name, agent in items(members):
                if isinstance(agent, dict) and not is_setting(kind, name):
                    drive = agent.get("drive")
                    buffers = {key: strings(value) for key, value in items(agent.get("buffers"))}
                    yield Wired(name, kind, group, drive if drive and isinstance(drive, str) else None, buffers)


def is_setting(kind: str, key: str) -> bool:
    """Whether this key of a group is a setting for all its agents, and not an agent."""
    return key in GROUP_SETTINGS[kind]


def items(table: object) -> Iterable[tuple[str, Any]]:
    """Keys and values of what should be a table; nothing of anything else."""
    return table.items() if isinstance(table, dict) else ()


def strings(value: object) -> tuple[str, ...]:
    """What should be a string or an array of strings, as a tuple; nothing of anything else."""
    feeds = [value] if isinstance(value, str) else value
    if isinstance(feeds, list) and all(isinstance(feed, str) and feed for feed in feeds):
        return tuple(feeds)
    return ()
