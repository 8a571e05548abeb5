"""How many slots there are, and who may hold how many of them.

`memory` divided by the slot gives the slots; every stream gets an even share of them, one half as its quota, which no
other stream can take, and the other half given to a common stock, of which one stream may take up to half. So a fast
stream can be deep while others are idle, and a slow mirror can never take the slots that another chain needs to move. A
producer's slots stand in shared memory of its own, so its whole share is its quota; the end block of its object is
written by this process even if it dies, and needs slots that it cannot touch. Between a spool and the drive that goes
on from it stand slots that nobody else takes.
"""

from __future__ import annotations

from tapeloom.compile.draft import Draft, Stream
from tapeloom.compile.place import feed_of, heads
from tapeloom.compile.spool import spooling
from tapeloom.config.units import show_bytes
from tapeloom.errors import ConfigError, Problem
from tapeloom.graph import Part, agent_node, parts, spool_node
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


def slots_min(feeds: list[Feed]) -> int:
    """The fewest slots with which streams that are fed like this can run."""
    return len(feeds) * SLOTS_PER_BUFFER_MIN + feeds.count(Feed.PRODUCER) * PRODUCER_END_SLOTS


def find_shortage(draft: Draft) -> Problem | None:
    """The problem if `memory` cannot hold the schedule."""
    config = draft.config
    feeds = [feed_of(draft, head) for head in heads(draft)]
    spools = len(spooling(draft))
    slot, need = slot_bytes(draft), slots_min(feeds) + spools * SPOOL_SLOTS
    have = config.server.memory // slot
    if have >= need:
        return None
    chains = _counted(len(feeds), "chain") + (f" and {_counted(spools, 'spool')}" if spools else "")
    return config.problem(
        f"memory of {show_bytes(config.server.memory)} has {have} slots of {show_bytes(slot)}, but {chains} of "
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
        `memory` cannot hold two slots for each stream.
    """
    shortage = find_shortage(draft)
    if shortage is not None:
        raise ConfigError([shortage])
    streams = draft.streams
    producers = [stream for stream in streams if stream.feed is Feed.PRODUCER]
    end_slots = len(producers) * PRODUCER_END_SLOTS
    draft.slots = draft.config.server.memory // slot_bytes(draft) - len(draft.spools) * SPOOL_SLOTS
    even_share = (draft.slots - end_slots) // len(streams)
    for stream in streams:
        stream.quota = max(SLOTS_PER_BUFFER_MIN, even_share // 2)
    for stream in producers:
        stream.quota = even_share
    draft.slots_common = draft.slots - end_slots - sum(stream.quota for stream in streams)
    alone = len(streams) == 1
    for stream in streams:
        stream.cap = stream.quota + (draft.slots_common if alone else -(-draft.slots_common // 2))
    for stream in producers:
        stream.cap = stream.quota
    _itemise(draft, producers)


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
        ("stream control", len(draft.streams), STREAM_CONTROL_BYTES),
        ("ring entries", sum(map(_ring_entries, draft.streams)), RING_ENTRY_BYTES),
        ("cursor control", cursors, CURSOR_CONTROL_BYTES),
        ("agent control", agents, AGENT_CONTROL_BYTES),
        ("producer control", len(producers), PRODUCER_CONTROL_BYTES),
        *((f"slots behind {spool.part} of {spool}", SPOOL_SLOTS, each) for spool in draft.spools),
        ("spool control", len(draft.spools), SPOOL_CONTROL_BYTES),
        ("job control", 1, JOB_CONTROL_BYTES),
    ]
    draft.memory = [item for item in items if item[1]]


def _ring_entries(stream: Stream) -> int:
    """A power of two that holds all slots the stream can have at once."""
    slots = stream.cap + (PRODUCER_END_SLOTS if stream.feed is Feed.PRODUCER else 0)
    return 1 << (slots - 1).bit_length()
