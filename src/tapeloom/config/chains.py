"""Whether chains of buffers lead somewhere, and bring everything once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tapeloom.config.faults import Fault, listed, nearest, quoted
from tapeloom.config.wired import FEEDS_FROM, Wired

Buffer = tuple[str, str]
"""Agent and buffer."""


def chain_faults(agents: list[Wired], by_name: dict[str, Wired]) -> Iterator[Fault]:
    """All mistakes in what feeds what. Of several agents with one name, `by_name` has the first.

    A buffer is fed twice where it names two upstream buffers, where one source feeds two buffers of a backup group, and
    where one stream reaches an agent by two of its buffers. Two backup groups are two jobs: they may share drives,
    sources and mirrors.
    """
    distinct = list(by_name.values())
    wiring = _Wiring(by_name)
    yield from _unknown_buffers(agents, by_name)
    yield from wiring.loops()
    yield from _sources_fed_twice(agents)
    yield from _streams_fed_twice(distinct, wiring)
    yield from _drives_held_twice(distinct, wiring)


class _Wiring:
    """Who is fed by whom."""

    def __init__(self, agents: dict[str, Wired]):
        self._agents = agents

    def upstream(self, buffer: Buffer) -> Buffer | None:
        """The buffer that feeds this one; None at the head of a chain, and where the reference leads nowhere."""
        agent = self._agents[buffer[0]]
        if agent.kind not in FEEDS_FROM:
            return None
        feeds = agent.buffers[buffer[1]]
        if len(feeds) != 1:
            return None
        name, _, above = feeds[0].partition(".")
        other = self._agents.get(name)
        if other is None or above not in other.buffers:
            return None
        return (name, above) if other.kind in FEEDS_FROM[agent.kind] else None

    def chain(self, buffer: Buffer) -> list[Buffer]:
        """The buffer, the one that feeds it, and so on to the head, or until one comes again."""
        chain = [buffer]
        seen = {buffer}
        while (above := self.upstream(chain[-1])) is not None:
            chain.append(above)
            if above in seen:
                break
            seen.add(above)
        return chain

    def head(self, buffer: Buffer) -> Buffer | None:
        """The backup or restore buffer whose stream this one gets, if the chain leads to one."""
        head = self.chain(buffer)[-1]
        return head if self._agents[head[0]].kind not in FEEDS_FROM else None

    def jobs(self, agent: Wired) -> set[tuple[str, str]]:
        """The backup and restore groups in whose jobs this agent takes part."""
        if agent.kind not in FEEDS_FROM:
            return {(agent.kind, agent.group)}
        heads = [self.head((agent.name, buffer)) for buffer in agent.buffers]
        fed_by = [self._agents[head[0]] for head in heads if head is not None]
        return {(upstream.kind, upstream.group) for upstream in fed_by}

    def loops(self) -> Iterator[Fault]:
        """Each loop once, at one buffer of it."""
        done: set[Buffer] = set()
        for agent in self._agents.values():
            for name in agent.buffers:
                chain = self.chain((agent.name, name))
                if chain[0] == chain[-1] and len(chain) > 1 and chain[0] not in done:
                    done.update(chain)
                    loop = " <- ".join(_dotted(buffer) for buffer in chain)
                    yield Fault(agent.buffer_at(name), f"the chain is a loop, no source feeds it: {loop}")


def _dotted(buffer: Buffer) -> str:
    return ".".join(buffer)


def _unknown_buffers(agents: list[Wired], by_name: dict[str, Wired]) -> Iterator[Fault]:
    for agent in agents:
        for buffer, feeds in agent.buffers.items() if agent.kind in FEEDS_FROM else ():
            if len(feeds) > 1:
                what = f"fed by {len(feeds)} buffers, {listed(feeds)}"
                yield Fault(agent.buffer_at(buffer), what, "one buffer feeds it; make a buffer for each")
            for feed in feeds:
                if found := _bad_reference(feed, agent, by_name):
                    what, hint = found
                    yield Fault(agent.buffer_at(buffer), what, hint)


def _bad_reference(feed: str, agent: Wired, by_name: dict[str, Wired]) -> tuple[str, str | None] | None:
    kinds = FEEDS_FROM[agent.kind]
    upstream = {other.name: other for other in by_name.values() if other.kind in kinds}
    others = [other for other in upstream.values() if other is not agent]
    name, dot, buffer = feed.partition(".")
    if not (name and dot and buffer) or "." in buffer:
        # most likely what is meant is that agent, or the buffer that takes the source of this name
        named = [(name, key) for key in upstream[name].buffers] if feed in upstream else []
        takers = [(other.name, key) for other in others for key, of in other.buffers.items() if feed in of]
        meant = listed([_dotted(buffer) for buffer in (named or takers)[:3]], "or")
        hint = f"did you mean {meant}?" if meant else _nearest_buffer(feed, others)
        return f"{quoted(feed)} is not of the form AGENT.BUFFER", hint
    if name not in by_name:
        return f"there is no agent {quoted(name)}", _nearest_buffer(feed, others)
    if name not in upstream:
        kind = by_name[name].kind
        what = f"{quoted(name)} is in a {kind} group, and a {agent.kind} is fed by {' and '.join(kinds)} groups"
        return what, _nearest_buffer(feed, others)
    if buffer not in upstream[name].buffers:
        known = upstream[name].buffers
        return f"agent {quoted(name)} has no buffer {quoted(buffer)}", nearest(buffer, known, "its buffers are")
    return None


def _nearest_buffer(feed: str, agents: Iterable[Wired]) -> str | None:
    return nearest(feed, [_dotted((agent.name, buffer)) for agent in agents for buffer in agent.buffers])


def _sources_fed_twice(agents: list[Wired]) -> Iterator[Fault]:
    """In a backup group a source feeds one buffer, once: it gives one object a job. So do a restore agent's objects."""
    first: dict[tuple[str, ...], Buffer] = {}
    for agent in agents:
        if agent.kind in FEEDS_FROM:
            continue
        scope = (agent.kind, agent.group) if agent.kind == "backup" else (agent.kind, agent.group, agent.name)
        noun = "source" if agent.kind == "backup" else "object"
        for buffer, feeds in agent.buffers.items():
            for feed in feeds:
                other = first.get((*scope, feed))
                if other is None:
                    first[*scope, feed] = (agent.name, buffer)
                    continue
                what = f"{noun} {quoted(feed)} is fed twice: {_dotted(other)} takes it already"
                hint = (
                    f'a second copy comes from a mirror fed by "{_dotted(other)}"' if agent.kind == "backup" else None
                )
                yield Fault(agent.buffer_at(buffer), what, hint)


def _streams_fed_twice(agents: list[Wired], wiring: _Wiring) -> Iterator[Fault]:
    """Two buffers of one agent on the same stream, by whatever ways, would write each object twice on one drive."""
    for agent in agents:
        if agent.kind not in FEEDS_FROM:
            continue
        first: dict[Buffer, str] = {}
        for buffer in agent.buffers:
            head = wiring.head((agent.name, buffer))
            if head is None:
                continue
            other = first.setdefault(head, buffer)
            if other != buffer:
                chain = " <- ".join(_dotted(link) for link in wiring.chain((agent.name, buffer)))
                fed = f"agent {quoted(agent.name)} is fed by {_dotted(head)} twice"
                what = f"{fed}: its buffer {quoted(other)} takes it already"
                yield Fault(agent.buffer_at(buffer), what, f"here it comes by {chain}")


def _drives_held_twice(agents: list[Wired], wiring: _Wiring) -> Iterator[Fault]:
    """A job is what one backup or restore group feeds, directly and through chains; in it a drive has one agent."""
    jobs = {agent.name: wiring.jobs(agent) for agent in agents}
    reported = set()
    for kind, group in dict.fromkeys((agent.kind, agent.group) for agent in agents if agent.kind not in FEEDS_FROM):
        holders: dict[str, Wired] = {}
        for agent in agents:
            if agent.drive is None or (kind, group) not in jobs[agent.name]:
                continue
            holder = holders.setdefault(agent.drive, agent)
            if holder is not agent and (holder.name, agent.name) not in reported:
                reported.add((holder.name, agent.name))
                yield Fault(
                    (*agent.at, "drive"),
                    f"drive {quoted(agent.drive)} is under {quoted(holder.name)} already,"
                    f" and both agents run in one job, that of {kind}.{group}",
                    "each agent of a job needs a drive of its own",
                )
