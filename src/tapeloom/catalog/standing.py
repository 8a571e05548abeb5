"""How copies stand: begun, complete as far as receipts and damage say, out of use. On an open transaction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from ..errors import NotFound
from ..volume.spans import gaps
from .model import Copy, CopyStatus, Place
from .rows import copies, spans

_STICKY = {CopyStatus.DAMAGED, CopyStatus.RETIRED}
"""Said by a person, or by what was found on tape: receipts do not take it back."""

VARIABLES_MAX = 500
"""In one statement: any SQLite takes that many."""


def add_copy(t: Any, object_id: UUID, job: UUID, place: Place) -> int:
    return int(
        t.copies.insert(
            {
                "object": str(object_id),
                "job": str(job),
                "writer": str(job),
                "agent": place.agent,
                "agent_group": place.group,
                "drive": place.drive,
                "status": CopyStatus.MISSING.value,
            }
        ).execute()
    )


def retire(t: Any, copies: Iterable[int]) -> None:
    ids = list(copies)
    for first in range(0, len(ids), VARIABLES_MAX):
        some = ids[first : first + VARIABLES_MAX]
        t.copies.update(status=CopyStatus.RETIRED.value).where(t.copies.id << some).execute()


def copy_written_by(t: Any, object_id: UUID, agent: str, job: UUID, path: Path) -> int:
    c = t.copies
    mine = (c.object == str(object_id)) & (c.agent == agent) & (c.writer == str(job))
    found = list(c.select(c.id).where(mine).tuples())
    if not found:
        raise NotFound(f"{path} knows no copy of object {object_id} that agent {agent} writes in job {job}")
    return int(found[0][0])


def refresh(t: Any, copy: int, *, damage_gone: bool = False) -> None:
    """Derives a copy's status from its receipts: complete only when they cover all blocks up to the object's end, and
    no block is known to be harmed. `damage_gone`: there was such a block, and may be none now."""
    one: Copy = copies(t, t.copies.id == copy)[0]
    if one.status is not CopyStatus.RETIRED and one.damage:
        t.copies.update(status=CopyStatus.DAMAGED.value).where(t.copies.id == copy).execute()
        return
    if one.status in _STICKY and not (damage_gone and one.status is CopyStatus.DAMAGED):
        return
    (blocks,) = next(iter(t.objects.select(t.objects.blocks).where(t.objects.id == str(one.object)).tuples()))
    held = spans(t, copy)
    if not held:
        status = CopyStatus.MISSING
    elif blocks and not gaps(held, blocks):
        status = CopyStatus.COMPLETE
    else:
        status = CopyStatus.PARTIAL
    t.copies.update(status=status.value).where(t.copies.id == copy).execute()
