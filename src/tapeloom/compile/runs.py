"""How long the runs of an agent are: as the file says, or so long that restoring one object costs no more than it says.

A run can be as long as a buffer has slots that nobody else can take: it is there when its turn comes, while the common
slots hold what comes meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tapeloom.compile.cost import restore_cost, run_blocks_for
from tapeloom.compile.draft import Draft, Stream
from tapeloom.compile.size import slot_bytes
from tapeloom.config.units import show_bytes
from tapeloom.errors import ConfigError, Problem
from tapeloom.graph import Node, Part, agent_node, parts
from tapeloom.limits import MIB, PRODUCER_END_SLOTS, RUN_BLOCKS_MAX, SPOOL_SLOTS
from tapeloom.schedule import Feed


def runs(draft: Draft) -> None:
    """Fill `run_blocks`.

    Raises
    ------
    ConfigError
        An agent's `max_restore_cost` cannot be kept.
    """
    problems = find_costly(draft)
    if problems:
        raise ConfigError(problems)
    for node in parts(draft.graph, Part.AGENT):
        cheap = _cheap(draft, node)
        draft.run_blocks[node] = draft.agent(node).run_blocks if cheap is None else cheap


def find_costly(draft: Draft) -> list[Problem]:
    """A problem for each agent whose `max_restore_cost` asks for runs that `memory` does not hold, or that no runs can
    keep. Slots have been shared out."""
    problems = []
    for node in parts(draft.graph, Part.AGENT):
        if draft.agent(node).max_restore_cost is not None:
            cheap = _cheap(draft, node)
            if cheap is None or cheap > _run_blocks_max(draft, node):
                problems.append(_problem(draft, node, cheap))
    return problems


def _cheap(draft: Draft, node: Node) -> int | None:
    """The runs that an agent's `max_restore_cost` asks for. None: it has none, or no runs can keep it."""
    agent = draft.agent(node)
    if agent.max_restore_cost is None:
        return None
    timing = draft.config.drives[agent.drive].timing
    streams = sum(1 for _ in _streams(draft, node))
    return run_blocks_for(timing, streams, draft.config.server.block, agent.max_restore_cost, RUN_BLOCKS_MAX)


def _streams(draft: Draft, node: Node) -> Iterator[Stream]:
    return (stream for stream in draft.streams if any(agent_node(buffer.agent) == node for buffer in stream.buffers))


def _run_blocks_max(draft: Draft, node: Node) -> int:
    own = {id(stream): pool.quota // len(pool.streams) for pool in draft.pools for stream in pool.streams}
    return min(own.get(id(stream), stream.quota) for stream in _streams(draft, node))


def _problem(draft: Draft, node: Node, run_blocks: int | None) -> Problem:
    agent, config = draft.agent(node), draft.config
    here = (agent.kind, agent.group, agent.name, "max_restore_cost")
    keys = here if here in config.lines else (agent.kind, agent.group, "max_restore_cost")
    streams, most = sum(1 for _ in _streams(draft, node)), _run_blocks_max(draft, node)
    longest = 1 << most.bit_length() - 1  # of those that would be chosen
    possible = restore_cost(config.drives[agent.drive].timing, streams, longest, config.server.block).seconds
    wanted = f"{agent.name}: max_restore_cost {agent.max_restore_cost:g} with {streams} streams on drive {agent.drive}"
    reachable = f"max_restore_cost = {_rounded_up(possible):g}"
    if run_blocks is None:
        return config.problem(
            f"{wanted} cannot be kept with runs of up to {RUN_BLOCKS_MAX:,} blocks", *keys, hint=f"set {reachable}"
        )
    return config.problem(
        f"{wanted} needs runs of {run_blocks:,} blocks, and memory of {show_bytes(config.server.memory)} gives a "
        f"stream {most:,} slots of its own",
        *keys,
        hint=f'set memory = "{_memory(draft, run_blocks)}", or {reachable}',
    )


def _rounded_up(cost: float) -> float:
    """With one decimal: what is said to be possible is."""
    return math.ceil(cost * 10 - 1e-6) / 10


def _memory(draft: Draft, run_blocks: int) -> str:
    """What gives each stream so many slots of its own, which are half of an even share."""
    producers = sum(stream.feed is Feed.PRODUCER for stream in draft.streams)
    slots = 2 * run_blocks * len(draft.streams) + producers * PRODUCER_END_SLOTS + len(draft.spools) * SPOOL_SLOTS
    return show_bytes(-(-slots * slot_bytes(draft) // MIB) * MIB)
