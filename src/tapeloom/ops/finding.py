"""What file indexes say of states and of versions; a tape is touched only for an index that is lost."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from tapeloom.agent.rows import FOLDER, GONE
from tapeloom.catalog import Catalog, Object
from tapeloom.errors import NotFound, RestoreError, SealError, TapeloomError
from tapeloom.ops.chain import Chain, find_chain
from tapeloom.volume.header import Level

if TYPE_CHECKING:
    from tapeloom.index import Entry, Index, Wanted
    from tapeloom.ops.fetching import FromTape
    from tapeloom.seal import KeyRing


_NOT_THERE = "is not there"


class Found(NamedTuple):
    """An entry and the object that has it. `gone`: the object as of which it is no longer there, where that is so and
    was asked for; the entry itself may be one of kind GONE: then `item` is that object."""

    item: Object
    entry: Entry
    gone: Object | None = None


def open_indexes(
    stack: ExitStack, catalog: Catalog, chain: Chain, keys: KeyRing | None, tapes: FromTape | None = None
) -> tuple[dict[UUID, Index], list[str]]:
    """The file indexes of a chain's objects, and sentences on those that are lacking; `tapes` brings them back. Raises
    SealError where a key is lacking."""
    from tapeloom.ops.indexes import open_index

    found: dict[UUID, Index] = {}
    lacking = []
    for item in chain.objects:
        why = _NOT_THERE
        try:
            index = open_index(catalog, item, keys, tapes)
        except SealError:
            raise
        except TapeloomError as error:
            index, why = None, f"cannot be used ({error})"
        if index is None:
            lacking.append(f"the file index of object {item.id} {why}")
        else:
            found[item.id] = stack.enter_context(index)
    return found, lacking


def entries(index: Index, wanted: Wanted | None) -> Iterator[Entry]:
    """The rows of one index that are wanted; None wants all."""
    from tapeloom.index import Entry

    for batch in index.matching(wanted):
        columns = (batch.kind, batch.mode, batch.size, batch.mtime)
        paths, links = _texts(batch.paths, batch.path_ends.tolist()), _texts(batch.links, batch.link_ends.tolist())
        yield from map(Entry, paths, *(column.tolist() for column in columns), links)


def _texts(blob: bytes, ends: Sequence[int]) -> Iterator[bytes]:
    first = 0
    for last in ends:
        yield blob[first:last]
        first = last


def state_entries(
    catalog: Catalog, chain: Chain, wanted: Wanted | None, keys: KeyRing | None, tapes: FromTape | None = None
) -> Iterator[Found]:
    """The entries of the state that a restore of this chain makes, in canonical order.

    Raises
    ------
    NotFound
        There are no file indexes, and none on tape.
    SealError, RestoreError
        A key is not here; one of the indexes is lost, or cannot be used.
    """
    from tapeloom.index import final_entries

    with ExitStack() as stack:
        indexes, lacking = open_indexes(stack, catalog, chain, keys, tapes)
        if lacking:
            what = next((one for one in lacking if not one.endswith(_NOT_THERE)), lacking[0])
            missed = tapes is not None and not tapes.missed.isdisjoint(item.id for item in chain.objects)
            nothing = not indexes and what.endswith(_NOT_THERE) and not missed
            raise (NotFound if nothing else RestoreError)(f"the state of {chain.wanted.source} is not known: {what}")
        objects = chain.objects
        for level, entry in final_entries([indexes[item.id] for item in objects], wanted):
            yield Found(objects[level], entry)


class Search:
    """Through the objects of all sources, or of one. What could not be looked into is kept for the end: `unindexed`
    counts objects that have no file index, `failures` are what others raised."""

    def __init__(
        self,
        catalog: Catalog,
        wanted: Wanted,
        keys: KeyRing,
        *,
        source: str | None = None,
        tapes: FromTape | None = None,
    ):
        """Raises NotFound: there is no such source."""
        self.unindexed = 0
        self.failures: list[TapeloomError] = []
        self._catalog, self._wanted, self._keys, self._tapes = catalog, wanted, keys, tapes
        self._objects: dict[str, list[Object]] = {}
        for item in catalog.objects(source):
            self._objects.setdefault(item.source, []).append(item)

    def newest(self, at: int | None = None) -> Iterator[Found]:
        """What the newest state of each source has, or that of a time: by source, in canonical order."""
        for source in sorted(self._objects):
            chain = self._chain(source, at)
            if chain is None:
                continue
            try:
                yield from state_entries(self._catalog, chain, self._wanted, self._keys, self._tapes)
            except NotFound:
                self.unindexed += 1
            except TapeloomError as error:
                self.failures.append(error)

    def deleted(self, at: int | None = None) -> Iterator[Found]:
        """The last version of each path that an older state had and that one has not."""
        for source in sorted(self._objects):
            chain = self._chain(source, at)
            if chain is None:
                continue
            objects = [item for item in self._objects[source] if item.as_of <= chain.wanted.as_of]
            for versions in self._histories(objects):
                gone, *before = versions
                last = next((one for one in before if one.entry.kind != GONE), None)
                if gone.entry.kind == GONE and last is not None:
                    yield last._replace(gone=gone.item)

    def versions(self, at: int | None = None) -> Iterator[Found]:
        """All versions of each path and where it was deleted, the newest first: by source and path; with `at` of
        objects no newer than that."""
        for source in sorted(self._objects):
            objects = [item for item in self._objects[source] if at is None or item.as_of <= at]
            for versions in self._histories(objects):
                yield from versions

    def _chain(self, source: str, at: int | None) -> Chain | None:
        try:
            return find_chain(self._catalog, source, at=at)
        except NotFound:
            return None  # it had no state yet
        except TapeloomError as error:
            self.failures.append(error)
            return None

    def _histories(self, objects: Sequence[Object]) -> Iterator[list[Found]]:
        """For each path that is wanted, what became of it in these objects (of one source, the oldest first): the
        newest first, never empty."""
        with ExitStack() as stack:
            opened = _once([(item, index) for item in objects if (index := self._open(stack, item)) is not None])
            lives = _Lives(opened, {item.id: item for item in objects})
            lists = [_keyed(level, index, self._wanted) for level, (_, index) in enumerate(opened)]
            for key, same in groupby(heapq.merge(*lists), key=lambda one: one[0]):
                yield lives.history(key, {level: entry for _, level, entry in same})

    def _open(self, stack: ExitStack, item: Object) -> Index | None:
        from tapeloom.ops.indexes import open_index

        try:
            index = open_index(self._catalog, item, self._keys, self._tapes)
        except TapeloomError as error:
            self.failures.append(error)
            return None
        self.unindexed += index is None
        return None if index is None else stack.enter_context(index)


def _keyed(level: int, index: Index, wanted: Wanted) -> Iterator[tuple[bytes, int, Entry]]:
    return ((entry.path.replace(b"/", b"\0"), level, entry) for entry in entries(index, wanted))


class _Lives:
    """Which paths the states of a source's objects have, one after another.

    A path is in an object's state if the object has a row of it, or if what the object is an increment to has it and no
    row of a folder above hides it. Paths have to be asked for in canonical order: only the folders above the last one
    are remembered.
    """

    def __init__(self, opened: Sequence[tuple[Object, Index]], known: Mapping[UUID, Object]):
        self._opened = opened
        places = {item.stands_for or item.id: level for level, (item, _) in enumerate(opened)}
        self._parents = [_parent(item, known, places) for item, _ in opened]
        self._hiding: dict[bytes, dict[int, bool]] = {}

    def history(self, key: bytes, rows: Mapping[int, Entry]) -> list[Found]:
        """Versions and deletions of one path, the newest first. `rows`: of each level that has one."""
        folders = [key[:at] for at in range(len(key)) if key[at : at + 1] == b"\0"]
        folders = [b"", *folders] if key else []
        self._hiding = {folder: self._hiding.get(folder, {}) for folder in folders}
        found: list[Found] = []
        alive: list[bool] = []
        for level, (item, _) in enumerate(self._opened):
            entry = rows.get(level)
            if entry is not None:
                now = entry.kind != GONE
            else:
                parent = self._parents[level]
                now = parent is not None and alive[parent] and not any(self._hides(one, level) for one in folders)
            was_deleted = bool(found) and found[-1].entry.kind == GONE
            if entry is not None and now:
                found.append(Found(item, entry))
            elif not now and not was_deleted and ((alive and alive[-1]) or entry is not None):
                found.append(Found(item, _gone(key)))
            alive.append(now)
        return found[::-1]

    def _hides(self, folder: bytes, level: int) -> bool:
        known = self._hiding[folder]
        if level not in known:
            known[level] = self._opened[level][1].kind_of(folder.replace(b"\0", b"/")) not in (None, FOLDER)
        return known[level]


def _parent(item: Object, known: Mapping[UUID, Object], places: Mapping[UUID, int]) -> int | None:
    """The place of the nearest object below in the chain whose index is there; None of a full one."""
    while item.level is not Level.FULL and item.parent is not None:
        below = known.get(item.parent)
        place = places.get(item.parent if below is None else below.stands_for or below.id)
        if place is not None or below is None:
            return place
        item = below
    return None


def _once(opened: Sequence[tuple[Object, Index]]) -> list[tuple[Object, Index]]:
    """Without what has the state of another one that is there, too: the one that was read from the source tells more,
    and of others the first."""
    read = {item.id for item, _ in opened}
    told: set[UUID] = set()
    found = []
    for item, index in opened:
        if item.stands_for is None or (item.stands_for not in read and item.stands_for not in told):
            found.append((item, index))
            told.add(item.stands_for or item.id)
    return found


def _gone(key: bytes) -> Entry:
    from tapeloom.index import Entry

    return Entry(key.replace(b"\0", b"/"), GONE, 0, 0, 0, b"")
