"""Retention: objects that nobody wants any more, as long as none that is kept builds on them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from msgspec import Struct

from tapeloom.catalog import Catalog, CopyStatus, Object
from tapeloom.config import Config
from tapeloom.errors import RetentionError, UsageError
from tapeloom.ops.choose import dated, restorable
from tapeloom.ops.lineage import Lineage
from tapeloom.ops.selecting import with_indexes


class Retiring(Struct, frozen=True):
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
        An object that is kept builds on one of them, and on nothing else that has the same state.
    HeldError
        The state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog:
        named = {item.id: item for item in map(catalog.object, ids)}
        for item in named.values():
            if item.is_index:
                raise UsageError(f"{item.id} is a file index, which goes along with its object: name {item.parent}")
            if item.is_export:
                raise UsageError(
                    f"{item.id} is an exported catalog: it is retired by the next one (`tapeloom export-catalog`)"
                )
        for source in sorted({item.source for item in named.values()}):
            known = Lineage(catalog.objects(source))
            if with_increments:
                named |= {item.id: item for item in _building_on(named, known)}
            _refuse_broken_chains(named, known)
        order = [
            item for source in sorted({item.source for item in named.values()}) for item in catalog.objects(source)
        ]
        yield Retiring(tuple(item for item in order if item.id in named), catalog)


def _building_on(ids: Iterable[UUID], known: Lineage) -> list[Object]:
    """What builds on these, by however many steps, and has nothing else to build on. Clocks are set back: the order of
    `known` says nothing."""
    gone, found = set(ids), list[Object]()

    def loses_its_parent(item: Object) -> bool:
        ways = [] if item.parent is None else known.same_state(item.parent)
        return any(way.id in gone for way in ways) and not any(
            way.id not in gone and restorable(way, partial=False) for way in ways
        )

    while more := [item for item in known if item.id not in gone and loses_its_parent(item)]:
        gone |= {item.id for item in more}
        found += more
    return found


def _refuse_broken_chains(retired: Container[UUID], known: Lineage) -> None:
    """RetentionError: with the chain, oldest first."""
    gone = [item.id for item in known if item.id in retired]
    kept = [item for item in _building_on(gone, known) if _counts(item)]
    if not kept:
        return
    chain, met = [kept[-1]], {kept[-1].id}
    while chain[0].parent is not None and (ways := known.same_state(chain[0].parent)):
        link = next((way for way in ways if way.id in gone), ways[0])
        if link.id in met:
            break
        met.add(link.id)
        chain.insert(0, link)
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
