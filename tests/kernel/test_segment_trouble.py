"""Producers in another process that die, lie, scribble or stay silent: each fails its own object and nothing else."""

from __future__ import annotations

import errno
import os
import random
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import segment_programs as programs
from segment_programs import LIES, data_of
from segment_world import (
    JOIN_SECONDS,
    PAYLOAD_MAX,
    SEGMENT,
    Turn,
    World,
    hanging_reader,
    left_behind,
    one_turn,
    processes,
    start_program,
)

from tapeloom import _kernel
from tapeloom.errors import NoReaders, SourceError, Stopped


@pytest.mark.parametrize("seed", range(12))
def test_one_that_is_killed_at_any_point_leaves_a_beginning_of_its_object(tmp_path: Path, seed: int) -> None:
    with one_turn(tmp_path) as turn:
        microseconds = random.Random(seed).uniform(0, 50_000)
        start_program(programs.killed_after, turn.path(), seed, microseconds)
        turn.world.join()
        (error,) = turn.errors
        assert type(error) is SourceError
        assert "gone before" in str(error)
        for item in turn.world.seen[0]:
            assert item.failed
            again = data_of(seed, 1_000_000) * (len(item.data) // 1_000_000 + 1)
            assert again.startswith(item.data)


@pytest.mark.parametrize("stage", ["attached", "filled", "committed", "committed twice"])
def test_one_that_dies_between_two_steps(tmp_path: Path, stage: str) -> None:
    whole_blocks = {"attached": 0, "filled": 0, "committed": 1, "committed twice": 1}[stage]
    with one_turn(tmp_path) as turn:
        start_program(programs.killed_at, turn.path(), stage)
        turn.world.join()
        assert "gone before" in str(turn.errors[0])
        assert b"".join(item.data for item in turn.world.seen[0]) == b"\1" * PAYLOAD_MAX * whole_blocks


@pytest.mark.parametrize("stage", ["connected", "said hello"])
def test_one_that_dies_before_it_has_the_segment(tmp_path: Path, stage: str) -> None:
    """Whoever has not said hello was nobody; who has was the producer."""
    with one_turn(tmp_path) as turn:
        process = start_program(programs.killed_at, turn.path(), stage)
        process.join()
        if stage == "connected":
            start_program(programs.honest, turn.path(), 1, 1000)
        turn.world.join()
        assert (turn.errors == [None]) is (stage == "connected")


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_named_and_fail_the_object(tmp_path: Path, lie: str) -> None:
    taken = processes.Event()
    with one_turn(tmp_path) as turn:
        start_program(programs.lies, turn.path(), lie, taken)
        if lie == "filled back":
            assert turn.world.published(2)
        taken.set()
        turn.world.join()
        word = {"end": "ended", "emp": "bytes", "blo": "bytes"}.get(lie[:3], "filled")
        assert f"nonsense into the memory it shares with the job: {word} " in str(turn.errors[0])
        assert all(item.failed for item in turn.world.seen[0])


def test_wake_ups_without_end_are_a_lie_too(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        start_program(programs.floods, turn.path())
        turn.world.join()
        assert "socket" in str(turn.errors[0])


def test_what_follows_an_end_does_not_count(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        start_program(programs.ends_early, turn.path())
        turn.world.join()
        assert len(turn.world.seen[0]) == 1
        assert turn.world.seen[0][0].data[:PAYLOAD_MAX] == b"\7" * PAYLOAD_MAX


def test_the_memory_cannot_be_taken_away(tmp_path: Path) -> None:
    mine, theirs = processes.Pipe()
    with one_turn(tmp_path) as turn:
        start_program(programs.truncates, turn.path(), theirs)
        turn.world.join()
        assert [mine.recv() for _ in range(4)] == [None] * 4
        (item,) = turn.world.seen[0]
        assert len(item.data) == PAYLOAD_MAX
        assert set(item.data) <= {0, 7}


@pytest.mark.parametrize("seed", range(15))
def test_scribbling_over_everything_spoils_nothing_else(tmp_path: Path, seed: int) -> None:
    with one_turn(tmp_path, "scribbler", "after it") as turn:
        scribbler = start_program(programs.scribbles, turn.path(), seed, 3000)
        second = turn.path(1)
        start_program(programs.honest, second, seed, 1_000_000)
        turn.world.join()
        scribbler.join()
        assert turn.errors[1] is None
        *_, after = turn.world.seen[0]
        assert after.data == data_of(seed, 1_000_000)
        assert not after.failed


def test_memory_that_was_left_to_a_scribbler_is_not_the_next_objects(tmp_path: Path) -> None:
    began = processes.Event()
    with one_turn(tmp_path, "scribbler", "after it") as turn:
        scribbler = start_program(programs.scribbles_for_ever, turn.path(), began)
        second = turn.path(1)
        assert began.wait(JOIN_SECONDS)
        start_program(programs.honest, second, 3, 2_000_000)
        turn.world.join()
        assert scribbler.is_alive()
        scribbler.kill()
        assert turn.world.seen[0][0].failed
        assert turn.world.seen[0][1].data == data_of(3, 2_000_000)


def test_one_that_never_reads_its_socket(tmp_path: Path) -> None:
    with one_turn(tmp_path, slots=2) as turn:
        size = 1000 * PAYLOAD_MAX + 1  # more wake-ups than a socket holds
        start_program(programs.never_reads, turn.path(), 4, size)
        turn.world.join()
        assert turn.errors == [None]
        assert turn.world.seen[0][0].data == data_of(4, size)


@pytest.mark.parametrize("call", ["os.memfd_create", "socket.socket"])
def test_a_process_without_descriptors_left_fails_that_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    world = World(tmp_path)
    turn = Turn(world, ["program"])
    with monkeypatch.context() as patched:
        patched.setattr(call, refuse)
        turn.run()
    (error,) = turn.errors
    assert type(error) is SourceError
    assert "Too many open files" in str(error)
    del error  # its cause's frames hold the arena
    turn.errors.clear()
    turn.feeders.clear()
    world.arena = None
    assert left_behind(tmp_path) == []


def test_one_that_gives_up_says_why(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        start_program(programs.gives_up, turn.path(), 6, 100_000)
        turn.world.join()
        assert str(turn.errors[0]).endswith("gave up: ZeroDivisionError: the model has diverged?[2J")
        (item,) = turn.world.seen[0]
        assert item.failed
        assert item.data == data_of(6, 100_000)


@pytest.mark.parametrize("how", [_kernel.Stop.IN_ORDER, _kernel.Stop.NOW])
@pytest.mark.parametrize("silent", [False, True])
def test_a_stop_reaches_the_producer_and_waits_for_none(tmp_path: Path, how: _kernel.Stop, silent: bool) -> None:
    mine, theirs = processes.Pipe()
    with one_turn(tmp_path) as turn:
        process = start_program(programs.tells, turn.path(), theirs, silent)
        assert mine.recv() == "attached"
        turn.world.join_neighbours()
        turn.world.arena.stop(how)
        turn.world.join()
        assert type(turn.errors[0]) is Stopped
        if silent:
            mine.send("go on")
        assert mine.recv() == "Stopped"
        process.join()


def test_a_stop_ends_the_waiting_for_a_producer(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        turn.path()
        turn.world.join_neighbours()
        turn.world.arena.stop(_kernel.Stop.IN_ORDER)
        turn.world.join()
        assert type(turn.errors[0]) is Stopped
        assert turn.world.seen[0] == []


def test_without_readers_the_producer_is_told(tmp_path: Path) -> None:
    mine, theirs = processes.Pipe()
    with one_turn(tmp_path) as turn:
        process = start_program(programs.tells, turn.path(), theirs)
        assert mine.recv() == "attached"
        turn.world.arena.detach(SEGMENT)
        assert mine.recv() == "NoReaders"
        turn.world.join()
        assert type(turn.errors[0]) is NoReaders
        process.join()


def test_a_reader_that_hangs_and_is_detached_keeps_its_slot_and_nobody_waits_for_it(tmp_path: Path) -> None:
    """One of two readers hangs with the first block in its hands. All other slots go round, for the next object too."""
    size = 40 * PAYLOAD_MAX
    with hanging_reader(tmp_path, ["first", "second"]) as (turn, payload, row):
        start_program(programs.honest, turn.path(0), 1, size)
        held = payload()
        copy = bytes(held)
        turn.world.arena.detach(row)
        start_program(programs.honest, turn.path(1), 2, size)
        turn.world.join()
        assert turn.errors == [None, None]
        assert [item.data for item in turn.world.seen[0]] == [data_of(1, size), data_of(2, size)]
        assert bytes(held) == copy == data_of(1, size)[: len(copy)]
        held.release()


def test_a_job_that_is_killed_is_gone_for_its_producer(tmp_path: Path) -> None:
    mine, theirs = processes.Pipe()
    doors, told = processes.Pipe(duplex=False)
    job = start_program(job_to_be_killed, tmp_path, told)
    path = doors.recv()
    program = start_program(programs.tells, path, theirs)
    assert mine.recv() == "attached"
    job.kill()
    assert mine.recv() == "JobGone"
    program.join()


def job_to_be_killed(state: Path, told: Connection) -> None:
    with one_turn(state) as turn:
        told.send(turn.path())
        turn.world.join()
