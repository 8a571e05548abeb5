"""What is seen of a job while it runs: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, field

from tapeloom.catalog import Catalog
from tapeloom.cli.screen import counted, duration, printable, rate, say, size
from tapeloom.runtime.objects import JobObject, State
from tapeloom.schedule import NONE
from tapeloom.volume.header import Content, Level

if TYPE_CHECKING:
    from rich.progress import Progress

    from tapeloom.ops.backup import Backup
    from tapeloom.runtime import Job
    from tapeloom.schedule import Schedule

RATE_SECONDS = 3.0
"""Rates are those of the last few seconds."""

STARVES_SECONDS = 1.0
"""A drive is said to starve that has had nothing to write for so long."""

LINE_SECONDS = 10.0
"""How often a line says how far it is where there is no terminal."""


class Watch(Protocol):
    def tick(self) -> None: ...

    def say(self, text: str) -> None: ...


class Running(Protocol):
    """A job that is about to run."""

    @property
    def schedule(self) -> Schedule: ...

    @property
    def job(self) -> Job: ...


@contextmanager
def watch_backup(backup: Backup) -> Iterator[Watch]:
    """`watch` of a backup: as much is expected of each source as there was the last time."""
    before = _bytes_before(backup)
    expected: dict[int, int] = {}
    for row, sources in _sources_by_agent(backup.schedule).items():
        sizes = [before[name] for name in sources]
        if None not in sizes:
            expected[row] = sum(one for one in sizes if one)
    with watch(backup, expected) as progress:
        yield progress


@contextmanager
def watch(running: Running, expected: Mapping[int, int]) -> Iterator[Watch]:
    """Shows the job on standard error until the end of the block. `expected` are the bytes for each agent with a drive,
    by its row, as far as they are known."""
    drives = _drives(running.schedule, expected)
    if not sys.stderr.isatty():
        yield _Lines(running, drives)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.fields[drive]}", style="bold", markup=False),
        TextColumn("{task.fields[agent]}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[size]:>9}", justify="right"),
        TextColumn("{task.fields[rate]:>9}", justify="right"),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True, highlight=False, markup=False)
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bars:
        live = _Bars(running, drives, bars)
        yield live
        live.tick()


class _Drive(Struct):
    """One media agent's drive: how much went onto it, and how fast."""

    row: int
    name: str
    agent: str
    expected: int | None
    bytes: int = 0
    detached: bool = False
    starves: bool = False
    mounts: bool = False
    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def look(self, running: Running, now: float) -> None:
        statistics = running.job.agent_statistics(self.row)
        self.bytes, self.detached = statistics.bytes, statistics.detached
        since = statistics.starving_since_ns
        self.mounts = running.job.mounting(self.row)
        self.starves = since != 0 and time.monotonic_ns() - since > STARVES_SECONDS * 1e9
        self.seen.append((now, self.bytes))
        while now - self.seen[0][0] > RATE_SECONDS:
            self.seen.popleft()

    @property
    def rate(self) -> float:
        (began, before), (now, bytes_now) = self.seen[0], self.seen[-1]
        return (bytes_now - before) / (now - began) if now > began else 0.0

    @property
    def note(self) -> str:
        return "detached" if self.detached else "mounts" if self.mounts else "starves" if self.starves else ""


def _in_words(drive: _Drive) -> str:
    return f"{drive.name} {size(drive.bytes)} at {rate(drive.rate)}" + (f" ({drive.note})" if drive.note else "")


def _drives(schedule: Schedule, expected: Mapping[int, int]) -> list[_Drive]:
    return [
        _Drive(row, str(schedule.drive_names[agent["drive"]]), str(schedule.agent_names[row]), expected.get(row))
        for row, agent in enumerate(schedule.agents)
        if agent["drive"] != NONE
    ]


def _sources_by_agent(schedule: Schedule) -> dict[int, list[str]]:
    found = {}
    for row, agent in enumerate(schedule.agents):
        cursors = schedule.cursors[agent["first_cursor"] : agent["first_cursor"] + agent["cursors"]]
        found[row] = [
            str(name)
            for stream in schedule.streams[cursors["stream"]]
            for name in schedule.source_names[stream["first_source"] : stream["first_source"] + stream["sources"]]
        ]
    return found


def _bytes_before(backup: Backup) -> dict[str, int | None]:
    """How large each source's newest object of the same level is: the best guess at how large the next one will be."""
    found: dict[str, int | None] = {}
    with Catalog.open(backup.config.server.state, readonly=True) as catalog:
        for name, level in backup.levels.items():
            found[name] = catalog.newest_bytes(name, level)
    return found


class _Events:
    """Objects that ended and agents that were detached since the look before, in words."""

    def __init__(self, running: Running, drives: list[_Drive]):
        self._running = running
        self._drives = drives
        self._ended = {item.number for item in running.job.objects.all()}  # copies are made of what has ended long ago
        self._detached: set[int] = set()
        self._spooling: set[int] = set()
        self._waits: dict[int, str] = {}

    def look(self) -> Iterator[str]:
        now = time.monotonic()
        for drive in self._drives:
            drive.look(self._running, now)
            if drive.detached and drive.row not in self._detached and not self._running.job.arena.stopping:
                self._detached.add(drive.row)
                yield f"{drive.agent} is detached: drive {drive.name} writes no more"
            yield from self._waiting(drive)
            spooled = self._running.job.spooled(drive.row)
            if spooled is not None and spooled.blocks and drive.row not in self._spooling:
                self._spooling.add(drive.row)
                yield f"{drive.agent} lags: it goes on from its spool, and nobody waits for it"
        for item in self._running.job.objects.all():
            if item.state is not State.READING and item.number not in self._ended:
                self._ended.add(item.number)
                if item.content != Content.INDEX or item.state is State.FAILED:
                    yield _ended(item)

    def _waiting(self, drive: _Drive) -> Iterator[str]:
        """What it waits for, once, and that it goes on."""
        now, before = self._running.job.waiting_for(drive.row), self._waits.pop(drive.row, None)
        if now is not None:
            self._waits[drive.row] = now
            if now != before:
                yield now
        elif before is not None and not drive.detached:
            yield f"{drive.name} goes on"


def _ended(item: JobObject) -> str:
    if item.state is State.FAILED:
        return f"{item.source}: broken off after {size(item.bytes)}: {item.troubles[-1]}"
    level = "" if item.level == Level.FULL else f"{Level(item.level).name.lower()}, "
    files = f"{counted(item.files, 'file')}, " if item.files else ""
    more = " (and more)" if len(item.troubles) > 1 else ""
    trouble = f"; {item.troubles[0]}{more}" if item.troubles else ""
    return f"{item.source}: {level}{files}{size(item.bytes)} read{trouble}"


class _Lines:
    def __init__(self, running: Running, drives: list[_Drive]):
        self._drives = drives
        self._events = _Events(running, drives)
        self._begun = self._last = time.monotonic()

    def tick(self) -> None:
        for event in self._events.look():
            say(event)
        now = time.monotonic()
        if now - self._last >= LINE_SECONDS:
            self._last = now
            each = ", ".join(map(_in_words, self._drives))
            say(f"{duration(now - self._begun)}: {each}")

    def say(self, text: str) -> None:
        say(text)


class _Bars:
    def __init__(self, running: Running, drives: list[_Drive], bars: Progress):
        self._drives = drives
        self._events = _Events(running, drives)
        self._bars = bars
        self._tasks = [
            bars.add_task("", total=drive.expected, drive=drive.name, agent=drive.agent, size="", rate="", note="")
            for drive in drives
        ]

    def tick(self) -> None:
        for event in self._events.look():
            self.say(event)
        for task, drive in zip(self._tasks, self._drives, strict=True):
            done = drive.bytes if drive.expected is None else min(drive.bytes, drive.expected)
            self._bars.update(task, completed=done, size=size(drive.bytes), rate=rate(drive.rate), note=drive.note)
        self._bars.refresh()

    def say(self, text: str) -> None:
        self._bars.console.print(printable(text))
