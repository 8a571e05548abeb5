"""Which object a new one is an increment to, and which snapshots are still needed for that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from tapeloom.agent.snapshot import Snapshot
from tapeloom.catalog import Catalog, CopyStatus, Object, Outcome, VolumeState
from tapeloom.errors import NotFound, TapeloomError
from tapeloom.ops.lineage import Lineage
from tapeloom.volume.header import Content, Level


class Start(Struct, frozen=True):
    """What a new object of a source begins from: `since` is the snapshot of its `parent`, both None for a full one.

    `remark` says why it is a full one though an increment was asked for, where that is worth a word.
    """

    level: Level = Level.FULL
    parent: UUID | None = None
    since: Snapshot | None = None
    remark: str | None = None


def choose_start(
    catalog: Catalog,
    source: str,
    wanted: Level,
    misfit: Callable[[Snapshot], str | None],
    open_snapshot: Callable[[Path], Snapshot],
) -> Start:
    """The newest object that an increment can build on: whole, with a complete copy, as all that it builds on itself,
    and with a snapshot that fits the source as it is configured now.

    Parameters
    ----------
    misfit
        Says why a snapshot cannot serve, or None.
    open_snapshot
        Opens the snapshot that is kept under a path; raises TapeloomError where that cannot be done.
    """
    if wanted is Level.FULL:
        return Start()
    try:
        known = Lineage.latest(catalog, source)
    except NotFound:
        return Start()  # the first is always full, and nobody wonders why
    why: str | None = None
    retired = {one.label for one in catalog.volumes() if one.state is VolumeState.RETIRED}
    for one in known.newest_first():
        if one.content != Content.PAX or (wanted is Level.DIFFERENTIAL and one.level is not Level.FULL):
            continue
        unfit = broken_link(known, one, retired)
        if unfit is None:
            try:
                since = open_snapshot(catalog.snapshot_path(_read(known, one)))
            except TapeloomError as error:
                unfit = str(error)
            else:
                unfit = misfit(since)
                if unfit is None and since.object_id == (one.stands_for or one.id):
                    return Start(wanted, one.id, since)
                since.close()
                unfit = unfit or f"its snapshot is that of object {since.object_id}"
        why = why or f"object {one.id} cannot be built on: {unfit}"
    return Start(remark=f"{source}: a full backup instead of one that is {wanted.name.lower()}; {why}" if why else None)


def broken_link(known: Lineage, one: Object, retired: Collection[str]) -> str | None:
    """Why `one`, or something that it builds on, cannot be counted on; None where it can. Nobody counts on what has no
    complete copy without a `retired` volume (their labels)."""
    link = one
    while (why := _unfit(link, retired)) is None:
        if link.parent is None:
            return None
        ways = known.same_state(link.parent)
        if not ways:
            return f"object {link.parent}, which it builds on, is not in the catalog"
        link = next((way for way in ways if _unfit(way, retired) is None), ways[-1])
    return f"{'it' if link is one else f'object {link.id}, which it builds on,'} {why}"


def _unfit(one: Object, retired: Collection[str]) -> str | None:
    """Why one object alone cannot be counted on."""
    if one.status == CopyStatus.DAMAGED:
        from tapeloom.ops.choose import states  # with all that reading takes

        return f"has no good copy left ({states(one.copies)})"
    if one.status != "complete":
        return f"is {one.status}"
    whole = [copy for copy in one.copies if copy.status is CopyStatus.COMPLETE]
    if not any(set(copy.volumes).isdisjoint(retired) for copy in whole):
        lost = next(label for copy in whole for label in copy.volumes if label in retired)
        return f"has no complete copy without volume {lost}, which is retired"
    return None


def _read(known: Lineage, one: Object) -> Object:
    """The object whose snapshot is kept of this one's state: what stands for another one has that one's."""
    return known.read(one) or one


def prune_snapshots(catalog: Catalog, sources: Iterable[str]) -> None:
    """Removes the snapshots that no increment can begin from any more.

    Kept are those of the newest state of a source that can be restored, of the newest such one that has a full object,
    each where it has a snapshot, and of whole objects that came after and whose copies may still become complete.
    """
    paths = catalog.snapshots()
    held: dict[str, list[UUID]] = defaultdict(list)
    for id, source in catalog.sources_of(paths).items():
        held[source].append(id)
    retired = {one.label for one in catalog.volumes() if one.state is VolumeState.RETIRED}
    for source in sources:
        if source in held:
            objects = catalog.these(held[source]).values()
            for one in _useless(Lineage.latest(catalog, source), objects, retired):
                with suppress(FileNotFoundError):
                    paths[one.id].unlink()


def _useless(known: Lineage, held: Collection[Object], retired: Collection[str]) -> Iterator[Object]:
    """Of objects of a source that have a snapshot, those whose snapshots may go."""
    ids = {one.id for one in held}
    good = (one for one in known.newest_first() if broken_link(known, one, retired) is None)
    newest = next(good, None)
    from_newest = () if newest is None else chain([newest], good)
    full = next((one for one in from_newest if one.level is Level.FULL and _read(known, one).id in ids), None)
    kept = {_read(known, one).id for one in (newest, full) if one is not None}
    for one in held:
        hopeful = one.outcome is Outcome.WHOLE and not (newest is not None and one.as_of <= newest.as_of)
        if one.id not in kept and not hopeful:
            yield one
