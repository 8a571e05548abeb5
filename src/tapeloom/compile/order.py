"""Rows: which agent and which buffer stands where in the tables.

An agent visits its buffers in the order of their rows, and that is the order of the file: each buffer is visited once a
round, which is fair whatever it is called and whatever feeds it. An agent stands below the agents that feed it, so that
a row's `upstream` is always a smaller number.
"""

from __future__ import annotations

import networkx as nx  # type: ignore[import-untyped]

from tapeloom.compile.draft import Draft
from tapeloom.graph import Part, buffer_node, coupled_agents, parts, spool_node


def order(draft: Draft) -> None:
    """Fill `agents` and `cursors`, and bring `pools` into the order of their agents."""
    position = {name: row for row, name in enumerate(draft.config.agents)}
    coupled = coupled_agents(draft.graph)
    digests = list(parts(draft.graph, Part.DIGEST))
    draft.agents = list(nx.lexicographical_topological_sort(coupled, key=lambda node: position[node.agent]))
    draft.pools.sort(key=lambda pool: draft.agents.index(pool.agent))
    for agent in draft.agents:
        if draft.agent(agent).kind != "restore":
            buffers = (buffer_node(agent.agent, name) for name in draft.agent(agent).buffers)
            draft.cursors += [buffer for buffer in buffers if buffer in draft.graph]
    draft.agents += digests
    draft.cursors += digests
    draft.agents += draft.spools
    for spool in draft.spools:
        mirrored = [node for node in draft.cursors if node.part is Part.BUFFER and node.agent == spool.agent]
        draft.cursors += map(spool_node, mirrored)
