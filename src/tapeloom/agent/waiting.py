"""Hard links whose other name is not there yet: kept for the end, in memory up to a bound, then in a temporary file."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator

HELD_BYTES_MAX = 2 << 20
"""What is held in memory: some ten thousand links with paths of the usual length."""

_LENGTHS = struct.Struct("<IIq")


class Waiting:
    """A queue of (path, link, mtime in ns), to be read once."""

    def __init__(self, held_bytes_max: int = HELD_BYTES_MAX) -> None:
        self._file = tempfile.SpooledTemporaryFile(held_bytes_max)  # noqa: SIM115 - it lives as long as this

    def add(self, path: bytes, link: bytes, mtime: int) -> None:
        self._file.write(_LENGTHS.pack(len(path), len(link), mtime) + path + link)

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int]]:
        self._file.seek(0)
        while head := self._file.read(_LENGTHS.size):
            path, link, mtime = _LENGTHS.unpack(head)
            yield self._file.read(path), self._file.read(link), mtime

    def close(self) -> None:
        self._file.close()
