"""Whether names, chains and drives fit together.

Works on the file's tables as they were parsed, good or bad: what has not the right shape is passed over here, since
`forms` reports it. So one mistake does not hide another.
"""

from __future__ import annotations

import os.path
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tapeloom import limits
from tapeloom.config.devices import split_device
from tapeloom.config.faults import Fault, Path, listed, nearest, quoted

KINDS: Final = ("backup", "mirror", "restore", "copy")
FEEDS_FROM: Final = {"mirror": ("backup", "mirror"), "copy": ("restore", "copy")}
GROUP_SETTINGS: Final = ("run_blocks", "on_lag", "lag_max", "checkpoint")

Buffer = tuple[str, str]
"""Agent and buffer."""


@dataclass(frozen=True, slots=True)
class Wired:
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


def check(tables: dict[str, Any]) -> list[Fault]:
    """All mistakes in how the tables of a file refer to one another, and in the names they have.

    A buffer is fed twice where it names two upstream buffers, where one source feeds two buffers of a backup group, and
    where one stream reaches an agent by two of its buffers. Two backup groups are two jobs: they may share drives,
    sources and mirrors.
    """
    agents = list(_agents(tables))
    by_name: dict[str, Wired] = {}
    for agent in agents:
        by_name.setdefault(agent.name, agent)
    distinct = list(by_name.values())
    wiring = _Wiring(by_name)
    return [
        *_names(tables, agents),
        *_same_devices(tables),
        *_empty_groups(tables),
        *_same_agents(agents, by_name),
        *_unknown_drives(agents, tables.get("drives")),
        *_unknown_sources(agents, tables.get("sources"), by_name),
        *_unknown_buffers(agents, by_name),
        *wiring.loops(),
        *_sources_fed_twice(agents),
        *_streams_fed_twice(distinct, wiring),
        *_drives_held_twice(distinct, wiring),
    ]


def _agents(tables: dict[str, Any]) -> Iterator[Wired]:
    for kind in KINDS:
        for group, members in _items(tables.get(kind)):
            for name, agent in _items(members):
                if isinstance(agent, dict) and not _is_setting(kind, name):
                    drive = agent.get("drive")
                    buffers = {key: _strings(value) for key, value in _items(agent.get("buffers"))}
                    yield Wired(name, kind, group, drive if drive and isinstance(drive, str) else None, buffers)


def _is_setting(kind: str, key: str) -> bool:
    return kind != "restore" and key in GROUP_SETTINGS


def _items(table: object) -> Iterable[tuple[str, Any]]:
    return table.items() if isinstance(table, dict) else ()


def _strings(value: object) -> tuple[str, ...]:
    feeds = [value] if isinstance(value, str) else value
    if isinstance(feeds, list) and all(isinstance(feed, str) and feed for feed in feeds):
        return tuple(feeds)
    return ()


# Names


def _names(tables: dict[str, Any], agents: list[Wired]) -> Iterator[Fault]:
    for section, noun in (("drives", "drive"), ("sources", "source"), *((kind, "group") for kind in KINDS)):
        for name, _ in _items(tables.get(section)):
            if bad := _bad_name(name, dots=noun == "source"):
                yield Fault((section, name), f"{quoted(name)} is not a name for a {noun}: {bad}")
            elif noun == "source" and _is_object_id(name):
                yield Fault(
                    (section, name),
                    f"{quoted(name)} is not a name for a source: it could be mistaken for an object's id",
                )
    for agent in agents:
        if bad := _bad_name(agent.name):
            yield Fault(agent.at, f"{quoted(agent.name)} is not a name for an agent: {bad}")
        for buffer in agent.buffers:
            if bad := _bad_name(buffer):
                yield Fault(agent.buffer_at(buffer), f"{quoted(buffer)} is not a name for a buffer: {bad}")


def _bad_name(name: str, dots: bool = False) -> str | None:
    if not name or name.isspace():
        return "it is empty"
    if name != name.strip():
        return "it begins or ends with white space"
    if len(name.encode()) > limits.SOURCE_NAME_BYTES_MAX:
        return f"it is longer than {limits.SOURCE_NAME_BYTES_MAX} bytes"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name):
        return "it has a control character"
    if "/" in name:
        return "it has a slash"
    if dots and name in (".", ".."):
        return "it would be a folder"
    if not dots and "." in name:
        return 'it has a dot, which parts the names in "AGENT.BUFFER"'
    return None


def _is_object_id(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name.lower()
    except ValueError:
        return False


def _same_agents(agents: list[Wired], by_name: dict[str, Wired]) -> Iterator[Fault]:
    for agent in agents:
        first = by_name[agent.name]
        if first is not agent:
            yield Fault(
                agent.at,
                f"there is an agent {quoted(agent.name)} already, in {first.kind}.{first.group}",
                "the names of agents are unique over the whole file",
            )


def _empty_groups(tables: dict[str, Any]) -> Iterator[Fault]:
    for kind in KINDS:
        for group, members in _items(tables.get(kind)):
            if isinstance(members, dict) and all(_is_setting(kind, key) for key in members):
                yield Fault((kind, group), "the group has no agent", f"[{kind}.{group}.AGENT] makes one")


# Drives


def _same_devices(tables: dict[str, Any]) -> Iterator[Fault]:
    first: dict[tuple[str, str], str] = {}
    for name, drive in _items(tables.get("drives")):
        device = drive.get("device") if isinstance(drive, dict) else drive
        if not isinstance(device, str):
            continue
        kind, place, _ = split_device(device)
        if kind not in ("", "vtape") or not place:
            continue
        other = first.setdefault((kind, os.path.normpath(place)), name)
        if other != name:
            at: Path = ("drives", name, "device") if isinstance(drive, dict) else ("drives", name)
            yield Fault(at, f"{quoted(device)} is the device of drive {quoted(other)} already")


def _unknown_drives(agents: list[Wired], drives: object) -> Iterator[Fault]:
    known = [name for name, _ in _items(drives)]
    for agent in agents:
        if agent.drive is not None and known and agent.drive not in known:
            hint = nearest(agent.drive, known, "the drives are")
            yield Fault((*agent.at, "drive"), f"there is no drive {quoted(agent.drive)} in [drives]", hint)


def _drives_held_twice(agents: list[Wired], wiring: _Wiring) -> Iterator[Fault]:
    """A job is what one backup or restore group feeds, directly and through chains; in it a drive has one agent."""
    jobs = {agent.name: wiring.jobs(agent) for agent in agents}
    reported = set()
    for kind, group in dict.fromkeys((agent.kind, agent.group) for agent in agents if agent.kind not in FEEDS_FROM):
        holders: dict[str, Wired] = {}
        for agent in agents:
            if agent.drive is None or (kind, group) not in jobs[agent.name]:
                continue
            holder = holders.setdefault(agent.drive, agent)
            if holder is not agent and (holder.name, agent.name) not in reported:
                reported.add((holder.name, agent.name))
                yield Fault(
                    (*agent.at, "drive"),
                    f"drive {quoted(agent.drive)} is under {quoted(holder.name)} already,"
                    f" and both agents run in one job, that of {kind}.{group}",
                    "each agent of a job needs a drive of its own",
                )


# Chains


class _Wiring:
    """Who is fed by whom."""

    def __init__(self, agents: dict[str, Wired]):
        self._agents = agents

    def upstream(self, buffer: Buffer) -> Buffer | None:
        """The buffer that feeds this one; None at the head of a chain, and where the reference leads nowhere."""
        agent = self._agents[buffer[0]]
        if agent.kind not in FEEDS_FROM:
            return None
        feeds = agent.buffers[buffer[1]]
        if len(feeds) != 1:
            return None
        name, _, above = feeds[0].partition(".")
        other = self._agents.get(name)
        if other is None or above not in other.buffers:
            return None
        return (name, above) if other.kind in FEEDS_FROM[agent.kind] else None

    def chain(self, buffer: Buffer) -> list[Buffer]:
        """The buffer, the one that feeds it, and so on to the head, or until one comes again."""
        chain = [buffer]
        seen = {buffer}
        while (above := self.upstream(chain[-1])) is not None:
            chain.append(above)
            if above in seen:
                break
            seen.add(above)
        return chain

    def head(self, buffer: Buffer) -> Buffer | None:
        """The backup or restore buffer whose stream this one gets, if the chain leads to one."""
        head = self.chain(buffer)[-1]
        return head if self._agents[head[0]].kind not in FEEDS_FROM else None

    def jobs(self, agent: Wired) -> set[tuple[str, str]]:
        """The backup and restore groups in whose jobs this agent takes part."""
        if agent.kind not in FEEDS_FROM:
            return {(agent.kind, agent.group)}
        heads = [self.head((agent.name, buffer)) for buffer in agent.buffers]
        fed_by = [self._agents[head[0]] for head in heads if head is not None]
        return {(upstream.kind, upstream.group) for upstream in fed_by}

    def loops(self) -> Iterator[Fault]:
        """Each loop once, at one buffer of it."""
        done: set[Buffer] = set()
        for agent in self._agents.values():
            for name in agent.buffers:
                chain = self.chain((agent.name, name))
                if chain[0] == chain[-1] and len(chain) > 1 and chain[0] not in done:
                    done.update(chain)
                    loop = " <- ".join(_dotted(buffer) for buffer in chain)
                    yield Fault(agent.buffer_at(name), f"the chain is a loop, no source feeds it: {loop}")


def _dotted(buffer: Buffer) -> str:
    return ".".join(buffer)


def _unknown_buffers(agents: list[Wired], by_name: dict[str, Wired]) -> Iterator[Fault]:
    for agent in agents:
        for buffer, feeds in agent.buffers.items() if agent.kind in FEEDS_FROM else ():
            if len(feeds) > 1:
                what = f"fed by {len(feeds)} buffers, {listed(feeds)}"
                yield Fault(agent.buffer_at(buffer), what, "one buffer feeds it; make a buffer for each")
            for feed in feeds:
                if found := _bad_reference(feed, agent, by_name):
                    what, hint = found
                    yield Fault(agent.buffer_at(buffer), what, hint)


def _bad_reference(feed: str, agent: Wired, by_name: dict[str, Wired]) -> tuple[str, str | None] | None:
    kinds = FEEDS_FROM[agent.kind]
    upstream = {other.name: other for other in by_name.values() if other.kind in kinds}
    others = [other for other in upstream.values() if other is not agent]
    name, dot, buffer = feed.partition(".")
    if not (name and dot and buffer) or "." in buffer:
        # most likely what is meant is that agent, or the buffer that takes the source of this name
        named = [(name, key) for key in upstream[name].buffers] if feed in upstream else []
        takers = [(other.name, key) for other in others for key, of in other.buffers.items() if feed in of]
        meant = listed([_dotted(buffer) for buffer in (named or takers)[:3]], "or")
        hint = f"did you mean {meant}?" if meant else _nearest_buffer(feed, others)
        return f"{quoted(feed)} is not of the form AGENT.BUFFER", hint
    if name not in by_name:
        return f"there is no agent {quoted(name)}", _nearest_buffer(feed, others)
    if name not in upstream:
        kind = by_name[name].kind
        what = f"{quoted(name)} is in a {kind} group, and a {agent.kind} is fed by {' and '.join(kinds)} groups"
        return what, _nearest_buffer(feed, others)
    if buffer not in upstream[name].buffers:
        known = upstream[name].buffers
        return f"agent {quoted(name)} has no buffer {quoted(buffer)}", nearest(buffer, known, "its buffers are")
    return None


def _nearest_buffer(feed: str, agents: Iterable[Wired]) -> str | None:
    return nearest(feed, [_dotted((agent.name, buffer)) for agent in agents for buffer in agent.buffers])


def _unknown_sources(agents: list[Wired], sources: object, by_name: dict[str, Wired]) -> Iterator[Fault]:
    known = [name for name, _ in _items(sources)]
    for agent in agents:
        for buffer, feeds in agent.buffers.items() if agent.kind == "backup" else ():
            for feed in feeds:
                if feed in known:
                    continue
                name, _, key = feed.partition(".")
                if name in by_name and key in by_name[name].buffers:
                    what = f"{quoted(feed)} is a buffer, and the buffers of a backup group take sources"
                    hint: str | None = (
                        f"an agent that another one feeds goes into a group of its own: [mirror.1.{agent.name}]"
                    )
                else:
                    what = f"there is no source {quoted(feed)} in [sources]"
                    hint = nearest(feed, known, "the sources are")
                yield Fault(agent.buffer_at(buffer), what, hint)


# What would come twice


def _sources_fed_twice(agents: list[Wired]) -> Iterator[Fault]:
    """In a backup group a source feeds one buffer, once: it gives one object a job. So do a restore agent's objects."""
    first: dict[tuple[str, ...], Buffer] = {}
    for agent in agents:
        if agent.kind in FEEDS_FROM:
            continue
        scope = (agent.kind, agent.group) if agent.kind == "backup" else (agent.kind, agent.group, agent.name)
        noun = "source" if agent.kind == "backup" else "object"
        for buffer, feeds in agent.buffers.items():
            for feed in feeds:
                other = first.get((*scope, feed))
                if other is None:
                    first[*scope, feed] = (agent.name, buffer)
                    continue
                what = f"{noun} {quoted(feed)} is fed twice: {_dotted(other)} takes it already"
                hint = (
                    f'a second copy comes from a mirror fed by "{_dotted(other)}"' if agent.kind == "backup" else None
                )
                yield Fault(agent.buffer_at(buffer), what, hint)


def _streams_fed_twice(agents: list[Wired], wiring: _Wiring) -> Iterator[Fault]:
    """Two buffers of one agent on the same stream, by whatever ways, would write each object twice on one drive."""
    for agent in agents:
        if agent.kind not in FEEDS_FROM:
            continue
        first: dict[Buffer, str] = {}
        for buffer in agent.buffers:
            head = wiring.head((agent.name, buffer))
            if head is None:
                continue
            other = first.setdefault(head, buffer)
            if other != buffer:
                chain = " <- ".join(_dotted(link) for link in wiring.chain((agent.name, buffer)))
                fed = f"agent {quoted(agent.name)} is fed by {_dotted(head)} twice"
                what = f"{fed}: its buffer {quoted(other)} takes it already"
                yield Fault(agent.buffer_at(buffer), what, f"here it comes by {chain}")
