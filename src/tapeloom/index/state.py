"""The entries of the state at the end of a chain, in canonical order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..agent.rows import HARDLINK, SYMLINK
from .chain import Slice, Window, windows
from .reader import Index
from .wanted import Wanted


class Entry(NamedTuple):
    """One row of an index: see `agent.rows.RowBatch`."""

    path: bytes
    kind: int
    mode: int
    size: int
    mtime: int
    link: bytes


def final_state(indexes: Sequence[Index], wanted: Wanted | None = None) -> Iterator[tuple[bytes, int]]:
    """The path and kind of every entry of the state at the end of a chain. As `final_rows`."""
    for window in windows(indexes, wanted):
        found: list[tuple[int, Any]] = []
        for rows, alive, places in _alive(window, wanted):
            paths = map(rows.paths.path, alive.tolist())
            found += zip(places, zip(paths, rows.kind[alive].tolist(), strict=True), strict=True)
        yield from _in_order(found)


def final_entries(indexes: Sequence[Index], wanted: Wanted | None = None) -> Iterator[tuple[int, Entry]]:
    """The same, each entry with all that its row says, and before it the place in `indexes` of the one that has it."""
    for window in windows(indexes, wanted):
        found: list[tuple[int, Any]] = []
        for rows, alive, places in _alive(window, wanted):
            entries = _entries(indexes[rows.level], rows, alive)
            found += zip(places, ((rows.level, entry) for entry in entries), strict=True)
        yield from _in_order(found)


def _alive(window: Window, wanted: Wanted | None) -> Iterator[tuple[Slice, NDArray[np.int64], list[int]]]:
    """Of each slice the numbers of the rows that belong to the state, and their places among those of all slices."""
    base = 0
    for each, alive in zip(window.slices, window.alive, strict=True):
        if wanted is not None:
            alive = alive & wanted.mask(each.paths)
        rows = np.flatnonzero(alive)
        yield each, rows, window.places[base + rows].tolist()
        base += len(each.kind)


def _in_order(found: list[tuple[int, Any]]) -> Iterator[Any]:
    found.sort(key=itemgetter(0))
    return map(itemgetter(1), found)


def _entries(index: Index, rows: Slice, alive: NDArray[np.int64]) -> Iterable[Entry]:
    if not len(alive):
        return ()
    kinds = rows.kind[alive].tolist()
    numbers = [index.column(rows.group, name)[rows.first + alive].tolist() for name in ("mode", "size", "mtime")]
    links: Iterator[bytes] = repeat(b"")
    if HARDLINK in kinds or SYMLINK in kinds:
        links = map(index.texts(rows.group).path, (rows.first + alive).tolist())
    return map(Entry, map(rows.paths.path, alive.tolist()), kinds, *numbers, links)
