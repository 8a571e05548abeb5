from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_world import PAYLOAD_MAX, SLOT_BYTES, Threads, all_objects, begin, feeder_on, make_arena, object_id

from tapeloom import _kernel
from tapeloom._kernel import Stop
from tapeloom.errors import NoReaders, Stopped

EDGES = [0, 1, PAYLOAD_MAX - 1, PAYLOAD_MAX, PAYLOAD_MAX + 1, 3 * PAYLOAD_MAX]


def noise(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


@pytest.fixture
def arena() -> _kernel.Arena:
    return make_arena([(8, 8)], [[0]])


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def blocks_for(size: int) -> int:
    return max(1, -(-size // PAYLOAD_MAX))


def finished(arena: _kernel.Arena, feeder: _kernel.Feeder) -> bytes:
    """Ends object and stream. The object's bytes."""
    feeder.end()
    arena.end_stream(0)
    [(found, data)] = all_objects(arena, 0)
    assert found == object_id(0)
    assert arena.stream_statistics(0).held == 0
    return data


@pytest.mark.parametrize("header_bytes", [512, 4096])
@pytest.mark.parametrize("size", [0, 1, 2 * (SLOT_BYTES - 4096), 3 * (SLOT_BYTES - 512), 40_000])
def test_blocks_are_full_but_for_the_last(arena: _kernel.Arena, size: int, header_bytes: int) -> None:
    feeder = feeder_on(arena, 0, header_bytes=header_bytes)
    feeder.write(noise(size))
    assert feeder.offset == size
    feeder.end()
    arena.end_stream(0)
    payload_max = SLOT_BYTES - header_bytes
    drain = _kernel.Drain(arena, 0)
    assert drain.next_object() == object_id(0)
    pieces = [bytes(piece) for piece in iter(drain.payload, None)]
    assert b"".join(pieces) == noise(size)
    assert [len(piece) for piece in pieces if piece] == [payload_max] * (size // payload_max) + (
        [size % payload_max] if size % payload_max else []
    )
    assert arena.stream_statistics(0).blocks == max(1, -(-size // payload_max))
    assert drain.next_object() is None


@settings(max_examples=40)
@given(sizes=st.lists(st.sampled_from([0, 1, 511, PAYLOAD_MAX - 1, PAYLOAD_MAX, PAYLOAD_MAX + 1]), max_size=5))
def test_however_it_is_cut_the_blocks_are_the_same(sizes: list[int]) -> None:
    arena = make_arena([(8, 8)], [[0]])
    feeder = feeder_on(arena, 0)
    for size in sizes:
        feeder.write(noise(size))
    assert finished(arena, feeder) == b"".join(map(noise, sizes))
    assert arena.stream_statistics(0).blocks == blocks_for(sum(sizes))


@pytest.mark.parametrize("size", EDGES)
def test_pump_moves_a_file(arena: _kernel.Arena, shared: int, size: int) -> None:
    os.pwrite(shared, noise(size + 100), 0)
    feeder = feeder_on(arena, 0)
    assert feeder.pump(shared, 7, size) == (size, 0)
    assert finished(arena, feeder) == noise(size + 100)[7 : 7 + size]
    assert arena.stream_statistics(0).blocks == blocks_for(size)


def test_pump_of_a_file_that_has_shrunk_says_how_much_came(arena: _kernel.Arena, shared: int) -> None:
    os.pwrite(shared, noise(600), 0)
    feeder = feeder_on(arena, 0)
    assert feeder.pump(shared, 0, 1000) == (600, 0)
    assert feeder.pump(shared, 1000, 10) == (0, 0)
    feeder.zeros(400)
    assert finished(arena, feeder) == noise(600) + bytes(400)


def test_pump_says_what_the_system_said(arena: _kernel.Arena, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    feeder = feeder_on(arena, 0)
    feeder.write(b"before")
    assert feeder.pump(folder, 0, 10) == (0, errno.EISDIR)
    assert feeder.pump_pipe(folder) == (0, errno.EISDIR)
    os.close(folder)
    assert finished(arena, feeder) == b"before"


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("before", [0, 1, PAYLOAD_MAX])
def test_pump_pipe_takes_all_there_is(shared: int, size: int, before: int) -> None:
    arena = make_arena([(8, 8)], [[0]])
    os.pwrite(shared, noise(size), 0)
    feeder = feeder_on(arena, 0)
    feeder.zeros(before)
    assert feeder.pump_pipe(shared) == (size, 0)
    assert finished(arena, feeder) == bytes(before) + noise(size)
    # END stands on the last block that has data: there is none without.
    assert arena.stream_statistics(0).blocks == blocks_for(before + size)


def test_pump_pipe_reads_a_pipe_that_is_written_slowly(arena: _kernel.Arena) -> None:
    out, into = os.pipe()
    threads = Threads()
    data = noise(2 * PAYLOAD_MAX)

    def write() -> None:
        for at in range(0, len(data), 1000):
            os.write(into, data[at : at + 1000])
        os.close(into)

    threads.start(write)
    feeder = feeder_on(arena, 0)
    assert feeder.pump_pipe(out) == (len(data), 0)
    threads.join()
    os.close(out)
    assert finished(arena, feeder) == data
    assert arena.stream_statistics(0).blocks == 2


@pytest.mark.parametrize("size", EDGES)
def test_zeros(arena: _kernel.Arena, size: int) -> None:
    dirty = feeder_on(arena, 0)
    dirty.write(b"\xff" * 100)
    dirty.drop()
    feeder = feeder_on(arena, 0)
    feeder.zeros(size)
    assert finished(arena, feeder) == bytes(size)


def test_reserve_and_commit_fill_in_place(arena: _kernel.Arena) -> None:
    feeder = feeder_on(arena, 0)
    feeder.write(b"abc")
    room = feeder.reserve()
    assert len(room) == PAYLOAD_MAX - 3
    room[:4] = b"defg"
    feeder.commit(4)
    with pytest.raises(ValueError, match="do not fit"):
        feeder.commit(1)  # what was reserved is used up
    room = feeder.reserve()
    with pytest.raises(ValueError, match="do not fit"):
        feeder.commit(len(room) + 1)
    feeder.commit(0)
    assert finished(arena, feeder) == b"abcdefg"


def test_filling_a_slot_to_its_end_makes_one_block(arena: _kernel.Arena) -> None:
    feeder = feeder_on(arena, 0)
    room = feeder.reserve()
    room[:] = noise(len(room))
    feeder.commit(len(room))
    assert finished(arena, feeder) == noise(PAYLOAD_MAX)
    assert arena.stream_statistics(0).blocks == 1


def test_a_broken_off_object_says_so(arena: _kernel.Arena) -> None:
    feeder = feeder_on(arena, 0)
    feeder.write(b"half")
    feeder.end(failed=True)
    begin(feeder, 1)
    feeder.write(b"whole")
    feeder.end()
    arena.end_stream(0)
    drain = _kernel.Drain(arena, 0)
    assert drain.next_object() == object_id(0)
    assert drain.read(100) == b"half"
    assert drain.failed
    assert drain.next_object() == object_id(1)
    assert drain.read(100) == b"whole"
    assert not drain.failed


def test_drop_sends_the_slot_home(arena: _kernel.Arena) -> None:
    feeder = feeder_on(arena, 0)
    feeder.write(b"x")
    assert arena.stream_statistics(0).held == 1
    feeder.drop()
    assert arena.stream_statistics(0).held == 0


def test_writing_to_nobody_raises_and_loses_no_slot(arena: _kernel.Arena) -> None:
    arena.detach(0)
    feeder = feeder_on(arena, 0)
    with pytest.raises(NoReaders):
        feeder.write(b"x")
    assert arena.stream_statistics(0).held == 0


def test_a_stop_in_order_lets_an_object_end_and_a_stop_at_once_does_not(arena: _kernel.Arena) -> None:
    feeder = feeder_on(arena, 0)
    feeder.write(bytes(PAYLOAD_MAX))
    arena.stop(Stop.IN_ORDER)
    with pytest.raises(Stopped):
        feeder.write(b"x")
    feeder.end(failed=True)
    begin(feeder, 1)
    feeder.end(failed=True)
    arena.stop(Stop.NOW)
    begin(feeder, 2)
    with pytest.raises(Stopped):
        feeder.end()


def test_a_stop_is_never_taken_back(arena: _kernel.Arena) -> None:
    arena.stop(Stop.NOW)
    arena.stop(Stop.IN_ORDER)
    assert arena.stopping is Stop.NOW


def test_a_feeder_without_slots_sleeps_until_one_comes_home() -> None:
    arena = make_arena([(2, 2)], [[0]])
    threads = Threads()
    data = noise(50 * PAYLOAD_MAX)

    def feed() -> None:
        feeder = feeder_on(arena, 0)
        feeder.write(data)
        feeder.end()
        arena.end_stream(0)

    threads.start(feed)
    assert list(all_objects(arena, 0)) == [(object_id(0), data)]
    threads.join()
    assert arena.stream_statistics(0).held == 0


def test_nothing_can_be_written_outside_an_object(arena: _kernel.Arena) -> None:
    feeder = _kernel.Feeder(arena, 0)
    for call in (feeder.end, feeder.flush, feeder.reserve, lambda: feeder.write(b"x"), lambda: feeder.zeros(1)):
        with pytest.raises(ValueError, match="no object has been begun"):
            call()
    begin(feeder, 0)
    feeder.write(b"a")
    feeder.end()
    with pytest.raises(ValueError, match="has ended"):
        feeder.write(b"b")
    arena.end_stream(0)
    assert [data for _, data in all_objects(arena, 0)] == [b"a"]


def test_what_was_reserved_is_void_after_another_write(arena: _kernel.Arena) -> None:
    feeder = feeder_on(arena, 0)
    room = len(feeder.reserve())
    feeder.write(b"x" * 1000)
    with pytest.raises(ValueError, match="do not fit"):
        feeder.commit(room)
    assert finished(arena, feeder) == b"x" * 1000
