"""Reading a file once, from end to end, and leaving the page cache as it was."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Generator, Iterable, Iterator
from functools import cache

import numpy as np

Range = tuple[int, int]
"""Offset and length."""

PIECE_BYTES = 8 << 20
"""So far ahead of the reading the system is told of it, and so far behind pages are let go."""


def passage(fd: int, ranges: Iterable[Range]) -> Generator[Range, None, None]:
    """Yield the pieces to read *ranges* of the file *fd* in, in order. To be closed when the reading breaks off.

    What comes next is asked for ahead of time, and what was not in the cache before is dropped behind. The system tells
    what is in the cache to those alone who could write the file, and to root: for anybody else it all stays.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    fetched: list[list[Range]] = []  # of the piece that is read now, and of the one behind it
    coming: list[Range] = []
    try:
        for piece in _cut(ranges):
            # Looked at before the piece in front of it is read: the system's own reading ahead does not reach so far.
            fetched.append(_fetch(fd, piece))
            coming.append(piece)
            if len(coming) == 2:
                yield coming.pop(0)
                _let_go(fd, fetched.pop(0))
        yield from coming
    finally:
        for absent in fetched:
            _let_go(fd, absent)


def _fetch(fd: int, piece: Range) -> list[Range]:
    """What of a piece is not in the cache. The system reads it from now on."""
    absent = absent_pages(fd, *piece)
    for offset, length in absent:
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_WILLNEED)
    return absent


def _let_go(fd: int, absent: Iterable[Range]) -> None:
    for offset, length in absent:
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)


def absent_pages(fd: int, offset: int, length: int) -> list[Range]:
    """What of a range, widened to whole pages, is not in the page cache. Nothing, where the system does not tell."""
    start = offset - offset % mmap.PAGESIZE
    span = offset + length - start
    if span <= 0:
        return []
    try:
        mapped = mmap.mmap(fd, span, prot=mmap.PROT_READ, offset=start)
    except (OSError, ValueError):  # what cannot be mapped, or has become shorter
        return []
    with mapped:
        held = np.empty(-(-span // mmap.PAGESIZE), np.uint8)
        content = np.frombuffer(mapped, np.uint8)
        failed = _mincore()(content.ctypes.data, span, held.ctypes.data)
        del content  # or the map could not be closed
    if failed:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate(([1], held & 1, [1]))))
    return [
        (start + int(first) * mmap.PAGESIZE, int(end - first) * mmap.PAGESIZE) for first, end in edges.reshape(-1, 2)
    ]


def _cut(ranges: Iterable[Range]) -> Iterator[Range]:
    for offset, length in ranges:
        end = offset + length
        while offset < end:
            size = min(PIECE_BYTES - offset % PIECE_BYTES, end - offset)
            yield offset, size
            offset += size


@cache
def _mincore() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).mincore
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    return function
