"""Plans that unweave volumes: each is replayed block by block, small ones are compared with all that could be done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom.compile.passes import Pass, PassPlan, SourceVolume, plan_passes
from tapeloom.errors import UsageError
from tapeloom.timing import LTO9, Timing

BLOCK = 1000
EVEN = Timing(1e6, 0.5, 10.0)
"""A block takes a millisecond and the 20 microseconds that any block takes; a locate pays for 491 blocks."""

Tape = Sequence[tuple[int, int]]
"""(position, object) of each block."""


def tape_of(objects: Sequence[int | None]) -> Tape:
    return [(position, object) for position, object in enumerate(objects) if object is not None]


def volume(name: str, tape: Tape, block_bytes: int = BLOCK) -> SourceVolume:
    runs: list[list[int]] = []
    for position, object in tape:
        if runs and runs[-1][0] == object and runs[-1][1] + runs[-1][2] == position:
            runs[-1][2] += 1
        else:
            runs.append([object, position, 1])
    return SourceVolume(name, block_bytes, np.array(runs, np.int64).reshape(-1, 3))


def plan_of(objects: Sequence[int | None], targets: int = 1, spool: int = 0) -> PassPlan:
    return plan_passes([volume("V", tape_of(objects))], EVEN, [EVEN] * targets, spool * BLOCK)


def run(each: Pass, tapes: Sequence[Tape]) -> tuple[list[list[tuple[int, int, int]]], int]:
    """Does what a runner does that knows the order on each target and nothing else.

    What is written to each target, as (object, volume, position), and the most blocks that ever waited.
    """
    written: list[list[tuple[int, int, int]]] = [[] for _ in each.targets]
    waiting: dict[int, list[tuple[int, int, int]]] = {}
    left = {way.object: way.blocks for way in each.ways}
    row_of = {way.object: row for row, ways in enumerate(each.targets) for way in ways}
    ahead = [[way.object for way in ways] for ways in each.targets]
    most = 0
    for number, tape in enumerate(tapes):
        for position, object in tape:
            if object not in left:
                continue
            row, block = row_of[object], (object, number, position)
            left[object] -= 1
            if ahead[row][0] == object:
                written[row].append(block)
            else:
                waiting.setdefault(object, []).append(block)
                most = max(most, sum(map(len, waiting.values())))
            for own, queue in zip(written, ahead, strict=True):
                while queue:
                    own.extend(waiting.pop(queue[0], ()))
                    if left[queue[0]]:
                        break
                    queue.pop(0)
    assert not waiting
    assert not any(ahead)
    return written, most


def check(plan: PassPlan, tapes: Sequence[Tape], spool: int, block_bytes: int = BLOCK) -> None:
    """Each block is written once, in order, contiguously; no more waits than may and than was said."""
    wanted: dict[int, list[tuple[int, int, int]]] = {}
    for number, tape in enumerate(tapes):
        for position, object in tape:
            wanted.setdefault(object, []).append((object, number, position))
    taken: list[int] = []
    for each in plan.passes:
        written, most = run(each, tapes)
        for row, ways in zip(written, each.targets, strict=True):
            assert row == [block for way in ways for block in wanted[way.object]]
        assert most * block_bytes == each.spool_bytes_max <= spool * block_bytes
        taken += each.objects
        check_reading(each, tapes)
        for way in each.ways:
            if way.leaves_at is None:
                assert way.spooled_blocks == 0
            else:
                before = [b for b in wanted[way.object] if b[1:] < (way.leaves_at.volume, way.leaves_at.position)]
                assert len(before) == way.spooled_blocks > 0
    assert sorted(taken) == sorted(wanted)
    assert plan.bytes_written == sum(map(len, tapes)) * block_bytes
    assert plan.passes_least <= len(plan.passes)
    assert plan.reason.startswith(f"{len(plan.passes)} pass" if plan.passes else "no pass")


def check_reading(each: Pass, tapes: Sequence[Tape]) -> None:
    """The stretches hold exactly what is wanted, and what they pass over in between."""
    objects = set(each.objects)
    for visit in each.visits:
        wanted = {position for position, object in tapes[visit.volume] if object in objects}
        covered: set[int] = set()
        for stretch in visit.stretches:
            span = range(stretch.position, stretch.position + stretch.blocks)
            assert covered.isdisjoint(span)
            assert {span[0], span[-1]} <= wanted
            assert len(wanted.intersection(span)) == stretch.wanted_blocks
            covered.update(span)
        assert wanted <= covered
    assert {visit.volume for visit in each.visits} == {
        row for row, tape in enumerate(tapes) if any(object in objects for _, object in tape)
    }


def partitions(items: list[int]) -> Iterator[list[list[int]]]:
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for row in range(len(rest)):
            yield [*rest[:row], [items[0], *rest[row]], *rest[row + 1 :]]


def waits(tape: Tape, orders: Sequence[Sequence[int]]) -> int:
    """The most blocks that wait if each target keeps to its order."""
    left: dict[int, int] = {}
    for _, object in tape:
        left[object] = left.get(object, 0) + 1
    ahead = [list(order) for order in orders]
    row_of = {object: row for row, order in enumerate(orders) for object in order}
    waiting = dict.fromkeys(row_of, 0)
    most = 0
    for _, object in tape:
        if object in row_of:
            left[object] -= 1
            waiting[object] += ahead[row_of[object]][0] != object
            most = max(most, sum(waiting.values()))
            for queue in ahead:
                while queue:
                    waiting[queue[0]] = 0
                    if left[queue[0]]:
                        break
                    queue.pop(0)
    return most


def fewest_of_all(tape: Tape, targets: int, spool: int) -> int:
    """The slow way, which is the reference: every division, every target for everyone, every order."""
    objects = sorted({object for _, object in tape})

    def possible(members: list[int]) -> bool:
        for rows in product(range(targets), repeat=len(members)):
            for order in permutations(range(len(members))):
                orders: list[list[int]] = [[] for _ in range(targets)]
                for at in order:
                    orders[rows[at]].append(members[at])
                if waits(tape, orders) <= spool:
                    return True
        return False

    known: dict[tuple[int, ...], bool] = {}

    def fits(members: list[int]) -> bool:
        key = tuple(sorted(members))
        if key not in known:
            known[key] = possible(list(key))
        return known[key]

    return min((len(parts) for parts in partitions(objects) if all(map(fits, parts))), default=0)


SMALL = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=18)


@settings(max_examples=150, deadline=None)
@given(SMALL, st.integers(1, 2), st.integers(0, 8))
def test_small_ones_have_the_fewest_passes_there_are(objects: list[int | None], targets: int, spool: int) -> None:
    tape = tape_of(objects)
    plan = plan_of(objects, targets, spool)
    check(plan, [tape], spool)
    assert len(plan.passes) == fewest_of_all(tape, targets, spool)
    assert plan.fewest


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 14), st.integers(1, 3), st.integers(0, 60))
def test_every_plan_is_kept_to_block_by_block(chance: Random, count: int, targets: int, spool: int) -> None:
    """On several volumes, with gaps; many objects are divided without trying everything."""
    tapes: list[Tape] = [[]]
    left = {object: chance.randint(1, 20) for object in range(count)}
    position = 0
    active: list[int] = []
    while left:
        while len(active) < min(chance.randint(1, 10), len(left)):
            active.append(chance.choice([object for object in left if object not in active]))
        object = chance.choice(active)
        for _ in range(min(chance.randint(1, 4), left[object])):
            tapes[-1] = [*tapes[-1], (position, object)]
            position += 1
            left[object] -= 1
        if not left[object]:
            del left[object]
            active.remove(object)
        if chance.random() < 0.05:
            tapes.append([])
            position = chance.randint(0, 5)
        elif chance.random() < 0.2:
            position += chance.choice([1, 2, 2000])
    volumes = [volume(f"V{row}", tape) for row, tape in enumerate(tapes)]
    plan = plan_passes(volumes, EVEN, [EVEN] * targets, spool * BLOCK)
    check(plan, tapes, spool)
    assert plan.fewest or count > 8


def even(streams: int, turns: int, run: int = 1) -> list[int | None]:
    return [stream for _ in range(turns) for stream in range(streams) for _ in range(run)]


@pytest.mark.parametrize(("targets", "passes"), [(1, 8), (2, 4), (3, 3), (8, 1), (9, 1)])
def test_without_a_spool_the_streams_are_shared_out_among_the_drives(targets: int, passes: int) -> None:
    plan = plan_of(even(8, 10), targets)
    check(plan, [tape_of(even(8, 10))], 0)
    assert len(plan.passes) == passes
    assert plan.spool_bytes_max == 0


def test_what_does_not_overlap_shares_a_pass() -> None:
    plan = plan_of([0, 1, 0, 1, 2, 3, 2, 3, 4, 4])
    assert [each.objects for each in plan.passes] == [(0, 2, 4), (1, 3)]
    assert plan.reason == "2 passes: 2 objects overlap, 1 drive takes one at a time, and there is no spool"


def test_one_pass_if_the_spool_holds_what_must_wait() -> None:
    """Of eight that end together, one goes straight: the last to end, so that all others leave at its end."""
    plan = plan_of(even(8, 10), spool=70)
    check(plan, [tape_of(even(8, 10))], 70)
    assert len(plan.passes) == 1
    assert plan.passes[0].bytes_spooled <= 70 * BLOCK
    assert plan.reason == (
        "1 pass: 8 objects overlap, 1 drive takes one at a time, what waits of the others "
        f"({plan.spool_bytes_max / 1000:.0f} kB at most) fits into the spool"
    )
    assert len(plan_of(even(8, 10), spool=30).passes) > 1


def test_the_reason_counts_what_the_spool_holds() -> None:
    plan = plan_of(even(8, 10), spool=20)
    check(plan, [tape_of(even(8, 10))], 20)
    assert len(plan.passes) == 3
    assert plan.reason == (
        "3 passes: 8 objects overlap, 1 drive takes one at a time, a spool of 20 kB holds 2 of the others"
    )


def test_the_reason_is_of_what_waits_and_not_of_what_stands_alone() -> None:
    tape = [0, 0, 1, 1, *[stream + 2 for _ in range(5) for stream in range(3)]]
    plan = plan_of(tape, spool=100)
    check(plan, [tape_of(tape)], 100)
    assert plan.spool_bytes_max > 0
    assert plan.reason == (
        "1 pass: 3 objects overlap, 1 drive takes one at a time, what waits of the others "
        f"({plan.spool_bytes_max / 1000:.0f} kB at most) fits into the spool"
    )
    assert plan_of([0, 0, 1, 1]).reason == "1 pass: no objects overlap, 1 drive takes one at a time"


def test_a_small_object_inside_of_a_large_one_waits_and_not_the_other_way_round() -> None:
    tape: list[int | None] = [0] * 30 + [1, 0, 1] + [0] * 30
    plan = plan_of(tape, spool=2)
    assert len(plan.passes) == 1
    assert [(way.object, way.spooled_blocks) for way in plan.passes[0].ways] == [(0, 0), (1, 2)]
    assert len(plan_of(tape, spool=1).passes) == 2


def test_a_large_object_waits_for_small_ones_where_that_is_less() -> None:
    """Held by the large one, the target would keep all of the small ones waiting."""
    tape: list[int | None] = [0]
    for small in range(1, 6):
        tape += [small] * 4 + [0] + [small] * 4
    tape += [0] * 20
    plan = plan_of(tape, spool=6)
    check(plan, [tape_of(tape)], 6)
    assert len(plan.passes) == 1
    assert plan.passes[0].targets[0][-1].object == 0


def test_more_than_can_be_tried_comes_near_to_its_bound() -> None:
    """Streams of equal length, evenly woven: the bound can be reached, and is."""
    for streams, spool in ((16, 0), (16, 30), (24, 50)):
        plan = plan_of(even(streams, 10), spool=spool)
        check(plan, [tape_of(even(streams, 10))], spool)
        assert plan.fewest
        assert len(plan.passes) == -(-streams // (1 + spool // 10))


def test_gaps_are_read_through_or_skipped_as_the_drive_is_faster() -> None:
    tape = [(0, 0), (1, 1), (400, 0), (401, 1), (5000, 0), (5001, 1)]
    plan = plan_passes([volume("V", tape)], EVEN, [EVEN])
    check(plan, [tape], 0)
    first, second = plan.passes
    assert [(s.position, s.blocks, s.wanted_blocks) for s in first.visits[0].stretches] == [(0, 401, 2), (5000, 1, 1)]
    assert [(s.position, s.blocks, s.wanted_blocks) for s in second.visits[0].stretches] == [(1, 401, 2), (5001, 1, 1)]
    assert (first.bytes_read, first.bytes_written) == (402 * BLOCK, 3 * BLOCK)
    each = BLOCK / 1e6 + 20e-6
    assert first.seconds == pytest.approx(10 + 402 * each + 0.5)
    assert (plan.mounts, second.visits[0].mounts) == (1, False)


def test_volumes_are_mounted_once_a_pass_unless_they_are_inside() -> None:
    tapes = [tape_of([0, 1, 0, 1]), tape_of([0, 1, 0, 1])]
    plan = plan_passes([volume("V1", tapes[0]), volume("V2", tapes[1])], EVEN, [EVEN])
    check(plan, tapes, 0)
    assert [[(v.name, v.mounts) for v in each.visits] for each in plan.passes] == [[("V1", True), ("V2", True)]] * 2
    assert plan.mounts == 4
    assert plan.seconds > 40


def test_nothing_wanted_is_no_pass() -> None:
    plan = plan_of([])
    assert (plan.passes, plan.seconds, plan.spool_bytes_max) == ((), 0, 0)
    assert plan.reason == "no pass: nothing is wanted of these volumes"


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="name at least one"):
        plan_passes([], EVEN, [])
    with pytest.raises(UsageError, match="-1 bytes"):
        plan_passes([], EVEN, [EVEN], -1)


def test_a_locate_takes_as_long_as_the_way_along_the_tape() -> None:
    wrap = LTO9.wrap_bytes
    block = 1_000_000
    half, whole, two = (round(wraps * wrap / block) for wraps in (0.5, 1, 2))
    assert LTO9.seek(0, half, block) == pytest.approx(45, abs=0.1)
    assert LTO9.seek(0, whole, block) == pytest.approx(87, abs=0.1)
    assert LTO9.seek(0, two, block) == pytest.approx(3, abs=0.1)  # beside one another
    assert LTO9.seek(whole, whole + half, block) == pytest.approx(45, abs=0.1)
    assert not LTO9.move(0, 2000, block).seeks
    assert LTO9.move(0, 4000, block).seeks


def test_a_slow_feed_makes_a_drive_stop() -> None:
    assert LTO9.stops(1e12, 177e6) == 0
    assert LTO9.write(1e12) == 2500
    assert LTO9.write(1e12, 50e6) == 20_000  # its buffer takes what comes while it goes back
    filled = 3 * 50e6
    assert LTO9.stops(1e12, 50e6) == pytest.approx(1e12 / (filled + filled / (177e6 - 50e6) * 50e6))
    small = Timing(400e6, 3.0, 0.0, rate_min=177e6, backhitch=3.0, buffer_bytes=100e6)
    assert small.write(1e9, 50e6) > 1e9 / 50e6
