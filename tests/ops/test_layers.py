"""Where each block is read from: against a plain table of who has it and who has it undamaged."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tapeloom.catalog import Copy, CopyStatus, Damage
from tapeloom.ops.choose import layers
from tapeloom.runtime.segments import Segment, clip, cut
from tapeloom.volume.harm import Harm

BLOCKS = 12
MISSING, GOOD, HARMED = range(3)
VOLUMES = (UUID(int=1), UUID(int=2))

copy_states = st.lists(st.sampled_from([MISSING, GOOD, GOOD, HARMED]), min_size=BLOCKS, max_size=BLOCKS)


def made(number: int, state: list[int]) -> tuple[Copy, list[Any]]:
    """A copy whose first half is on one volume and whose second is on the other, and its rows in the catalog."""
    runs: list[Any] = []
    damage = []
    for seq, what in enumerate(state):
        volume = VOLUMES[seq >= BLOCKS // 2]
        if what != MISSING:
            runs.append((SimpleNamespace(id=volume, label=str(volume.int)), 100 * number + seq, seq, 1))
        if what == HARMED:
            damage.append(Damage(volume, str(volume.int), seq, seq, Harm.CHECKSUM, 0))
    status = CopyStatus.DAMAGED if damage else CopyStatus.COMPLETE if MISSING not in state else CopyStatus.PARTIAL
    id = UUID(int=9)
    return Copy(number, id, id, f"A{number}", "g", "R", status, (), tuple(damage)), runs


@given(st.lists(copy_states, min_size=1, max_size=4))
def test_each_block_from_its_best_place(states: list[list[int]]) -> None:
    each = [made(number, state) for number, state in enumerate(states)]
    order = (CopyStatus.COMPLETE, CopyStatus.DAMAGED, CopyStatus.PARTIAL)
    copies = sorted((copy for copy, _ in each), key=lambda copy: order.index(copy.status))
    catalog: Any = SimpleNamespace(runs=lambda id: SimpleNamespace(rows=lambda: each[id][1]))
    found = layers(catalog, copies)
    for layer in found:
        assert layer == sorted(layer, key=lambda part: part.seq)
        seqs = [seq for part in layer for seq in range(part.seq, part.last + 1)]
        assert len(set(seqs)) == len(seqs)
    for seq in range(BLOCKS):
        asked = [_copy_of(part, seq) for layer in found for part in layer if part.seq <= seq <= part.last]
        good = [copy.id for copy in copies if states[copy.id][seq] == GOOD]
        harmed = [copy.id for copy in copies if states[copy.id][seq] == HARMED]
        assert asked == good + harmed
    if copies[0].status is not CopyStatus.COMPLETE and any(any(state) for state in states):
        held = {seq for state in states for seq in range(BLOCKS) if state[seq] != MISSING}
        assert {seq for part in found[0] for seq in range(part.seq, part.last + 1)} == held


def _copy_of(part: Segment, seq: int) -> int:
    assert part.position + seq - part.seq == 100 * part.copy_id + seq
    return part.copy_id


class Counted(Sequence[Any]):
    """A sequence that counts how often somebody looks at one of its items."""

    def __init__(self, items: Sequence[Any]):
        self._items = items
        self.looked = 0

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, at: Any) -> Any:
        self.looked += 1
        return self._items[at]


def test_what_lies_before_is_not_gone_through_again_and_again() -> None:
    many = 1000
    parts = [Segment(VOLUMES[0], "1", "A", 10 * n, 10 * n, 5, 1) for n in range(many)]
    spans = Counted([(10 * n + 1, 10 * n + 2) for n in range(many)])
    inside, outside = cut(parts, spans)
    assert (len(inside), len(outside)) == (many, 2 * many)
    assert spans.looked < 10 * many
    segments = Counted(parts)
    assert [part.seq for part in clip(segments, 10 * (many - 1) + 3, 10 * many)] == [10 * (many - 1) + 3]
    assert segments.looked < 50
