"""Indexes and snapshots of sealed objects on disk: files of the very blocks that an object on tape is made of.

Header and payload of one block follow on those of the one before, without padding, from seq 0 to the one with END. So
whatever reads blocks reads such a file, `reader.py` at the head of a tape too. `object` in the headers is the object
that the file belongs to; its data key is the file's own.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol, cast
from uuid import UUID

from tapeloom import _kernel
from tapeloom._kernel import Verdict
from tapeloom.errors import BlockDamaged, FormatError, SealBroken, VersionTooNew
from tapeloom.filepool import PooledFile
from tapeloom.limits import HEADER_BYTES, KIB
from tapeloom.seal.block import Decoder, Seal, Squeezer
from tapeloom.seal.keys import DATA_KEY_BYTES, Key, KeyRing
from tapeloom.volume.header import SEAL_BYTES, Codec, Content, Flag, Header, authenticated, pack, parse_header

STEP = 256 * KIB
"""Bytes that a block stands for. Who looks up one name has to open one or two of them."""
CACHED_BLOCKS = 4


class Coding(Protocol):
    """See tapeloom.runtime.coding."""

    @property
    def zstd_level(self) -> int | None: ...

    @property
    def key(self) -> Key | None: ...


def seal_file(
    src_fd: int, dst: Path, coding: Coding, object_id: UUID, *, content: Content | int = Content.INDEX
) -> None:
    """Seals what is in the file `src_fd`, from its beginning to its end, into a new file `dst` that its owner alone may
    read. It is there whole, and on disk, or not at all.

    Raises
    ------
    ValueError
        `coding` has no key.
    OSError, LibraryMissing
    """
    if coding.key is None:
        raise ValueError("a file is sealed with a key")
    fd, unfinished = tempfile.mkstemp(prefix=f".{dst.name}-", dir=dst.parent)  # mode 0600
    try:
        with open(fd, "wb") as file:
            for block in _blocks(src_fd, dst.name, coding, coding.key, object_id, content):
                file.write(block)
            file.flush()
            os.fsync(fd)
        os.replace(unfinished, dst)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    folder = os.open(dst.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _blocks(
    src_fd: int, name: str, coding: Coding, key: Key, object_id: UUID, content: Content | int
) -> Iterator[bytes]:
    data_key = os.urandom(DATA_KEY_BYTES)
    wrapped_key = key.wrap(data_key)
    seal = Seal(data_key)
    squeezer = None if coding.zstd_level is None else Squeezer(coding.zstd_level)
    as_of = time.time_ns()
    offset = seq = 0
    piece = _read_at(src_fd, 0)
    while True:
        after = _read_at(src_fd, offset + len(piece))
        squeezed = None if squeezer is None else squeezer.squeeze(memoryview(piece))
        payload = piece if squeezed is None else squeezed
        header = Header(
            object=object_id,
            seq=seq,
            offset=offset,
            as_of=as_of,
            name=name,
            codec=Codec.NONE if squeezed is None else Codec.ZSTD,
            flags=Flag.SEALED | (0 if after else Flag.END),
            payload_bytes=len(payload) + SEAL_BYTES,
            sequence_bytes=len(piece),
            content=content,
            key_id=key.id,
            wrapped_key=wrapped_key,
        )
        yield pack(header, seal.close(authenticated(header), seq, payload), crc32c=_kernel.crc32c)
        if not after:
            return
        offset, seq, piece = offset + len(piece), seq + 1, after


def _read_at(fd: int, offset: int) -> bytes:
    """STEP bytes; fewer only at the file's end."""
    pieces = []
    wanted = STEP
    while wanted and (piece := os.pread(fd, wanted, offset)):
        pieces.append(piece)
        offset += len(piece)
        wanted -= len(piece)
    return b"".join(pieces)


def open_sealed(path: Path, keys: KeyRing) -> io.RawIOBase:
    """A sealed file to read in the clear, anywhere in it: what is asked for is opened block by block, nothing is
    written anywhere. Close it.

    Raises
    ------
    SealError
        Its key is not here.
    FormatError
        It is no such file, or damaged. Later reads raise this too: a block is looked at when it is needed.
    OSError, LibraryMissing
    """
    return SealedFile(path, keys)


def unsealed_fd(path: Path, keys: KeyRing) -> int:
    """A descriptor of what a sealed file holds, in the clear, in a file without a name beside it. The caller closes it.
    Raises as `open_sealed`."""
    with SealedFile(path, keys) as sealed, tempfile.TemporaryFile(dir=path.parent) as clear:
        for seq in range(sealed.blocks):
            clear.write(sealed.block(seq))
        clear.flush()
        os.lseek(clear.fileno(), 0, os.SEEK_SET)
        return os.dup(clear.fileno())


class SealedFile(io.RawIOBase):
    """See `open_sealed`. `blocks` is how many it has, `object_id` whose it is."""

    def __init__(self, path: Path, keys: KeyRing):
        self._path = path
        self._at = 0
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._file = PooledFile(path)
        try:
            if self._file.size == 0:
                raise FormatError(f"{path} is empty: it is no sealed file")
            self._places, self._offsets = self._find_blocks()
            first = parse_header(self._stored(0)[:HEADER_BYTES], crc32c=_kernel.crc32c)
            self.object_id = first.object
            self._decoder = Decoder(first.object, keys, first.key_id.hex())
            # The last block says that it is the last, and where in the file it stands, under its seal.
            self._bytes = self._offsets[-1] + len(self.block(self.blocks - 1))
        except BaseException:
            self.close()
            raise

    @property
    def blocks(self) -> int:
        return len(self._places)

    def block(self, seq: int) -> bytes:
        """What block `seq` holds. Raises BlockDamaged."""
        if (cached := self._cache.get(seq)) is not None:
            self._cache.move_to_end(seq)
            return cached
        block = self._stored(seq)
        if (verdict := _kernel.check_block(block)) is not Verdict.OK:
            raise BlockDamaged(f"{self._path}: block {seq} is damaged ({verdict.name.lower()})")
        header = parse_header(block[:HEADER_BYTES], crc32c=_kernel.crc32c)
        try:
            in_place = header.object == self.object_id and header.seq == seq and header.offset == self._offsets[seq]
            if not in_place or header.is_end != (seq == self.blocks - 1):
                raise SealBroken(f"block {seq} is not the one that belongs there")
            self._decoder.admit(header.flags, block)
            clear = bytes(self._decoder.decode(block[: header.header_bytes], block[header.header_bytes :]))
        except SealBroken as broken:
            raise SealBroken(f"{self._path}: {broken}") from None
        self._cache[seq] = clear
        if len(self._cache) > CACHED_BLOCKS:
            self._cache.popitem(last=False)
        return clear

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._bytes}[whence]
        if begin + offset < 0:
            raise ValueError("before the beginning of the file")
        self._at = begin + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        """Fills all of `buffer`, unless the file ends."""
        room = memoryview(cast(bytearray, buffer)).cast("B")
        done = 0
        while done < len(room) and self._at < self._bytes:
            seq = bisect_right(self._offsets, self._at) - 1
            inside = self._at - self._offsets[seq]
            piece = memoryview(self.block(seq))[inside : inside + len(room) - done]
            room[done : done + len(piece)] = piece
            done += len(piece)
            self._at += len(piece)
        return done

    def close(self) -> None:
        self._cache.clear()
        self._file.close()
        super().close()

    def _stored(self, seq: int) -> memoryview:
        begin = self._places[seq]
        end = self._places[seq + 1] if seq + 1 < len(self._places) else self._file.size
        return memoryview(self._file.pread(end - begin, begin))

    def _find_blocks(self) -> tuple[list[int], list[int]]:
        """Where each block begins in the file, and which byte of what it holds. Headers are believed here: every block
        is looked at when it is opened."""
        places, offsets = [], []
        at = 0
        try:
            while at < self._file.size:
                header = parse_header(self._file.pread(HEADER_BYTES, at), crc32c=_kernel.crc32c)
                places.append(at)
                offsets.append(header.offset)
                at += header.block_bytes
        except (BlockDamaged, VersionTooNew) as error:
            raise type(error)(f"{self._path}: at byte {at}: {error}") from None
        except FormatError:
            raise FormatError(f"{self._path} is no sealed file, or is damaged at byte {at}") from None
        if at != self._file.size or offsets != sorted(set(offsets)) or offsets[0] != 0:
            raise BlockDamaged(f"{self._path} is damaged: its blocks are not whole, or not in order")
        return places, offsets
