from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.errors import FormatError
from tapeloom.volume import runs
from tapeloom.volume.spans import gaps

rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2**62), st.integers(1, 2**30), st.integers(0, 2**62)), max_size=60
)
tapes = st.lists(st.integers(0, 2), max_size=80)
"""Whose block stands at each position; the object's seq counts up."""


def singles(tape: list[int]) -> runs.Runs:
    seq = [0, 0, 0]
    table = []
    for position, index in enumerate(tape):
        table.append((index, seq[index], 1, position))
        seq[index] += 1
    return runs.table(table)


def each_block(table: runs.Runs) -> list[tuple[int, int, int]]:
    return [(int(o), int(s) + k, int(p) + k) for o, s, n, p in table for k in range(int(n))]


@given(rows)
def test_packed_tables_come_back(table: list[tuple[int, int, int, int]]) -> None:
    one = runs.table(table)
    assert np.array_equal(runs.unpack(runs.pack(one)), one)


@given(tapes)
def test_merging_keeps_every_block_in_the_fewest_runs(tape: list[int]) -> None:
    merged = runs.merge(singles(tape))
    assert each_block(merged) == each_block(singles(tape))
    assert len(merged) == sum(1 for n, index in enumerate(tape) if n == 0 or tape[n - 1] != index)


def test_merging_needs_both_neighbours() -> None:
    apart = runs.table([(0, 0, 2, 10), (0, 2, 2, 13), (0, 5, 1, 15), (1, 6, 1, 16)])
    assert np.array_equal(runs.merge(apart), apart)


@given(tapes, st.integers(0, 30), st.integers(0, 30))
def test_clipping_is_choosing_blocks(tape: list[int], first: int, last: int) -> None:
    one = runs.of_object(runs.merge(singles(tape)), 0)
    expected = [block for block in each_block(one) if first <= block[1] <= last]
    assert each_block(runs.clip(one, first, last)) == expected


@given(st.sets(st.integers(0, 40)), st.integers(0, 45))
def test_spans_and_gaps_divide_all_blocks(held: set[int], blocks: int) -> None:
    table = runs.table([(0, seq, 1, 100 + seq) for seq in sorted(held, key=lambda seq: seq % 7)])
    spans = runs.spans(table)
    assert {seq for first, last in spans for seq in range(first, last + 1)} == held
    missing = {seq for first, last in gaps(spans, blocks) for seq in range(first, last + 1)}
    assert missing == set(range(blocks)) - held
    assert all(after[0] > before[1] + 1 for before, after in pairwise(spans))


def test_even_turns_take_next_to_nothing() -> None:
    """Eight streams in turn, a checkpoint of 64 GB: what one object's receipt costs in the catalog."""
    turns = np.arange(1000, dtype=np.int64)
    table = np.stack([np.zeros(1000, np.int64), turns * 16, np.full(1000, 16), 5 + turns * 128], axis=1)
    assert len(runs.pack(table)) < 200


def test_a_whole_volume_takes_a_few_megabytes() -> None:
    """A tenth of an LTO-9 volume, 120,000 runs that come at random, in receipts of 4,400 runs."""
    random = np.random.default_rng(1)
    count = 120_000
    blocks = random.integers(1, 56, count)
    owner = random.integers(0, 8, count)
    table = np.stack([owner, np.zeros(count, np.int64), blocks, np.cumsum(blocks)], axis=1)
    for index in range(8):
        table[owner == index, runs.SEQ] = np.cumsum(blocks[owner == index])
    packed = sum(
        len(runs.pack(runs.of_object(table[start : start + 4400], index)))
        for start in range(0, count, 4400)
        for index in range(8)
    )
    assert packed < 500_000


@pytest.mark.parametrize("packed", [b"", b"\2", b"\1junk", b"\1" + runs.pack(runs.table())[2:]])
def test_what_is_no_table_is_refused(packed: bytes) -> None:
    with pytest.raises(FormatError):
        runs.unpack(packed)
