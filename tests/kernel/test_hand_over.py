"""A dormant agent goes on exactly where another one stands, which keeps what it has in its hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from kernel_world import SLOT_BYTES, FakeDrive, Threads, Written, feed_blocks, feeder_on, turn

from tapeloom import _kernel
from tapeloom._kernel import TurnReason
from tapeloom.device import Status
from tapeloom.runtime.arena import allocate

MakeDrive = Callable[..., FakeDrive]


def make(quotas: Sequence[int], agents: Sequence[Sequence[int]], dormant: int, run_blocks: int = 4) -> _kernel.Arena:
    """The last agent of `agents` is a dormant twin of number `dormant`."""
    streams = np.array([(quota, quota, 0) for quota in quotas], _kernel.STREAM_PLAN)
    cursors = [(stream, agent) for agent, reads in enumerate([*agents, agents[dormant]]) for stream in reads]
    first = np.cumsum([0, *(len(reads) for reads in [*agents, agents[dormant]])])
    rows = [
        (first[row], len(reads), run_blocks, row == len(agents), 0, 0)
        for row, reads in enumerate([*agents, agents[dormant]])
    ]
    return allocate(SLOT_BYTES, 0, streams, np.array(cursors, _kernel.CURSOR_PLAN), np.array(rows, _kernel.AGENT_PLAN))


def seqs(written: Sequence[Written], number: int = 0) -> list[int]:
    return [block.name[1] for block in written if block.name[0] == number]


def test_a_dormant_agent_holds_nothing_and_nobody(fake_drive: MakeDrive) -> None:
    arena = make([4], [[0]], 0)
    assert arena.stream_statistics(0).attached == 1
    assert arena.cursor_statistics(1).detached
    threads = Threads()
    threads.start(feed_blocks, arena, 0, 40)
    drive = fake_drive()
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    threads.join()
    assert seqs(drive.written) == list(range(40))
    assert arena.stream_statistics(0).held == 0


def test_it_goes_on_where_the_other_stood(fake_drive: MakeDrive) -> None:
    """Half of it before the hand-over, some waiting, the rest after it, on two streams."""
    arena = make([8, 8], [[0, 1], [1, 0]], 0)
    before, after, other = fake_drive(), fake_drive(), fake_drive()
    feeders = [feeder_on(arena, stream) for stream in range(2)]

    def feed(blocks: int) -> None:
        for stream, feeder in enumerate(feeders):
            for number in range(blocks):
                feeder.write(f"{stream}/{number}".encode())
                feeder.flush()

    giver = _kernel.Interleaver(arena, 0)
    feed(4)
    for _ in feeders:
        assert turn(giver, before, deadline_ns=0).reason is TurnReason.CHECKPOINT
    feed(3)
    attached = [arena.stream_statistics(stream).attached for stream in range(2)]
    arena.hand_over(0, 2)
    assert [arena.stream_statistics(stream).attached for stream in range(2)] == attached
    assert turn(giver, before).reason is TurnReason.DETACHED
    threads = Threads()
    threads.start(turn, _kernel.Interleaver(arena, 2), after)
    threads.start(turn, _kernel.Interleaver(arena, 1), other)
    feed(50)
    for stream, feeder in enumerate(feeders):
        feeder.end()
        arena.end_stream(stream)
    threads.join()
    for number in range(2):
        assert seqs(before.written, number) + seqs(after.written, number) == list(range(58))
        assert 0 < len(seqs(before.written, number)) < 7
        assert seqs(other.written, number) == list(range(58))
        assert arena.stream_statistics(number).held == 0


@pytest.mark.parametrize("ended", [False, True])
def test_streams_that_have_ended_are_handed_over_too(fake_drive: MakeDrive, ended: bool) -> None:
    arena = make([8], [[0]], 0)
    feed_blocks(arena, 0, 6)
    drive = fake_drive()
    giver = _kernel.Interleaver(arena, 0)
    if ended:
        assert turn(giver, drive).reason is TurnReason.ENDED
    arena.hand_over(0, 1)
    spooled = fake_drive()
    assert turn(_kernel.Interleaver(arena, 1), spooled).reason is TurnReason.ENDED
    assert seqs(drive.written) + seqs(spooled.written) == list(range(6))
    assert len(seqs(spooled.written)) == (0 if ended else 6)


@pytest.mark.parametrize("status", [Status.EARLY_WARNING, Status.END_OF_MEDIUM])
def test_what_a_drive_refuses_stays_in_the_hands_of_the_one_that_goes(fake_drive: MakeDrive, status: Status) -> None:
    """The seam between two volumes falls into the hand-over: the next volume gets what the first one did not take."""
    arena = make([16], [[0]], 0)
    feed_blocks(arena, 0, 8)
    drive, spooled = fake_drive(4), fake_drive()
    drive.hang(1)
    drive.trouble(2, status)
    giver, turns, threads = _kernel.Interleaver(arena, 0), [], Threads()
    threads.start(lambda: turns.append(turn(giver, drive)))
    drive.wait_hung()
    arena.hand_over(0, 1)
    assert turn(_kernel.Interleaver(arena, 1), spooled).reason is TurnReason.ENDED
    assert seqs(spooled.written) == [4, 5, 6, 7]
    drive.release()
    threads.join()
    [refused] = turns
    assert refused.reason.name == status.name
    assert 0 < refused.blocks < 4
    rest = turn(giver, drive, position=refused.position)
    assert rest.reason is TurnReason.DETACHED
    assert seqs(drive.written) == [0, 1, 2, 3]
    assert refused.blocks + rest.blocks == 4
    assert arena.stream_statistics(0).held == 0


def test_who_ends_without_a_drive_lets_go(fake_drive: MakeDrive) -> None:
    arena = make([16], [[0]], 0)
    feed_blocks(arena, 0, 8)
    drive, spooled = fake_drive(4), fake_drive()
    drive.hang(1)
    drive.trouble(2, Status.ERR_IO)
    giver, turns, threads = _kernel.Interleaver(arena, 0), [], Threads()
    threads.start(lambda: turns.append(turn(giver, drive)))
    drive.wait_hung()
    arena.hand_over(0, 1)
    turn(_kernel.Interleaver(arena, 1), spooled)
    drive.release()
    threads.join()
    assert turns[0].reason is TurnReason.FAILED
    assert arena.stream_statistics(0).held > 0
    giver.let_go()
    assert arena.stream_statistics(0).held == 0


def test_nothing_is_handed_over_by_one_that_was_detached_before(fake_drive: MakeDrive) -> None:
    arena = make([8], [[0], [0]], 0)
    feed_blocks(arena, 0, 8)
    arena.detach(0)
    arena.detach(2)
    arena.hand_over(0, 2)
    assert arena.stream_statistics(0).attached == 1
    assert turn(_kernel.Interleaver(arena, 2), fake_drive()).reason is TurnReason.DETACHED
    drive = fake_drive()
    assert turn(_kernel.Interleaver(arena, 1), drive).reason is TurnReason.ENDED
    assert seqs(drive.written) == list(range(8))
    assert arena.stream_statistics(0).held == 0


def test_a_twin_that_was_detached_lets_the_slots_go(fake_drive: MakeDrive) -> None:
    arena = make([8], [[0]], 0)
    feeder = feeder_on(arena, 0)
    feeder.write(b"one")
    feeder.flush()
    arena.hand_over(0, 1)
    arena.detach(1)
    assert arena.stream_statistics(0).attached == 0
    assert arena.stream_statistics(0).held == 0
    feeder.drop()


def test_agents_that_are_no_twins_are_refused() -> None:
    arena = make([4, 4], [[0], [1], [0, 1]], 2)
    for giver, taker in ((0, 1), (0, 3), (3, 3)):
        with pytest.raises(ValueError, match="agent"):
            arena.hand_over(giver, taker)
    with pytest.raises(IndexError):
        arena.hand_over(0, 9)


def test_waiting_for_the_first_block_writes_nothing(fake_drive: MakeDrive) -> None:
    arena = make([8], [[0]], 0)
    interleaver, woke, threads = _kernel.Interleaver(arena, 0), [], Threads()
    threads.start(lambda: woke.append(interleaver.wait()))
    feeder = feeder_on(arena, 0)
    feeder.write(b"one")
    feeder.flush()
    threads.join()
    assert woke == [TurnReason.CHECKPOINT]
    assert interleaver.wait() is TurnReason.CHECKPOINT
    feeder.end()
    arena.end_stream(0)
    drive = fake_drive()
    assert turn(interleaver, drive).reason is TurnReason.ENDED
    assert seqs(drive.written) == [0, 1]
    assert interleaver.wait() is TurnReason.ENDED
