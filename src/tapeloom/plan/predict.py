"""How fast each chain can run at the given drive rates.

An agent visits its buffers in turn, so it gives each of them an even part of its drive's rate; a chain runs as fast as
the slowest of its agents lets it, and what it cannot take is left to that agent's other buffers. So the rates are the
max-min fair ones: let all chains rise alike, stop those that meet a full drive, and go on with the rest.
"""

from __future__ import annotations

import math

from msgspec import Struct

from tapeloom.schedule import NONE, Schedule


class Flow(Struct, frozen=True):
    """By row of `streams`, pools left out: the rate (inf where no drive limits it) and the row of the agent that does,
    or None."""

    rates: tuple[float, ...]
    limits: tuple[int | None, ...]


def streams_of_agents(schedule: Schedule) -> list[list[int]]:
    """By row of `agents`: the streams that pass its drive. None of them for a digest, which has no drive."""
    streams: list[list[int]] = [[] for _ in schedule.agents]
    for stream, agent in zip(schedule.cursors["stream"].tolist(), schedule.cursors["agent"].tolist(), strict=True):
        if schedule.agents["drive"][agent] != NONE:
            streams[agent].append(stream)
    for stream, agent in enumerate(schedule.streams["agent"][: schedule.chains].tolist()):
        if agent != NONE:
            streams[agent].append(stream)
    return streams


def predict(schedule: Schedule) -> Flow:
    """Max-min fair rates of all streams."""
    passing = streams_of_agents(schedule)
    rates = [math.inf] * schedule.chains
    limits: list[int | None] = [None] * schedule.chains
    open_agents = {
        agent: float(schedule.drive_rates[schedule.agents["drive"][agent]])
        for agent, streams in enumerate(passing)
        if streams and not math.isnan(schedule.drive_rates[schedule.agents["drive"][agent]])
    }
    rising = set(range(len(rates)))
    while open_agents:
        level = {
            agent: (rate - sum(rates[s] for s in passing[agent] if s not in rising))
            / sum(s in rising for s in passing[agent])
            for agent, rate in open_agents.items()
        }
        full = min(level, key=lambda agent: (level[agent], agent))
        for stream in passing[full]:
            if stream in rising:
                rates[stream], limits[stream] = level[full], full
                rising.discard(stream)
        open_agents = {agent: rate for agent, rate in open_agents.items() if rising.intersection(passing[agent])}
    return Flow(tuple(rates), tuple(limits))
