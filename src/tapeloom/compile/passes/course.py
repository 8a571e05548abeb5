"""One pass: who goes straight to a target, who waits in the spool, and for how long.

A target that writes an object *is held* by it until the object's last block: nothing else may come between. What is
read meanwhile of others waits in the spool. When an object has ended, its target is free for a moment at least: all
that waits there as a whole can leave at once, and one of those that have begun may hold the target next, after what
waits of it. It never pays to begin holding at any other moment than one's own begin or somebody's end: so the search
goes from event to event, and keeps of all ways that lead to the same holders and the same whole objects in the spool
the one that has spooled least.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations

import numpy as np
from msgspec import Struct

from tapeloom.compile.passes.weave import Weave

Orders = tuple[tuple[int, ...], ...]
"""For each target its members, in the order of writing."""


class Course(Struct, frozen=True):
    """`leaves` are the places at which members begin on their targets, `spooled` the bytes that wait till then; both
    by member."""

    orders: Orders
    leaves: dict[int, int]
    spooled: dict[int, int]
    spool_bytes_max: int

    @property
    def spooled_bytes(self) -> int:
        return sum(self.spooled.values())


class _Act(Struct, frozen=True):
    """What happens at one event: whole members leave the spool, others begin to hold. Linked to what was before."""

    event: int
    leaving: int
    holding: tuple[int, ...]
    before: _Act | None


class _State(Struct, frozen=True):
    """Sets of members are bits: `holders` of targets, `whole` ones that have ended and wait."""

    holders: int
    whole: int
    spooled: int
    act: _Act | None


def find(weave: Weave, members: Collection[int], targets: int, spool_bytes: int, width: int) -> Course | None:
    """The course that spools least among those that never have more than `spool_bytes` in the spool, or None.

    Not more than `width` ways are followed at a time: while there are fewer, None means that there is no course.
    """
    states = [_State(0, 0, 0, None)]
    open_bits = 0
    chosen = frozenset(members)
    for number, event in enumerate(weave.events):
        if event.member not in chosen:
            continue
        bit = 1 << event.member
        kept: dict[tuple[int, int], _State] = {}
        for state in states:
            if _level(weave, number, open_bits & ~state.holders, state.whole) > spool_bytes:
                continue
            steps = _end(weave, number, state, open_bits & ~bit, targets) if event.ends else _begin(number, state, bit)
            for step in steps:
                key = step.holders, step.whole
                if step.holders.bit_count() <= targets and (key not in kept or step.spooled < kept[key].spooled):
                    kept[key] = step
        open_bits = open_bits & ~bit if event.ends else open_bits | bit
        states = list(kept.values())
        if len(states) > width:
            states.sort(key=lambda state: _room(weave, number, state, open_bits))
            del states[width:]
        if not states:
            return None
    best = min(states, key=lambda state: state.spooled)
    return replay(weave, _orders(weave, best.act, targets))


def replay(weave: Weave, orders: Orders) -> Course:
    """What comes of keeping to `orders` and nothing else."""
    leaves: dict[int, int] = {}
    for order in orders:
        free = 0
        for member in order:
            thread = weave.threads[member]
            leaves[member] = max(free, thread.begin)
            free = max(leaves[member], thread.end)
    # what waits grows until something leaves: only then has the spool to be looked at
    moments = np.array(sorted(set(leaves.values())), np.int64)
    full = np.zeros(len(moments), np.int64)
    spooled: dict[int, int] = {}
    for member, place in leaves.items():
        read = np.where(moments <= place, weave.threads[member].read(moments)[1], 0)
        full += read
        spooled[member] = int(read.max(initial=0))
    return Course(orders, leaves, spooled, int(full.max(initial=0)))


def _level(weave: Weave, event: int, waiting: int, whole: int) -> int:
    """What is in the spool just before an event."""
    return sum(weave.read[member][event] for member in _members(waiting)) + sum(weave.bytes[m] for m in _members(whole))


def _room(weave: Weave, event: int, state: _State, open_bits: int) -> tuple[int, int]:
    """First comes the state that leaves most room in the spool."""
    return _level(weave, event, open_bits & ~state.holders, state.whole), state.spooled


def _begin(event: int, state: _State, bit: int) -> Iterator[_State]:
    yield state
    holding = _Act(event, 0, (bit.bit_length() - 1,), state.act)
    yield _State(state.holders | bit, state.whole, state.spooled, holding)


def _end(weave: Weave, event: int, state: _State, waiting: int, targets: int) -> Iterator[_State]:
    member = weave.events[event].member
    bit = 1 << member
    held = bool(state.holders & bit)
    holders = state.holders & ~bit
    free = targets - holders.bit_count()
    leaving = state.whole | (0 if held else bit)
    spooled = state.spooled + (0 if held else weave.bytes[member])
    if not free:
        yield _State(holders, leaving, spooled, state.act)
        return
    beginners = list(_members(waiting & ~holders))
    for count in range(min(free, len(beginners)) + 1):
        for holding in combinations(beginners, count):
            act = _Act(event, leaving, holding, state.act) if leaving or holding else state.act
            more = sum(weave.read[beginner][event] for beginner in holding)
            yield _State(holders | sum(1 << m for m in holding), 0, spooled + more, act)


def _orders(weave: Weave, last: _Act | None, targets: int) -> Orders:
    """Which target each member goes to: the free one that has least to write."""
    acts: list[_Act] = []
    while last is not None:
        acts.append(last)
        last = last.before
    orders: list[list[int]] = [[] for _ in range(targets)]
    held_until = [0] * targets
    load = [0] * targets
    for act in reversed(acts):
        place = weave.events[act.event].place
        for member in (*_members(act.leaving), *act.holding):
            free = min((row for row in range(targets) if held_until[row] <= place), key=lambda row: load[row])
            orders[free].append(member)
            load[free] += weave.bytes[member]
            held_until[free] = max(place, weave.threads[member].end)
    return tuple(map(tuple, orders))


def _members(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
