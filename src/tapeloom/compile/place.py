"""Who runs where: one host and one process today, and a thread for everything that can wait by itself.

A stream has a thread that reads for it, unless a program fills it or a restore media agent does; an agent has a thread,
since a call of its drive blocks; a digest has a thread, since it would hold up a drive.
"""

from __future__ import annotations

from itertools import count

from tapeloom.compile.draft import Draft
from tapeloom.graph import Node, Part, agent_node, parts, upstream
from tapeloom.schedule import NONE, Feed


def feed_of(draft: Draft, head: Node) -> Feed:
    """Who fills the slots of a chain that begins with this buffer."""
    agent = draft.agent(head)
    if agent.kind == "restore":
        return Feed.DRIVE
    if any(draft.config.sources[feed].producer for feed in agent.buffers[head.name]):
        return Feed.PRODUCER
    return Feed.READER


def heads(draft: Draft) -> list[Node]:
    """First buffers of the job's chains, in file order."""
    return [node for node in parts(draft.graph, Part.BUFFER) if upstream(draft.graph, node) is None]


def place(draft: Draft) -> None:
    """Number the threads: readers, agents, digests, each in file order."""
    number = count()
    feeds = {head: feed_of(draft, head) for head in heads(draft)}
    draft.threads.update((head, next(number)) for head, feed in feeds.items() if feed is Feed.READER)
    draft.threads.update((agent, next(number)) for agent in parts(draft.graph, Part.AGENT))
    draft.threads.update((digest, next(number)) for digest in parts(draft.graph, Part.DIGEST))
    for head, feed in feeds.items():
        if feed is Feed.PRODUCER:
            draft.threads[head] = NONE
        elif feed is Feed.DRIVE:
            draft.threads[head] = draft.threads[agent_node(head.agent)]
