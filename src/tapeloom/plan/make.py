"""A plan from a configuration and its schedule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tapeloom.compile.cost import restore_cost
from tapeloom.compile.start import RUN_TO_STOP, worth_starting
from tapeloom.plan.predict import Flow, predict, streams_of_agents
from tapeloom.plan.records import AgentPlan, Chain, MemoryItem, Plan, PoolPlan, Prediction, SpoolPlan, Stage, Thread
from tapeloom.quantity import rough_rate
from tapeloom.schedule import NONE, Feed, Kind, OnLag, Schedule

if TYPE_CHECKING:
    from tapeloom.config import Config


def make(config: Config, schedule: Schedule, remarks: Iterable[str] = ()) -> Plan:
    """The plan of the job.

    Parameters
    ----------
    config, schedule
        The schedule must have been compiled from this configuration.
    remarks
        What the caller has seen that a reader of the plan should know, as paths that do not exist: nothing is looked up
        here.
    """
    flow = predict(schedule)
    chains = _chains(config, schedule, flow)
    agents = _agents(config, schedule, flow)
    memory = tuple(
        MemoryItem(str(name), int(count), int(each), int(count) * int(each))
        for name, (count, each) in zip(schedule.memory_names, schedule.memory.tolist(), strict=True)
    )
    kinds = schedule.group_kinds.tolist()
    return Plan(
        file=str(config.file),
        groups=tuple(f"{Kind(k).name.lower()} {name}" for k, name in zip(kinds, schedule.group_names, strict=True)),
        fingerprint=schedule.fingerprint,
        block_bytes=schedule.block_bytes,
        slot_bytes=schedule.slot_bytes,
        slots=schedule.slots,
        slots_common=schedule.slots_common,
        chains=chains,
        pools=_pools(schedule),
        agents=agents,
        spools=_spools(config, schedule),
        memory=memory,
        memory_bytes=schedule.memory_bytes,
        processes=1,
        threads=_threads(schedule, chains),
        prediction=_prediction(schedule, chains, flow),
        remarks=(*remarks, *_remarks(config, chains, agents)),
    )


def trees(config: Config, schedule: Schedule) -> list[tuple[Stage, ...]]:
    """The stages of each stream's chain, by row of `streams`, as far as they are no pools."""
    below: defaultdict[int, list[int]] = defaultdict(list)
    first: defaultdict[int, list[int]] = defaultdict(list)
    for row, cursor in enumerate(schedule.cursors):
        if schedule.agents["drive"][cursor["agent"]] == NONE:
            continue
        if cursor["upstream"] == NONE:
            first[int(cursor["stream"])].append(row)
        else:
            below[int(cursor["upstream"])].append(row)
    found = []
    split: defaultdict[int, int] = defaultdict(int)
    for row, stream in enumerate(schedule.streams[: schedule.chains]):
        stages: list[Stage] = []
        above = None
        if stream["feed"] == Feed.DRIVE:
            agent = int(stream["agent"])
            # Streams stand in the order of the buffers that they begin with, and a restore agent's all take part.
            buffer = list(config.agents[str(schedule.agent_names[agent])].buffers)[split[agent]]
            split[agent] += 1
            stages.append(_stage(schedule, agent, buffer, 0, None))
            above = 0
        waiting = [(cursor, above) for cursor in reversed(first[row])]
        while waiting:
            cursor, above = waiting.pop()
            depth = 0 if above is None else stages[above].depth + 1
            agent = int(schedule.cursors["agent"][cursor])
            stages.append(_stage(schedule, agent, str(schedule.buffer_names[cursor]), depth, above))
            waiting += [(other, len(stages) - 1) for other in reversed(below[cursor])]
        found.append(tuple(stages))
    return found


def _stage(schedule: Schedule, agent: int, buffer: str, depth: int, upstream: int | None) -> Stage:
    row = schedule.agents[agent]
    return Stage(
        buffer=buffer,
        agent=str(schedule.agent_names[agent]),
        kind=Kind(row["kind"]).name.lower(),
        group=str(schedule.group_names[row["group"]]),
        drive=str(schedule.drive_names[row["drive"]]),
        depth=depth,
        upstream=upstream,
    )


def _finite(rate: float) -> float | None:
    return rate if math.isfinite(rate) else None


def _chains(config: Config, schedule: Schedule, flow: Flow) -> tuple[Chain, ...]:
    chains = []
    for row, stages in enumerate(trees(config, schedule)):
        stream = schedule.streams[row]
        first, limit = int(stream["first_source"]), flow.limits[row]
        chains.append(
            Chain(
                sources=tuple(schedule.source_names[first : first + int(stream["sources"])].tolist()),
                feed=Feed(stream["feed"]).name.lower(),
                stages=stages,
                pool=str(schedule.agent_names[stream["agent"]]) if stream["feed"] == Feed.DRIVE else None,
                slots_own=int(stream["quota"]),
                slots_max=int(stream["cap"]),
                rate=_finite(flow.rates[row]),
                limited_by=None if limit is None else str(schedule.agent_names[limit]),
            )
        )
    return tuple(chains)


def _pools(schedule: Schedule) -> tuple[PoolPlan, ...]:
    fed = schedule.streams["agent"][: schedule.chains]
    return tuple(
        PoolPlan(
            agent=str(schedule.agent_names[pool["agent"]]),
            chains=int((fed == pool["agent"]).sum()),
            slots_own=int(pool["quota"]),
            slots_max=int(pool["cap"]),
        )
        for pool in schedule.streams[schedule.chains :]
    )


def _agents(config: Config, schedule: Schedule, flow: Flow) -> tuple[AgentPlan, ...]:
    known = all(map(math.isfinite, flow.rates))
    weights = flow.rates if known else (1.0,) * len(flow.rates)
    plans = []
    for row, streams in enumerate(streams_of_agents(schedule)):
        agent = schedule.agents[row]
        if agent["drive"] == NONE:
            continue
        name = str(schedule.agent_names[row])
        first = int(agent["first_cursor"])
        visited = schedule.buffer_names[first : first + int(agent["cursors"])].tolist()
        drive = str(schedule.drive_names[agent["drive"]])
        timing = config.drives[drive].timing
        cost = None
        if agent["kind"] != Kind.RESTORE:
            cost = restore_cost(timing, len(streams), int(agent["run_blocks"]), schedule.block_bytes)
        plans.append(
            AgentPlan(
                name=name,
                kind=Kind(agent["kind"]).name.lower(),
                group=str(schedule.group_names[agent["group"]]),
                drive=drive,
                device=config.drives[drive].device,
                buffers=tuple(visited or config.agents[name].buffers),
                run_blocks=int(agent["run_blocks"]),
                on_lag=OnLag(agent["on_lag"]).name.lower(),
                thread=int(agent["thread"]),
                drive_rate=_finite(float(schedule.drive_rates[agent["drive"]])),
                rate=_finite(sum(flow.rates[stream] for stream in streams)),
                data_share=sum(weights[stream] for stream in streams) / sum(weights),
                restore_bytes=None if cost is None else cost.bytes,
                restore_seconds=None if cost is None else cost.seconds,
                start_bytes=int(agent["start_bytes"]),
                start_bytes_wanted=0 if cost is None else worth_starting(timing),
                start_limit=None if cost is None else _start_limit(schedule, row, worth_starting(timing)),
                run_seconds=RUN_TO_STOP * timing.backhitch,
            )
        )
    return tuple(plans)


def _start_limit(schedule: Schedule, row: int, wanted: int) -> str | None:
    agent = schedule.agents[row]
    short = int(agent["start_bytes"]) + schedule.block_bytes
    if wanted < short:
        return None
    lags = agent["on_lag"] != OnLag.WAIT and agent["lag_bytes"]
    return "lag_max" if lags and int(agent["lag_bytes"]) // 2 < short else "memory"


def _spools(config: Config, schedule: Schedule) -> tuple[SpoolPlan, ...]:
    server = config.server
    return tuple(
        SpoolPlan(
            agent=str(schedule.agent_names[schedule.spool_owner(row)]),
            folder=str(server.spool),
            bytes_max=server.spool_max,
            segment_bytes=int(agent["checkpoint_bytes"]),
        )
        for row, agent in enumerate(schedule.agents)
        if agent["kind"] == Kind.SPOOL
    )


def _threads(schedule: Schedule, chains: tuple[Chain, ...]) -> tuple[Thread, ...]:
    threads = [
        Thread(int(stream["thread"]), f"read {', then '.join(chain.sources)} for {_first_buffer(chain)}")
        for stream, chain in zip(schedule.streams[: schedule.chains], chains, strict=True)
        if stream["feed"] == Feed.READER
    ]
    for row, agent in enumerate(schedule.agents):
        name = str(schedule.agent_names[row])
        if agent["kind"] == Kind.SPOOL:
            threads.append(Thread(int(agent["thread"]) + 1, f"{name} is read back, started when it lags"))
            name = f"{name} is filled, started when it lags"
        elif agent["kind"] != Kind.DIGEST:
            verb = "reads" if agent["kind"] == Kind.RESTORE else "writes"
            name = f"{name} {verb} {schedule.drive_names[agent['drive']]}"
        threads.append(Thread(int(agent["thread"]), name))
    return tuple(sorted(threads, key=lambda thread: thread.number))


def _first_buffer(chain: Chain) -> str:
    return f"{chain.stages[0].agent}.{chain.stages[0].buffer}"


def _title(chain: Chain) -> str:
    return ", ".join(chain.sources)


def _prediction(schedule: Schedule, chains: tuple[Chain, ...], flow: Flow) -> Prediction:
    total = _finite(sum(flow.rates))
    limited = [row for row, limit in enumerate(flow.limits) if limit is not None]
    if not limited:
        text = "no drive of this job has a rate in the file: the slowest of sources and drives will decide"
        return Prediction(None, None, (), None, text)
    slowest = min(limited, key=lambda row: flow.rates[row])
    agent = flow.limits[slowest]
    held = tuple(_title(chain) for chain, limit in zip(chains, flow.limits, strict=True) if limit == agent)
    name = str(schedule.agent_names[agent])
    drive = str(schedule.drive_names[schedule.agents["drive"][agent]])
    rate = float(schedule.drive_rates[schedule.agents["drive"][agent]])
    each = f"{rough_rate(flow.rates[slowest])} for " + ("each of " if len(held) > 1 else "")
    text = f"drive {drive} of {name}, at {rough_rate(rate)}: {each}{', '.join(held)}"
    return Prediction(name, drive, held, total, text)


def _remarks(config: Config, chains: tuple[Chain, ...], agents: tuple[AgentPlan, ...]) -> Iterable[str]:
    held: defaultdict[str, list[int]] = defaultdict(list)
    for chain in chains:
        for stage in chain.stages:
            held[stage.agent].append(chain.slots_max)
    for agent in agents:
        slots = min(held[agent.name])
        if agent.run_blocks > slots and agent.kind != "restore":
            yield f"{agent.name}: run_blocks {agent.run_blocks} cannot be reached with {slots} slots a buffer"
        left = [name for name in config.agents[agent.name].buffers if name not in agent.buffers]
        if left:
            yield f"{agent.name}: no group of this job feeds {', '.join(left)}, which will stay empty"
    limits = dict.fromkeys(chain.limited_by for chain in chains if chain.limited_by is not None)
    for agent in agents:
        if agent.name in limits and agent.on_lag == "detach" and _held_up(agent, chains):
            yield (
                f'{agent.name} limits what feeds it and has on_lag = "detach": once it lags too far behind, it is '
                "detached, and the others go on faster"
            )
    readers: defaultdict[str, list[str]] = defaultdict(list)
    for chain in chains:
        if chain.feed == "reader":
            for source in chain.sources:
                readers[source].append(_first_buffer(chain))
    for source, buffers in readers.items():
        if len(buffers) > 1:
            times = f"{len(buffers)} times, for {' and '.join(buffers)}"
            yield f"source {source} is read {times}: with a mirror instead it would be read once"


def _held_up(agent: AgentPlan, chains: tuple[Chain, ...]) -> bool:
    return any(chain.limited_by == agent.name and chain.stages[0].agent != agent.name for chain in chains)
