"""An agent with `on_lag = "spool"` gets a twin: dormant, without a drive, and with a cursor beside each of its own.

Once the agent lags, the twin takes its place in all its streams and writes what comes into segments on disk, and the
agent goes on from these: two threads more, one that fills segments and one that reads them back.
"""

from __future__ import annotations

from itertools import count

from tapeloom.compile.draft import Draft
from tapeloom.graph import Node, Part, parts, spool_node
from tapeloom.limits import SPOOL_SEGMENT_BYTES_MAX, SPOOL_SEGMENTS_MIN
from tapeloom.schedule import NONE


def segment_bytes(draft: Draft) -> int:
    """What one segment holds, its blocks rounded up to pages."""
    return min(SPOOL_SEGMENT_BYTES_MAX, draft.config.server.spool_max // SPOOL_SEGMENTS_MIN)


def spooling(draft: Draft) -> list[Node]:
    """The agents of the job that spool, in file order."""
    return [agent for agent in parts(draft.graph, Part.AGENT) if draft.agent(agent).on_lag == "spool"]


def spool(draft: Draft) -> None:
    """Fill `spools`, and number their threads behind all others."""
    number = count(1 + max(thread for thread in draft.threads.values() if thread != NONE))
    for agent in spooling(draft):
        node = spool_node(agent)
        draft.spools.append(node)
        draft.threads[node] = next(number)
        next(number)
