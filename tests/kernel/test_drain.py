from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_world import PAYLOAD_MAX, Threads, begin, feeder_on, make_arena, object_id

from tapeloom import _kernel
from tapeloom._kernel import Stop
from tapeloom.errors import BlockDamaged, Stopped


def arena_with(*objects: bytes) -> _kernel.Arena:
    arena = make_arena([(32, 32)], [[0]])
    feeder = _kernel.Feeder(arena, 0)
    for number, data in enumerate(objects):
        begin(feeder, number)
        feeder.write(data)
        feeder.end()
    arena.end_stream(0)
    return arena


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 3 * PAYLOAD_MAX), max_size=3),
    steps=st.lists(
        st.tuples(st.sampled_from(["read", "skip", "pump_to", "payload"]), st.integers(0, 20_000)), max_size=60
    ),
)
def test_whatever_the_steps_the_bytes_come_in_order(sizes: list[int], steps: list[tuple[str, int]]) -> None:
    objects = [bytes([number + 1]) * 7 + os.urandom(size) for number, size in enumerate(sizes)]
    arena = arena_with(*objects)
    drain = _kernel.Drain(arena, 0)
    sink = os.memfd_create("sink")
    left = iter(steps)
    for number, data in enumerate(objects):
        assert drain.next_object() == object_id(number)
        at = 0
        for step, count in left:
            expected = data[at : at + count]
            if step == "read":
                assert drain.read(count) == expected
            elif step == "skip":
                assert drain.skip(count) == len(expected)
            elif step == "pump_to":
                assert drain.pump_to(sink, 3, count) == len(expected)
                assert os.pread(sink, len(expected), 3) == expected
            else:
                piece = drain.payload()
                expected = b"" if piece is None else bytes(piece)
                assert data[at : at + len(expected)] == expected
                assert (piece is None) == (at == len(data))
            at += len(expected)
            if at == len(data):
                break
        assert drain.read(2**63) == data[at:]
        assert drain.read(1) == b""
        assert drain.skip(1) == 0
        assert drain.payload() is None
    assert drain.next_object() is None
    os.close(sink)
    assert arena.stream_statistics(0).held == 0


def test_an_empty_object_has_nothing_to_read() -> None:
    drain = _kernel.Drain(arena_with(b"", b"x"), 0)
    assert drain.next_object() == object_id(0)
    assert drain.read(10) == b""
    assert drain.next_object() == object_id(1)
    assert drain.read(10) == b"x"


def test_the_next_object_waits_for_the_end_of_the_one_before() -> None:
    drain = _kernel.Drain(arena_with(b"abc", b"x"), 0)
    drain.next_object()
    drain.read(1)
    with pytest.raises(ValueError, match="to its end"):
        drain.next_object()


def test_a_sequence_that_breaks_off_is_damaged() -> None:
    arena = make_arena([(4, 4)], [[0]])
    feeder = feeder_on(arena, 0)
    feeder.write(bytes(PAYLOAD_MAX))
    feeder.flush()
    arena.end_stream(0)
    drain = _kernel.Drain(arena, 0)
    drain.next_object()
    assert len(drain.read(PAYLOAD_MAX)) == PAYLOAD_MAX
    with pytest.raises(BlockDamaged, match="breaks off"):
        drain.read(1)


def test_pump_to_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    drain = _kernel.Drain(arena_with(b"abc"), 0)
    drain.next_object()
    with pytest.raises(OSError, match="Bad file descriptor"):
        drain.pump_to(fd, 0, 3)
    os.close(fd)


def test_close_lets_go_of_the_block_in_hand() -> None:
    arena = arena_with(b"abc")
    drain = _kernel.Drain(arena, 0)
    drain.next_object()
    assert arena.stream_statistics(0).held == 1
    drain.close()
    assert arena.stream_statistics(0).held == 0


def test_stop_now_ends_a_drain_though_blocks_wait() -> None:
    arena = arena_with(b"abc", b"def")
    drain = _kernel.Drain(arena, 0)
    drain.next_object()
    assert drain.read(3) == b"abc"
    arena.stop(Stop.NOW)
    assert drain.read(1) == b""
    with pytest.raises(Stopped):
        drain.next_object()


def test_stop_and_detachment_wake_a_drain_that_sleeps() -> None:
    arena = make_arena([(2, 2)], [[0], [0]])
    threads = Threads()

    def expect_stop(cursor: int) -> None:
        with pytest.raises(Stopped):
            _kernel.Drain(arena, cursor).next_object()

    threads.start(expect_stop, 0)
    threads.start(expect_stop, 1)
    arena.detach(0)
    arena.stop(Stop.NOW)
    threads.join()


def test_what_a_detached_drain_has_in_hand_stays_until_it_lets_go() -> None:
    """The ring goes round many times meanwhile: the slot in hand is still the one that was taken."""
    arena = make_arena([(3, 3)], [[0], [0]])
    slow = _kernel.Drain(arena, 0)
    feeder = feeder_on(arena, 0)
    feeder.write(b"held")
    feeder.flush()
    slow.next_object()
    arena.detach(0)
    threads = Threads()

    def feed() -> None:
        for _ in range(100):
            feeder.write(b"more")
            feeder.flush()
        feeder.end()
        arena.end_stream(0)

    threads.start(feed)
    other = _kernel.Drain(arena, 1)
    other.next_object()
    assert other.read(2**63) == b"held" + 100 * b"more"
    threads.join()
    assert arena.stream_statistics(0).held == 1
    assert slow.read(4) == b"held"
    slow.close()
    other.close()
    assert arena.stream_statistics(0).held == 0
