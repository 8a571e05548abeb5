"""Which object, and which of its copies, a reading operation is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Outcome
from tapeloom.errors import Ambiguous, NotFound, RestoreError, UsageError
from tapeloom.quantity import local_time
from tapeloom.runtime.segments import Segment, cut
from tapeloom.volume.spans import union

_ID = re.compile(r"[0-9a-f]{4,8}(-[0-9a-f]{0,12}){0,4}", re.IGNORECASE)


def choose_object(catalog: Catalog, name: str, *, at: int | None = None, partial: bool = False) -> Object:
    """A source's newest object, or the object with that id (or an unequivocal beginning of one).

    `at`, in ns since 1970 UTC: the newest that is no newer. `partial`: also one that is not whole, or of which no copy
    is complete.

    Raises
    ------
    NotFound
        There is neither such a source nor such an object, or none so old.
    RestoreError
        None of the source's objects is whole, with a complete copy; or the newest had one, but is damaged beyond
        what its copies can make up for: an older one is not taken in its place without a word.
    UsageError
        `at` goes with the name of a source.
    """
    try:
        found = catalog.objects(name)
    except NotFound as error:
        if not _ID.fullmatch(name):
            raise
        try:
            item = catalog.object(name)
        except Ambiguous:
            raise
        except NotFound:
            raise error from None
        if at is not None:
            raise UsageError(f"{name} is one object, of {dated(item)}: --at goes with the name of a source") from None
        return item
    if at is not None:
        oldest, found = found[0], [item for item in found if item.as_of <= at]
        if not found:
            so_old = f"of {local_time(at)} or before"
            raise NotFound(f"source {name} has no object {so_old}; its oldest is of {dated(oldest)}")
    usable = [item for item in found if partial or restorable(item, partial=False)]
    ruined = [item for item in found if item.status == "damaged" and item not in usable]
    if ruined and not (usable and usable[-1].as_of >= ruined[-1].as_of):
        older = f"; the newest before it that can be had is {usable[-1].id}, of {dated(usable[-1])}" if usable else ""
        raise RestoreError(
            f"object {ruined[-1].id} of {name}, of {dated(ruined[-1])}, has {states(ruined[-1].copies)}, and together "
            f"they do not give all of it; --partial restores what there is{older}"
        )
    if not usable:
        newest = found[-1]
        rest = "--partial restores what there is" if restorable(newest, partial=True) else _nothing_left(newest, found)
        raise RestoreError(
            f"source {name} has no object{'' if at is None else ' so old'} that is whole and has a complete copy: "
            f"{_why_not(newest)}; {rest}"
        )
    return usable[-1]


def restorable(item: Object, *, partial: bool) -> bool:
    """Whether all of an object can be read back, as far as is known; with `partial`, anything of it."""
    some = any(copy.volumes and copy.status is not CopyStatus.RETIRED for copy in item.copies)
    return item.status == "complete" or item.pieced or (partial and some)


def dated(item: Object) -> str:
    """When an object was made, in the zone of whoever reads it."""
    return local_time(item.as_of)


def _why_not(item: Object) -> str:
    """What keeps the newest object of a source from being restored as it is."""
    newest = f"the newest, {item.id} of {dated(item)},"
    match item.outcome:
        case Outcome.READING:
            return f"{newest} is still being read, or its job broke off"
        case Outcome.INTERRUPTED:
            return f"{newest} ends where its job broke off"
        case Outcome.FAILED:
            why = f" ({item.troubles[-1]})" if item.troubles else ""
            return f"{newest} ends where its source broke off{why}"
        case Outcome.WHOLE:
            return f"{newest} has {states(item.copies)}"


def _nothing_left(newest: Object, found: Sequence[Object]) -> str:
    """Why not even a part of the newest object is restored, and what can be had instead."""
    older = [item for item in found if restorable(item, partial=True)]
    instead = f"; name {older[-1].id}, of {dated(older[-1])}, with --partial for what there is of it" if older else ""
    if newest.status != CopyStatus.RETIRED:
        return f"nothing of it is on tape{instead}"
    return f"{_not_read(newest.copies)}{instead or _ANOTHER}"


_ANOTHER = "; choose another object, if `tapeloom objects` lists one that is not retired"


def _not_read(copies: Sequence[Copy]) -> str:
    """Of copies all of which are retired."""
    labels = ", ".join(dict.fromkeys(label for copy in copies for label in copy.volumes))
    return f"retired copies ({f'on {labels}' if labels else 'nothing on tape'}) are not read, nor with --partial"


def states(copies: Sequence[Copy]) -> str:
    """How an object's copies are: `A partial, M1 damaged`."""
    return ", ".join(f"{copy.agent} {copy.status}" for copy in copies) or "no copy"


def choose_copies(
    catalog: Catalog, item: Object, *, agent: str | None = None, volume: str | None = None, partial: bool = False
) -> list[Copy]:
    """The copies to read from, the best one first; with `agent` or `volume` only such, with `partial` also incomplete
    ones.

    Raises
    ------
    NotFound
        There is no such copy.
    RestoreError
        There is none that is complete.
    """
    copies = list(item.copies)
    if agent is not None:
        copies = [copy for copy in copies if copy.agent == agent]
    if volume is not None:
        copies = [copy for copy in copies if volume in copy.volumes]
    if not copies:
        where = f"by agent {agent}" if agent is not None else f"on volume {volume}" if volume is not None else "at all"
        held = ", ".join(f"{copy.agent} ({', '.join(copy.volumes) or 'nothing on tape'})" for copy in item.copies)
        raise NotFound(f"object {item.id} of {item.source} has no copy {where}; it has: {held or 'none'}")
    others = [copy.agent for copy in item.copies if copy not in copies and copy.status is CopyStatus.COMPLETE]
    option = "--volume" if agent is None else "--copy"
    elsewhere = f"; {', '.join(others)} not asked, because of {option}: leave it out" if others else ""
    if all(copy.status is CopyStatus.RETIRED for copy in copies):
        asked_not = [copy.agent for copy in item.copies if copy.volumes and copy.status is not CopyStatus.RETIRED]
        instead = f"; {', '.join(asked_not)} not asked, because of {option}: leave it out" if asked_not else _ANOTHER
        raise RestoreError(
            f"object {item.id} of {item.source} has no copy that is counted on ({states(copies)}), and "
            f"{_not_read(copies)}{instead}"
        )
    in_order = (CopyStatus.COMPLETE, CopyStatus.DAMAGED, CopyStatus.PARTIAL)
    chosen = [copy for status in in_order for copy in copies if copy.status is status]
    complete = any(copy.status is CopyStatus.COMPLETE for copy in chosen)
    pieced = item.pieced and len(copies) == len(item.copies)
    if not (complete or pieced or partial):
        raise RestoreError(
            f"object {item.id} of {item.source} has no complete copy to read ({states(copies)}); --partial restores "
            f"what there is{elsewhere}"
        )
    return chosen


def segments(catalog: Catalog, copy: Copy) -> list[Segment]:
    """Where the blocks of a copy are, in order of seq."""
    return [
        Segment(volume.id, volume.label, copy.agent, position, seq, blocks, copy.id)
        for volume, position, seq, blocks in catalog.runs(copy.id).rows()
    ]


def layers(catalog: Catalog, copies: Sequence[Copy]) -> list[list[Segment]]:
    """Where to read an object from: lists of segments in order of seq, for each block its best place in the first of
    them that has it.

    The first list holds what the first copy has undamaged. Where that copy is not complete, others fill its gaps, so
    that the list is all that can be had. What is known to be harmed comes last of all: who has nothing better tries it.
    """
    sound, harmed = [], []
    for copy in copies:
        bad, good = _parted(segments(catalog, copy), copy)
        sound.append(good)
        harmed += [bad] if bad else []
    if copies and copies[0].status is CopyStatus.COMPLETE:
        return sound + harmed
    layered: list[list[Segment]] = []
    for rest in sound + harmed:
        for at, layer in enumerate(layered):
            rest, more = cut(rest, union((part.seq, part.last) for part in layer))
            layered[at] = sorted([*layer, *more], key=_seq)
        layered += [rest] if rest else []
    return layered


def _parted(held: list[Segment], copy: Copy) -> tuple[list[Segment], list[Segment]]:
    """What of a copy is known to be harmed, and the rest."""
    bad, good = [], [part for part in held if all(one.volume != part.volume for one in copy.damage)]
    for volume in {one.volume for one in copy.damage}:
        there = [part for part in held if part.volume == volume]
        ranges = union((one.first, one.last) for one in copy.damage if one.volume == volume)
        inside, outside = cut(there, ranges)
        bad += inside
        good += outside
    return sorted(bad, key=_seq), sorted(good, key=_seq)


def _seq(part: Segment) -> int:
    return part.seq


def blocks_of(item: Object, copies: Sequence[Sequence[Segment]]) -> int:
    """How many blocks the object has, as far as is known."""
    if item.blocks is not None:
        return item.blocks
    return max((part.seq + part.blocks for copy in copies for part in copy), default=0)


def block_bytes_max(catalog: Catalog, copies: Sequence[Sequence[Segment]]) -> int:
    """The largest block on any of the volumes."""
    volumes = {part.volume for copy in copies for part in copy}
    return max((catalog.volume(volume).block_bytes for volume in volumes), default=0)
