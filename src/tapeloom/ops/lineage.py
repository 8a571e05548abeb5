"""Which objects of a source have the same state: an increment to one of them is an increment to each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from uuid import UUID

from tapeloom.catalog import Object


class Lineage:
    """The objects of a source, in the order of their states (see `tapeloom.catalog.Queries.objects`)."""

    def __init__(self, objects: Iterable[Object]):
        self._known = {one.id: one for one in objects}
        self._standing: dict[UUID, list[Object]] = defaultdict(list)
        for one in self._known.values():
            if one.stands_for is not None:
                self._standing[one.stands_for].insert(0, one)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def get(self, id: UUID) -> Object | None:
        return self._known.get(id)

    def same_state(self, id: UUID) -> list[Object]:
        """The object with this id and those that stand for it, or for the same one as it does. Those that stand for
        another, which are full, come first, the newest before all; nothing where none is known."""
        one = self._known.get(id)
        first = id if one is None or one.stands_for is None else one.stands_for
        itself = self._known.get(first)
        return [*self._standing.get(first, ()), *([] if itself is None else [itself])]

    def read(self, one: Object) -> Object | None:
        """The object that was read from the source when that was in the state that `one` has; None where it is not
        known any more."""
        return one if one.stands_for is None else self._known.get(one.stands_for)
