"""Producers in another process that keep the rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import segment_programs as programs
from segment_programs import data_of
from segment_world import PAYLOAD_MAX, one_turn, start_program


@pytest.mark.parametrize("slots", [2, 3, 16])
@pytest.mark.parametrize("readers", [1, 3])
def test_every_reader_gets_what_was_written(tmp_path: Path, slots: int, readers: int) -> None:
    size = 2_000_003
    with one_turn(tmp_path, slots=slots, readers=readers) as turn:
        process = start_program(programs.honest, turn.path(), slots, size)
        turn.world.join()
        process.join()
        assert turn.errors == [None]
        assert process.exitcode == 0
        for seen in turn.world.seen[:readers]:
            assert [(item.data == data_of(slots, size), item.failed) for item in seen] == [(True, False)]


@pytest.mark.parametrize("size", [0, 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, 4 * PAYLOAD_MAX])
def test_sizes_at_the_edges_of_slots(tmp_path: Path, size: int) -> None:
    with one_turn(tmp_path) as turn:
        start_program(programs.honest, turn.path(), 5, size)
        turn.world.join()
        assert turn.errors == [None]
        assert [(item.data, item.failed) for item in turn.world.seen[0]] == [(data_of(5, size), False)]
