"""Which objects make up a state: a full one, and the increments that lead from it to the wanted one."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from msgspec import Struct

from tapeloom.catalog import Catalog, Object
from tapeloom.errors import RestoreError
from tapeloom.ops.choose import choose_object, dated, restorable, states
from tapeloom.ops.lineage import Lineage
from tapeloom.volume.header import Level


class Chain(Struct, frozen=True):
    """Objects of one source, the oldest first; each but the first is an increment to the one before, or to one that has
    the same state. `remarks` are
    sentences on what a partial restore does without."""

    objects: tuple[Object, ...]
    remarks: tuple[str, ...] = ()

    @property
    def wanted(self) -> Object:
        """The object whose state it is."""
        return self.objects[-1]


def find_chain(
    catalog: Catalog,
    name: str,
    *,
    at: int | None = None,
    single: bool = False,
    partial: bool = False,
    avoid: Collection[UUID] = (),
) -> Chain:
    """The chain that ends with the object `name` (see `choose_object`).

    `at`, in ns since 1970 UTC: a source's newest object that is no newer. `single`: that object alone, though it may be
    an increment. `partial`: also one that is not whole, and what is left of a chain that has lost its beginning.
    `avoid`: objects that are no part of it below that one, where another has the same state.

    Raises
    ------
    NotFound
        There is neither such a source nor such an object, or none so old.
    RestoreError
        None of the source's objects is whole, with a complete copy; or a link of the chain is missing. The sentence
        says which, and what can be restored all the same.
    """
    item = choose_object(catalog, name, at=at, partial=partial)
    if single or item.level is Level.FULL:
        return Chain((item,))
    known = Lineage(catalog.objects(item.source))
    links, broken = _follow(item, known, partial=partial, avoid=avoid)
    if broken is None:
        return Chain(links)
    if not partial:
        raise RestoreError(f"{broken}; {_instead(item, known)}")
    return Chain(links, (f"{broken}: what did not change since then is missing",))


def _follow(
    item: Object, known: Lineage, *, partial: bool, avoid: Collection[UUID] = ()
) -> tuple[tuple[Object, ...], str | None]:
    """The chain as far back as it goes, oldest first; and where it is broken, how."""
    links, seen = [item], {item.id}
    while (link := links[0]).level is not Level.FULL:
        child = f"object {link.id} of {link.source} ({link.level.name.lower()}, of {dated(link)})"
        if link.parent is None or link.parent in seen:  # times say nothing here: clocks are set back, too
            return tuple(links), f"{child} is an increment, but the catalog does not say to what"
        ways = known.same_state(link.parent)
        if not ways:
            return tuple(links), f"{child} is an increment to object {link.parent}, which the catalog does not know"
        whole = sorted((one for one in ways if restorable(one, partial=False)), key=lambda one: one.id in avoid)
        parent = whole[0] if whole else known.get(link.parent) or ways[0]
        if not whole and not restorable(parent, partial=partial):
            why = states(parent.copies) if parent.outcome == "whole" else f"{parent.outcome} and not whole"
            return tuple(links), f"{child} is an increment to object {parent.id} of {dated(parent)}, which is {why}"
        links.insert(0, parent)
        seen.add(parent.id)
    return tuple(links), None


def _instead(item: Object, known: Lineage) -> str:
    """What can be restored in place of a chain that is broken."""
    single = f"--single restores what {item.id} holds by itself"
    for older in reversed([one for one in known if one.as_of <= item.as_of and one.id != item.id]):
        if restorable(older, partial=False) and _follow(older, known, partial=False)[1] is None:
            return f"the newest state that can be restored is that of object {older.id} of {dated(older)}; {single}"
    return f"no older state can be restored either; {single}"
