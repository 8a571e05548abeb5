"""What the passes hand on to one another: the schedule while it is being made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx  # type: ignore[import-untyped]
from msgspec import Struct, field

from tapeloom.graph import Node
from tapeloom.schedule import NONE, Feed

if TYPE_CHECKING:
    from tapeloom.config import Agent, Config


class Stream(Struct):
    """One row of `streams` to be: the buffers that share its slots, from the head of the chain on."""

    head: Node
    feed: Feed
    feeds: tuple[str, ...]
    """Sources that fill it one after another; for a drive, the objects it splits out."""
    digest: tuple[bool, ...]
    buffers: list[Node]
    thread: int = NONE
    quota: int = 0
    cap: int = 0


class Pool(Struct):
    """One row of `streams` to be: the slots that a restore media agent reads into, for all chains that it feeds."""

    agent: Node
    streams: list[Stream]
    quota: int = 0
    cap: int = 0


class Draft(Struct):
    """One job between two passes. Each field names the pass that fills it."""

    config: Config
    graph: nx.DiGraph
    threads: dict[Node, int] = field(default_factory=dict)
    """place, spool: of agents, of digest readers, of spools, and of the first buffers of chains. NONE: not a thread of
    this process."""
    streams: list[Stream] = field(default_factory=list)
    """share"""
    pools: list[Pool] = field(default_factory=list)
    """share, in file order; order brings them into that of the agents."""
    spools: list[Node] = field(default_factory=list)
    """spool: what stands in for agents that lag."""
    slots: int = 0
    """size: all slots but those of spools; those of producers' own segments and those kept for end blocks included."""
    slots_common: int = 0
    """size"""
    memory: list[tuple[str, int, int]] = field(default_factory=list)
    """size: name, count, bytes each."""
    run_blocks: dict[Node, int] = field(default_factory=dict)
    """runs: of agents."""
    start_bytes: dict[Node, int] = field(default_factory=dict)
    """start: of agents that write."""
    agents: list[Node] = field(default_factory=list)
    """order: agents with their upstream agents before them, then digest readers, then spools."""
    cursors: list[Node] = field(default_factory=list)
    """order: what the agents visit, agent by agent."""

    def agent(self, node: Node) -> Agent:
        """The configured agent that a buffer or an agent node belongs to."""
        return self.config.agents[node.agent]
