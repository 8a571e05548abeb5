"""Which objects a buffer of a restore media agent stands for, when a job is about to copy them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from tapeloom.catalog import Catalog, CopyStatus, Object, Outcome
from tapeloom.config import Selection
from tapeloom.errors import Ambiguous, NotFound
from tapeloom.ops.chain import find_chain
from tapeloom.volume.header import Level


def select(catalog: Catalog, selection: Selection, drives: Collection[str]) -> list[Object]:
    """The objects that are meant, with all that they build on unless `single`, and with their file indexes; each once.

    A source stands for its newest object that has blocks on volumes of `drives`: one, or all of a library.

    Raises
    ------
    NotFound
        Nothing is called so, or nothing of it is on a volume of that drive.
    RestoreError
        Of what a named object builds on there is nothing left. One that was only selected comes with what is.
    """
    if selection.names:
        named = [one for name in selection.names for one in _named(catalog, name, drives, single=selection.single)]
    else:
        named = [one for one in catalog.objects() if _fits(catalog, selection, one) and _is_in(one, drives)]
        if not selection.single:
            named = [link for one in named for link in _what_is_left(catalog, one)]
    return with_indexes(catalog, named)


def with_indexes(catalog: Catalog, items: Iterable[Object]) -> list[Object]:
    """The same and their file indexes, which go along with them; each once."""
    wanted = list(items)
    indexes = catalog.indexes_of(one.id for one in wanted)
    found: dict[Object, None] = {}
    for one in wanted:
        found[one] = None
        if one.id in indexes:
            found[indexes[one.id]] = None
    return list(found)


def _named(catalog: Catalog, name: str, drives: Collection[str], *, single: bool) -> list[Object]:
    try:
        known = catalog.objects(name)
    except NotFound:
        try:
            item = catalog.object(name)
        except Ambiguous:
            raise
        except NotFound:
            raise NotFound(f"{name} is neither a source that has objects nor the id of an object") from None
        return [item] if single else list(_chain(catalog, item))
    here = [one for one in known if one.outcome is Outcome.WHOLE and _is_in(one, drives)]
    if not here:
        others = sorted({copy.drive for one in known for copy in one.copies if copy.volumes})
        where = f"; its objects are on volumes of {', '.join(others)}" if others else ""
        raise NotFound(f"source {name} has no whole object on a volume of drive {' or '.join(drives)}{where}")
    return [here[-1]] if single else list(_chain(catalog, here[-1]))


def _chain(catalog: Catalog, item: Object) -> tuple[Object, ...]:
    """With links that are damaged, too: what they have is copied. RestoreError: of one there is nothing."""
    chain = _what_is_left(catalog, item)
    return chain if chain[0].level is Level.FULL else find_chain(catalog, str(item.id)).objects


def _what_is_left(catalog: Catalog, item: Object) -> tuple[Object, ...]:
    return find_chain(catalog, str(item.id), partial=True).objects if item.level is not Level.FULL else (item,)


def _is_in(item: Object, drives: Collection[str]) -> bool:
    return any(copy.drive in drives and copy.volumes and copy.status is not CopyStatus.RETIRED for copy in item.copies)


def _fits(catalog: Catalog, selection: Selection, item: Object) -> bool:
    """Whether an object is what each word of a selection says."""
    tests: list[tuple[object, Callable[[], bool]]] = [
        (selection.sources, lambda: item.source in selection.sources),
        (selection.objects, lambda: any(str(item.id).startswith(id.lower()) for id in selection.objects)),
        (selection.job, lambda: str(item.job).startswith((selection.job or "").lower())),
        (selection.since_ns, lambda: item.as_of >= (selection.since_ns or 0)),
        (selection.until_ns, lambda: item.as_of <= (selection.until_ns or 0)),
        (selection.level, lambda: item.level.name.lower() == selection.level),
        (selection.copies_below, lambda: good_copies(item) < (selection.copies_below or 0)),
        (selection.volume, lambda: any(selection.volume in copy.volumes for copy in item.copies)),
    ]
    return item.outcome is Outcome.WHOLE and all(test() for said, test in tests if said not in (None, ()))


def good_copies(item: Object) -> int:
    return sum(copy.status is CopyStatus.COMPLETE for copy in item.copies)


def nothing_selected(drives: Collection[str], buffer: str) -> str:
    return f"{buffer} selects no object that is on a volume of drive {' or '.join(drives)}"
