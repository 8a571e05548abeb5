"""How many slots there are, and who may hold how many of them.

`memory` divided by the slot gives the slots; every stream gets an even share of them, one half as its quota, which no
other stream can take, and the other half given to a common stock, of which one stream may take up to half. So a fast
stream can be deep while others are idle, and a slow mirror can never take the slots that another chain needs to move. A
producer's slots stand in shared memory of its own, so its whole share is its quota; the end block of its object is
written by this process even if it dies, and needs slots that it cannot touch. The quotas of the chains that one restore
media agent feeds are together that of its pool. Between a spool and the drive that goes on from it stand slots that
nobody else takes.
"""

from __future__ import annotations

import networkx as nx  # type: ignore[import-untyped]

from tapeloom.compile.draft import Draft, Pool, Stream
from tapeloom.compile.place import feed_of, heads
from tapeloom.compile.spool import spooling
from tapeloom.config.units import show_bytes
from tapeloom.errors import ConfigError, Problem
from tapeloom.graph import Node, Part, agent_node, buffer_node, coupled_buffers, parts, spool_node
from tapeloom.limits import PAGE_BYTES, PRODUCER_END_SLOTS, SLOTS_PER_BUFFER_MIN, SPOOL_SLOTS
from tapeloom.schedule import Feed

# ----- What the kernel's tables take, from csrc/arena.h; a test compares the sum with what the kernel asks for. -------
JOB_CONTROL_BYTES = PAGE_BYTES  # the head of the arena, and what is lost in rounding tables to lines and pages
SLOT_CONTROL_BYTES = 64
STREAM_CONTROL_BYTES = 192
RING_ENTRY_BYTES = 4
CURSOR_CONTROL_BYTES = 68
AGENT_CONTROL_BYTES = 256
PRODUCER_CONTROL_BYTES = PAGE_BYTES
# An arena of its own: its slots, two streams, one cursor, one agent.
SPOOL_CONTROL_BYTES = (
    JOB_CONTROL_BYTES
    + SPOOL_SLOTS * (SLOT_CONTROL_BYTES + 2 * RING_ENTRY_BYTES)
    + 2 * STREAM_CONTROL_BYTES
    + CURSOR_CONTROL_BYTES
    + AGENT_CONTROL_BYTES
)
# ----------------------------------------------------------------------------------------------------------------------


def slot_bytes(draft: Draft) -> int:
    """A slot holds one tape block and begins and ends with a page."""
    return -(-draft.config.server.block // PAGE_BYTES) * PAGE_BYTES


def slots_min(draft: Draft) -> int:
    """The fewest slots with which the job's chains can run."""
    feeds = [feed_of(draft, head) for head in heads(draft)]
    least = {Feed.READER: SLOTS_PER_BUFFER_MIN, Feed.PRODUCER: SLOTS_PER_BUFFER_MIN + PRODUCER_END_SLOTS}
    readers = [agent for agent in parts(draft.graph, Part.AGENT) if draft.agent(agent).kind == "restore"]
    return sum(least.get(feed, 0) for feed in feeds) + sum(pool_min(draft, reader) for reader in readers)


def pool_min(draft: Draft, reader: Node) -> int:
    """The fewest slots that the pool of a restore media agent can do with.

    Two for each chain, as anywhere, and one more than agents that it feeds: whatever these have under calls of their
    drives, and a hung drive keeps, there is a slot to read on into, since a call has but one block if the pool is that
    small (csrc/interleave.c). All else in the pool waits for an agent that waits for nothing but its own drive: so no
    agents wait for one another in a circle, however the objects lie on the tape.
    """
    chains = [buffer_node(reader.agent, name) for name in draft.agent(reader).buffers]
    coupled = coupled_buffers(draft.graph)
    fed = {agent_node(node.agent) for chain in chains for node in nx.descendants(coupled, chain)}
    writers = len(fed) + len(fed.intersection(spooling(draft)))
    return max(len(chains) * SLOTS_PER_BUFFER_MIN, writers + 1)


def find_shortage(draft: Draft) -> Problem | None:
    """The problem if `memory` cannot hold the schedule."""
    config = draft.config
    chains, spools = sum(1 for _ in heads(draft)), len(spooling(draft))
    slot, need = slot_bytes(draft), slots_min(draft) + spools * SPOOL_SLOTS
    have = config.server.memory // slot
    if have >= need:
        return None
    counted = _counted(chains, "chain") + (f" and {_counted(spools, 'spool')}" if spools else "")
    return config.problem(
        f"memory of {show_bytes(config.server.memory)} has {have} slots of {show_bytes(slot)}, but {counted} of "
        f"{_groups_text(draft)} need at least {need}",
        "server",
        "memory",
        hint=f'set memory = "{show_bytes(need * slot)}" or more, make block smaller, or run fewer chains in one job',
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count > 1 else "")


def _groups_text(draft: Draft) -> str:
    names = [f"{kind}.{name}" for kind, name in draft.graph.graph["groups"] if kind in ("backup", "restore")]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def size(draft: Draft) -> None:
    """Quotas, caps, and the itemised sum of the memory that the job allocates.

    Raises
    ------
    ConfigError
        `memory` cannot hold the fewest slots that the job needs.
    """
    shortage = find_shortage(draft)
    if shortage is not None:
        raise ConfigError([shortage])
    producers = [stream for stream in draft.streams if stream.feed is Feed.PRODUCER]
    end_slots = len(producers) * PRODUCER_END_SLOTS
    draft.slots = draft.config.server.memory // slot_bytes(draft) - len(draft.spools) * SPOOL_SLOTS
    even_share = (draft.slots - end_slots) // len(draft.streams)
    holders: list[Stream | Pool] = [*(one for one in draft.streams if one.feed is not Feed.DRIVE), *draft.pools]
    pools_min = [pool_min(draft, pool.agent) for pool in draft.pools]
    _set_quotas(draft, even_share, pools_min)
    while end_slots + sum(holder.quota for holder in holders) > draft.slots:
        even_share -= 1  # it is tight, and a pool needs more than its chains' shares
        _set_quotas(draft, even_share, pools_min)
    draft.slots_common = draft.slots - end_slots - sum(holder.quota for holder in holders)
    common_each = draft.slots_common if len(holders) == 1 else -(-draft.slots_common // 2)
    for holder in holders:
        holder.cap = holder.quota + common_each
    for stream in producers:
        stream.cap = stream.quota
    for pool in draft.pools:
        for stream in pool.streams:
            stream.cap = pool.cap
    _itemise(draft, producers)


def _set_quotas(draft: Draft, even_share: int, pools_min: list[int]) -> None:
    half = max(SLOTS_PER_BUFFER_MIN, even_share // 2)
    for stream in draft.streams:
        stream.quota = {Feed.READER: half, Feed.PRODUCER: even_share}.get(stream.feed, 0)
    for pool, least in zip(draft.pools, pools_min, strict=True):
        pool.quota = max(len(pool.streams) * half, least)


def _itemise(draft: Draft, producers: list[Stream]) -> None:
    each = slot_bytes(draft)
    cursors = sum(len(stream.buffers) for stream in draft.streams) + sum(1 for _ in parts(draft.graph, Part.DIGEST))
    agents = sum(node.part in (Part.AGENT, Part.DIGEST) for node in draft.graph)
    spooled = [node for node in parts(draft.graph, Part.BUFFER) if spool_node(agent_node(node.agent)) in draft.spools]
    cursors += len(spooled)
    agents += len(draft.spools)
    own = sum(stream.quota for stream in producers)
    items = [
        ("slots", draft.slots - own, each),
        *((f"slots of producer {', '.join(stream.feeds)}", stream.quota, each) for stream in producers),
        ("slot control", draft.slots, SLOT_CONTROL_BYTES),
        ("stream control", len(draft.streams) + len(draft.pools), STREAM_CONTROL_BYTES),
        ("ring entries", _ring_entries(draft), RING_ENTRY_BYTES),
        ("cursor control", cursors, CURSOR_CONTROL_BYTES),
        ("agent control", agents, AGENT_CONTROL_BYTES),
        ("producer control", len(producers), PRODUCER_CONTROL_BYTES),
        *((f"slots behind {spool.part} of {spool}", SPOOL_SLOTS, each) for spool in draft.spools),
        ("spool control", len(draft.spools), SPOOL_CONTROL_BYTES),
        ("job control", 1, JOB_CONTROL_BYTES),
    ]
    draft.memory = [item for item in items if item[1]]


def _ring_entries(draft: Draft) -> int:
    """For each stream a power of two that holds all slots it can have; one that a drive feeds has room for any slot."""
    ends = {Feed.PRODUCER: PRODUCER_END_SLOTS}
    most = [
        draft.slots if stream.feed is Feed.DRIVE else stream.cap + ends.get(stream.feed, 0) for stream in draft.streams
    ]
    most += [pool.cap for pool in draft.pools]
    return sum(1 << (slots - 1).bit_length() for slots in most)
