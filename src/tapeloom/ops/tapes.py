"""The tapes that a job writes: one writer for each media agent of its schedule that owns a drive."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack, suppress
from typing import NoReturn, cast
from uuid import UUID

import tapeloom
from tapeloom import _kernel
from tapeloom.catalog import Place
from tapeloom.config import Config
from tapeloom.device import Device
from tapeloom.device.blocks import check_block
from tapeloom.errors import DeviceError
from tapeloom.limits import DEFAULT_POOL
from tapeloom.ops.mounts import open_configured
from tapeloom.runtime import JobObject, Objects, State
from tapeloom.schedule import NONE, Kind, Schedule
from tapeloom.volume.mounting import Where
from tapeloom.volume.waiting import Waiting
from tapeloom.volume.writer import Errand, Ledger, VolumeWriter, Whose


def group_of(schedule: Schedule, agent: int) -> str:
    return str(schedule.group_names[schedule.agents[agent]["group"]])


def drive_of(schedule: Schedule, agent: int) -> str:
    return str(schedule.drive_names[schedule.agents[agent]["drive"]])


def writing_agents(schedule: Schedule) -> list[int]:
    """Rows of the agents that write to a drive."""
    return [
        row for row, agent in enumerate(schedule.agents) if agent["drive"] != NONE and agent["kind"] != Kind.RESTORE
    ]


def writers(
    schedule: Schedule,
    devices: Mapping[str, Device],
    ledger: Ledger,
    objects: Objects,
    job: UUID,
    config: Config,
    *,
    patient: bool = True,
) -> dict[int, VolumeWriter]:
    """By row of the agent; `devices` by the names of drives. `patient`: they wait for cartridges that are not there.

    Raises
    ------
    BlockSizeError
        A drive cannot take blocks of this schedule's size.
    """
    drives = {row: devices[drive_of(schedule, row)] for row in writing_agents(schedule)}
    remarks = {row: _look_at(device, schedule.block_bytes) for row, device in drives.items()}
    made = {
        row: VolumeWriter(
            device,
            _errand(schedule, row, job),
            ledger,
            lambda number: _whose(objects[number]),
            _kernel.crc32c,
            _where(schedule, row, config),
            Waiting(patient=patient),
        )
        for row, device in drives.items()
    }
    for row, writer in made.items():
        writer.remarks += remarks[row]
    return made


def _look_at(device: Device, block_bytes: int) -> list[str]:
    return [] if isinstance(device, DeadDrive) else check_block(device, block_bytes)


class DeadDrive:
    """Stands where a drive could not be opened: whatever is asked of it fails as the opening did. So its agents fail
    when they begin, and the others do not notice."""

    aside = None

    def __init__(self, name: str, error: DeviceError):
        self.name = name
        self._error = error

    def __getattr__(self, asked: str) -> NoReturn:
        raise self._error

    def close(self) -> None: ...


def open_drives(
    config: Config,
    schedule: Schedule,
    stack: ExitStack,
    hung: Collection[str],
    opened: Mapping[str, Callable[[], Device]] | None = None,
) -> dict[str, Device]:
    """All drives of a schedule, by name; those of `hung` are left alone when `stack` closes them. One that cannot be
    opened costs its own agents their copies. `opened`: drives of this job that the configuration does not describe.

    Raises
    ------
    DeviceError
        None of those that write can be opened, or none of those that read.
    UsageError, HeldError
        One is configured wrongly, or in somebody else's hands.
    """
    devices: dict[str, Device] = {}
    dead: dict[str, DeviceError] = {}
    for name in map(str, schedule.drive_names):
        try:
            devices[name] = opened[name]() if opened and name in opened else open_configured(config, name)
        except DeviceError as error:
            dead[name] = error
            devices[name] = cast("Device", DeadDrive(name, error))
        stack.callback(leave, devices[name], hung)
    reading = {drive_of(schedule, row) for row, one in enumerate(schedule.agents) if one["kind"] == Kind.RESTORE}
    for names in (reading, devices.keys() - reading):
        if names and names <= dead.keys():
            raise next(error for name, error in dead.items() if name in names)
    return devices


def places(schedule: Schedule) -> dict[int, list[Place]]:
    """For each stream, who is to write its objects."""
    copies: dict[int, list[Place]] = {row: [] for row in range(len(schedule.streams))}
    for cursor in schedule.cursors:
        row = int(cursor["agent"])
        if schedule.agents[row]["drive"] != NONE:
            place = Place(str(schedule.agent_names[row]), group_of(schedule, row), drive_of(schedule, row))
            copies[int(cursor["stream"])].append(place)
    return copies


def end_mounts(tapes: Mapping[int, VolumeWriter], hung: Collection[int]) -> None:
    """What the drives of agents that broke off say of their health is kept, too: that is where it matters. Those of
    `hung`, rows of agents, are asked nothing."""
    for row, tape in tapes.items():
        if row not in hung:
            tape.condition.ends()


def remarks_of(tapes: Iterable[VolumeWriter]) -> list[str]:
    """What was waited for, what there was to say of drives and cartridges, and what drives said of their health."""
    return [
        remark
        for tape in tapes
        for remark in [*tape.waiting.remarks, *dict.fromkeys([*tape.remarks, *tape.condition.remarks])]
    ]


def _where(schedule: Schedule, row: int, config: Config) -> Where:
    agent = config.agents.get(str(schedule.agent_names[row]))
    return Where(config.drives[drive_of(schedule, row)].home, DEFAULT_POOL if agent is None else agent.pool)


def devices_of(schedule: Schedule, devices: Mapping[str, Device]) -> dict[int, Device]:
    """By row of the agent that has the drive; `devices` by their names."""
    return {row: devices[drive_of(schedule, row)] for row, one in enumerate(schedule.agents) if one["drive"] != NONE}


def leave(device: Device, hung: Collection[str]) -> None:
    """Closes a drive, but not under a call that may still come back: that one stays reserved until this process
    ends. One whose own process was abandoned is let go at once; it stays reserved if that is stuck in the kernel.
    `hung`: names of drives. What a drive says of its last rewind is for nobody: all that counts has its receipt, and
    the next mount looks at the tape."""
    abandoned = device.aside is not None and device.aside.ended is not None
    if device.name not in hung or abandoned or device.wait_hang(0):
        with suppress(DeviceError):
            device.close()


def _errand(schedule: Schedule, row: int, job: UUID) -> Errand:
    agent = schedule.agents[row]
    cursors = schedule.cursors[agent["first_cursor"] : agent["first_cursor"] + agent["cursors"]]
    streams = [schedule.streams[stream] for stream in cursors["stream"]]
    names = [
        str(schedule.source_names[source])
        for stream in streams
        for source in range(stream["first_source"], stream["first_source"] + stream["sources"])
    ]
    return Errand(
        job=job,
        agent=str(schedule.agent_names[row]),
        group=group_of(schedule, row),
        kind=Kind(agent["kind"]).name.lower(),
        streams=tuple(names),
        block_bytes=schedule.block_bytes,
        software=f"tapeloom {tapeloom.__version__}",
        started_at=time.time_ns(),
    )


def _whose(item: JobObject) -> Whose:
    ended = item.state is not State.READING
    return Whose(
        id=item.id,
        source=item.source,
        as_of_ns=item.as_of_ns,
        level=item.level,
        parent=item.parent,
        blocks=item.blocks if ended else None,
        bytes=item.bytes,
        failed=item.state is State.FAILED,
    )
