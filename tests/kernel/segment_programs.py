"""What the tests run in another process: honest producers, and others. Each is told where the socket is."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tapeloom import _segment
from tapeloom.attach import attach
from tapeloom.errors import SourceError
from tapeloom.handshake import HELLO, HELLO_MAGIC, WELCOME, address

# Offsets of csrc/segment.h.
GRANTED, JOB_SLEEPING, FILLED, PRODUCER_SLEEPING, ENDED, WORDS = 0, 8, 64, 72, 76, 384


def data_of(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def honest(path: Path, seed: int, size: int) -> None:
    """Writes `data_of(seed, size)` in pieces, by all ways there are."""
    pieces = random.Random(seed + 1)
    data = data_of(seed, size)
    with attach(path) as producer:
        at = 0
        while at < size:
            piece = data[at : at + pieces.choice([1, 100, 5000, 70_000, 300_000])]
            if pieces.random() < 0.5:
                producer.write(piece)
            else:
                room = producer.reserve()
                piece = piece[: len(room)]
                room[: len(piece)] = np.frombuffer(piece, np.uint8)
                producer.commit(len(piece))
            at += len(piece)
            if pieces.random() < 0.1:
                producer.flush()


def patient(state: Path, source: str, trying: Any) -> None:
    """Comes before its time."""
    try:
        attach(state, source)
    except SourceError:
        trying.set()
    with attach(state, source, patience_seconds=60) as producer:
        producer.write(b"at last")


def gives_up(path: Path, seed: int, size: int) -> None:
    with contextlib.suppress(ZeroDivisionError), attach(path) as producer:
        producer.write(data_of(seed, size))
        raise ZeroDivisionError("the model has diverged\x1b[2J")


def killed_after(path: Path, seed: int, microseconds: float) -> None:
    """Writes `data_of(seed, 1 MB)` again and again until it is killed, wherever it is then."""
    data = memoryview(data_of(seed, 1_000_000))
    piece = random.Random(seed).choice([1000, 30_000, 1_000_000])
    with attach(path) as producer:
        threading.Timer(microseconds / 1e6, die).start()
        while True:
            for at in range(0, len(data), piece):
                producer.write(data[at : at + piece])


def killed_at(path: Path, stage: str) -> None:
    """Dies by its own hand, right behind a stage."""
    if stage == "connected":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with address(path) as place:
            connection.connect(place)
        die()
    if stage == "said hello":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with address(path) as place:
            connection.connect(place)
        connection.send(HELLO.pack(HELLO_MAGIC, _segment.ABI))
        die()
    producer = attach(path)
    if stage == "attached":
        die()
    room = producer.reserve()
    room[:] = 1
    if stage == "filled":
        die()
    producer.commit(len(room))
    if stage == "committed":
        die()
    producer.reserve()[:10] = 1
    producer.commit(10)
    die()


class Raw:
    """A producer that keeps no rules: the words and the memory, by hand."""

    def __init__(self, path: Path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with address(path) as place:
            self.socket.connect(place)
        self.socket.send(HELLO.pack(HELLO_MAGIC, _segment.ABI))
        said, (self.fd,), _, _ = socket.recv_fds(self.socket, 1024, 1)
        _, self.slots, self.payload_max = WELCOME.unpack(said)
        self.memory = np.memmap(os.fdopen(os.dup(self.fd), "r+b"), np.uint8, "r+")

    def set(self, offset: int, value: int, size: str) -> None:
        self.memory[offset : offset + np.dtype(size).itemsize].view(size)[0] = value

    def bytes(self, position: int, value: int) -> None:
        self.set(WORDS + 4 * (self.slots + position % self.slots), value, "<u4")

    def wake(self) -> None:
        self.socket.send(b"\0", socket.MSG_NOSIGNAL)

    def until_closed(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(1):
                pass


LIES = {
    "filled too far": [("filled", 1 << 40)],
    "filled one too far": [("filled", "slots + 1")],
    "filled all ones": [("filled", 2**64 - 1)],
    "filled back": [("bytes", 0, 100), ("bytes", 1, 100), ("filled", 2), ("taken", 2), ("filled", 1)],
    "empty block": [("bytes", 0, 0), ("filled", 1)],
    "block too long": [("bytes", 0, "payload_max + 1"), ("filled", 1)],
    "block huge": [("bytes", 0, 2**32 - 1), ("filled", 1)],
    "ended with nonsense": [("ended", 77)],
}


def lies(path: Path, lie: str, taken: Any) -> None:
    """Writes what LIES says. `taken` tells when the job has taken so many blocks."""
    raw = Raw(path)
    names = {"slots": raw.slots, "payload_max": raw.payload_max}
    for what, *values in LIES[lie]:
        number = [eval(value, names) if isinstance(value, str) else value for value in values]
        if what == "taken":
            taken.wait()
        elif what == "bytes":
            raw.bytes(*number)
            continue
        elif what == "filled":
            raw.set(FILLED, *number, "<u8")
        else:
            raw.set(ENDED, *number, "<u4")
        raw.wake()
    raw.until_closed()


def floods(path: Path) -> None:
    """Sends wake-ups that nobody has asked for."""
    raw = Raw(path)
    with contextlib.suppress(ConnectionError):
        while True:
            raw.wake()


def ends_early(path: Path) -> None:
    """Says that this is all, and goes on."""
    raw = Raw(path)
    raw.memory[-raw.slots * raw.payload_max :] = 7
    raw.bytes(0, raw.payload_max)
    raw.set(FILLED, 1, "<u8")
    raw.set(ENDED, 1, "<u4")
    raw.bytes(1, raw.payload_max)
    raw.set(FILLED, 2, "<u8")
    raw.wake()
    raw.until_closed()


def truncates(path: Path, answers: Any) -> None:
    """Tries to take the memory away from under the job, then goes on as if nothing had been."""
    raw = Raw(path)
    size = os.fstat(raw.fd).st_size
    for length in (0, 4096, size - 1, size + 4096):
        try:
            os.ftruncate(raw.fd, length)
            answers.send(f"ftruncate to {length} of {size}")
        except PermissionError:
            answers.send(None)
    raw.memory[-raw.slots * raw.payload_max :] = 7
    os.posix_fallocate(raw.fd, 0, size)
    # The pages may be given back: the job then reads zeros.
    libc_fallocate(raw.fd, size)
    raw.bytes(0, raw.payload_max)
    raw.set(FILLED, 1, "<u8")
    raw.set(ENDED, 1, "<u4")
    raw.wake()
    raw.until_closed()


def libc_fallocate(fd: int, size: int) -> None:
    import ctypes

    keep_size_and_punch_hole = 1 | 2
    payload_at = size // 4096 // 2 * 4096
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(fd, keep_size_and_punch_hole, ctypes.c_long(payload_at), ctypes.c_long(size - payload_at)):
        raise OSError(ctypes.get_errno(), "fallocate")


def scribbles(path: Path, seed: int, rounds: int) -> None:
    """Writes at random over all it can reach, works as a producer in between, and never stops on its own."""
    rng = np.random.default_rng(seed)
    raw = Raw(path)
    size = len(raw.memory)
    for number in range(rounds):
        at = int(rng.integers(size))
        kind = rng.integers(6)
        if kind == 0:
            raw.memory[at : at + int(rng.integers(1, 5000))] = rng.integers(256)
        elif kind == 1:
            raw.memory[: int(rng.integers(1, 4096))] = rng.integers(256, size=4096, dtype=np.uint8)[0]
        elif kind == 2:
            raw.set(int(rng.integers(0, 512)) * 8, int(rng.integers(2**63)), "<u8")
        elif kind == 3:
            raw.bytes(int(rng.integers(raw.slots)), int(rng.integers(1, raw.payload_max)))
            raw.set(FILLED, number, "<u8")
        elif kind == 4:
            raw.set(JOB_SLEEPING + 4 * int(rng.integers(2)), 1, "<u4")
        elif number % 7 == 0:
            with contextlib.suppress(ConnectionError):
                raw.wake()
    raw.memory[:] = rng.integers(256)
    with contextlib.suppress(ConnectionError):
        raw.wake()
    raw.until_closed()


def scribbles_for_ever(path: Path, began: Any) -> None:
    """Hands over one block, gives up, and then spoils all of its memory over and over until it is killed."""
    raw = Raw(path)
    raw.bytes(0, raw.payload_max)
    raw.set(FILLED, 1, "<u8")
    raw.set(ENDED, 2, "<u4")
    raw.wake()
    raw.until_closed()
    value = 0
    while True:
        value = (value + 1) % 256
        raw.memory[:] = value
        began.set()


def never_reads(path: Path, seed: int, size: int) -> None:
    """An honest producer whose socket nobody empties: it looks at the words without end."""
    raw = Raw(path)
    data = data_of(seed, size)
    blocks = [data[at : at + raw.payload_max] for at in range(0, size, raw.payload_max)]
    for position, block in enumerate(blocks):
        raw.set(PRODUCER_SLEEPING, 1, "<u4")
        while raw.memory[GRANTED : GRANTED + 8].view("<u8")[0] <= position:
            os.sched_yield()
        slot = int(raw.memory[WORDS + 4 * (position % raw.slots) :][:4].view("<u4")[0])
        at = len(raw.memory) - (raw.slots - slot) * raw.payload_max
        raw.memory[at : at + len(block)] = np.frombuffer(block, np.uint8)
        raw.bytes(position, len(block))
        raw.set(FILLED, position + 1, "<u8")
        if raw.memory[JOB_SLEEPING : JOB_SLEEPING + 4].view("<u4")[0]:
            raw.set(JOB_SLEEPING, 0, "<u4")
            raw.wake()
    raw.set(ENDED, 1, "<u4")
    raw.wake()
    raw.until_closed()


def tells(path: Path, pipe: Any, silent: bool = False) -> None:
    """Writes for ever, or (silent) not before it is told to; then says over the pipe what kind of error came."""
    try:
        with attach(path) as producer:
            pipe.send("attached")
            if silent:
                pipe.recv()
            while True:
                producer.write(bytes(1 << 20))
    except SourceError as error:
        pipe.send(type(error).__name__)


def attaches(path: Path, pipe: Any, uid: int) -> None:
    """Attaches as another user and says what came of it."""
    os.setgid(uid)
    os.setuid(uid)
    try:
        attach(path)
    except SourceError as error:
        pipe.send((type(error).__name__, str(error)))
    else:
        pipe.send(None)
