"""Which objects of a source have the same state: an increment to one of them is an increment to each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from tapeloom.catalog import Catalog, Object

MOMENTS = 64
"""So many of a source's latest moments are looked at first: a backup builds on one of the last objects, and a source
may have thousands."""


class Lineage:
    """The objects of a source, in the order of their states (see `tapeloom.catalog.Queries.objects`)."""

    def __init__(self, objects: Iterable[Object], every: Callable[[], Iterable[Object]] | None = None):
        self._every = every
        """Gives all of them, where there are others before `objects`."""
        self._take(objects)

    @classmethod
    def latest(cls, catalog: Catalog, source: str) -> Lineage:
        """Of a source, with its last objects at hand and all others asked for when they are wanted. Raises NotFound as
        `Queries.objects`."""
        objects = catalog.objects(source, moments=MOMENTS)
        return cls(objects, None if len(objects) < MOMENTS else lambda: catalog.objects(source))

    def _take(self, objects: Iterable[Object]) -> None:
        self._known = {one.id: one for one in objects}
        self._standing: dict[UUID, list[Object]] = defaultdict(list)
        for one in self._known.values():
            if one.stands_for is not None:
                self._standing[one.stands_for].insert(0, one)

    def _complete(self) -> bool:
        """Whether there were others still, which are there now."""
        if self._every is None:
            return False
        every, self._every = self._every, None
        self._take(every())
        return True

    def __iter__(self) -> Iterator[Object]:
        self._complete()
        return iter(self._known.values())

    def __len__(self) -> int:
        self._complete()
        return len(self._known)

    def newest_first(self) -> Iterator[Object]:
        seen: set[UUID] = set()
        while True:
            known = self._known
            yield from (one for one in reversed(known.values()) if one.id not in seen)
            seen |= known.keys()
            if known is self._known and not self._complete():  # a question in between may have brought the others
                return

    def get(self, id: UUID) -> Object | None:
        if id not in self._known:
            self._complete()
        return self._known.get(id)

    def same_state(self, id: UUID) -> list[Object]:
        """The object with this id and those that stand for it, or for the same one as it does. Those that stand for
        another, which are full, come first, the newest before all; nothing where none is known."""
        one = self.get(id)
        first = id if one is None or one.stands_for is None else one.stands_for
        itself = self.get(first)
        return [*self._standing.get(first, ()), *([] if itself is None else [itself])]

    def read(self, one: Object) -> Object | None:
        """The object that was read from the source when that was in the state that `one` has; None where it is not
        known any more."""
        return one if one.stands_for is None else self.get(one.stands_for)
