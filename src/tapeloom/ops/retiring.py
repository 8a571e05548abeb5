"""Retention: objects that nobody wants any more, as long as none that is kept builds on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from tapeloom.catalog import Catalog, CopyStatus, Object
from tapeloom.config import Config
from tapeloom.errors import RetentionError, UsageError
from tapeloom.ops.choose import dated
from tapeloom.ops.selecting import with_indexes


@dataclass(frozen=True, slots=True)
class Retiring:
    """What is decided and holds the catalog: `objects`, source by source and oldest first."""

    objects: tuple[Object, ...]
    _catalog: Catalog

    def run(self) -> list[Object]:
        """Retires all copies of them and of their file indexes at once. The same objects, as they are now."""
        every = with_indexes(self._catalog, self.objects)
        self._catalog.retire(copy.id for item in every for copy in item.copies)
        return [self._catalog.object(item.id) for item in self.objects]


@contextmanager
def open_retiring(config: Config, ids: Sequence[str], *, with_increments: bool = False) -> Iterator[Retiring]:
    """`ids` of objects, or unequivocal beginnings; `with_increments`: and all that builds on them.

    Raises
    ------
    NotFound, Ambiguous
        There is no such object, or more than one.
    UsageError
        A file index is named, which goes along with its object.
    RetentionError
        An object that is kept builds on one of them.
    HeldError
        The state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog:
        named = {item.id: item for item in map(catalog.object, ids)}
        for item in named.values():
            if item.is_index:
                raise UsageError(f"{item.id} is a file index, which goes along with its object: name {item.parent}")
        sources = {item.source: catalog.objects(item.source) for item in named.values()}
        known = [item for each in sources.values() for item in each]
        if with_increments:
            named |= {item.id: item for item in _building_on(named, known)}
        _refuse_broken_chains(named.keys(), known)
        yield Retiring(tuple(item for item in known if item.id in named), catalog)


def _building_on(ids: Iterable[UUID], known: Sequence[Object]) -> list[Object]:
    """What builds on these, by however many steps. Clocks are set back: the order of `known` says nothing."""
    met, found = set(ids), list[Object]()
    while more := [item for item in known if item.parent in met and item.id not in met]:
        met |= {item.id for item in more}
        found += more
    return found


def _refuse_broken_chains(retired: Iterable[UUID], known: Sequence[Object]) -> None:
    """RetentionError: with the chain, oldest first."""
    gone = set(retired)
    kept = [item for item in _building_on(gone, known) if item.id not in gone and _counts(item)]
    if not kept:
        return
    by_id = {item.id: item for item in known}
    chain = [kept[-1]]
    while chain[0].parent in by_id and len(chain) <= len(by_id):
        chain.insert(0, by_id[chain[0].parent])
    links = "".join(
        f"\n  {item.id}  {item.level.name.lower()}, {dated(item)}{', to be retired' if item.id in gone else ''}"
        for item in chain
    )
    raise RetentionError(
        f"nothing was retired: {kept[-1].id} of {kept[-1].source} is kept, and builds on what was named "
        f"(--with-increments takes along what does):{links}"
    )


def _counts(item: Object) -> bool:
    return any(copy.status is not CopyStatus.RETIRED for copy in item.copies)
