"""The chains of one job as a directed graph.

Data flow along the edges, from where they come from to where they stand in the end::

    source -> buffer -> buffer -> buffer        a chain
                 |         |         |
               agent     agent     agent        each multiplexes its buffers
                 |         |         |
               drive     drive     drive

    drive -> restore agent -> buffer -> buffer -> copy agent -> drive

and a source that wants a digest adds one reader beside the first buffer of its chain. Every node is a `Node`, and
stands in file order, so that whatever walks over the graph does so in the same order every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx  # type: ignore[import-untyped]

from tapeloom.config.faults import nearest, quoted
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.config import Config, Source

FEEDING_KINDS = ("backup", "restore")
"""Kinds of groups that data enter through. The others are fed by them and run with them."""


class Part(StrEnum):
    SOURCE = "source"
    BUFFER = "buffer"
    AGENT = "agent"
    DRIVE = "drive"
    DIGEST = "digest"
    SPOOL = "spool"
    """Of an agent, or beside one of its buffers. Stands in no graph: no data flow into it as long as all is well."""


class Node(NamedTuple):
    """A node of the graph. `agent` is empty for sources and drives, `name` for agents."""

    part: Part
    agent: str
    name: str

    def __str__(self) -> str:
        return ".".join(word for word in (self.agent, self.name) if word)


def source_node(name: str) -> Node:
    return Node(Part.SOURCE, "", name)


def buffer_node(agent: str, name: str) -> Node:
    return Node(Part.BUFFER, agent, name)


def agent_node(name: str) -> Node:
    return Node(Part.AGENT, name, "")


def drive_node(name: str) -> Node:
    return Node(Part.DRIVE, "", name)


def digest_node(head: Node) -> Node:
    return Node(Part.DIGEST, head.agent, head.name)


def spool_node(visitor: Node) -> Node:
    """What takes the place of an agent, or of one of its buffers, when it lags."""
    return visitor._replace(part=Part.SPOOL)


def feed_node(feed: str) -> Node:
    """The buffer that `AGENT.BUFFER` stands for."""
    agent, _, name = feed.rpartition(".")
    return buffer_node(agent, name)


def where(config: Config, node: Node) -> tuple[str, ...]:
    """Key path of a buffer or an agent in the configuration file."""
    agent = config.agents[node.agent]
    path = (agent.kind, agent.group, agent.name)
    return (*path, "buffers", node.name) if node.part is Part.BUFFER else path


def chains(config: Config) -> nx.DiGraph:
    """All buffers of the file, and nothing else, with an edge from each buffer to those it feeds. May have loops."""
    graph = nx.DiGraph()
    for agent in config.agents.values():
        graph.add_nodes_from(buffer_node(agent.name, name) for name in agent.buffers)
    for agent in config.agents.values():
        if agent.kind not in FEEDING_KINDS:
            for name, feeds in agent.buffers.items():
                graph.add_edges_from((feed_node(feed), buffer_node(agent.name, name)) for feed in feeds)
    return graph


def groups_named(config: Config, groups: Sequence[str] | None = None) -> list[tuple[str, str]]:
    """Keys of the groups that a job starts from, in file order.

    `None` means all backup groups, or all restore groups where the file has no backup group. A group is called by its
    name, or by its kind and name (`restore.vault`) where a backup and a restore group share one.

    Raises
    ------
    UsageError
        A name that is no group which can be started, with the nearest that is one; or nothing to start.
    """
    feeding = [key for key in config.groups if key[0] in FEEDING_KINDS]
    if groups is None:
        chosen = [key for key in feeding if key[0] == "backup"] or feeding
    else:
        named = {f"{kind}.{name}": (kind, name) for kind, name in feeding}
        for key in reversed(feeding):
            named[key[1]] = key
        for group in groups:
            if group not in named:
                raise UsageError(_unknown_group(config, group, named))
            if len({key for key in feeding if key[1] == group}) > 1:
                raise UsageError(
                    f"{config.shown}: a backup and a restore group are both called {quoted(group)}: "
                    f"write backup.{group} or restore.{group}"
                )
        wanted = {named[group] for group in groups}
        chosen = [key for key in feeding if key in wanted]
    if not chosen:
        raise UsageError(f"{config.shown}: there is no backup or restore group to start")
    return chosen


def _unknown_group(config: Config, group: str, named: Iterable[str]) -> str:
    fed = next((f"{kind}.{name}" for kind, name in config.groups if group in (name, f"{kind}.{name}")), None)
    if fed is not None:
        return f"{config.shown}: {fed} is fed by other groups and runs with them: name the group that feeds it"
    hint = nearest(group, [name for name in named if "." not in name], "there are") or "the file has none"
    return f"{config.shown}: there is no backup or restore group {quoted(group)}: {hint}"


def build(config: Config, groups: Sequence[str] | None = None) -> nx.DiGraph:
    """The graph of the job that runs the named groups: what they feed, to any depth, and nothing else.

    Of an agent that is also fed by groups which do not run, only the buffers that are fed here take part. Nodes stand
    in file order. `graph.graph` holds the keys of all groups that take part under "groups", and of those named under
    "starting".

    Raises
    ------
    UsageError
        See `groups_named`.
    """
    starting = groups_named(config, groups)
    coupled = chains(config)
    heads = [
        buffer_node(agent, name)
        for key in starting
        for agent in config.groups[key].agents
        for name in config.agents[agent].buffers
    ]
    # Each buffer is fed by one other, so what stands below two heads has nothing in common: linear in all.
    fed = set(heads).union(*(nx.descendants(coupled, head) for head in heads))
    buffers = [node for node in coupled if node in fed]
    graph = nx.DiGraph()
    graph.add_nodes_from(buffers)
    for node in buffers:
        _couple(graph, config, node)
    taking_part = {(a.kind, a.group) for a in (config.agents[node.agent] for node in buffers)}
    graph.graph["starting"] = set(starting)
    graph.graph["groups"] = [key for key in config.groups if key in taking_part]
    return graph


def _couple(graph: nx.DiGraph, config: Config, node: Node) -> None:
    """Join one buffer to its agent, that agent's drive, and what feeds it."""
    agent = config.agents[node.agent]
    owner, drive = agent_node(agent.name), drive_node(agent.drive)
    feeds = agent.buffers[node.name]
    if agent.kind == "restore":
        graph.add_edges_from([(drive, owner), (owner, node)])
        return
    graph.add_edges_from([(node, owner), (owner, drive)])
    if agent.kind != "backup":
        graph.add_edges_from((feed_node(feed), node) for feed in feeds)
        return
    graph.add_edges_from((source_node(feed), node) for feed in feeds)
    if any(wants_digest(config.sources[feed]) for feed in feeds):
        graph.add_edge(node, digest_node(node))


def wants_digest(source: Source) -> bool:
    """Whether a digest reads a source's blocks. The digest of one whose blocks are compressed or sealed is made at the
    source, before they are."""
    return source.digest != "none" and source.compress is None and source.encrypt is None


def upstream(graph: nx.DiGraph, node: Node) -> Node | None:
    """The buffer that a buffer is chained to; None for the first of a chain."""
    return next((other for other in graph.predecessors(node) if other.part is Part.BUFFER), None)


def downstream(graph: nx.DiGraph, node: Node) -> list[Node]:
    """The buffers that a buffer feeds, in file order."""
    return [other for other in graph.successors(node) if other.part is Part.BUFFER]


def coupled_agents(graph: nx.DiGraph) -> nx.DiGraph:
    """The agents of the job, with an edge from each to those that one of its buffers feeds."""
    coupled = nx.DiGraph()
    coupled.add_nodes_from(parts(graph, Part.AGENT))
    for node in parts(graph, Part.BUFFER):
        coupled.add_edges_from((agent_node(node.agent), agent_node(other.agent)) for other in downstream(graph, node))
    return coupled


def coupled_buffers(graph: nx.DiGraph) -> nx.DiGraph:
    """The buffers of the job, with an edge from each to those that it feeds."""
    coupled = nx.DiGraph()
    coupled.add_nodes_from(parts(graph, Part.BUFFER))
    for node in parts(graph, Part.BUFFER):
        coupled.add_edges_from((node, other) for other in downstream(graph, node))
    return coupled


def parts(graph: nx.DiGraph, part: Part) -> Iterator[Node]:
    """All nodes of one part, in file order."""
    return (node for node in graph if node.part is part)
