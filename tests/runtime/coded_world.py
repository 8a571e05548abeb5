"""Coded objects in memory: made by a sink, seen as the blocks that would be on tape, changed, and read back."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from random import Random
from uuid import UUID

import numpy as np

from tapeloom import _kernel
from tapeloom.device import open_drive
from tapeloom.runtime.coding import Coding, CodingSink, open_sink
from tapeloom.runtime.objects import JobObject
from tapeloom.runtime.reading import POOL, STREAM, restore_arena
from tapeloom.runtime.sequence import ObjectBytes, open_sequence
from tapeloom.seal import Key, KeyRing

BLOCK = 16 * 1024
SLOTS = 64
KEY = Key.of(bytes(range(32)), "K1")
OTHER_KEY = Key.of(bytes(32), "K2")
OBJECT = UUID("01890a5d-ac96-774b-bcce-b302099a8001")
OTHER = UUID("01890a5d-ac96-774b-bcce-b302099a8002")

CODINGS = {
    "zstd": Coding(zstd_level=1),
    "sealed": Coding(key=KEY),
    "both": Coding(zstd_level=1, key=KEY),
    "neither": Coding(),
}


def ring(*keys: Key) -> KeyRing:
    made = KeyRing()
    for key in keys:
        made.add(key)
    return made


def text(bytes: int, seed: int = 1) -> bytes:
    """Bytes that can be compressed."""
    words = [f"{Random(seed).randrange(10**6)} block {n} of a sequence\n".encode() for n in range(50)]
    one = b"".join(words)
    return (one * (bytes // len(one) + 1))[:bytes]


@cache
def noise(bytes: int, seed: int = 1) -> bytes:
    """Bytes that cannot."""
    return Random(seed).randbytes(bytes)


def mixed(bytes: int) -> bytes:
    """Pieces of both kinds, each of several blocks."""
    piece = 3 * BLOCK + 77
    pieces = [(text if n % 2 else noise)(piece, n) for n in range(bytes // piece + 1)]
    return b"".join(pieces)[:bytes]


def item_of(id: UUID = OBJECT, **more: object) -> JobObject:
    return JobObject(0, id, "D1", STREAM, 1_700_000_000_000_000_000, 1, **more)  # type: ignore[arg-type]


def arena_of() -> _kernel.Arena:
    return restore_arena(BLOCK, SLOTS)


def sink_on(arena: _kernel.Arena, coding: Coding, id: UUID = OBJECT, header_bytes: int = 512) -> CodingSink:
    return open_sink(arena, item_of(id), header_bytes, coding)


def coded(sequence: bytes, coding: Coding, id: UUID = OBJECT, *, header_bytes: int = 512) -> list[bytes]:
    """The blocks of an object with this sequence, as they stand on tape."""
    arena = arena_of()
    sink = sink_on(arena, coding, id, header_bytes)
    sink.write(sequence)
    sink.end()
    arena.end_stream(STREAM)
    return published(arena)


def published(arena: _kernel.Arena) -> list[bytes]:
    """All blocks of a stream that has ended, whole."""
    found = []
    drain = _kernel.Drain(arena, 0)
    while drain.next_object() is not None:
        while (block := drain.take()) is not None:
            found.append(bytes(block.header) + bytes(block.payload))
    drain.close()
    return found


def resealed(block: bytes | bytearray) -> bytes:
    """The block with checksums that fit again: what somebody does who knows the format, but not the key."""
    changed = bytearray(block)
    (header_bytes,) = struct.unpack_from("<H", changed, 10)
    struct.pack_into("<I", changed, 20, len(changed) - header_bytes)
    struct.pack_into("<I", changed, 24, _kernel.crc32c(memoryview(changed)[header_bytes:]))
    changed[12:16] = bytes(4)
    struct.pack_into("<I", changed, 12, _kernel.crc32c(memoryview(changed)[:header_bytes]))
    return bytes(changed)


def patched(block: bytes, at: int, field: bytes) -> bytes:
    changed = bytearray(block)
    changed[at : at + len(field)] = field
    return resealed(changed)


class Reader:
    """Blocks on a tape in memory, read back as a sequence. `blocks` may be any, in any order."""

    def __init__(
        self,
        blocks: Iterable[bytes],
        *,
        id: UUID = OBJECT,
        keys: KeyRing | None = None,
        anywhere: bool = False,
        **more: object,
    ):
        self.arena = arena_of()
        wants = np.array([(id.bytes, STREAM, 0)], _kernel.WANT)
        splitter = _kernel.Splitter(self.arena, POOL, wants)
        with open_drive("memory:", name="R1") as drive:
            drive.new_cartridge("A")
            drive.load("A")
            for block in blocks:
                drive.write(block)
            drive.write_filemarks()
            drive.rewind()
            split = splitter.run(drive.ops_address, drive.handle_address, position=0, blocks_max=SLOTS - 1)
        assert len(split.faults) == 0, "a test meant to make sound blocks"
        self.arena.end_stream(STREAM)
        self.drain = _kernel.Drain(self.arena, 0)
        self.sequence: ObjectBytes = open_sequence(self.drain, id, keys=keys, **more)  # type: ignore[arg-type]
        assert self.drain.next_object(anywhere=anywhere) is not None

    def all(self) -> bytes:
        return self.sequence.read(1 << 40)
