"""The bytes of a pax archive (POSIX.1-2001, `pax` interchange format) as GNU tar reads them.

What the old header of 512 bytes cannot hold goes into records before it: times to the nanosecond, long and non-ASCII
names, large numbers, extended attributes (SCHILY.xattr.*), access control lists (SCHILY.acl.*), sparse files
(GNU.sparse.*, version 1.0). Bytes of names are written as they are, as GNU tar does: a `hdrcharset` record would only
make it warn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

from ..limits import PAX_END_BYTES

BLOCK = 512
END = bytes(PAX_END_BYTES)

REGULAR, HARD_LINK, SYMBOLIC_LINK, CHARACTER, DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
RECORDS, RECORDS_FOR_ALL = b"x", b"g"

RECORDS_BYTES_MAX = 16 << 20
"""The most that the records of one entry may hold together. What is more is neither written nor read."""

SPARSE_NAME = b"GNUSparseFile"
"""What stands in the old header of a sparse file: a reader that knows no sparse files makes this of its pieces."""

PATH_BYTES_MAX = 1 << 20
"""The longest path that is written or read: some thousand folders deep."""

EXTENTS_MAX = 1 << 17
"""The most pieces of a sparse file. One that has more is written with its last piece up to its end."""

XATTR = b"SCHILY.xattr."
ACL_ACCESS = b"SCHILY.acl.access"
ACL_DEFAULT = b"SCHILY.acl.default"

LISTING = b"GNU.dumpdir"
"""The names in a folder, of an increment: each with a letter before it (Y: in this archive, N: not, D: a folder) and a
zero byte behind it, and one more zero byte in the end. What a folder holds beside them is deleted by a restore."""

_NAME_BYTES = 100
_OWNER_BYTES = 32
_NUMBER_MAX = 0o7777777
_LARGE_MAX = 0o77777777777
_CHECKSUM_BLANK = 8 * ord(" ")


def record(key: bytes, value: bytes) -> bytes:
    """One pax record. Its length counts its own digits.

    >>> record(b"path", b"x")
    b'10 path=x\\n'
    """
    rest = len(key) + len(value) + 3
    total = rest + len(str(rest))
    total = rest + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


def padding(size: int) -> int:
    """How many zeros follow *size* bytes up to the next block."""
    return -size % BLOCK


def header(
    path: bytes,
    kind: bytes,
    status: os.stat_result,
    *,
    size: int = 0,
    link: bytes = b"",
    user: bytes = b"",
    group: bytes = b"",
    records: Iterable[bytes] = (),
    listing: bytes | None = None,
) -> bytes:
    """The header of one entry, with the records that it needs before it: a multiple of 512 bytes.

    *records* are further ones, from `record`, and *listing* the value of a last one. *size* is the length of the
    content that follows.
    """
    more, block = _parts(path, kind, status, size, link, user, group, records)
    if listing is not None:
        more.append(record(LISTING, listing))
    return with_records(b"".join(more), block)


def header_around(
    path: bytes, status: os.stat_result, *, user: bytes, group: bytes, records: Iterable[bytes], listing_bytes: int
) -> tuple[bytes, bytes]:
    """What stands before and behind a listing of so many bytes, which is too long to be held, in a folder's header."""
    more, block = _parts(path, FOLDER, status, 0, b"", user, group, records)
    rest = len(LISTING) + listing_bytes + 3
    total = rest + len(str(rest))
    total = rest + len(str(total))
    body = b"".join(more) + b"%d %b=" % (total, LISTING)
    size = len(body) + listing_bytes + 1
    return _records_header(size) + body, b"\n" + bytes(padding(size)) + block


def _parts(
    path: bytes,
    kind: bytes,
    status: os.stat_result,
    size: int,
    link: bytes,
    user: bytes,
    group: bytes,
    records: Iterable[bytes],
) -> tuple[list[bytes], bytes]:
    """The records of an entry and its old header."""
    more = list(records)
    name = path
    if len(path) > _NAME_BYTES or not path.isascii():
        more.append(record(b"path", path))
        name = path[:_NAME_BYTES]
    if len(link) > _NAME_BYTES or not link.isascii():
        more.append(record(b"linkpath", link))
        link = link[:_NAME_BYTES]
    uid, gid, stamp = status.st_uid, status.st_gid, status.st_mtime_ns
    if uid > _NUMBER_MAX:
        more.append(record(b"uid", b"%d" % uid))
        uid = 0
    if gid > _NUMBER_MAX:
        more.append(record(b"gid", b"%d" % gid))
        gid = 0
    if size > _LARGE_MAX:
        more.append(record(b"size", b"%d" % size))
        size = 0
    seconds, fraction = divmod(stamp, 1_000_000_000)
    if fraction or not 0 <= seconds <= _LARGE_MAX:
        more.append(record(b"mtime", decimal_seconds(stamp)))
        seconds = seconds if 0 <= seconds <= _LARGE_MAX else 0
    if len(user) >= _OWNER_BYTES or not user.isascii():
        more.append(record(b"uname", user))
        user = b""
    if len(group) >= _OWNER_BYTES or not group.isascii():
        more.append(record(b"gname", group))
        group = b""
    major = minor = 0
    if kind in (CHARACTER, DEVICE):
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (status.st_mode & 0o7777, uid, gid, size, seconds)
    return more, _assemble(name, numbers, kind, link, user, group, major, minor)


def decimal_seconds(stamp: int) -> bytes:
    """Nanoseconds since 1970 as a record holds them.

    >>> decimal_seconds(-5_500_000_001)
    b'-5.500000001'
    """
    seconds, fraction = divmod(abs(stamp), 1_000_000_000)
    return b"%b%d.%09d" % (b"-" if stamp < 0 else b"", seconds, fraction)


def sparse_map(extents: Iterable[tuple[int, int]]) -> bytes:
    """The map at the head of a sparse file's content: how many extents, then offset and length of each."""
    numbers = [number for extent in extents for number in extent]
    text = b"%d\n" % (len(numbers) // 2) + b"".join(b"%d\n" % number for number in numbers)
    return text + bytes(padding(len(text)))


def sparse_records(path: bytes, size: int) -> list[bytes]:
    """The records of a sparse file whose length, holes included, is *size*."""
    return [
        record(b"GNU.sparse.major", b"1"),
        record(b"GNU.sparse.minor", b"0"),
        record(b"GNU.sparse.name", path),
        record(b"GNU.sparse.realsize", b"%d" % size),
    ]


def with_records(records: bytes, block: bytes) -> bytes:
    """The header that consists of these *records*, one behind the other, and the old header *block*."""
    return _records_header(len(records)) + records + bytes(padding(len(records))) + block if records else block


@lru_cache(1024)
def _records_header(size: int) -> bytes:
    # Nothing in it depends on the entry: who knows records never looks, and who does not gets one harmless file.
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (0o644, 0, 0, size, 0)
    return _assemble(b"PaxHeaders", numbers, RECORDS, b"", b"", b"", 0, 0)


@lru_cache(1024)
def _owner_part(user: bytes, group: bytes, major: int, minor: int) -> tuple[bytes, int]:
    """Everything behind the link's name, with its checksum: few owners have many files."""
    part = b"ustar\x0000%b%b%07o\0%07o\0" % (
        user.ljust(_OWNER_BYTES, b"\0"),
        group.ljust(_OWNER_BYTES, b"\0"),
        major,
        minor,
    )
    return part.ljust(255, b"\0"), sum(part)


def _assemble(
    name: bytes, numbers: bytes, kind: bytes, link: bytes, user: bytes, group: bytes, major: int, minor: int
) -> bytes:
    owner, owner_sum = _owner_part(user, group, major, minor)
    checksum = sum(name) + sum(numbers) + _CHECKSUM_BLANK + kind[0] + owner_sum
    if link:
        checksum += sum(link)
    return b"%b%b%06o\0 %b%b%b" % (
        name.ljust(_NAME_BYTES, b"\0"),
        numbers,
        checksum,
        kind,
        link.ljust(_NAME_BYTES, b"\0"),
        owner,
    )
