"""A small job by hand: one stream with a segment, one with a feeder beside it, and readers over both."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from segment_programs import data_of

from tapeloom import _kernel
from tapeloom.errors import BlockDamaged, SourceError, Stopped
from tapeloom.runtime.producer import ProducerSource

SLOT_BYTES = 64 * 1024
PAYLOAD_MAX = SLOT_BYTES - 4096
NEIGHBOUR_BYTES = 3_000_000
SEGMENT, NEIGHBOUR = 0, 1
JOIN_SECONDS = 20

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["numpy", "segment_programs"])


@dataclass
class Seen:
    """One object as a reader saw it."""

    id: bytes
    data: bytes
    failed: bool


@dataclass
class World:
    """`readers` drains over each stream, one agent each; the segment's are agents 0 ... readers-1."""

    state: Path
    slots: int = 4
    readers: int = 1
    hanging: int | None = None
    arena: Any = None
    seen: list[list[Seen]] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    neighbours: list[threading.Thread] = field(default_factory=list)
    bugs: list[BaseException] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)
    payloads: int = 0

    def __post_init__(self) -> None:
        streams = np.zeros(2, _kernel.STREAM_PLAN)
        streams[SEGMENT] = (2, 2, self.slots)
        streams[NEIGHBOUR] = (4, 4, 0)
        cursors = np.zeros(2 * self.readers, _kernel.CURSOR_PLAN)
        agents = np.zeros(2 * self.readers, _kernel.AGENT_PLAN)
        for row in range(2 * self.readers):
            cursors[row] = (row // self.readers, row)
            agents[row] = (row, 1, 4, 0, 10**6, 0)
        plan = (SLOT_BYTES, 0, streams, cursors, agents)
        fd = os.memfd_create("tapeloom-test")
        os.ftruncate(fd, _kernel.arena_bytes(*plan))
        self.arena = _kernel.Arena(fd, *plan)
        os.close(fd)
        self.seen = [[] for _ in range(2 * self.readers)]

    def start(self, body: Callable[..., None], *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                body(*args)
            except BaseException as bug:
                self.bugs.append(bug)
                self.arena.stop(_kernel.Stop.NOW)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def read(self, row: int) -> None:
        drain = _kernel.Drain(self.arena, row)
        try:
            while (id := drain.next_object()) is not None:
                pieces: list[bytes] = []
                try:
                    while (payload := drain.payload()) is not None:
                        pieces.append(bytes(payload))
                        if row == SEGMENT:
                            with self.came:
                                self.payloads += 1
                                self.came.notify_all()
                finally:
                    self.seen[row].append(Seen(id, b"".join(pieces), drain.failed))
        except (Stopped, BlockDamaged):
            pass
        finally:
            drain.close()

    def neighbour(self) -> None:
        feeder = begin(self.arena, NEIGHBOUR, 99, 512)
        feeder.write(data_of(99, NEIGHBOUR_BYTES))
        feeder.end()
        self.arena.end_stream(NEIGHBOUR)

    def start_all(self) -> None:
        for row in range(self.readers):
            if row != self.hanging:
                self.start(self.read, row)
        self.neighbours = [self.start(self.read, row) for row in range(self.readers, 2 * self.readers)]
        self.neighbours.append(self.start(self.neighbour))

    def join_neighbours(self) -> None:
        for thread in self.neighbours:
            thread.join(JOIN_SECONDS)

    def neighbour_is_whole(self) -> bool:
        return all(
            [(seen.data == data_of(99, NEIGHBOUR_BYTES), seen.failed) for seen in row] == [(True, False)]
            for row in self.seen[self.readers :]
        )

    def published(self, blocks: int) -> bool:
        """Waits until so many payloads have come to the first reader of the segment."""
        with self.came:
            return self.came.wait_for(lambda: self.payloads >= blocks, JOIN_SECONDS)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(JOIN_SECONDS)
            assert not thread.is_alive(), "a thread of the job hangs"
        assert self.bugs == []


def begin(arena: Any, stream: int, number: int, header_bytes: int) -> Any:
    feeder = _kernel.Feeder(arena, stream)
    feeder.begin(object_id=UUID(int=number).bytes, number=number, name=b"x", as_of_ns=1, header_bytes=header_bytes)
    return feeder


@dataclass
class Turn:
    """A producer source's turn in its stream, in a thread of the job, as a stream runs it."""

    world: World
    names: list[str]
    errors: list[SourceError | None] = field(default_factory=list)
    feeders: list[Any] = field(default_factory=list)
    doors: list[threading.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.doors = [threading.Event() for _ in self.names]

    def path(self, number: int = 0) -> Path:
        """The socket of that producer, once it is there."""
        assert self.doors[number].wait(JOIN_SECONDS), "nobody waits for the producer"
        return ProducerSource(self.names[number], self.world.state).path

    def run(self) -> None:
        for number, name in enumerate(self.names):
            feeder = begin(self.world.arena, SEGMENT, number, 4096)
            self.feeders.append(feeder)
            error = None
            try:
                ProducerSource(name, self.world.state, self.doors[number].set).run(feeder)
                feeder.end()
            except SourceError as problem:
                error = problem.with_traceback(None)  # its frames hold the arena
                if feeder.blocks:
                    with suppress(Stopped):
                        feeder.end(failed=True)
            self.errors.append(error)
        self.world.arena.end_stream(SEGMENT)


def start_program(body: Callable[..., None], *args: Any) -> Any:
    process = processes.Process(target=body, args=args, daemon=True)
    process.start()
    return process


def until(condition: Callable[[], bool]) -> None:
    """Gives way to the other threads until the condition holds."""
    give_up = time.monotonic() + JOIN_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "what was waited for did not come"
        os.sched_yield()


def left_behind(state: Path) -> list[str]:
    """Sockets, shared memory and descriptors that a producer's turn may have forgotten."""
    gc.collect()
    maps = Path("/proc/self/maps").read_text()
    descriptors = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_is_open(fd)]
    return [
        *(str(path) for path in state.rglob("*") if path.is_socket()),
        *(line for line in maps.splitlines() if "tapeloom-producer" in line),
        *(name for name in descriptors if "tapeloom" in name or "eventfd" in name or "pidfd" in name),
        *(str(path) for path in Path("/dev/shm").glob("*tapeloom*")),
    ]


def fd_is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@contextmanager
def one_turn(state: Path, *names: str, **sizes: int) -> Iterator[Turn]:
    """A world in which the turn of the producers `names` runs. Afterwards all has ended and nothing is left behind."""
    world = World(state, **sizes)
    turn = Turn(world, list(names or ["program"]))
    world.start_all()
    world.start(turn.run)
    yield turn
    world.join()
    assert world.neighbour_is_whole()
    turn.feeders.clear()
    world.arena = turn.world = None
    left = left_behind(state)
    assert left == []


@contextmanager
def hanging_reader(state: Path, names: list[str]) -> Iterator[tuple[Turn, Callable[[], memoryview], int]]:
    """`one_turn` with a second reader that takes the first payload, and sits on it until the end."""
    with one_turn(state, *names, readers=2, hanging=1) as turn:
        drain = _kernel.Drain(turn.world.arena, 1)

        def payload() -> memoryview:
            assert drain.next_object() is not None
            return drain.payload()

        yield turn, payload, 1
        drain.close()
        drain = None
