"""What cannot run is refused, all mistakes at once: the first pass.

That each name is known and each buffer of the right kind, the loader of the file has seen. Here is what only the graph
of a job can tell: what comes together where groups run in one job, and whether data can flow through it to the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import networkx as nx  # type: ignore[import-untyped]

from tapeloom.compile.draft import Draft
from tapeloom.config.faults import quoted
from tapeloom.errors import ConfigError, Problem
from tapeloom.graph import (
    FEEDING_KINDS,
    Node,
    Part,
    agent_node,
    chains,
    coupled_agents,
    coupled_buffers,
    downstream,
    parts,
    upstream,
    where,
)


def check(draft: Draft) -> None:
    """Refuse a job that cannot run.

    Raises
    ------
    ConfigError
        One problem for each mistake, with file and line.
    """
    found = find_problems(draft)
    if found:
        raise ConfigError(found)


def find_problems(draft: Draft) -> list[Problem]:
    """All mistakes of the file and of this job, each once."""
    searches = (
        _unreached,
        _drives_held_twice,
        _mixed_producers,
        _producers_split,
        _written_twice,
        _read_for_nothing,
        _waiting_circles,
    )
    found = dict.fromkeys(problem for search in searches for problem in search(draft))
    return sorted(found, key=lambda problem: problem.line or 0)


def _problem(draft: Draft, what: str, node: Node, *keys: str, hint: str | None = None) -> Problem:
    return draft.config.problem(what, *where(draft.config, node), *keys, hint=hint)


def _circle(graph: nx.DiGraph, members: set[Node]) -> list[Node]:
    """One circle among the members, the first node once more at its end."""
    inside = graph.subgraph(members)
    start = next(node for node in graph if node in members)
    edges = nx.find_cycle(inside, start)
    return [edges[0][0], *(edge[1] for edge in edges)]


def _unreached(draft: Draft) -> Iterator[Problem]:
    coupled = chains(draft.config)
    # A buffer is fed by one other, so whatever stands on a circle, or below one, is reached by no source.
    reached = {node for node in coupled if draft.agent(node).kind in FEEDING_KINDS}
    reached = reached.union(*(nx.descendants(coupled, head) for head in reached))
    for members in nx.strongly_connected_components(coupled.subgraph([n for n in coupled if n not in reached])):
        first = next(iter(members))
        if len(members) > 1 or coupled.has_edge(first, first):
            circle = _circle(coupled, members)
            way = " -> ".join(map(str, circle))
            hint = "couple one of these buffers to a backup or restore media agent"
            yield _problem(draft, f"the chain loops, and no source feeds it: {way}", circle[0], hint=hint)
            reached |= members
    for node in coupled:
        if node not in reached:
            feed = draft.agent(node).buffers[node.name][0]
            yield _problem(draft, f"buffer {quoted(str(node))} is fed by {quoted(feed)}, which no source reaches", node)


def _drives_held_twice(draft: Draft) -> Iterator[Problem]:
    holder: dict[str, Node] = {}
    for node in parts(draft.graph, Part.AGENT):
        agent = draft.agent(node)
        other = draft.agent(holder.setdefault(agent.drive, node))
        if other is not agent:
            what = (
                f"drive {quoted(agent.drive)} is under {quoted(other.name)} and under {quoted(agent.name)} in one job"
            )
            apart = {(agent.kind, agent.group), (other.kind, other.group)} <= draft.graph.graph["starting"]
            hint = "run these groups one after the other" if apart else "each agent of a job needs a drive of its own"
            yield _problem(draft, what, node, "drive", hint=hint)


def _heads(draft: Draft) -> Iterator[tuple[Node, tuple[str, ...]]]:
    for node in parts(draft.graph, Part.BUFFER):
        if upstream(draft.graph, node) is None:
            yield node, draft.agent(node).buffers[node.name]


def _mixed_producers(draft: Draft) -> Iterator[Problem]:
    for node, feeds in _heads(draft):
        if draft.agent(node).kind == "backup":
            produced = [feed for feed in feeds if draft.config.sources[feed].producer]
            if produced and len(produced) < len(feeds):
                other = next(feed for feed in feeds if feed not in produced)
                mixed = f"{quoted(produced[0])}, which a program fills, with {quoted(other)}, which tapeloom reads"
                what = f"buffer {quoted(str(node))} mixes {mixed}"
                yield _problem(draft, what, node, hint="give each a buffer of its own")


def _producers_split(draft: Draft) -> Iterator[Problem]:
    user: dict[str, Node] = {}
    for node, feeds in _heads(draft):
        if draft.agent(node).kind == "backup":
            for feed in dict.fromkeys(feeds):
                other = user.setdefault(feed, node)
                if other != node and draft.config.sources[feed].producer:
                    what = f"a program fills source {quoted(feed)} once, but it feeds both {other} and {node}"
                    yield _problem(draft, what, node, hint=f"chain a mirror's buffer to {quoted(str(other))}")


def _is_drawn(draft: Draft, head: Node) -> bool:
    """Whether its feeds say all that goes through it. What copying wires for itself chooses object by object: two of a
    source may come from two drives, or go to different ones."""
    agent = draft.agent(head)
    return agent.kind != "restore" or head.name in agent.selections


def _written_twice(draft: Draft) -> Iterator[Problem]:
    coupled = coupled_buffers(draft.graph)
    feeds_of = {
        node: feeds if _is_drawn(draft, head) else ()
        for head, feeds in _heads(draft)
        for node in (head, *nx.descendants(coupled, head))
    }
    written: dict[tuple[str, str], Node] = {}
    for node in coupled:
        for feed in feeds_of[node] if draft.agent(node).kind != "restore" else ():
            other = written.setdefault((node.agent, feed), node)
            if other != node:
                what = f"{quoted(node.agent)} would write {quoted(feed)} twice, from {other.name} and from {node.name}"
                yield _problem(draft, what, node, hint="leave one of these buffers away")


def _read_for_nothing(draft: Draft) -> Iterator[Problem]:
    for node in parts(draft.graph, Part.BUFFER):
        if draft.agent(node).kind == "restore" and not downstream(draft.graph, node):
            what = f"buffer {quoted(str(node))} of a restore media agent feeds no copy group"
            yield _problem(draft, what, node, hint=f'chain a buffer of a copy group to "{node}"')


def _waiting_circles(draft: Draft) -> Iterator[Problem]:
    coupled = coupled_agents(draft.graph)
    links: defaultdict[tuple[Node, Node], list[Node]] = defaultdict(list)
    for node in parts(draft.graph, Part.BUFFER):
        for below in downstream(draft.graph, node):
            links[agent_node(node.agent), agent_node(below.agent)].append(below)
    for members in nx.strongly_connected_components(coupled):
        if len(members) > 1:
            circle = _circle(coupled, members)
            way = " -> ".join(map(str, circle))
            what = f"media agents would wait for one another in a circle: {way}"
            hint = "a media agent may not feed one that feeds it, by whatever way"
            yield _problem(draft, what, links[circle[0], circle[1]][0], hint=hint)
