"""Small arenas by hand, and a drive that does what a test says."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeloom import _kernel
from tapeloom.volume import header

SLOT_BYTES = 16 * 1024
PAYLOAD_MAX = SLOT_BYTES - 512
LONG_NS = 20 * 10**9
"""Longer than any test takes: a turn that comes back for its deadline has waited for what should not be waited for."""


def make_arena(
    streams: Sequence[tuple[int, int] | tuple[int, int, int]],
    agents: Sequence[Sequence[int]],
    *,
    run_blocks: int = 4,
    patience_ns: int = 0,
    common: int = 0,
    slot_bytes: int = SLOT_BYTES,
    start_blocks: Sequence[int] = (),
) -> _kernel.Arena:
    """`streams`: quota and cap of each; `agents`: the streams that each reads. Cursors are numbered agent by agent.
    `start_blocks` of each agent, where any is to gather."""
    stream_rows = np.array([(*row, 0)[:3] for row in streams], _kernel.STREAM_PLAN)
    cursor_rows = [(stream, agent) for agent, reads in enumerate(agents) for stream in reads]
    first = np.cumsum([0, *[len(reads) for reads in agents]])
    starts = [*start_blocks, *[0] * len(agents)]
    agent_rows = [(first[i], len(reads), run_blocks, 0, patience_ns, starts[i]) for i, reads in enumerate(agents)]
    plan = (
        slot_bytes,
        common,
        stream_rows,
        np.array(cursor_rows, _kernel.CURSOR_PLAN),
        np.array(agent_rows, _kernel.AGENT_PLAN),
    )
    fd = os.memfd_create("tapeloom-test")
    try:
        os.ftruncate(fd, _kernel.arena_bytes(*plan))
        return _kernel.Arena(fd, *plan)
    finally:
        os.close(fd)


def object_id(number: int) -> bytes:
    return bytes([number + 1]) * 16


def begin(feeder: _kernel.Feeder, number: int, **more: Any) -> None:
    feeder.begin(object_id=object_id(number), number=number, name=f"D{number}".encode(), as_of_ns=number, **more)


def feeder_on(arena: _kernel.Arena, stream: int, number: int | None = None, **more: Any) -> _kernel.Feeder:
    """A feeder that has begun an object."""
    feeder = _kernel.Feeder(arena, stream)
    begin(feeder, stream if number is None else number, **more)
    return feeder


def feed_blocks(arena: _kernel.Arena, stream: int, blocks: int, number: int | None = None) -> None:
    """One object of so many small blocks, and the stream's end."""
    feeder = feeder_on(arena, stream, number)
    for block in range(blocks - 1):
        feeder.write(f"{stream}/{block}".encode())
        feeder.flush()
    feeder.write(f"{stream}/{blocks - 1}".encode())
    feeder.end()
    arena.end_stream(stream)


def all_objects(arena: _kernel.Arena, cursor: int) -> Iterator[tuple[bytes, bytes]]:
    drain = _kernel.Drain(arena, cursor)
    while (found := drain.next_object()) is not None:
        yield found, drain.read(2**63)
    drain.close()


def turn(interleaver: _kernel.Interleaver, drive: FakeDrive, position: int = 0, **more: Any) -> _kernel.Turn:
    options = {"bytes_max": 2**63, "deadline_ns": time.monotonic_ns() + LONG_NS, **more}
    return interleaver.turn(drive.ops_address, drive.handle_address, position=position, **options)


def split(splitter: _kernel.Splitter, drive: FakeDrive, position: int = 0, **more: Any) -> _kernel.Split:
    options = {"blocks_max": 2**63, **more}
    return splitter.run(drive.ops_address, drive.handle_address, position=position, **options)


def runs_of(turned: _kernel.Turn) -> list[tuple[int, int, int, int]]:
    return [tuple(int(field) for field in run) for run in turned.runs]


class Threads:
    """Threads whose bugs come out in `join`."""

    def __init__(self) -> None:
        self._all: list[threading.Thread] = []
        self._bugs: list[BaseException] = []

    def start(self, body: Callable[..., object], *args: object) -> None:
        def run() -> None:
            try:
                body(*args)
            except BaseException as bug:
                self._bugs.append(bug)

        self._all.append(threading.Thread(target=run, daemon=True))
        self._all[-1].start()

    def join(self) -> None:
        for thread in self._all:
            thread.join(LONG_NS / 1e9)
            assert not thread.is_alive(), "a thread sleeps for ever"
        if self._bugs:
            raise self._bugs[0]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic_ns() + LONG_NS
    while not condition():
        assert time.monotonic_ns() < end, "it never comes"
        os.sched_yield()


@dataclass(frozen=True)
class Written:
    """A block as the drive got it, and in which of its calls."""

    data: bytes
    call: int

    @property
    def header(self) -> header.Header:
        return header.parse(self.data, crc32c=lambda data, crc: _kernel.crc32c(data, crc))[0]

    @property
    def name(self) -> tuple[int, int]:
        """The object's number and the block's in it."""
        return self.data[32] - 1, self.header.seq


class FakeDrive:
    """See fake_drive.c. `trouble(at, status)` counts written blocks from 0."""

    def __init__(self, library: ctypes.CDLL, batch_max: int) -> None:
        self._library = library
        library.fake_new.restype = ctypes.c_void_p
        library.fake_block.restype = ctypes.POINTER(ctypes.c_uint8)
        self._fake = ctypes.c_void_p(library.fake_new(batch_max))

    @property
    def handle_address(self) -> int:
        assert self._fake.value
        return self._fake.value

    ops_address = handle_address
    """The table stands at the beginning of the handle."""

    def close(self) -> None:
        self._library.fake_free(self._fake)

    def trouble(self, at: int, status: int) -> None:
        self._library.fake_trouble(self._fake, at, status)

    def read_trouble(self, at: int, status: int) -> None:
        self._library.fake_read_trouble(self._fake, at, status)

    def hang(self, at: int) -> None:
        self._library.fake_hang(self._fake, at)

    def wait_hung(self) -> None:
        self._library.fake_wait_hung(self._fake)

    def release(self) -> None:
        self._library.fake_release(self._fake)

    @property
    def written(self) -> list[Written]:
        found = []
        bytes_, call = ctypes.c_uint32(), ctypes.c_uint32()
        for i in range(self._library.fake_written(self._fake)):
            data = self._library.fake_block(self._fake, i, ctypes.byref(bytes_), ctypes.byref(call))
            found.append(Written(ctypes.string_at(data, bytes_.value), call.value))
        return found

    def put(self, block: bytes) -> None:
        self._library.fake_put(self._fake, block, len(block))

    def put_filemark(self) -> None:
        self.put(b"")
