"""How much an agent gathers before it lets its drive start.

A drive that is fed less than its slowest pace stops whenever it has written all it was given, and to start again takes
it seconds: it goes back behind the place, and forward again. So its agent waits, once its buffers are empty, until they
hold as much as the drive writes in twice that time: it then runs at least twice as long as a stop takes. It waits for
less where memory does not hold twice that, for while the drive starts, its sources go on into the other half; and for
less where it may not lag so far behind others. At run time it waits no longer than anything can come (csrc/ring.h,
`tl_agent_lacks`).
"""

from __future__ import annotations

from tapeloom.compile.draft import Draft, Pool, Stream
from tapeloom.graph import Node, Part, agent_node, parts
from tapeloom.timing import Timing

RUN_TO_STOP = 2
"""How many times as long as a stop takes a drive is to run before the next one."""


def start(draft: Draft) -> None:
    """Fill `start_bytes`."""
    for node in parts(draft.graph, Part.AGENT):
        agent = draft.agent(node)
        if agent.kind == "restore":
            continue
        block_bytes = draft.config.server.block
        enough = [worth_starting(draft.config.drives[agent.drive].timing), _slots(draft, node) // 2 * block_bytes]
        if agent.on_lag != "wait" and agent.lag_bytes:
            enough.append(agent.lag_bytes // 2)
        draft.start_bytes[node] = min(enough) // block_bytes * block_bytes


def worth_starting(timing: Timing) -> int:
    """Bytes that are enough for a drive to start; 0 for one that needs no time for it, or is never fed too slowly."""
    return round(timing.rate * timing.backhitch * RUN_TO_STOP) if timing.rate_min and timing.backhitch else 0


def _slots(draft: Draft, node: Node) -> int:
    """How many slots the buffers of an agent can hold at most, all together."""
    pool_of = {id(stream): pool for pool in draft.pools for stream in pool.streams}
    holders: dict[int, Stream | Pool] = {}
    for stream in draft.streams:
        if any(agent_node(buffer.agent) == node for buffer in stream.buffers):
            holder = pool_of.get(id(stream), stream)
            holders[id(holder)] = holder
    quotas, caps = sum(one.quota for one in holders.values()), sum(one.cap for one in holders.values())
    return min(caps, quotas + draft.slots_common)
