"""Chained buffers on one host use the same slots.

A block that the first buffer of a chain holds is the block that all buffers below it hold (nothing in it depends on the
tape it lands on), so a tree of chained buffers needs its slots once, and each buffer a cursor. A further mirror costs
no copy.

What a restore media agent reads may belong to any of its chains, so the slots it reads into are a pool that all of them
share.
"""

from __future__ import annotations

import networkx as nx  # type: ignore[import-untyped]

from tapeloom.compile.draft import Draft, Pool, Stream
from tapeloom.compile.place import feed_of, heads
from tapeloom.graph import Node, agent_node, coupled_buffers, wants_digest
from tapeloom.schedule import Feed


def share(draft: Draft) -> None:
    """One stream for each tree of chains, in file order of their first buffers, and one pool for each drive that feeds
    some."""
    coupled = coupled_buffers(draft.graph)
    position = {node: row for row, node in enumerate(draft.graph)}
    for head in heads(draft):
        feeds = draft.agent(head).buffers[head.name]
        sources = draft.config.sources
        feed = feed_of(draft, head)
        digest = tuple(feed is not Feed.DRIVE and wants_digest(sources[name]) for name in feeds)
        buffers = sorted(nx.descendants(coupled, head) | {head}, key=position.__getitem__)
        draft.streams.append(Stream(head, feed, feeds, digest, buffers, thread=draft.threads[head]))
    fed: dict[Node, list[Stream]] = {}
    for stream in draft.streams:
        if stream.feed is Feed.DRIVE:
            fed.setdefault(agent_node(stream.head.agent), []).append(stream)
    draft.pools = [Pool(agent, streams) for agent, streams in fed.items()]
