"""Whether names, chains and drives fit together.

Works on the file's tables as they were parsed, good or bad: what has not the right shape is passed over here, since
`forms` reports it. So one mistake does not hide another.
"""

from __future__ import annotations

import os.path
import unicodedata
import uuid
from collections.abc import Iterator
from typing import Any

from tapeloom import limits
from tapeloom.config.chains import chain_faults
from tapeloom.config.devices import split_device
from tapeloom.config.faults import Fault, Path, nearest, quoted
from tapeloom.config.libraries import library_faults
from tapeloom.config.wired import FEEDS_FROM, KINDS, Wired, agents_in, is_setting, items


def check(tables: dict[str, Any]) -> list[Fault]:
    """All mistakes in how the tables of a file refer to one another, and in the names they have."""
    agents = list(agents_in(tables))
    by_name: dict[str, Wired] = {}
    for agent in agents:
        by_name.setdefault(agent.name, agent)
    return [
        *_names(tables, agents),
        *_same_devices(tables),
        *library_faults(tables),
        *_empty_groups(tables),
        *_same_agents(agents, by_name),
        *_unknown_drives(agents, tables.get("drives")),
        *_unknown_sources(agents, tables.get("sources"), by_name),
        *_unknown_keys(tables),
        *_unknown_pools(tables),
        *chain_faults(agents, by_name),
    ]


# Names


def _names(tables: dict[str, Any], agents: list[Wired]) -> Iterator[Fault]:
    nouns = (
        ("drives", "drive"),
        ("libraries", "library"),
        ("sources", "source"),
        ("keys", "key"),
        ("pools", "pool"),
        *((kind, "group") for kind in KINDS),
    )
    for section, noun in nouns:
        for name, _ in items(tables.get(section)):
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
        for group, members in items(tables.get(kind)):
            if isinstance(members, dict) and all(is_setting(kind, key) for key in members):
                yield Fault((kind, group), "the group has no agent", f"[{kind}.{group}.AGENT] makes one")


# Drives


def _same_devices(tables: dict[str, Any]) -> Iterator[Fault]:
    first: dict[tuple[str, str], str] = {}
    for name, drive in items(tables.get("drives")):
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
    known = [name for name, _ in items(drives)]
    for agent in agents:
        if agent.drive is not None and known and agent.drive not in known:
            hint = nearest(agent.drive, known, "the drives are")
            yield Fault((*agent.at, "drive"), f"there is no drive {quoted(agent.drive)} in [drives]", hint)


# Sources and keys


def _unknown_sources(agents: list[Wired], sources: object, by_name: dict[str, Wired]) -> Iterator[Fault]:
    known = [name for name, _ in items(sources)]
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


def _unknown_keys(tables: dict[str, Any]) -> Iterator[Fault]:
    known = [name for name, _ in items(tables.get("keys"))]
    for source, table in items(tables.get("sources")):
        key = table.get("encrypt") if isinstance(table, dict) else None
        if isinstance(key, str) and key and key not in known:
            hint = nearest(key, known, "the keys are") or f'[keys] names key files: {key} = "keys/{key}.key"'
            yield Fault(("sources", source, "encrypt"), f"there is no key {quoted(key)} in [keys]", hint)


def _unknown_pools(tables: dict[str, Any]) -> Iterator[Fault]:
    known = [*(name for name, _ in items(tables.get("pools"))), limits.DEFAULT_POOL]
    for kind in ("backup", *FEEDS_FROM):
        for group, members in items(tables.get(kind)):
            tables_of: list[tuple[Path, Any]] = [((kind, group), members)]
            tables_of += [((kind, group, name), agent) for name, agent in items(members) if isinstance(agent, dict)]
            for at, table in tables_of:
                pool = table.get("pool") if isinstance(table, dict) else None
                if isinstance(pool, str) and pool and pool not in known:
                    hint = nearest(pool, known) or f'[pools] names them: {pool} = {{ retention = "30d" }}'
                    yield Fault((*at, "pool"), f"there is no pool {quoted(pool)} in [pools]", hint)
