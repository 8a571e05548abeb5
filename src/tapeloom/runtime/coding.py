"""A sink that compresses and seals: between a source and the feeder of its stream.

The source's thread fills one block of clear bytes after another; the workers of the process code them, several at a
time; the source's thread publishes them in order. A digest of the clear bytes is made beside that, in a thread of its
own.

A sink has at most `depth` blocks on their way, and the one being filled: `memory_bytes_max` in all, whatever the source
gives. The block that is full waits for the first byte behind it, or for the end: so END stands on the last one that has
data.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom.errors import NoReaders
from tapeloom.runtime.digest import Hashing, new_hash
from tapeloom.runtime.objects import JobObject
from tapeloom.runtime.workers import depth, workers
from tapeloom.seal.block import Seal, Squeezer
from tapeloom.seal.keys import DATA_KEY_BYTES, Key
from tapeloom.seal.library import library
from tapeloom.volume.header import KEY_ID_BYTES, SEAL_BYTES, WRAPPED_KEY_BYTES, Codec, Flag

if TYPE_CHECKING:
    from concurrent.futures import Future

Bytes = bytes | bytearray | memoryview
DigestKind = Literal["none", "sha256", "blake3"]

_ZEROS = bytes(64 * 1024)


class Coding(Struct, frozen=True):
    """How the blocks of an object are made: compressed by zstd at a level, sealed with a key, both or neither; and
    which digest is made of the clear sequence.

    Raises
    ------
    LibraryMissing
        What it needs is not installed.
    """

    zstd_level: int | None = None
    key: Key | None = None
    digest: DigestKind = "none"

    def __post_init__(self) -> None:
        if self.zstd_level is not None:
            library("zstandard")
        if self.key is not None:
            library("cryptography")
        if self.digest != "none":
            new_hash(self.digest)

    @property
    def codec_name(self) -> str | None:
        return None if self.zstd_level is None else "zstd"

    @property
    def key_id(self) -> str | None:
        return None if self.key is None else self.key.shown

    def without_digest(self) -> Coding:
        return replace(self, digest="none")


def memory_bytes_max(block_bytes: int) -> int:
    """What one sink takes beside its slots: the clear blocks on their way and the one being filled, and the coded
    ones."""
    return (2 * depth(block_bytes) + 1) * block_bytes


def open_sink(arena: _kernel.Arena, item: JobObject, header_bytes: int, coding: Coding) -> CodingSink:
    """A sink that is about to write the first block of `item`."""
    return CodingSink(_kernel.Feeder(arena, item.stream), item, header_bytes, coding)


class _Coder(Struct):
    """Makes a payload of clear bytes. For several threads."""

    feeder: _kernel.Feeder
    squeezer: Squeezer | None
    seal: Seal | None

    def code(self, seq: int, offset: int, flags: int, clear: memoryview) -> tuple[Codec, Bytes]:
        squeezed = None if self.squeezer is None else self.squeezer.squeeze(clear)
        codec, payload = (Codec.NONE, clear) if squeezed is None else (Codec.ZSTD, squeezed)
        if self.seal is None:
            return codec, payload
        header = self.feeder.coded_header(
            seq=seq,
            offset=offset,
            payload_bytes=len(payload) + SEAL_BYTES,
            sequence_bytes=len(clear),
            codec=codec,
            flags=flags,
        )
        return codec, self.seal.close(header, seq, payload)


class _Work(Struct, frozen=True):
    """A block on its way. `buffer` is free again when `coded` has been published and `hashed` is done."""

    seq: int
    flags: int
    buffer: bytearray
    bytes: int
    coded: Future[tuple[Codec, Bytes]]
    hashed: Future[object] | None


class CodingSink:
    """What a source writes a coded object to (see tapeloom.agent.sink.Sink). For one thread, the source's.

    `step` is how many bytes of the sequence each block stands for, but for the last one. `digest` is there after `end`.
    All calls that add raise `Stopped` or `NoReaders` as a feeder's do.
    """

    def __init__(self, feeder: _kernel.Feeder, item: JobObject, header_bytes: int, coding: Coding):
        key = coding.key
        data_key = os.urandom(DATA_KEY_BYTES)
        feeder.begin(
            object_id=item.id.bytes,
            number=item.number,
            name=item.source.encode(),
            as_of_ns=item.as_of_ns,
            parent=item.parent.bytes if item.parent else bytes(16),
            level=item.level,
            content=item.content,
            header_bytes=header_bytes,
            key_id=key.id if key else bytes(KEY_ID_BYTES),
            wrapped_key=key.wrap(data_key) if key else bytes(WRAPPED_KEY_BYTES),
        )
        self.step = feeder.payload_bytes_max - (SEAL_BYTES if key else 0)
        self.digest: str | None = None
        self._feeder = feeder
        self._coder = _Coder(
            feeder,
            None if coding.zstd_level is None else Squeezer(coding.zstd_level),
            Seal(data_key) if key else None,
        )
        self._flags = Flag.SEALED if key else 0
        self._hashing = None if coding.digest == "none" else Hashing(coding.digest, item.source)
        self._depth = depth(self.step)
        self._ahead: deque[_Work] = deque()
        self._free: list[bytearray] = []
        self._buffer = bytearray(self.step)
        self._filled = 0
        self._reserved = 0
        self._seq = self._offset = 0
        self._deserted: NoReaders | None = None

    @property
    def blocks(self) -> int:
        """Blocks that have been published."""
        return self._feeder.blocks

    @property
    def offset(self) -> int:
        """Bytes of the sequence so far."""
        return self._offset + self._filled

    @property
    def stopping(self) -> bool:
        """Whether the job has been told to stop."""
        return self._feeder.stopping

    def reserve(self) -> memoryview:
        """Free room for the bytes that come next, at least one: fill its beginning, then `commit(bytes)`. Void after
        the next call."""
        if self._filled == self.step:
            self._send(0)
            self._next_buffer()
        room = memoryview(self._buffer)[self._filled :]
        self._reserved = len(room)
        return room

    def commit(self, bytes: int) -> None:
        if bytes > self._reserved:
            raise ValueError(f"{bytes} bytes do not fit into the {self._reserved} that were reserved")
        self._filled += bytes
        self._reserved = 0

    def write(self, data: Bytes) -> None:
        """Append all of *data*."""
        left = memoryview(data).cast("B")
        while left:
            room = self.reserve()
            n = min(len(room), len(left))
            room[:n] = left[:n]
            self.commit(n)
            left = left[n:]

    def zeros(self, bytes: int) -> None:
        """Append *bytes* zero bytes."""
        zeros = memoryview(_ZEROS)
        while bytes:
            n = min(bytes, len(_ZEROS))
            self.write(zeros[:n])
            bytes -= n

    def pump(self, fd: int, offset: int, bytes: int) -> tuple[int, int]:
        """Append up to *bytes* bytes of the file *fd* from *offset* on. Returns how many came and an errno, as a
        feeder's."""
        done = 0
        while done < bytes:
            try:
                n = os.preadv(fd, [self.reserve()[: bytes - done]], offset + done)
            except OSError as error:
                return done, error.errno or 0
            if n == 0:
                break
            self.commit(n)
            done += n
        return done, 0

    def pump_pipe(self, fd: int) -> tuple[int, int]:
        """Append what comes out of the descriptor *fd* until it ends. Returns how much came and an errno, as a
        feeder's."""
        done = 0
        while True:
            # One byte first where a block is full: whether it is the last is known before it is sent on its way.
            full = self._filled == self.step
            try:
                if full:
                    first = os.read(fd, 1)
                    n = len(first)
                else:
                    n = os.readv(fd, [self.reserve()])
            except OSError as error:
                return done, error.errno or 0
            if n == 0:
                return done, 0
            if full:
                self.write(first)
            else:
                self.commit(n)
            done += n

    def end(self, failed: bool = False) -> None:
        """Ends the object; everything has been published then. Raises `Stopped` or `NoReaders` where that could not
        be."""
        if self._deserted is not None:
            raise self._deserted
        self._send(Flag.END | (Flag.FAILED if failed else 0), ending=True)
        while self._ahead:
            self._publish(ending=True)
        if self._hashing is not None:
            self.digest = None if failed else self._hashing.finish()
        self.drop()

    def drop(self) -> None:
        """Forgets what was not published, and lets the threads go. May come more than once."""
        for work in self._ahead:
            work.coded.cancel()
        self._ahead.clear()
        if self._hashing is not None:
            self._hashing.close()
        self._feeder.drop()

    def _send(self, flags: int, *, ending: bool = False) -> None:
        """The buffer as a block on its way to the feeder."""
        while len(self._ahead) >= self._depth or (self._ahead and self._ahead[0].coded.done()):
            self._publish(ending)
        clear = memoryview(self._buffer)[: self._filled]
        flags |= self._flags
        coded = workers().submit(self._coder.code, self._seq, self._offset, flags, clear)
        hashed = None if self._hashing is None else self._hashing.add(clear)
        self._ahead.append(_Work(self._seq, flags, self._buffer, self._filled, coded, hashed))
        self._seq += 1
        self._offset += self._filled
        self._filled = self._reserved = 0

    def _next_buffer(self) -> None:
        self._buffer = self._free.pop() if self._free else bytearray(self.step)

    def _publish(self, ending: bool) -> None:
        """The block that is first on its way, into a slot. It stays the first where the feeder takes it not."""
        work = self._ahead[0]
        codec, payload = work.coded.result()
        try:
            self._feeder.put_coded(payload, sequence_bytes=work.bytes, codec=codec, flags=work.flags, ending=ending)
        except NoReaders as deserted:
            self._deserted = deserted
            raise
        self._ahead.popleft()
        if work.hashed is not None:
            work.hashed.result()
        self._free.append(work.buffer)
