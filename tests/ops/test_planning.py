"""Which copies are read, and in which order: by what is predicted."""

from __future__ import annotations

from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tapeloom.catalog import Object, Outcome, Volume, VolumeState
from tapeloom.ops.chain import Chain
from tapeloom.ops.planning import Planner, Stage
from tapeloom.runtime.segments import Segment
from tapeloom.timing import Timing
from tapeloom.volume.header import Level

BLOCK = 64 << 10
SLOW = Timing(rate=100e6, locate=10.0, mount=60.0)
QUICK = Timing(rate=100e6, locate=1.0, mount=5.0)
NUMBERS = count()


def volume(number: int, drive: str) -> Volume:
    return Volume(
        UUID(int=number), f"V{number}", drive, f"C{number}", VolumeState.APPENDABLE, 1, None, BLOCK, number, 0
    )


def stage(*copies: list[tuple[int, int, int]], complete: int | None = None) -> Stage:
    """An object whose copies are runs of (volume, position, blocks)."""
    made = []
    for copy in copies:
        runs, seq = [], 0
        for on, position, blocks in copy:
            runs.append(Segment(UUID(int=on), f"V{on}", "A", position, seq, blocks))
            seq += blocks
        made.append(tuple(runs))
    blocks = seq
    item = Object(
        id=UUID(int=next(NUMBERS)),
        source="D1",
        job=UUID(int=0),
        content=1,
        level=Level.FULL,
        as_of=0,
        parent=None,
        outcome=Outcome.WHOLE,
        blocks=blocks,
        bytes=blocks * BLOCK,
        files=1,
        digest=None,
        troubles=(),
        copies=(),
        step=BLOCK,
    )
    return Stage(item, tuple(made), len(copies) if complete is None else complete, blocks, BLOCK)


def planner(timings: dict[str, Timing], *volumes: Volume) -> Planner:
    known = {one.id: one for one in volumes}
    return Planner(known.__getitem__, timings, {one.id: number for number, one in enumerate(volumes)})


def test_the_copy_on_the_quicker_drive() -> None:
    plans = planner({"slow": SLOW, "quick": QUICK}, volume(1, "slow"), volume(2, "quick"))
    copies = [[(1, 10, 100)], [(2, 10, 100)]]
    plan = plans.plan(Chain(()), [stage(*copies)], indexed=False, remarks=())
    assert [run.drive for run in plan.volumes] == ["quick"]
    assert plan.seconds == pytest.approx(6 + 100 * (BLOCK / 100e6 + 20e-6))
    incomplete = plans.plan(Chain(()), [stage(*copies, complete=1)], indexed=False, remarks=())
    assert [run.drive for run in incomplete.volumes] == ["slow"]


def test_copies_that_are_as_good_are_read_in_their_order() -> None:
    plans = planner({"one": QUICK, "two": QUICK}, volume(1, "one"), volume(2, "two"))
    plan = plans.plan(Chain(()), [stage([(1, 9, 100)], [(2, 10, 99), (2, 115, 1)])], indexed=False, remarks=())
    assert [run.drive for run in plan.volumes] == ["one"]
    plan = plans.plan(Chain(()), [stage([(2, 10, 99), (2, 115, 1)], [(1, 9, 100)])], indexed=False, remarks=())
    assert [run.drive for run in plan.volumes] == ["two"]


def test_a_drive_that_nothing_is_known_of_is_the_last_choice() -> None:
    plans = planner({"known": SLOW}, volume(1, "gone"), volume(2, "known"))
    plan = plans.plan(Chain(()), [stage([(1, 9, 100)], [(2, 10, 100)])], indexed=False, remarks=())
    assert [run.drive for run in plan.volumes] == ["known"]
    alone = plans.plan(Chain(()), [stage([(1, 9, 100)])], indexed=False, remarks=())
    assert (alone.seconds, alone.volumes[0].seconds, alone.blocks) == (None, None, 100)


def test_a_volume_that_another_object_is_on_anyway() -> None:
    plans = planner({"one": SLOW, "two": SLOW}, volume(1, "one"), volume(2, "two"))
    first, second = stage([(1, 9, 100)]), stage([(2, 9, 100)], [(1, 200, 100)])
    plan = plans.plan(Chain(()), [first, second], indexed=True, remarks=())
    assert [run.label for run in plan.volumes] == ["V1"]


def test_free_order_is_that_of_the_tapes_and_bound_order_is_told_of() -> None:
    plans = planner({"one": SLOW}, volume(1, "one"), volume(2, "one"))
    stages = [stage([(2, 9, 10)]), stage([(1, 500, 10)]), stage([(1, 9, 10)]), stage([(2, 50, 10)])]
    free = plans.plan(Chain(()), stages, indexed=True, remarks=())
    assert [(run.label, run.passes) for run in free.volumes] == [("V1", 1), ("V2", 1)]
    assert free.remarks == ()
    bound = plans.plan(Chain(()), stages, indexed=False, remarks=())
    assert [(run.label, run.passes) for run in bound.volumes] == [("V2", 1), ("V1", 2), ("V2", 1)]
    assert [remark.split(":")[0] for remark in bound.remarks] == [
        "volume V1 is gone through 2 times",
        "volume V2 is mounted 2 times",
    ]


def test_what_has_nothing_wanted_in_it_is_not_read() -> None:
    plans = planner({"one": SLOW}, volume(1, "one"))
    one, other = stage([(1, 9, 10)]), stage([(1, 50, 10)])
    plan = plans.plan(Chain(()), [one.only([]), other.only([(3 * BLOCK, 5 * BLOCK)])], indexed=True, remarks=())
    assert [stage.item.id for stage in plan.stages] == [other.item.id]
    assert (plan.blocks, plan.bytes, plan.stages[0].spans) == (2, 2 * BLOCK, [(3, 4)])
    assert plan.stages[0].bytes_before(4 * BLOCK + 1) == BLOCK + 1
    unknown = replace(other, item=replace(other.item, step=None)).only([(3 * BLOCK, 5 * BLOCK)])
    assert (unknown.spans, unknown.blocks_wanted) == (None, 10)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.floats(1e6, 1e9), st.floats(0, 100))
def test_the_faster_way_is_taken(here: int, there: int, rate: float, locate: float) -> None:
    timing = Timing(rate, locate, 0.0)
    move = timing.move(here, there, BLOCK)
    if here == there:
        assert (move.seeks, move.seconds) == (False, 0.0)
    elif there < here:
        assert move.seeks
    else:
        through = timing.read(there - here, BLOCK)
        assert move.seconds <= through
        assert move.seconds <= timing.move(None, there, BLOCK).seconds
        assert move.seeks == (move.seconds < through)
