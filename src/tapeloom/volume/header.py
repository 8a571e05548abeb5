"""The block header in plain Python, for what is small: tape records, tests, a look at a tape.

The hot path has its own in csrc/block.c; csrc/FORMAT.md is the law for both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ..errors import BlockDamaged, FormatError, VersionTooNew
from ..limits import BLOCK_BYTES_MAX, HEADER_BYTES, HEADER_PAGE_BYTES, SOURCE_NAME_BYTES_MAX

MAGIC = b"TLOOMBLK"
VERSION = 1

Buffer = bytes | bytearray | memoryview
Crc32c = Callable[[Buffer, int], int]
"""`crc32c(data, crc)`: the CRC32C of what gave `crc` so far (0 to begin) and `data` behind it."""

_LAYOUT = struct.Struct("<8sHHIBBHIII16sQQq16sBBHI256s16s40s")
_CRC_AT = 12
_PAYLOAD_CRC_AT = 24
_CRC_FIELD = struct.Struct("<I")
_NO_ID = UUID(int=0)


class Kind(IntEnum):
    OBJECT = 1
    RECORD = 2


class Codec(IntEnum):
    NONE = 0
    ZLIB = 1
    ZSTD = 2


class Flag(IntFlag):
    END = 1 << 0
    """The last block of its object or record."""
    FAILED = 1 << 1
    """With END: the source broke off, the object is not whole."""
    SEALED = 1 << 8
    """The payload is encrypted, and header and payload are authenticated."""


FLAGS_MUST_KNOW = 0xFF00 & ~int(Flag.SEALED)
"""Those that this reader does not know."""
KEY_ID_BYTES = 16
WRAPPED_KEY_BYTES = 40
SEAL_BYTES = 16
"""How much longer sealing makes a payload."""


class Level(IntEnum):
    FULL = 0
    INCREMENTAL = 1
    DIFFERENTIAL = 2


class Content(IntEnum):
    OPAQUE = 0
    PAX = 1
    JSON = 2
    INDEX = 3
    CATALOG = 4


def _table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (0x82F63B78 if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


_TABLE = _table()


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC32C by table, a few MB/s: the reference that every faster one must equal."""
    crc ^= 0xFFFFFFFF
    for byte in memoryview(data).cast("B"):
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Header(Struct, frozen=True):
    """What a header says. Times are ns since 1970 UTC; `seq` and `offset` count from 0.

    `pack` fills in `payload_bytes`, and `sequence_bytes` of a block that is neither coded nor sealed, from the payload
    that it is given. `key_id` and `wrapped_key` are zeros where the object is not sealed.
    """

    object: UUID
    seq: int
    offset: int
    as_of: int
    name: str
    kind: Kind = Kind.OBJECT
    codec: Codec = Codec.NONE
    flags: int = 0
    payload_bytes: int = 0
    sequence_bytes: int = 0
    parent: UUID | None = None
    level: Level = Level.FULL
    content: Content | int = Content.OPAQUE
    header_bytes: int = HEADER_BYTES
    key_id: bytes = bytes(KEY_ID_BYTES)
    wrapped_key: bytes = bytes(WRAPPED_KEY_BYTES)

    @property
    def block_bytes(self) -> int:
        return self.header_bytes + self.payload_bytes

    @property
    def is_end(self) -> bool:
        return bool(self.flags & Flag.END)

    @property
    def is_failed(self) -> bool:
        return bool(self.flags & Flag.FAILED)

    @property
    def is_sealed(self) -> bool:
        return bool(self.flags & Flag.SEALED)


def pack(header: Header, payload: Buffer, *, crc32c: Crc32c = crc32c) -> bytes:
    """The whole tape block, checksums included.

    Raises
    ------
    FormatError
        The block would not be one: a name or a length out of its limits.
    """
    header = replace(header, payload_bytes=memoryview(payload).nbytes)
    if header.codec is Codec.NONE and not header.is_sealed:
        header = replace(header, sequence_bytes=header.payload_bytes)
    plain = bytearray(authenticated(header))
    _CRC_FIELD.pack_into(plain, _PAYLOAD_CRC_AT, crc32c(payload, 0))
    _CRC_FIELD.pack_into(plain, _CRC_AT, crc32c(plain, 0))
    return b"".join((plain, payload))


def authenticated(header: Header) -> bytes:
    """The header's bytes with both checksums zero: what the seal of a sealed block authenticates beside its payload.

    Raises FormatError as `pack` does.
    """
    name = header.name.encode()
    if len(name) > SOURCE_NAME_BYTES_MAX:
        raise FormatError(f"the name {header.name!r} takes {len(name)} bytes, a header has {SOURCE_NAME_BYTES_MAX}")
    if header.header_bytes not in (HEADER_BYTES, HEADER_PAGE_BYTES):
        raise FormatError(f"a header of {header.header_bytes} bytes: it is {HEADER_BYTES} or {HEADER_PAGE_BYTES}")
    if header.block_bytes > BLOCK_BYTES_MAX:
        raise FormatError(f"a block of {header.block_bytes} bytes: the limit is {BLOCK_BYTES_MAX}")
    fields = _LAYOUT.pack(
        MAGIC,
        VERSION,
        header.header_bytes,
        0,
        header.kind,
        header.codec,
        header.flags,
        header.payload_bytes,
        0,
        header.sequence_bytes,
        header.object.bytes,
        header.seq,
        header.offset,
        header.as_of,
        (header.parent or _NO_ID).bytes,
        header.level,
        header.content,
        len(name),
        0,
        name,
        header.key_id,
        header.wrapped_key,
    )
    return fields.ljust(header.header_bytes, b"\0")


def parse_header(block: Buffer, *, crc32c: Crc32c = crc32c) -> Header:
    """The header at the beginning of `block`, which may be longer or shorter than the block it describes.

    Raises
    ------
    FormatError
        Foreign: no magic.
    BlockDamaged
        The header's checksum, or a length in it, is wrong.
    VersionTooNew
        The header is whole, but of a version, kind, codec or flag that this reader does not know.
    """
    view = memoryview(block).cast("B")
    if bytes(view[: len(MAGIC)]) != MAGIC:
        raise FormatError("not a block of tapeloom: the magic is missing")
    if len(view) < HEADER_BYTES:
        raise BlockDamaged(f"a header takes {HEADER_BYTES} bytes, here are {len(view)}")
    version, header_bytes = struct.unpack_from("<HH", view, 8)
    if not HEADER_BYTES <= header_bytes <= len(view):
        raise BlockDamaged(f"header damaged: it claims {header_bytes} bytes")
    plain = bytearray(view[:header_bytes])
    (header_crc,) = _CRC_FIELD.unpack_from(plain, _CRC_AT)
    _CRC_FIELD.pack_into(plain, _CRC_AT, 0)
    if crc32c(plain, 0) != header_crc:
        raise BlockDamaged("header damaged: its checksum does not fit")
    if version > VERSION:
        raise VersionTooNew(f"a block of format version {version}; this tapeloom reads up to version {VERSION}")
    return _unpack(plain)


def _unpack(plain: bytearray) -> Header:
    (
        _magic,
        _version,
        header_bytes,
        _header_crc,
        kind,
        codec,
        flags,
        payload_bytes,
        _payload_crc,
        sequence_bytes,
        object_id,
        seq,
        offset,
        as_of,
        parent,
        level,
        content,
        name_bytes,
        _zero,
        name,
        key_id,
        wrapped_key,
    ) = _LAYOUT.unpack_from(plain)
    if flags & FLAGS_MUST_KNOW or kind not in set(Kind) or codec not in set(Codec) or level not in set(Level):
        raise VersionTooNew(
            f"a block with kind {kind}, codec {codec}, level {level}, flags {flags:#06x}: "
            f"written by a newer tapeloom; this one reads version {VERSION} without them"
        )
    if (
        header_bytes not in (HEADER_BYTES, HEADER_PAGE_BYTES)
        or header_bytes + payload_bytes > BLOCK_BYTES_MAX
        or name_bytes > SOURCE_NAME_BYTES_MAX
        or (kind == Kind.OBJECT and sequence_bytes > BLOCK_BYTES_MAX)
        or (codec == Codec.NONE and sequence_bytes != payload_bytes - (SEAL_BYTES if flags & Flag.SEALED else 0))
    ):
        raise BlockDamaged("header damaged: its lengths contradict one another")
    return Header(
        object=UUID(bytes=object_id),
        seq=seq,
        offset=offset,
        as_of=as_of,
        name=name[:name_bytes].decode(errors="replace"),
        kind=Kind(kind),
        codec=Codec(codec),
        flags=flags,
        payload_bytes=payload_bytes,
        sequence_bytes=sequence_bytes,
        parent=UUID(bytes=parent) if any(parent) else None,
        level=Level(level),
        content=content,
        header_bytes=header_bytes,
        key_id=key_id,
        wrapped_key=wrapped_key,
    )


def parse(block: Buffer, *, crc32c: Crc32c = crc32c) -> tuple[Header, memoryview]:
    """Header and payload of one tape block, both checksums verified.

    Raises what `parse_header` raises; `BlockDamaged` also for a payload that is damaged, and then its sentence says
    which bytes of which object are lost.
    """
    header = parse_header(block, crc32c=crc32c)
    view = memoryview(block).cast("B")
    if len(view) != header.block_bytes:
        raise BlockDamaged(f"the block is {len(view)} bytes long, its header says {header.block_bytes}")
    payload = view[header.header_bytes :]
    (payload_crc,) = _CRC_FIELD.unpack_from(view, _PAYLOAD_CRC_AT)
    if crc32c(payload, 0) != payload_crc:
        raise BlockDamaged(
            f"payload damaged: bytes {header.offset} to {header.offset + header.sequence_bytes} of {header.object} "
            f"({header.name}), block {header.seq}"
        )
    return header, payload
