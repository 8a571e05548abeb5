"""The draft as numpy arrays: the last pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np

from tapeloom import schedule as tables
from tapeloom.compile.draft import Draft
from tapeloom.compile.size import slot_bytes
from tapeloom.compile.spool import segment_bytes
from tapeloom.graph import Node, Part, agent_node, buffer_node, spool_node, upstream
from tapeloom.limits import HEADER_BYTES, HEADER_PAGE_BYTES, SPOOL_LAG_SECONDS_MIN
from tapeloom.schedule import NONE, Feed, Kind, OnLag, Schedule


def freeze(draft: Draft) -> Schedule:
    """The schedule: same draft, same bytes."""
    config = draft.config
    groups = draft.graph.graph["groups"]
    owners = [draft.agent(node) for node in draft.agents if node.part is Part.AGENT]
    used = {agent.drive for agent in owners}
    drives = [drive for name, drive in config.drives.items() if name in used]
    rates = [math.nan if drive.stated_rate is None else drive.stated_rate for drive in drives]
    return Schedule(
        size=np.array([config.server.block, slot_bytes(draft), draft.slots, draft.slots_common], "<u8"),
        streams=_streams(draft),
        sources=_table(
            tables.SOURCE,
            (
                (row, place, wanted)
                for row, stream in enumerate(draft.streams)
                for place, wanted in enumerate(stream.digest)
            ),
        ),
        cursors=_cursors(draft),
        agents=_agents(draft, {drive.name: row for row, drive in enumerate(drives)}),
        source_names=_names(name for stream in draft.streams for name in stream.feeds),
        buffer_names=_names("digest" if node.part is Part.DIGEST else node.name for node in draft.cursors),
        agent_names=_names(map(_agent_name, draft.agents)),
        drive_names=_names(drive.name for drive in drives),
        group_names=_names(name for _, name in groups),
        group_kinds=np.array([Kind[kind.upper()] for kind, _ in groups], "u1"),
        drive_rates=np.array(rates, "<f8"),
        memory=_table(tables.MEMORY, ((count, each) for _, count, each in draft.memory)),
        memory_names=_names(name for name, _, _ in draft.memory),
    )


def _table(dtype: np.dtype, rows: Iterable[tuple[object, ...]]) -> np.ndarray:
    return np.array(list(rows), dtype)


def _names(names: Iterable[str]) -> np.ndarray:
    # Little-endian code points: the same bytes on every machine. An empty array has to have a width, too.
    listed = list(names)
    return np.array(listed, f"<U{max(map(len, listed), default=1)}")


def _streams(draft: Draft) -> np.ndarray:
    agent_row = {node: row for row, node in enumerate(draft.agents)}
    rows = []
    first_source = 0
    for stream in draft.streams:
        header = HEADER_PAGE_BYTES if stream.feed is Feed.PRODUCER else HEADER_BYTES
        feeder = agent_row[agent_node(stream.head.agent)] if stream.feed is Feed.DRIVE else NONE
        rows.append(
            (stream.feed, header, stream.quota, stream.cap, first_source, len(stream.feeds), feeder, stream.thread)
        )
        first_source += len(stream.feeds)
    rows += [
        (Feed.POOL, HEADER_BYTES, pool.quota, pool.cap, first_source, 0, agent_row[pool.agent], NONE)
        for pool in draft.pools
    ]
    return _table(tables.STREAM, rows)


def _agent_name(node: Node) -> str:
    return node.agent if node.part is Part.AGENT else f"{node.part} of {node}"


def _owner(visited: Node) -> Node:
    if visited.part is Part.DIGEST:
        return visited
    owner = agent_node(visited.agent)
    return spool_node(owner) if visited.part is Part.SPOOL else owner


def _above(draft: Draft, visited: Node) -> Node | None:
    """The buffer whose blocks these are: the one it is chained to, or for a spool the one it stands in for."""
    if visited.part is Part.SPOOL:
        return buffer_node(visited.agent, visited.name)
    return upstream(draft.graph, visited) if visited.part is Part.BUFFER else None


def _cursors(draft: Draft) -> np.ndarray:
    stream_row = {node: row for row, stream in enumerate(draft.streams) for node in stream.buffers}
    agent_row = {node: row for row, node in enumerate(draft.agents)}
    cursor_row: dict[Node, int] = {}
    depth: dict[Node, int] = {}
    rows = []
    for row, node in enumerate(draft.cursors):
        head = node._replace(part=Part.BUFFER)
        above = _above(draft, node)
        # The buffers of a restore media agent are filled, not visited: what they feed is the first of its chain.
        chained = above if above in cursor_row else None
        cursor_row[node] = row
        depth[node] = 0 if chained is None else depth[chained] + 1
        upstream_row = NONE if chained is None else cursor_row[chained]
        rows.append((stream_row[head], agent_row[_owner(node)], upstream_row, depth[node]))
    return _table(tables.CURSOR, rows)


def _spool_lag(draft: Draft, node: Node) -> float:
    return max(draft.agent(node).lag_seconds, SPOOL_LAG_SECONDS_MIN)


def _agents(draft: Draft, drive_row: dict[str, int]) -> np.ndarray:
    group_row = {key: row for row, key in enumerate(draft.graph.graph["groups"])}
    visits = Counter(_owner(node) for node in draft.cursors)
    rows = []
    first_cursor = 0
    for node in draft.agents:
        cursors = visits[node]
        thread = draft.threads[node]
        if node.part is Part.DIGEST:
            rows.append((Kind.DIGEST, OnLag.WAIT, NONE, NONE, first_cursor, cursors, 1, thread, 0, 0.0, 0, 0.0, 0))
        elif node.part is Part.SPOOL:
            run, segment, late = draft.run_blocks[agent_node(node.agent)], segment_bytes(draft), _spool_lag(draft, node)
            rows.append(
                (Kind.SPOOL, OnLag.DETACH, NONE, NONE, first_cursor, cursors, run, thread, 0, late, segment, 0.0, 0)
            )
        else:
            agent = draft.agent(node)
            rows.append(
                (
                    Kind[agent.kind.upper()],
                    OnLag[agent.on_lag.upper()],
                    group_row[agent.kind, agent.group],
                    drive_row[agent.drive],
                    first_cursor,
                    cursors,
                    draft.run_blocks[node],
                    thread,
                    agent.lag_bytes,
                    agent.lag_seconds,
                    agent.checkpoint_bytes,
                    agent.checkpoint_seconds,
                    draft.start_bytes.get(node, 0),
                )
            )
        first_cursor += cursors
    return _table(tables.AGENT, rows)
