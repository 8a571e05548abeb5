"""Which object, and which of its copies, a reading operation is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Outcome
from tapeloom.errors import Ambiguous, NotFound, RestoreError, UsageError
from tapeloom.runtime.reading import Segment

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
        None of the source's objects is whole, with a complete copy.
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
            raise NotFound(f"source {name} has no object of {_minute(at)} or before; its oldest is of {dated(oldest)}")
    usable = [item for item in found if partial or item.status == "complete"]
    if not usable:
        newest = found[-1]
        on_tape = any(copy.volumes for copy in newest.copies)
        rest = "--partial restores what there is" if on_tape else "nothing of it is on tape"
        raise RestoreError(
            f"source {name} has no object{'' if at is None else ' so old'} that is whole and has a complete copy: "
            f"{_why_not(newest)}; {rest}"
        )
    return usable[-1]


def restorable(item: Object, *, partial: bool) -> bool:
    """Whether all of an object can be read back, as far as is known; with `partial`, anything of it."""
    return item.status == "complete" or (partial and any(copy.volumes for copy in item.copies))


def dated(item: Object) -> str:
    """When an object was made, in the zone of whoever reads it."""
    return _minute(item.as_of)


def _minute(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9).astimezone():%Y-%m-%d %H:%M}"


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
    complete = [copy for copy in copies if copy.status is CopyStatus.COMPLETE]
    others = [copy for copy in copies if copy.status in (CopyStatus.PARTIAL, CopyStatus.DAMAGED)]
    if not complete and not partial:
        raise RestoreError(
            f"object {item.id} of {item.source} has no complete copy to read ({states(copies)}); --partial restores "
            "what there is"
        )
    return complete + others


def segments(catalog: Catalog, copy: Copy) -> list[Segment]:
    """Where the blocks of a copy are, in order of seq."""
    return [
        Segment(volume.id, volume.label, copy.agent, position, seq, blocks)
        for volume, position, seq, blocks in catalog.runs(copy.id).rows()
    ]


def blocks_of(item: Object, copies: Sequence[Sequence[Segment]]) -> int:
    """How many blocks the object has, as far as is known."""
    if item.blocks is not None:
        return item.blocks
    return max((part.seq + part.blocks for copy in copies for part in copy), default=0)


def block_bytes_max(catalog: Catalog, copies: Sequence[Sequence[Segment]]) -> int:
    """The largest block on any of the volumes."""
    volumes = {part.volume for copy in copies for part in copy}
    return max((catalog.volume(volume).block_bytes for volume in volumes), default=0)
