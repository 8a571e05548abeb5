"""The records of a plan. Sizes are in bytes, rates in bytes per second; None stands for what nobody stated."""

from __future__ import annotations

from msgspec import Struct


class Stage(Struct, frozen=True):
    """One buffer of a chain."""

    buffer: str
    agent: str
    kind: str
    group: str
    drive: str
    depth: int
    """0 for the first buffer of the chain."""
    upstream: int | None
    """Place in `Chain.stages` of the buffer that feeds this one."""


class Chain(Struct, frozen=True):
    """A tree of coupled buffers, which share their slots. `stages` stand depth first, each below what feeds it."""

    sources: tuple[str, ...]
    """For a chain that a drive feeds: the objects it splits out."""
    feed: str
    """"reader", "producer" or "drive"."""
    stages: tuple[Stage, ...]
    pool: str | None
    """The restore media agent whose pool gives it its slots."""
    slots_own: int
    """0 for a chain that a drive feeds: see its pool."""
    slots_max: int
    rate: float | None
    """What its source has to deliver so that the drives which limit it never wait."""
    limited_by: str | None
    """The agent whose drive sets `rate`."""


class AgentPlan(Struct, frozen=True):
    name: str
    kind: str
    group: str
    drive: str
    device: str
    buffers: tuple[str, ...]
    """In visiting order; for a restore agent those it splits into."""
    run_blocks: int
    on_lag: str
    thread: int
    drive_rate: float | None
    rate: float | None
    """Predicted, over all its buffers."""
    data_share: float
    """Part of the job's data that passes its drive, 0 to 1. Where a rate is unknown, all chains count alike."""
    restore_bytes: float | None
    """What restoring one of its objects reads, as a multiple of the object, if all its streams are equally fast; None
    for a restore agent."""
    restore_seconds: float | None
    """The same for the time that it takes, as a multiple of that of an object in one piece, by its drive's timing."""
    start_bytes: int
    """With nothing left to write, so much is gathered before the drive starts again; 0: nothing is."""
    start_bytes_wanted: int
    """What it would gather if there were memory for it: as much as its drive writes in `run_seconds`."""
    start_limit: str | None
    """What keeps it from that: "lag_max", or "memory", half of which is to be free when the drive starts."""
    run_seconds: float
    """How long the drive is to run before it stops again: twice as long as a stop takes."""


class PoolPlan(Struct, frozen=True):
    """The slots that a restore media agent reads into, for whichever of its chains the next block belongs to."""

    agent: str
    chains: int
    slots_own: int
    slots_max: int


class SpoolPlan(Struct, frozen=True):
    """Where an agent's blocks go when it lags. All agents of the job share `bytes_max`."""

    agent: str
    folder: str
    bytes_max: int
    segment_bytes: int


class MemoryItem(Struct, frozen=True):
    name: str
    count: int
    each_bytes: int
    bytes: int


class Thread(Struct, frozen=True):
    number: int
    task: str


class Prediction(Struct, frozen=True):
    """What limits the job if sources are fast enough. `agent` is None where no drive of the job has a rate."""

    agent: str | None
    drive: str | None
    chains: tuple[str, ...]
    """Sources of the chains that it limits."""
    job_rate: float | None
    """Sum over all chains of what their sources deliver; None unless each chain meets a drive with a rate."""
    text: str


class Plan(Struct, frozen=True):
    file: str
    groups: tuple[str, ...]
    """`KIND NAME` of each."""
    fingerprint: str
    block_bytes: int
    slot_bytes: int
    slots: int
    slots_common: int
    chains: tuple[Chain, ...]
    pools: tuple[PoolPlan, ...]
    agents: tuple[AgentPlan, ...]
    spools: tuple[SpoolPlan, ...]
    memory: tuple[MemoryItem, ...]
    memory_bytes: int
    processes: int
    threads: tuple[Thread, ...]
    prediction: Prediction
    remarks: tuple[str, ...]
