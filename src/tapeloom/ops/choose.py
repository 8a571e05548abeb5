"""Which object, and which of its copies, a reading operation is about."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object
from tapeloom.errors import Ambiguous, NotFound, RestoreError
from tapeloom.runtime.reading import Segment

_ID = re.compile(r"[0-9a-f]{4,8}(-[0-9a-f]{0,12}){0,4}", re.IGNORECASE)


def choose_object(catalog: Catalog, name: str, *, partial: bool = False) -> Object:
    """A source's newest object, or the object with that id (or an unequivocal beginning of one).

    `partial`: also one of which no copy is complete.
    """
    try:
        return catalog.newest(name, whole=not partial)
    except NotFound as error:
        if not _ID.fullmatch(name):
            raise
        try:
            found = catalog.object(name)
        except Ambiguous:
            raise
        except NotFound:
            raise error from None
    return found


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
        states = ", ".join(f"{copy.agent} {copy.status}" for copy in copies)
        raise RestoreError(
            f"object {item.id} of {item.source} has no complete copy to read ({states}); --partial restores what there "
            "is"
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
