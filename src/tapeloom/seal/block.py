"""One block: compressed and sealed, and back again. csrc/FORMAT.md, "Compressed and sealed blocks", is the law.

All of it may be called from several threads at once; the libraries do their work without the GIL.
"""

from __future__ import annotations

import struct
import threading
from uuid import UUID

from tapeloom.errors import BlockDamaged, SealBroken
from tapeloom.limits import BLOCK_BYTES_MAX
from tapeloom.seal.keys import KeyRing
from tapeloom.seal.library import library
from tapeloom.volume.header import KEY_ID_BYTES, WRAPPED_KEY_BYTES, Codec, Flag

Buffer = bytes | bytearray | memoryview

SAMPLE_PIECES = 8
SAMPLE_PIECE_BYTES = 4096
SAMPLE_FROM_BYTES = 2 * SAMPLE_PIECES * SAMPLE_PIECE_BYTES
"""A shorter block is not sampled: trying it costs no more."""
GAIN_MIN = 1 / 32
"""A block that does not become shorter by that part goes as it is, and costs no time at a restore."""

_NONCE = struct.Struct("<4xQ")
_FACTS = struct.Struct("<BHIII")
_FACTS_AT = 17
_SEQ_AT, _KEY_ID_AT, _WRAPPED_KEY_AT = 48, 352, 368
_CRCS = (12, 24)
_UNSEALED = (b"", b"")


class Squeezer:
    """zstd at one level. Raises LibraryMissing when it is made."""

    def __init__(self, level: int):
        self._zstandard = library("zstandard")
        self._level = level
        self._own = threading.local()

    def squeeze(self, data: memoryview) -> bytes | None:
        """One frame that says how long `data` is; None where it would not be shorter by GAIN_MIN.

        Eight pieces of a block are tried first, at the fastest level: data that is compressed already costs
        a twentieth of a try of all of it.
        """
        own = self._own
        if not hasattr(own, "whole"):  # a compressor is for one thread at a time
            own.whole = self._zstandard.ZstdCompressor(level=self._level)
            own.sample = self._zstandard.ZstdCompressor(level=1)
        if len(data) >= SAMPLE_FROM_BYTES:
            step = (len(data) - SAMPLE_PIECE_BYTES) // (SAMPLE_PIECES - 1)
            sample = b"".join(
                data[at : at + SAMPLE_PIECE_BYTES] for at in range(0, len(data) - SAMPLE_PIECE_BYTES + 1, step)
            )
            if not _worth_it(len(own.sample.compress(sample)), len(sample)):
                return None
        frame: bytes = own.whole.compress(data)
        return frame if _worth_it(len(frame), len(data)) else None


def _worth_it(squeezed: int, clear: int) -> bool:
    return squeezed <= clear * (1 - GAIN_MIN)


class Seal:
    """AES-256-GCM with one object's data key."""

    def __init__(self, data_key: bytes):
        self._gcm = library("cryptography.hazmat.primitives.ciphers.aead").AESGCM(data_key)
        self._wrong = library("cryptography.exceptions").InvalidTag

    def close(self, header: bytes, seq: int, payload: Buffer) -> bytes:
        """The sealed payload, SEAL_BYTES longer. `header` has both checksums zero. Call it once for each seq: the nonce
        comes from it."""
        sealed: bytes = self._gcm.encrypt(_NONCE.pack(seq), payload, header)
        return sealed

    def open(self, header: bytes, seq: int, payload: Buffer) -> bytes:
        """The payload that was sealed with this header and seq. Raises SealBroken for any other."""
        try:
            clear: bytes = self._gcm.decrypt(_NONCE.pack(seq), payload, header)
        except (self._wrong, ValueError):
            raise SealBroken("it was changed, or sealed as another block than the one it stands for") from None
        return clear


class Decoder:
    """From the blocks of one object back to its sequence.

    `sealed` is the id of the key that the object is known to be sealed with, in hexadecimal; None where nothing is
    known. Blocks of one object are all sealed, by the same data key, or none is: what the first one says holds for all.
    """

    def __init__(self, object_id: UUID, keys: KeyRing | None = None, sealed: str | None = None):
        self._id = object_id
        self._keys = keys or KeyRing()
        self._sealed_by = None if sealed is None else bytes.fromhex(sealed)
        self._told: tuple[bytes, bytes] | None = None
        self._seal: Seal | None = None
        self._own = threading.local()

    def admit(self, flags: int, header: Buffer) -> None:
        """Looks at whose key a block is sealed with. In order of the blocks, before `decode`.

        Raises
        ------
        SealError
            The key is not here.
        SealBroken
            The block does not belong to the others.
        LibraryMissing
        """
        told = _key_of(header) if flags & Flag.SEALED else _UNSEALED
        if told == self._told:
            return
        if self._sealed_by is not None and told[0] != self._sealed_by:
            raise SealBroken(
                f"object {self._id} is sealed with the key {self._sealed_by.hex()}, but a block of it that is "
                + (f"sealed with the key {told[0].hex()}" if told[0] else "not sealed")
                + " stands in its place"
            )
        if self._told is not None:
            raise SealBroken(f"a block of object {self._id} is sealed otherwise than those before it")
        if told[0]:
            self._seal = Seal(self._keys.find(told[0]).unwrap(told[1]))
        self._told = told

    def decode(self, header: Buffer, payload: Buffer) -> Buffer:
        """The sequence's bytes that a block stands for, never more than its header says. Its checksums, and `admit`,
        have passed it.

        Raises
        ------
        SealBroken, BlockDamaged
            It does not open; or it is not what was compressed.
        LibraryMissing
        """
        codec, flags, _, _, sequence_bytes = _FACTS.unpack_from(header, _FACTS_AT)
        (seq,) = struct.unpack_from("<Q", header, _SEQ_AT)
        if flags & Flag.SEALED:
            assert self._seal is not None
            try:
                payload = self._seal.open(_without_checksums(header), seq, payload)
            except SealBroken as broken:
                raise SealBroken(f"block {seq} of object {self._id} does not open: {broken}") from None
        if codec == Codec.ZSTD:
            return self._unsqueeze(payload, seq, sequence_bytes)
        if codec != Codec.NONE or len(payload) != sequence_bytes:
            raise BlockDamaged(f"block {seq} of object {self._id} is not as long as its header says")
        return payload

    def _unsqueeze(self, frame: Buffer, seq: int, sequence_bytes: int) -> bytes:
        own = self._own
        if not hasattr(own, "zstd"):
            own.zstandard = library("zstandard")
            own.zstd = own.zstandard.ZstdDecompressor()
        try:
            # Before anything is made room for: a frame says how much it wants, and a header how much it may.
            wanted = own.zstandard.get_frame_parameters(frame).content_size
            if wanted != sequence_bytes or sequence_bytes > BLOCK_BYTES_MAX:
                raise BlockDamaged(f"block {seq} of object {self._id} is not as long as its header says")
            clear: bytes = own.zstd.decompress(frame, allow_extra_data=False)
        except own.zstandard.ZstdError as error:
            raise BlockDamaged(f"block {seq} of object {self._id} cannot be decompressed: {error}") from None
        return clear


def _key_of(header: Buffer) -> tuple[bytes, bytes]:
    return (
        bytes(header[_KEY_ID_AT : _KEY_ID_AT + KEY_ID_BYTES]),
        bytes(header[_WRAPPED_KEY_AT : _WRAPPED_KEY_AT + WRAPPED_KEY_BYTES]),
    )


def _without_checksums(header: Buffer) -> bytes:
    plain = bytearray(header)
    for at in _CRCS:
        plain[at : at + 4] = bytes(4)
    return bytes(plain)
