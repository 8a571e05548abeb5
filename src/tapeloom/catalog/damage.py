"""What was found harmed of copies, in ranges of blocks, volume by volume: taken down, and taken back again.

A copy with such a range is `damaged`, whatever its receipts cover; without any it is what its receipts say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct

from ..volume.harm import Harm
from ..volume.spans import Span, gaps, union
from .model import Copy, CopyStatus, Damage


class Finding(Struct, frozen=True):
    """What looking at blocks of one copy on one volume has shown: of `looked_at`, `harmed` is damaged and the rest is
    not, whatever was known before."""

    copy: int
    volume: UUID
    looked_at: tuple[Span, ...]
    harmed: tuple[tuple[int, int, Harm], ...] = ()


def without(parts: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What `taken` leaves of `parts`, both in any order; joined, ascending.

    >>> without([(0, 9), (20, 29)], [(3, 4), (8, 21), (40, 50)])
    [(0, 2), (5, 7), (22, 29)]
    """
    left = union(parts)
    for first, last in union(taken):
        left = [
            (begin, end)
            for part in left
            for begin, end in ((part[0], min(part[1], first - 1)), (max(part[0], last + 1), part[1]))
            if begin <= end
        ]
    return left


def write(t: Any, findings: Sequence[Finding], found_at: int) -> dict[int, bool]:
    """Gives the copies that the findings are about, by id, and whether any damage of them was known before. Copies that
    the catalog does not know are passed over."""
    ids = [one.copy for one in findings]
    before = of_copies(t, t.damages.copy << ids)
    known = {row[0]: row[0] in before for row in t.copies.select(t.copies.id).where(t.copies.id << ids).tuples()}
    for finding in findings:
        if finding.copy in known:
            _write(t, finding, found_at)
    return known


def _write(t: Any, finding: Finding, found_at: int) -> None:
    d = t.damages
    here = (d.copy == finding.copy) & (d.volume == str(finding.volume))
    before = list(d.select(d.first_seq, d.last_seq, d.harm, d.found_at).where(here).tuples())
    looked_at = [*finding.looked_at, *((first, last) for first, last, _ in finding.harmed)]
    rows = [
        (first, last, harm, when)
        for begin, end, harm, when in before
        for first, last in without([(begin, end)], looked_at)
    ]
    for kind in Harm:
        spans = union((first, last) for first, last, harm in finding.harmed if harm is kind)
        rows += [(first, last, kind.value, found_at) for first, last in spans]
    d.delete().where(here).execute()
    for first, last, harm, when in rows:
        d.insert(
            copy=finding.copy, volume=str(finding.volume), first_seq=first, last_seq=last, harm=harm, found_at=when
        ).execute()


def of_copies(t: Any, where: Any) -> Mapping[int, tuple[Damage, ...]]:
    """By copy, in order of seq. `where`: a condition on the table `damages`, None for all of it."""
    d = t.damages
    query = d.select(d.copy, d.volume, t.volumes.label, d.first_seq, d.last_seq, d.harm, d.found_at).join(
        t.volumes, on=(d.volume == t.volumes.id)
    )
    if where is not None:
        query = query.where(where)
    found: dict[int, list[Damage]] = defaultdict(list)
    for copy, volume, label, first, last, harm, found_at in query.order_by(d.first_seq).tuples():
        found[copy].append(Damage(UUID(volume), label, first, last, Harm(harm), found_at))
    return {copy: tuple(each) for copy, each in found.items()}


def by_volume(t: Any) -> dict[UUID, int]:
    """How many blocks are harmed, by volume."""
    blocks: dict[UUID, int] = defaultdict(int)
    for volume, first, last in t.damages.select(t.damages.volume, t.damages.first_seq, t.damages.last_seq).tuples():
        blocks[UUID(volume)] += last - first + 1
    return dict(blocks)


def in_pieces(copies: Sequence[Copy], blocks: int | None, covered: Callable[[int], Sequence[Span]]) -> bool:
    """Whether copies of which none is complete, and one at least is damaged, still give all blocks together. `covered`:
    what the receipts of a copy cover; asked only where that is in doubt."""
    of_copies = {copy.status for copy in copies}
    if CopyStatus.COMPLETE in of_copies or CopyStatus.DAMAGED not in of_copies or not blocks:
        return False
    good: list[Span] = []
    for copy in copies:
        # Of one that a person called damaged, nobody knows where.
        if copy.status is CopyStatus.PARTIAL or (copy.status is CopyStatus.DAMAGED and copy.damage):
            good += without(covered(copy.id), ((one.first, one.last) for one in copy.damage))
    return not gaps(good, blocks)
