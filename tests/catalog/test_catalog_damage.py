"""Ranges of harmed blocks against plain sets of blocks."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from catalog_world import AGENT, World
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom.catalog import Catalog, CopyStatus, Finding, Place
from tapeloom.catalog.damage import without
from tapeloom.volume.harm import Harm

span = st.tuples(st.integers(0, 40), st.integers(0, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
spans = st.lists(span, max_size=6)


def blocks(parts: list[tuple[int, int]]) -> set[int]:
    return {seq for first, last in parts for seq in range(first, last + 1)}


@given(spans, spans)
def test_without_is_a_difference_of_sets(parts: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    left = without(parts, taken)
    assert blocks(left) == blocks(parts) - blocks(taken)
    assert all(before[1] + 1 < behind[0] for before, behind in pairwise(left))


@settings(max_examples=25, deadline=None)  # each is some transactions on the disk
@given(st.lists(st.tuples(spans, st.lists(st.tuples(span, st.sampled_from(Harm)), max_size=4)), min_size=1, max_size=4))
def test_findings_one_after_another(looks: list) -> None:
    with tempfile.TemporaryDirectory() as folder, Catalog.open(Path(folder)) as catalog:
        world = World(Path(folder), catalog).begin()
        id = world.add()
        world.write((id, 0, 49))
        world.end(id, 50)
        (copy,) = catalog.object(id).copies
        known: dict[int, Harm] = {}
        for looked_at, found in looks:
            harmed = {}
            for (first, last), harm in found:
                harmed |= {seq: harm for seq in range(first, last + 1) if seq not in harmed}
            known = {seq: harm for seq, harm in known.items() if seq not in blocks(looked_at)} | harmed
            rows = tuple((seq, seq, harm) for seq, harm in harmed.items())
            catalog.found([Finding(copy.id, world.volume, tuple(looked_at), rows)])
            (copy,) = catalog.object(id).copies
            assert {seq: one.harm for one in copy.damage for seq in range(one.first, one.last + 1)} == known
            assert sum(one.blocks for one in copy.damage) == len(known)
            assert copy.status is (CopyStatus.DAMAGED if known else CopyStatus.COMPLETE)
            assert catalog.harmed_on_volumes() == ({world.volume: len(known)} if known else {})


@pytest.fixture
def twice(world: World) -> World:
    """An object of ten blocks with two copies, the second one partial: blocks 0 to 5."""
    world.id = world.add(places=(Place(AGENT, "nightly", "R1"), Place("M1", "1", "R2")))  # type: ignore[attr-defined]
    world.write((world.id, 0, 9))  # type: ignore[attr-defined]
    world.write((world.id, 0, 5), agent="M1")  # type: ignore[attr-defined]
    world.end(world.id, 10)  # type: ignore[attr-defined]
    return world


def found(world: World, agent: str, first: int, last: int) -> None:
    (copy,) = [copy for copy in world.catalog.object(world.id).copies if copy.agent == agent]  # type: ignore[attr-defined]
    world.catalog.found([Finding(copy.id, world.volume, (), ((first, last, Harm.CHECKSUM),))])


def test_copies_that_make_up_for_each_other(twice: World) -> None:
    found(twice, AGENT, 2, 4)
    one = twice.catalog.object(twice.id)  # type: ignore[attr-defined]
    assert (one.status, one.pieced) == ("damaged", True)
    found(twice, AGENT, 6, 6)
    one = twice.catalog.object(twice.id)  # type: ignore[attr-defined]
    assert (one.status, one.pieced) == ("damaged", False), "nobody else has block 6"


def test_what_a_person_called_damaged_stays_so(twice: World) -> None:
    (first, _) = twice.catalog.object(twice.id).copies  # type: ignore[attr-defined]
    twice.catalog.set_copy_status(first.id, CopyStatus.DAMAGED)
    twice.catalog.found([Finding(first.id, twice.volume, ((0, 9),))])
    assert twice.catalog.copy(first.id).status is CopyStatus.DAMAGED
    assert not twice.catalog.object(twice.id).pieced, "nobody knows where"  # type: ignore[attr-defined]


def test_receipts_and_words_do_not_take_damage_back(twice: World) -> None:
    found(twice, "M1", 1, 1)
    (_, second) = twice.catalog.object(twice.id).copies  # type: ignore[attr-defined]
    twice.write((twice.id, 6, 9), agent="M1")  # type: ignore[attr-defined]
    twice.catalog.set_copy_status(second.id, CopyStatus.COMPLETE)
    assert twice.catalog.copy(second.id).status is CopyStatus.DAMAGED
    twice.catalog.found([Finding(second.id, twice.volume, ((1, 1),))])
    assert twice.catalog.copy(second.id).status is CopyStatus.COMPLETE


def test_a_retired_copy_stays_retired_and_strange_ones_are_passed_over(twice: World) -> None:
    (first, _) = twice.catalog.object(twice.id).copies  # type: ignore[attr-defined]
    twice.catalog.set_copy_status(first.id, CopyStatus.RETIRED)
    found(twice, AGENT, 1, 1)
    twice.catalog.found([Finding(999, twice.volume, (), ((0, 0, Harm.MISSING),))])
    assert twice.catalog.copy(first.id).status is CopyStatus.RETIRED
    twice.catalog.found([Finding(first.id, twice.volume, ((0, 9),))])
    assert twice.catalog.copy(first.id).status is CopyStatus.RETIRED
