"""The plan, from volumes, targets and a spool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np

from tapeloom.compile.passes.course import Course
from tapeloom.compile.passes.records import Pass, PassPlan, SourceVolume, Visit, Way
from tapeloom.compile.passes.share import Division, divide
from tapeloom.compile.passes.stretches import visit
from tapeloom.compile.passes.weave import Line, Weave
from tapeloom.errors import UsageError
from tapeloom.quantity import rough_bytes
from tapeloom.timing import Timing

Part = tuple[Weave, Course]


def plan_passes(
    volumes: Sequence[SourceVolume], source: Timing, targets: Sequence[Timing], spool_bytes: int = 0
) -> PassPlan:
    """The fewest passes that write each object of `volumes` contiguously, and of those the fastest that were found.

    Parameters
    ----------
    volumes
        In the order in which their objects go on; one drive reads them all.
    source, targets
        What is expected of the drive that reads and of each drive that writes.
    spool_bytes
        What may wait at any moment, in memory or in a file; 0: nothing.

    Each object is taken in one pass, as a whole. While one leaves the spool, the tape that is read stands still. The
    number of passes is the least there is for up to 8 objects that lie among one another; for more, `passes_least` of
    the plan is a bound from below.

    Raises
    ------
    UsageError
        There is no target, or `spool_bytes` is negative.
    """
    if not targets:
        raise UsageError("there is no drive to write to: name at least one")
    if spool_bytes < 0:
        raise UsageError(f"a spool of {spool_bytes} bytes: it holds 0 or more")
    line = Line(volumes)
    divisions = []
    for weave in line.weaves():
        divisions.append((weave, divide(weave, len(targets), spool_bytes, _cost(volumes, weave, source, targets))))
    passes: list[Pass] = []
    inside: int | None = None
    for courses in zip_longest(*(division.courses for _, division in divisions)):
        parts = [(weave, course) for (weave, _), course in zip(divisions, courses, strict=True) if course is not None]
        passes.append(_pass(line, volumes, parts, source, targets, inside))
        inside = passes[-1].visits[-1].volume
    hardest = max((division for _, division in divisions), key=_hardness, default=None)
    least = max((division.least for _, division in divisions), default=0)
    return PassPlan(tuple(passes), least, _reason(passes, least, hardest, len(targets), spool_bytes))


def _cost(
    volumes: Sequence[SourceVolume], weave: Weave, source: Timing, targets: Sequence[Timing]
) -> Callable[[Course], float]:
    """The seconds of a pass that takes nothing but this course. Its volumes are taken as mounted."""

    def cost(course: Course) -> float:
        visits = _visits(volumes, [(weave, course)], source, None, mounts=False)
        return _seconds([(weave, course)], visits, targets)

    return cost


def _pass(
    line: Line,
    volumes: Sequence[SourceVolume],
    parts: Sequence[Part],
    source: Timing,
    targets: Sequence[Timing],
    inside: int | None,
) -> Pass:
    visits = _visits(volumes, parts, source, inside)
    ways = [
        tuple(_way(line, weave, course, member) for weave, course in parts for member in course.orders[row])
        for row in range(len(targets))
    ]
    peak = max(course.spool_bytes_max for _, course in parts)
    return Pass(tuple(ways), tuple(visits), peak, _seconds(parts, visits, targets))


def _visits(
    volumes: Sequence[SourceVolume],
    parts: Sequence[Part],
    source: Timing,
    inside: int | None,
    *,
    mounts: bool = True,
) -> list[Visit]:
    objects = {weave.threads[member].object for weave, course in parts for member in course.leaves}
    visits = []
    for row, volume in enumerate(volumes):
        found = visit(row, volume, objects, source, mounts=mounts and row != inside)
        if found is not None:
            visits.append(found)
            inside = row
    return visits


def _seconds(parts: Sequence[Part], visits: Sequence[Visit], targets: Sequence[Timing]) -> float:
    """Reading and writing straight go on together, and the slower counts; what leaves the spool comes to that."""
    straight = [0.0] * len(targets)
    leaving = 0.0
    for weave, course in parts:
        for row, (order, timing) in enumerate(zip(course.orders, targets, strict=True)):
            spooled = sum(course.spooled[member] for member in order)
            straight[row] += timing.write(sum(weave.bytes[member] for member in order) - spooled)
            leaving += timing.write(spooled)
    return max(sum(visit.seconds for visit in visits), *straight) + leaving


def _way(line: Line, weave: Weave, course: Course, member: int) -> Way:
    thread, place = weave.threads[member], course.leaves[member]
    spooled, blocks = thread.read(np.array([place, thread.end]))[0].tolist()
    return Way(
        thread.object,
        blocks,
        weave.bytes[member],
        spooled,
        course.spooled[member],
        line.place(place) if spooled else None,
    )


def _hardness(one: Division) -> tuple[int, int, int]:
    """Of weaves that take as many passes, the reason is told of the one that asks most of the spool: what it says waits
    is what the plan says waits."""
    spool = max(course.spool_bytes_max for course in one.courses)
    return len(one.courses), spool, len(one.moment.waiting)


def _reason(made: Sequence[Pass], least: int, hardest: Division | None, targets: int, spool_bytes: int) -> str:
    if hardest is None:
        return "no pass: nothing is wanted of these volumes"
    waiting = hardest.moment.waiting
    passes = _counted(len(made), "pass", "passes")
    takes = f"{_counted(targets, 'drive', 'drives')} {'takes' if targets == 1 else 'take'}"
    takes += " one at a time" if targets == 1 else f" {targets} at a time"
    overlap = f"{len(waiting)} objects overlap" if len(waiting) > 1 else "no objects overlap"
    if len(waiting) <= targets:
        return f"{passes}: {overlap}, {takes}"
    most = max(each.spool_bytes_max for each in made)
    if len(made) == 1:
        return (
            f"{passes}: {overlap}, {takes}, what waits of the others ({rough_bytes(most)} at most) fits into the spool"
        )
    if not spool_bytes:
        return f"{passes}: {overlap}, {takes}, and there is no spool"
    others = (
        f"a spool of {rough_bytes(spool_bytes)} holds {_held(waiting, targets, spool_bytes) or 'none'} of the others"
    )
    doubt = "" if len(made) == least else f"; {least} or more are needed, and no way with fewer was found"
    return f"{passes}: {overlap}, {takes}, {others}{doubt}"


def _held(waiting: Sequence[int], targets: int, spool_bytes: int) -> int:
    """How many fit into the spool, those first of which least has been read."""
    smallest_first = np.cumsum(waiting[targets:][::-1])
    return int(np.searchsorted(smallest_first, spool_bytes, side="right"))


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
