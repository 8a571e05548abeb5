"""Producers in another process that keep the rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import segment_programs as programs
from segment_programs import data_of
from segment_world import JOIN_SECONDS, PAYLOAD_MAX, SEGMENT, hanging_reader, one_turn, processes, start_program, until

from tapeloom.attach import attach


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


def test_memory_of_slots_at_home_is_given_back_when_the_object_ends(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        producer = attach(turn.path())
        producer.reserve()
        assert "tapeloom-producer" in Path("/proc/self/maps").read_text()
        producer.end()
        del producer
        turn.world.join()
        assert "tapeloom-producer" not in Path("/proc/self/maps").read_text()


def test_a_program_that_comes_too_early_may_wait_for_the_job(tmp_path: Path) -> None:
    trying = processes.Event()
    start_program(programs.patient, tmp_path, "program", trying)
    assert trying.wait(JOIN_SECONDS)
    with one_turn(tmp_path) as turn:
        turn.world.join()
        assert turn.world.seen[0][0].data == b"at last"


def test_a_producer_without_a_free_slot_counts_as_one_that_waits(tmp_path: Path) -> None:
    """What the watch over lagging drives goes by: all slots are with the readers, from then on the time counts."""
    with hanging_reader(tmp_path, ["program"]) as (turn, payload, row):
        producer = attach(turn.path())
        for _ in range(turn.world.slots):
            producer.commit(len(producer.reserve()))
        until(lambda: turn.world.arena.stream_statistics(SEGMENT).waiting_since_ns != 0)
        payload()
        turn.world.arena.detach(row)
        until(lambda: turn.world.arena.stream_statistics(SEGMENT).stalls >= 1)
        producer.end()
        turn.world.join()
        assert turn.world.arena.stream_statistics(SEGMENT).waiting_since_ns == 0
