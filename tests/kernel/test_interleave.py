from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_world import (
    FakeDrive,
    Threads,
    Written,
    all_objects,
    feed_blocks,
    feeder_on,
    make_arena,
    object_id,
    runs_of,
    turn,
    until,
)

from tapeloom import _kernel
from tapeloom._kernel import Stop, TurnReason
from tapeloom.device.contract import Status
from tapeloom.errors import NoReaders

MakeDrive = Callable[..., FakeDrive]
FOREVER_NS = 1 << 60


def visits(written: list[Written]) -> list[tuple[int, int]]:
    """(object, blocks) of each run as it stands on tape."""
    return [(number, len(list(run))) for number, run in groupby(block.name[0] for block in written)]


def in_order(written: list[Written], number: int) -> list[int]:
    return [seq for found, seq in (block.name for block in written) if found == number]


@pytest.mark.parametrize("batch_max", [1, 3, 4, 100])
def test_buffers_that_are_always_full_get_equal_turns(fake_drive: MakeDrive, batch_max: int) -> None:
    arena = make_arena([(20, 20)] * 3, [[0, 1, 2]], run_blocks=4)
    for stream in range(3):
        feed_blocks(arena, stream, 18)
    drive = fake_drive(batch_max)
    turned = turn(_kernel.Interleaver(arena, 0), drive, position=100)
    assert turned.reason is TurnReason.ENDED
    assert visits(drive.written) == [(stream, 4) for _ in range(4) for stream in range(3)] + [(0, 2), (1, 2), (2, 2)]
    assert runs_of(turned)[:4] == [(0, 0, 4, 100), (1, 0, 4, 104), (2, 0, 4, 108), (0, 4, 4, 112)]
    assert turned.position == 154
    statistics = arena.agent_statistics(0)
    assert (statistics.runs, statistics.short_runs, statistics.blocks) == (15, 3, 54)
    assert turned.bytes == statistics.bytes == sum(len(block.data) for block in drive.written)


def test_a_call_takes_no_more_than_the_device_wants(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0]], run_blocks=10)
    feed_blocks(arena, 0, 20)
    drive = fake_drive(batch_max=4)
    turn(_kernel.Interleaver(arena, 0), drive)
    assert [len(list(call)) for _, call in groupby(block.call for block in drive.written)] == [4, 4, 2, 4, 4, 2]


def test_run_table_joins_what_follows_one_another(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0]], run_blocks=3)
    feed_blocks(arena, 0, 20)
    turned = turn(_kernel.Interleaver(arena, 0), fake_drive())
    assert runs_of(turned) == [(0, 0, 20, 0)]


def test_a_new_object_is_a_new_run(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0]], run_blocks=8)
    feeder = feeder_on(arena, 0, 5)
    feeder.end()
    feed_blocks(arena, 0, 3, number=6)
    turned = turn(_kernel.Interleaver(arena, 0), fake_drive())
    assert runs_of(turned) == [(5, 0, 1, 0), (6, 0, 3, 1)]


def test_a_slow_source_stops_nobody(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)] * 2, [[0, 1]], run_blocks=4, patience_ns=FOREVER_NS)
    feed_blocks(arena, 1, 20)
    drive = fake_drive()
    turned = turn(_kernel.Interleaver(arena, 0), drive, deadline_ns=time.monotonic_ns())
    assert turned.reason is TurnReason.CHECKPOINT
    assert turned.blocks <= 4  # the deadline was due at once
    turned = turn(_kernel.Interleaver(arena, 0), drive, bytes_max=16 * len(drive.written[0].data))
    arena.end_stream(0)
    turned = turn(_kernel.Interleaver(arena, 0), drive)
    assert turned.reason is TurnReason.ENDED
    assert in_order(drive.written, 1) == list(range(20))


def test_a_short_run_waits_while_others_are_full(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)] * 2, [[0, 1]], run_blocks=4)
    feeder = feeder_on(arena, 0)
    for _ in range(3):
        feeder.write(b"x")
        feeder.flush()
    feed_blocks(arena, 1, 16)
    drive = fake_drive()
    interleaver = _kernel.Interleaver(arena, 0)
    while len(drive.written) < 16:
        assert turn(interleaver, drive, bytes_max=1).reason is TurnReason.CHECKPOINT
    assert visits(drive.written) == [(1, 16)]
    threads = Threads()  # now the drive starves, and patience is 0
    threads.start(turn, interleaver, drive)
    until(lambda: len(drive.written) == 19)
    assert arena.agent_statistics(0).short_runs == 1
    feeder.write(b"y")
    feeder.end()
    arena.end_stream(0)
    threads.join()
    assert in_order(drive.written, 0) == [0, 1, 2, 3]


def test_a_short_run_waits_for_its_patience(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0]], run_blocks=4, patience_ns=FOREVER_NS)
    feeder = feeder_on(arena, 0)
    drive = fake_drive()
    interleaver = _kernel.Interleaver(arena, 0)
    for _ in range(3):
        feeder.write(b"x")
        feeder.flush()
    turned = turn(interleaver, drive, deadline_ns=time.monotonic_ns() + 10**6)
    assert (turned.reason, turned.blocks) == (TurnReason.CHECKPOINT, 0)
    feeder.write(b"x")
    feeder.flush()
    turned = turn(interleaver, drive, bytes_max=1)
    assert (turned.reason, turned.blocks) == (TurnReason.CHECKPOINT, 4)
    assert arena.agent_statistics(0).short_runs == 0


def test_a_producer_that_wants_a_slot_gets_short_runs(fake_drive: MakeDrive) -> None:
    arena = make_arena([(2, 2)], [[0]], run_blocks=8, patience_ns=FOREVER_NS)
    threads = Threads()
    threads.start(feed_blocks, arena, 0, 30)
    drive = fake_drive()
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    threads.join()
    assert in_order(drive.written, 0) == list(range(30))


def test_a_producer_that_sleeps_is_not_forgotten_when_its_block_is_refused(fake_drive: MakeDrive) -> None:
    """It has urged its reader and will not again; nothing else makes the short run of two a full one."""
    arena = make_arena([(2, 2)], [[0]], run_blocks=8, patience_ns=FOREVER_NS)
    threads = Threads()
    threads.start(feed_blocks, arena, 0, 5)
    until(lambda: arena.stream_statistics(0).waiting_since_ns)
    drive = fake_drive()
    drive.trouble(0, Status.END_OF_MEDIUM)
    interleaver = _kernel.Interleaver(arena, 0)
    assert turn(interleaver, drive).reason is TurnReason.END_OF_MEDIUM
    assert turn(interleaver, drive).reason is TurnReason.ENDED
    threads.join()
    assert in_order(drive.written, 0) == list(range(5))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    troubles=st.lists(
        st.tuples(st.integers(0, 39), st.sampled_from([Status.END_OF_MEDIUM, Status.EARLY_WARNING])), max_size=5
    ),
    batch_max=st.integers(1, 9),
    run_blocks=st.integers(1, 12),
    runs_max=st.integers(1, 12),
    bytes_max=st.sampled_from([1, 3000, 2**63]),
)
def test_over_any_number_of_volumes_each_block_is_written_once(
    fake_drive: MakeDrive,
    troubles: list[tuple[int, Status]],
    batch_max: int,
    run_blocks: int,
    runs_max: int,
    bytes_max: int,
) -> None:
    arena = make_arena([(20, 20)] * 2, [[0, 1]], run_blocks=run_blocks)
    for stream in range(2):
        feed_blocks(arena, stream, 20)
    drive = fake_drive(batch_max)
    interleaver = _kernel.Interleaver(arena, 0, runs_max)
    left = sorted(dict(troubles).items())
    noted: list[tuple[int, int]] = []
    position = 7
    while True:
        at, status = left[0] if left else (2**32 - 1, Status.OK)
        drive.trouble(at, status)
        turned = turn(interleaver, drive, position, bytes_max=bytes_max)
        for number, seq, blocks, begins in runs_of(turned):
            assert begins == position
            noted += [(number, seq + i) for i in range(blocks)]
            position += blocks
        assert turned.position == position
        if turned.reason in (TurnReason.END_OF_MEDIUM, TurnReason.EARLY_WARNING):
            assert turned.reason.name == status.name
            assert len(drive.written) == at + (status is Status.EARLY_WARNING)
            left.pop(0)
        elif turned.reason is TurnReason.ENDED:
            break
        else:
            assert turned.reason is TurnReason.CHECKPOINT
            assert turned.bytes >= bytes_max or len(turned.runs) == runs_max
    assert [block.name for block in drive.written] == noted
    assert sorted(noted) == [(stream, seq) for stream in range(2) for seq in range(20)]
    assert [arena.stream_statistics(stream).held for stream in range(2)] == [0, 0]


def test_a_failure_says_what_is_on_tape_and_the_rest_goes_on_without_it(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0], [0]], run_blocks=8)
    feed_blocks(arena, 0, 12)
    broken, sound = fake_drive(), fake_drive()
    broken.trouble(5, Status.ERR_IO)
    turned = turn(_kernel.Interleaver(arena, 0), broken)
    assert (turned.reason, turned.status, turned.blocks) == (TurnReason.FAILED, Status.ERR_IO, 5)
    assert runs_of(turned) == [(0, 0, 5, 0)]
    arena.detach(0)
    assert turn(_kernel.Interleaver(arena, 0), broken).reason is TurnReason.DETACHED
    assert turn(_kernel.Interleaver(arena, 1), sound).reason is TurnReason.ENDED
    assert in_order(sound.written, 0) == list(range(12))
    assert arena.stream_statistics(0).held == 0


def test_an_agent_detached_inside_a_call_keeps_its_blocks_until_it_returns(fake_drive: MakeDrive) -> None:
    """Meanwhile the ring goes round many times without it, and no slot in its hands is filled again."""
    arena = make_arena([(6, 6)], [[0], [0]], run_blocks=4)
    hanging, going = fake_drive(), fake_drive()
    hanging.hang(1)
    threads, rest = Threads(), Threads()
    turns: list[_kernel.Turn] = []
    threads.start(lambda: turns.append(turn(_kernel.Interleaver(arena, 0), hanging)))
    feeder = feeder_on(arena, 0)
    for number in range(4):
        feeder.write(f"block {number}".encode())
        feeder.flush()
    hanging.wait_hung()
    arena.detach(0)
    rest.start(turn, _kernel.Interleaver(arena, 1), going)
    for number in range(4, 200):
        feeder.write(f"block {number}".encode())
        feeder.flush()
    feeder.end()
    arena.end_stream(0)
    rest.join()
    assert 1 <= arena.stream_statistics(0).held <= 4
    hanging.release()
    threads.join()
    [turned] = turns
    assert turned.reason is TurnReason.DETACHED
    assert runs_of(turned) == [(0, 0, turned.blocks, 0)]
    assert [block.data[512:] for block in hanging.written] == [f"block {i}".encode() for i in range(turned.blocks)]
    assert in_order(going.written, 0) == list(range(201))
    assert arena.stream_statistics(0).held == 0


def test_when_the_last_agent_is_detached_the_producer_hears_of_it(fake_drive: MakeDrive) -> None:
    arena = make_arena([(2, 2)], [[0]], run_blocks=1)
    hanging = fake_drive()
    hanging.hang(0)
    producer, agent = Threads(), Threads()

    def feed() -> None:
        with pytest.raises(NoReaders):
            feed_blocks(arena, 0, 10)

    producer.start(feed)
    agent.start(turn, _kernel.Interleaver(arena, 0), hanging)
    hanging.wait_hung()
    until(lambda: arena.stream_statistics(0).waiting_since_ns)
    arena.detach(0)
    producer.join()
    assert arena.stream_statistics(0).held >= 1  # under the call
    hanging.release()
    agent.join()
    assert arena.stream_statistics(0).held == 0


def test_common_slots_go_where_they_are_wanted(fake_drive: MakeDrive) -> None:
    arena = make_arena([(2, 6), (2, 6)], [[0, 1]], common=4, run_blocks=2, patience_ns=FOREVER_NS)
    threads = Threads()
    for stream in range(2):
        threads.start(feed_blocks, arena, stream, 50)
    drive = fake_drive()
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    threads.join()
    assert [in_order(drive.written, stream) for stream in range(2)] == [list(range(50))] * 2


def test_a_stream_holds_no_more_than_its_cap() -> None:
    arena = make_arena([(2, 5), (2, 4)], [[0, 1]], common=10)
    threads = Threads()

    def feed() -> None:
        with pytest.raises(NoReaders):
            feed_blocks(arena, 0, 20)

    threads.start(feed)
    until(lambda: arena.stream_statistics(0).waiting_since_ns)
    assert arena.stream_statistics(0).held == 5
    arena.detach(0)
    threads.join()


def test_stop_now_comes_back_at_once_and_in_order_writes_what_is_there(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0], [0]], run_blocks=4)
    feeder = feeder_on(arena, 0)
    for _ in range(6):
        feeder.write(b"x")
        feeder.flush()
    arena.stop(Stop.IN_ORDER)
    arena.end_stream(0)
    drive = fake_drive()
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    assert len(drive.written) == 6
    arena.stop(Stop.NOW)
    assert turn(_kernel.Interleaver(arena, 1), drive).reason is TurnReason.STOPPED
    assert len(drive.written) == 6


def test_a_drain_and_a_drive_read_the_same(fake_drive: MakeDrive) -> None:
    arena = make_arena([(3, 3)], [[0], [0]], run_blocks=2)
    threads = Threads()
    drive = fake_drive()
    threads.start(feed_blocks, arena, 0, 40)
    threads.start(turn, _kernel.Interleaver(arena, 0), drive)
    expected = b"".join(f"0/{block}".encode() for block in range(40))
    assert list(all_objects(arena, 1)) == [(object_id(0), expected)]
    threads.join()
    assert b"".join(block.data[512:] for block in drive.written) == expected


def test_hundreds_of_buffers_in_one_agent(fake_drive: MakeDrive) -> None:
    count = 130  # more than two words of the bitmap
    arena = make_arena([(3, 3)] * count, [range(count)], run_blocks=2)
    for stream in range(count):
        feed_blocks(arena, stream, 3)
    drive = fake_drive()
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    assert visits(drive.written) == [(i, 2) for i in range(count)] + [(i, 1) for i in range(count)]


def test_rows_that_are_none() -> None:
    arena = make_arena([(2, 2)], [[0]])
    for wrong in (
        lambda: _kernel.Interleaver(arena, 1),
        lambda: _kernel.Drain(arena, 1),
        lambda: _kernel.Feeder(arena, 1),
        lambda: arena.detach(1),
        lambda: arena.end_stream(1),
        lambda: arena.stream_statistics(1),
        lambda: arena.cursor_statistics(1),
        lambda: arena.agent_statistics(1),
    ):
        with pytest.raises(IndexError):
            wrong()


def test_a_call_is_given_no_more_than_one_readers_share_of_the_slots(fake_drive: MakeDrive) -> None:
    """So a drive that hangs leaves the others, and the producer, something to go on with."""
    arena = make_arena([(12, 12)], [[0], [0]])
    feed_blocks(arena, 0, 12)
    drive = fake_drive(32)
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    assert len(drive.written) == 12
    assert arena.agent_statistics(0).calls == 3
