"""One pass that unweaves, as a round: the configuration of its job, and what its restore media agent reads when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom.catalog import Catalog, Place
from tapeloom.compile.passes import Pass as PlannedPass
from tapeloom.config import Config, Drive, Group
from tapeloom.config.model import Agent
from tapeloom.config.model import Kind as KindName
from tapeloom.device.waiting import WaitingDrive
from tapeloom.ops.owed import media_agent
from tapeloom.ops.rounds import Carried, Trip, passes_of
from tapeloom.runtime.reading import Mounts
from tapeloom.runtime.splitting import Reads, Want
from tapeloom.runtime.unweaving import Amount, Leaving, Taking, Unweaving, WaitingTape
from tapeloom.schedule import Kind, Schedule
from tapeloom.volume.runs import BLOCKS, POSITION, SEQ, Runs

VERB = "demux"
SPOOL = "(spool)"
"""The name of what waits, as a drive: none of the file's can be called so."""
SPOOL_BUFFER = "S"
SPOOL_TURN_SECONDS = 0.05
"""How soon it is known of a block that it waits."""

Where = tuple[int, int]
"""A volume's row in the plan, and a position."""


class Unit(Struct, frozen=True):
    """What is to stand in one piece: an object, and its file index behind it where that goes along. Agent and buffer
    of what is carried are left open."""

    members: tuple[Carried, ...]


def place_of(drive: str) -> Place:
    """Who writes in a target drive."""
    return Place(f"{VERB}-{drive}", VERB, drive)


class Unwoven:
    """What a round does other than any: see `tapeloom.ops.rounds.open_round`. For one round."""

    drive = SPOOL

    def __init__(self, steps: Sequence[Taking | Leaving], open: Callable[[], WaitingDrive]):
        self.tapes: dict[int, WaitingTape] = {}
        """By row of the agent: that of the spool, where there is one."""
        self._steps = steps
        self._open = open
        self._passes: Unweaving | None = None
        self._device: WaitingDrive | None = None

    def open(self) -> WaitingDrive:
        self._device = self._open()
        return self._device

    def reads(self, schedule: Schedule, wants: Sequence[Want], buffers: Mapping[str, int], mounts: Mounts) -> Reads:
        spool = None
        if self._device is not None:
            row = list(map(str, schedule.agent_names)).index(place_of(SPOOL).agent)
            self.tapes[row] = WaitingTape(self._device)
            spool = self.tapes[row], row, buffers[SPOOL_BUFFER]
        reader = schedule.agents["kind"].tolist().index(Kind.RESTORE)
        self._passes = Unweaving(wants, self._steps, spool, reader)
        return Reads(wants, self._passes, self._passes.mounts(mounts))

    def begin(self, arena: _kernel.Arena) -> None:
        assert self._passes is not None, "a round that unweaves has a restore media agent"
        self._passes.begin(arena)

    @property
    def read_again(self) -> Amount:
        """What was read from the spool, and had been read from tape before."""
        return Amount() if self._passes is None else self._passes.read_again

    @property
    def spool_blocks_most(self) -> int:
        """The most blocks that waited at any time."""
        return 0 if self._device is None else self._device.most


def trip_of(config: Config, source: str, targets: Sequence[str], planned: PlannedPass, units: Sequence[Unit]) -> Trip:
    """The job of a pass: one restore media agent, a buffer and a copy agent for each target that gets something, and
    one more of each for what waits."""
    reader = f"{VERB}-{source}"
    buffers: dict[str, tuple[str, ...]] = {}
    carried = []
    agents: list[Agent] = []

    def writes(buffer: str, place: Place, names: Sequence[str]) -> Agent:
        buffers[buffer] = tuple(dict.fromkeys(names))
        return media_agent(config, place.agent, "copy", place.group, place.drive, {"B1": (f"{reader}.{buffer}",)})

    for number, (target, ways) in enumerate(zip(targets, planned.targets, strict=True), 1):
        members = [replace(one, agent=reader, buffer=f"B{number}") for way in ways for one in units[way.object].members]
        if members:
            carried += members
            agents.append(writes(f"B{number}", place_of(target), [one.object.source for one in members]))
    drives = dict(config.drives)
    if planned.bytes_spooled:
        drives[SPOOL] = Drive(SPOOL, "null:")
        spool = writes(SPOOL_BUFFER, place_of(SPOOL), [one.object.source for one in carried])
        agents.append(replace(spool, checkpoint_seconds=SPOOL_TURN_SECONDS))
    agents.insert(0, media_agent(config, reader, "restore", VERB, source, buffers))
    kinds: tuple[KindName, ...] = ("restore", "copy")
    groups: dict[tuple[str, str], Group] = {
        (kind, VERB): Group(kind, VERB, tuple(agent.name for agent in agents if agent.kind == kind)) for kind in kinds
    }
    wired = replace(config, drives=drives, agents={one.name: one for one in agents}, groups=groups, lines={})
    return Trip(wired, (f"restore.{VERB}",), tuple(carried))


def steps_of(
    catalog: Catalog, trip: Trip, planned: PlannedPass, units: Sequence[Unit], rows: Mapping[str, int]
) -> list[Taking | Leaving]:
    """What is read, in order. `rows`: the plan's row of each volume, by label."""
    index = {one.object.id: number for number, one in enumerate(trip.carried)}
    members = {
        way.object: tuple(index[one.object.id] for one in units[way.object].members if one.object.id in index)
        for way in planned.ways
    }
    leaves: dict[int, Where] = {}
    leaving: dict[Where, list[int]] = defaultdict(list)
    for ways in planned.targets:
        for way in ways:
            if way.leaves_at is not None and members[way.object]:
                where = way.leaves_at.volume, way.leaves_at.position
                leaves.update(dict.fromkeys(members[way.object], where))
                leaving[where] += members[way.object]
    tapes = passes_of(catalog, trip.carried)
    steps: list[Taking | Leaving] = []
    begin: Where = (0, 0)
    for end in (*sorted(leaving), (len(rows), 0)):
        waiting = frozenset(one for one, where in leaves.items() if where >= end)
        for tape in tapes:
            runs = _between(tape.runs, rows[tape.label], begin, end)
            if len(runs):
                steps.append(Taking(tape.volume, tape.label, runs, waiting))
        if end in leaving:
            steps.append(Leaving(tuple(leaving[end])))
        begin = end
    return steps


def _between(runs: Runs, row: int, begin: Where, end: Where) -> Runs:
    """The parts of a volume's runs from one place up to another."""
    if not begin[0] <= row <= end[0]:
        return runs[:0]
    lowest = begin[1] if row == begin[0] else 0
    first = np.searchsorted(runs[:, POSITION] + runs[:, BLOCKS], lowest, side="right")
    upto = np.searchsorted(runs[:, POSITION], end[1]) if row == end[0] else len(runs)
    parts: Runs = runs[first:upto].copy()
    start = np.maximum(parts[:, POSITION], lowest)
    stop = parts[:, POSITION] + parts[:, BLOCKS]
    if row == end[0]:
        stop = np.minimum(stop, end[1])
    parts[:, SEQ] += start - parts[:, POSITION]
    parts[:, BLOCKS] = stop - start
    parts[:, POSITION] = start
    return parts
