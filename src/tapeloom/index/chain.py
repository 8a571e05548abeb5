"""The final state of a chain: of a full object and the increments on it, what each of them gives to it.

The indexes are gone through side by side, one window of keys at a time, so that no more than a row group of each is in
memory. In a window the newest row of a path wins. A GONE row, or one that is no folder, hides all older rows below its
path; as these may reach into later windows, it is carried on until the keys leave it. Nothing here looks at rows one by
one but for those that hide something.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ..agent.rows import FILE, FOLDER, GONE, HARDLINK
from ..errors import IndexDamaged
from ..quoting import shown
from .form import arrow
from .keys import EVERYTHING, Range, below, folders_above, key_of, path_of
from .paths import Paths
from .reader import Index
from .wanted import Wanted


class Pulled(Struct, frozen=True):
    """A hard link that belongs to the state and its target in the same object that does not, for it is not wanted or a
    newer object has another: the target's entry, bytes `begin` up to before `end` of the sequence, has to be restored
    under the link's path."""

    link: bytes
    target: bytes
    begin: int
    end: int


class Share(Struct, frozen=True):
    """What one object gives to the final state.

    `parts` are byte ranges [begin, end) of its sequence, ascending, none touching the next, with whole entries in them;
    the entries of `pulled` are beside them. `entries` counts what is in the parts, `files` the regular files of it, and
    `bytes` adds up these files' lengths. `whole`: the parts are the whole sequence up to the archive's end mark.
    """

    parts: NDArray[np.uint64]
    entries: int
    files: int
    bytes: int
    pulled: tuple[Pulled, ...]
    whole: bool

    @property
    def sequence_bytes(self) -> int:
        """How much of the sequence has to be read, but for what is pulled."""
        return int((self.parts[:, 1] - self.parts[:, 0]).sum())


class Slice(Struct, frozen=True):
    """The rows of one index that stand in a window. `level` counts from 0, the oldest index."""

    level: int
    group: int
    first: int
    paths: Paths
    kind: NDArray[np.uint8]


class Window(Struct, frozen=True):
    """Slices that have rows, the newest first; which of their rows are alive, and the places of all rows in canonical
    order (rows of one path have one place)."""

    slices: list[Slice]
    alive: list[NDArray[np.bool_]]
    places: NDArray[np.int64]


_Hide = tuple[bytes, int]
"""A key, and the level below which it hides what is below it."""


def final_rows(indexes: Sequence[Index], wanted: Wanted | None = None) -> list[Share]:
    """What each object of a chain gives to the state at its end; indexes and shares the oldest first.

    `wanted` restricts it to some paths; folders above them are not pulled in. IndexDamaged: an index is.
    """
    shares = [_Sharing(indexes, level) for level in range(len(indexes))]
    for window in windows(indexes, wanted):
        for each, alive in zip(window.slices, window.alive, strict=True):
            shares[each.level].note_hidden(each, ~alive)
            if wanted is not None:
                alive = alive & wanted.mask(each.paths)
            if alive.any():
                shares[each.level].add(each, alive, wanted)
    return [share.made(wanted) for share in shares]


_SIEVE_BITS_MAX = 20


class _Sharing:
    """A share in the making, of the index at `level`.

    An increment stores all names of a file that it could read. One that it could not keeps its names from an older
    object, though the name with the data may have become another file since: so a link's target may be hidden. Targets
    stand before their links, and a sieve of what is hidden lets through few links but those.
    """

    def __init__(self, indexes: Sequence[Index], level: int):
        self._indexes, self._level = indexes, level
        self._index = index = indexes[level]
        self._parts: list[NDArray[np.uint64]] = []
        self._entries = self._files = self._bytes = 0
        self._links: list[tuple[bytes, bytes]] = []
        self._sieve_bits = min(index.count.bit_length() + 3, _SIEVE_BITS_MAX)
        self._sieve = bytearray(1 << self._sieve_bits if level + 1 < len(indexes) and index.facts.others else 0)

    def _sieve_of(self, path: bytes) -> int:
        return zlib.crc32(path) >> 32 - self._sieve_bits

    def note_hidden(self, rows: Slice, hidden: NDArray[np.bool_]) -> None:
        if self._sieve:
            for n in np.flatnonzero(hidden & ~np.isin(rows.kind, (FOLDER, HARDLINK, GONE))).tolist():
                self._sieve[self._sieve_of(rows.paths.path(n))] = 1

    def add(self, rows: Slice, alive: NDArray[np.bool_], wanted: Wanted | None) -> None:
        stop = rows.first + len(rows.kind)
        offsets, sizes = (self._index.column(rows.group, name) for name in ("offset", "size"))
        ends = self._index.ends(rows.group)
        parts = np.stack([offsets[rows.first : stop][alive], ends[rows.first : stop][alive]], axis=1)
        self._parts.append(_coalesced(parts))
        files = alive & (rows.kind == FILE)
        self._entries += int(alive.sum())
        self._files += int(files.sum())
        self._bytes += int(sizes[rows.first : stop][files].sum())
        if wanted is not None or self._sieve:
            self._note_links(rows, np.flatnonzero(alive & (rows.kind == HARDLINK)), wanted)

    def _note_links(self, rows: Slice, links: NDArray[np.int64], wanted: Wanted | None) -> None:
        if len(links):
            targets = self._index.texts(rows.group)
            for n in links.tolist():
                target = targets.path(rows.first + n).removeprefix(b"./")
                unwanted = wanted is not None and not wanted.matches(target)
                if unwanted or (self._sieve and self._sieve[self._sieve_of(target)]):
                    self._links.append((target, rows.paths.path(n)))

    def _is_hidden(self, path: bytes) -> bool:
        newer = self._indexes[self._level + 1 :]
        return any(index.kind_of(path) is not None for index in newer) or bool(_hides_above(newer, key_of(path)))

    def made(self, wanted: Wanted | None) -> Share:
        parts = _coalesced(np.concatenate(self._parts)) if self._parts else np.zeros((0, 2), np.uint64)
        pulled = []
        for target, link in sorted(self._links, key=lambda each: key_of(each[0])):
            if (wanted is None or wanted.matches(target)) and not self._is_hidden(target):
                continue
            row = self._index.find(target)
            if row is None:
                raise IndexDamaged(
                    f"the file index of object {self._index.object_id} has a hard link to {shown(target)}, "
                    "but no such entry"
                )
            pulled.append(Pulled(link, target, row.begin, row.end))
        whole = not self._index.end or parts.tolist() == [[0, self._index.end]]
        return Share(parts, self._entries, self._files, self._bytes, tuple(pulled), whole)


def windows(indexes: Sequence[Index], wanted: Wanted | None) -> Iterator[Window]:
    """All windows that may hold wanted rows, in canonical order. None reaches over the border of two row groups; what
    comes before the first row of an index counts to its first group, or a long chain of small indexes would be cut into
    as many windows."""
    bounds = sorted({key for index in indexes for key in index.group_keys[1:]})
    for range in _spans(indexes, wanted):
        hides = _hides_above(indexes, range[0])
        at = range[0]
        for bound in bounds[_behind(bounds, at) :]:
            if range[1] is not None and bound >= range[1]:
                break
            window, hides = _window(indexes, (at, bound), hides)
            yield window
            at = bound
        window, hides = _window(indexes, (at, range[1]), hides)
        yield window


def _behind(bounds: list[bytes], key: bytes) -> int:
    """The first of the bounds that comes behind a key."""
    at = bisect_left(bounds, key)
    return at + (at < len(bounds) and bounds[at] == key)


def _spans(indexes: Sequence[Index], wanted: Wanted | None) -> list[Range]:
    """The ranges of keys to go through: those that are wanted, together where they stand in one row group anyway."""
    if wanted is None:
        return [EVERYTHING]
    largest = max(indexes, key=lambda index: index.count, default=None)
    spans: list[Range] = []
    for first, last in wanted.ranges:
        if spans and largest is not None:
            before_first, before_last = spans[-1]
            if before_last is None or largest.group_of(before_last) >= largest.group_of(first):
                spans[-1] = before_first, last
                continue
        spans.append((first, last))
    return spans


def _hides_above(indexes: Sequence[Index], key: bytes) -> list[_Hide]:
    """What the folders above a key hide, where going through begins there."""
    hides = []
    for above in folders_above(key):
        levels = [level for level, index in enumerate(indexes) if index.kind_of(path_of(above)) not in (None, FOLDER)]
        if levels:
            hides.append((above, levels[-1]))
    return hides


def _slices(indexes: Sequence[Index], keys: Range) -> Iterator[Slice]:
    """The rows of each index in a range of keys that lies within one row group, the newest index first."""
    for level in range(len(indexes) - 1, -1, -1):
        index = indexes[level]
        if not index.count:
            continue
        group = max(index.group_of(keys[0]), 0)
        paths = index.paths(group)
        begin, end = index.range_of_group(group)
        first = 0 if keys[0] <= begin else paths.first_from(keys[0])
        stop = len(paths) if keys[1] == end or keys[1] is None else paths.first_from(keys[1], first)
        if first < stop:
            kind = index.column(group, "kind")[first:stop]
            yield Slice(level, group, first, paths.slice(first, stop), kind)


def _window(indexes: Sequence[Index], keys: Range, hides: list[_Hide]) -> tuple[Window, list[_Hide]]:
    """One window, and what is hidden in the windows behind it."""
    slices = list(_slices(indexes, keys))
    if not slices:
        return Window([], [], np.zeros(0, np.int64)), hides
    places, count = _places(slices)
    kind = np.concatenate([each.kind for each in slices])
    level = np.repeat([each.level for each in slices], [len(each.kind) for each in slices])
    winner = np.empty(count, np.int64)
    winner[places[::-1]] = np.arange(len(places) - 1, -1, -1)  # the newest rows are the first ones, and written last
    hiding = np.full(count, -1, np.int64)
    no_folder = np.flatnonzero(kind != FOLDER)[::-1]
    hiding[places[no_folder]] = level[no_folder]
    distinct = _Distinct(slices, winner)
    hidden, hides = _hidden(distinct, hiding, hides)
    alive = (winner[places] == np.arange(len(places))) & (kind != GONE) & (level >= hidden[places])
    cuts = np.cumsum([len(each.kind) for each in slices])[:-1]
    return Window(slices, np.split(alive, cuts), places), hides


def _places(slices: list[Slice]) -> tuple[NDArray[np.int64], int]:
    """For each row of all slices, how many different keys come before its own; and how many there are."""
    if len(slices) == 1:
        count = len(slices[0].kind)
        return np.arange(count), count
    import pyarrow.compute as compute  # type: ignore[import-untyped]

    pyarrow, _ = arrow()
    keys = pyarrow.concat_arrays([each.paths.keys() for each in slices])
    ranks = compute.rank(keys, tiebreaker="dense").to_numpy().astype(np.int64) - 1
    return ranks, int(ranks.max()) + 1


class _Distinct:
    """The different keys of a window, in order, each taken from its winning row."""

    def __init__(self, slices: list[Slice], winner: NDArray[np.int64]):
        self._slices = slices
        self._bases = np.cumsum([0, *(len(each.kind) for each in slices)])
        self._winner = winner
        self._of = np.searchsorted(self._bases, winner, side="right") - 1

    def __len__(self) -> int:
        return len(self._winner)

    def key(self, n: int) -> bytes:
        of = int(self._of[n])
        return self._slices[of].paths.key(int(self._winner[n] - self._bases[of]))

    def first_from(self, key: bytes, at: int) -> int:
        before, behind = at, len(self)
        while before < behind:
            middle = (before + behind) // 2
            if self.key(middle) < key:
                before = middle + 1
            else:
                behind = middle
        return before

    def followed_by_longer(self, candidates: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the candidates whose next key is long enough to be below, and has a separator where it would be.

        It leaves few but the real ones.
        """
        candidates = candidates[candidates + 1 < len(self)]
        lengths = np.concatenate([np.diff(each.paths.starts) for each in self._slices])
        length, following = lengths[self._winner[candidates]], self._winner[candidates + 1]
        longer = lengths[following] > length
        candidates, length, following = candidates[longer], length[longer], following[longer]
        keep = np.zeros(len(candidates), np.bool_)
        for of, each in enumerate(self._slices):
            here = np.flatnonzero(self._of[candidates + 1] == of)
            keep[here] = each.paths.has_slash(following[here] - self._bases[of], length[here])
        return candidates[keep]


def _hidden(
    distinct: _Distinct, hiding: NDArray[np.int64], hides: list[_Hide]
) -> tuple[NDArray[np.int64], list[_Hide]]:
    """For each key, below which level its rows are hidden by something above it, and what goes on hiding behind the
    window. `hiding`: from which level each key itself hides what is below it, or -1."""
    count = len(distinct)
    hidden = np.full(count, -1, np.int64)
    carried: list[_Hide] = []

    def hide(key: bytes, level: int, first: int) -> None:
        last = below(key)[1]
        stop = count if last is None else distinct.first_from(last, first)
        np.maximum(hidden[first:stop], level, out=hidden[first:stop])
        if stop == count:
            carried.append((key, level))

    for key, level in hides:
        hide(key, level, 0)
    if hiding[0] >= 0 and not distinct.key(0):  # the root, whose key is no beginning of a name
        hide(b"", int(hiding[0]), 1)
    for n in distinct.followed_by_longer(np.flatnonzero(hiding >= 0)).tolist():
        if distinct.key(n + 1).startswith(distinct.key(n) + b"\0"):
            hide(distinct.key(n), int(hiding[n]), n + 1)
    if hiding[-1] >= 0:
        carried.append((distinct.key(count - 1), int(hiding[-1])))
    return hidden, carried


def _coalesced(parts: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Ascending ranges, those that touch made one, and empty ones left out."""
    parts = parts[parts[:, 1] > parts[:, 0]]
    if not len(parts):
        return parts
    gaps = parts[1:, 0] != parts[:-1, 1]
    return np.stack([parts[np.append(True, gaps), 0], parts[np.append(gaps, True), 1]], axis=1)
