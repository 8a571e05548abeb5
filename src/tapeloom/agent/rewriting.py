"""Headers of an archive of ours with one thing changed, and all else as it was: byte for byte what would have been
written had it been so from the beginning."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap

from . import pax

Buffer = bytes | mmap
"""A header, with its records: in memory or, where it is very long, in a file."""

_NAME_BYTES = 100
_NAME, _LINK = slice(0, _NAME_BYTES), slice(157, 157 + _NAME_BYTES)
_SPARSE_NAME = b"GNU.sparse.name"
_ORDER = (b"path", b"linkpath", b"uid", b"gid", b"size", b"mtime", b"uname", b"gname")
"""How records stand behind all others."""


def without(header: Buffer, begin: int, end: int) -> bytes:
    """Without the record that stands there."""
    records_end = pax.BLOCK + int(header[124:135], 8)
    return pax.with_records(header[pax.BLOCK : begin] + header[end:records_end], header[-pax.BLOCK :])


def renamed(header: Buffer, path: bytes) -> bytes:
    """With another name."""
    records = list(_records(header))
    if any(key == _SPARSE_NAME for key, _ in records):
        body = b"".join(pax.record(key, path if key == _SPARSE_NAME else value) for key, value in records)
        return pax.with_records(body, header[-pax.BLOCK :])
    return _changed(header, records, b"path", _NAME, path)


def relinked(header: Buffer, target: bytes) -> bytes:
    """With another target of the link."""
    return _changed(header, list(_records(header)), b"linkpath", _LINK, target)


def _changed(
    header: Buffer, records: list[tuple[bytes, bytes]], name: bytes, field: slice[int, int, None], value: bytes
) -> bytes:
    kept = [(key, other) for key, other in records if key != name]
    if len(value) > _NAME_BYTES or not value.isascii():
        behind = _ORDER[_ORDER.index(name) + 1 :]
        at = next((n for n, (key, _) in enumerate(kept) if key in behind), len(kept))
        kept.insert(at, (name, value))
    block = bytearray(header[-pax.BLOCK :])
    block[field] = value[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0")
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return pax.with_records(b"".join(pax.record(*one) for one in kept), bytes(block))


def _records(header: Buffer) -> Iterator[tuple[bytes, bytes]]:
    if header[156:157] != pax.RECORDS:
        return
    at, end = pax.BLOCK, pax.BLOCK + int(header[124:135], 8)
    while at < end:
        length, _, _ = header[at : at + 20].partition(b" ")
        key, _, value = header[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        yield key, value
        at += int(length)
