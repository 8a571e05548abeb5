"""Which objects are taken in which pass, so that there are as few passes as can be.

Weaves do not meet, so each is divided for itself, and the first part of each goes into the first pass. A weave of few
objects is divided by trying everything; a larger one by putting each object into the first pass that still has a
course for it. `least` is a bound from below, from what must be in the spool at
one moment: where the greedy division reaches it, it is as good as trying everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from msgspec import Struct

from tapeloom.compile.passes import course
from tapeloom.compile.passes.course import Course
from tapeloom.compile.passes.weave import Weave

EXACT_OBJECTS = 8
"""Weaves of so many objects at most are divided by trying everything."""
EXACT_RUNS = 50_000
"""In larger tables each try would take too long."""
EXACT_WIDTH = 100_000
GREEDY_WIDTH = 16

Members = tuple[int, ...]
Cost = Callable[[Course], float]


class Moment(Struct, frozen=True):
    """A moment at which much is open. `waiting` are the bytes read by then of the objects that are open, descending."""

    place: int
    waiting: tuple[int, ...]

    def passes(self, targets: int, spool_bytes: int) -> int:
        """So many passes at least: in each of them, `targets` of the open objects need not wait, the rest is in the
        spool."""
        passes = 1
        while True:
            rest = self.waiting[passes * targets :]
            if not rest or (rest[0] <= spool_bytes and sum(rest) <= passes * spool_bytes):
                return passes
            passes += 1


class Division(Struct, frozen=True):
    """The courses of one weave's passes. `least` is proven."""

    courses: tuple[Course, ...]
    least: int
    moment: Moment


def divide(weave: Weave, targets: int, spool_bytes: int, cost: Cost) -> Division:
    """A weave in as few passes as can be found, and among the ways that were looked at the cheapest."""
    members = tuple(range(len(weave.threads)))
    moment = _tightest(weave, members, targets, spool_bytes)
    if len(members) <= EXACT_OBJECTS and weave.runs <= EXACT_RUNS:
        courses = _all_ways(weave, members, targets, spool_bytes, cost)
        return Division(courses, len(courses), moment)
    least = moment.passes(targets, spool_bytes)
    return Division(_greedy(weave, members, targets, spool_bytes, cost), least, moment)


def _tightest(weave: Weave, members: Members, targets: int, spool_bytes: int) -> Moment:
    """The moment that asks for most passes; of several the one with most open objects."""
    inside = frozenset(members)
    open_now: set[int] = set()
    moments = []
    for number, event in enumerate(weave.events):
        if event.member not in inside:
            continue
        if event.ends:
            waiting = sorted((weave.read[member][number] for member in open_now), reverse=True)
            moments.append(Moment(event.place, tuple(waiting)))
            open_now.discard(event.member)
        else:
            open_now.add(event.member)
    return max(moments, key=lambda moment: (moment.passes(targets, spool_bytes), len(moment.waiting)))


def _all_ways(weave: Weave, members: Members, targets: int, spool_bytes: int, cost: Cost) -> tuple[Course, ...]:
    """The division with the fewest passes, and of those the cheapest: of all there are."""
    everything = (1 << len(members)) - 1

    @cache
    def one(chosen: int) -> tuple[float, Course] | None:
        found = course.find(
            weave, [member for member in members if chosen >> member & 1], targets, spool_bytes, EXACT_WIDTH
        )
        return None if found is None else (cost(found), found)

    @cache
    def best(left: int) -> tuple[int, float, tuple[Course, ...]]:
        if not left:
            return 0, 0.0, ()
        first = left & -left
        others = left ^ first
        ways = []
        chosen = others
        while True:  # each set that has the first one in it
            taken = one(chosen | first)
            if taken is not None:
                passes, seconds, courses = best(others ^ chosen)
                ways.append((passes + 1, seconds + taken[0], (taken[1], *courses)))
            if not chosen:
                return min(ways, key=lambda way: way[:2])
            chosen = (chosen - 1) & others

    return best(everything)[2]


def _greedy(weave: Weave, members: Members, targets: int, spool_bytes: int, cost: Cost) -> tuple[Course, ...]:
    """The best of a few orders of putting each member into the first pass that takes it.

    Without a spool the order of begins is the best there is: whoever finds no place meets as many others as all passes
    have targets.
    """
    size = weave.bytes.__getitem__
    orders: list[Sequence[int]] = [members]
    if spool_bytes:
        orders += [sorted(members, key=size), sorted(members, key=size, reverse=True)]
    divisions = [_first_fit(weave, order, targets, spool_bytes) for order in orders]
    return min(divisions, key=lambda courses: (len(courses), sum(map(cost, courses))))


def _first_fit(weave: Weave, order: Sequence[int], targets: int, spool_bytes: int) -> tuple[Course, ...]:
    passes: list[tuple[Members, Course]] = []
    for member in order:
        for row, (taken, _) in enumerate(passes):
            wider = (*taken, member)
            if _tightest(weave, wider, targets, spool_bytes).passes(targets, spool_bytes) > 1:
                continue
            found = course.find(weave, wider, targets, spool_bytes, GREEDY_WIDTH)
            if found is not None:
                passes[row] = (wider, found)
                break
        else:
            alone = course.replay(weave, ((member,), *[()] * (targets - 1)))
            passes.append(((member,), alone))
    return tuple(found for _, found in passes)
