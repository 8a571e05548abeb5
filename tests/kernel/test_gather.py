"""An agent whose drive takes long to start again gathers before it writes on, and never waits for what cannot come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_world import FakeDrive, Threads, feed_blocks, feeder_on, make_arena, turn, until

from tapeloom import _kernel
from tapeloom._kernel import Stop, TurnReason
from tapeloom.device.contract import Status

MakeDrive = Callable[..., FakeDrive]
ENDLESS = 2**60


class Writing:
    """An agent at work in a thread of its own."""

    def __init__(self, arena: _kernel.Arena, drive: FakeDrive, agent: int = 0):
        self.turned: list[_kernel.Turn] = []
        self._threads = Threads()
        self._threads.start(lambda: self.turned.append(turn(_kernel.Interleaver(arena, agent), drive)))

    def end(self) -> _kernel.Turn:
        self._threads.join()
        return self.turned[0]


def add(feeder: _kernel.Feeder, blocks: int) -> None:
    for _ in range(blocks):
        feeder.write(b"x")
        feeder.flush()


def asleep(arena: _kernel.Arena, agent: int = 0) -> Callable[[], bool]:
    return lambda: bool(arena.lacks(agent))


def test_nothing_is_written_until_there_is_enough(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)] * 2, [[0, 1]], run_blocks=2, start_blocks=[7])
    drive = fake_drive()
    one, other = feeder_on(arena, 0), feeder_on(arena, 1)
    add(one, 4)
    writing = Writing(arena, drive)
    until(asleep(arena))
    add(other, 2)
    assert drive.written == []
    add(one, 1)
    until(lambda: len(drive.written) == 7)
    one.end()
    other.end()
    arena.end_stream(0)
    arena.end_stream(1)
    assert writing.end().reason is TurnReason.ENDED
    assert len(drive.written) == 9


def test_it_gathers_again_when_it_has_run_dry_and_not_before(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0]], run_blocks=1, start_blocks=[3])
    drive = fake_drive()
    feeder = feeder_on(arena, 0)
    add(feeder, 3)
    writing = Writing(arena, drive)
    for rounds in range(1, 4):
        until(asleep(arena))
        assert len(drive.written) == 3 * rounds
        assert arena.agent_statistics(0).starvations == rounds
        assert arena.agent_statistics(0).starving_since_ns
        add(feeder, 2)
        assert len(drive.written) == 3 * rounds
        add(feeder, 1)
        until(lambda wanted=3 * rounds + 3: len(drive.written) == wanted)
    feeder.end()
    arena.end_stream(0)
    assert writing.end().reason is TurnReason.ENDED
    assert arena.agent_statistics(0).starving_since_ns == 0


def test_the_drive_has_not_run_dry_before_it_wrote_anything(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)], [[0]])
    writing = Writing(arena, fake_drive())
    until(asleep(arena))
    assert arena.agent_statistics(0).starving_since_ns
    assert arena.agent_statistics(0).starvations == 0
    feed_blocks(arena, 0, 3)
    writing.end()


def test_an_end_is_enough(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)] * 2, [[0, 1]], start_blocks=[100])
    drive = fake_drive()
    writing = Writing(arena, drive)
    until(asleep(arena))
    feed_blocks(arena, 0, 5)
    until(asleep(arena))  # the other may still bring what it lacks
    assert drive.written == []
    feed_blocks(arena, 1, 2)
    assert writing.end().reason is TurnReason.ENDED
    assert len(drive.written) == 7


def test_a_checkpoint_that_is_due_covers_what_was_gathered(fake_drive: MakeDrive) -> None:
    arena = make_arena([(20, 20)] * 3, [[0, 1, 2]], run_blocks=1, start_blocks=[100])
    feeders = [feeder_on(arena, stream) for stream in range(3)]
    for feeder in feeders:
        add(feeder, 3)
    interleaver, drive = _kernel.Interleaver(arena, 0), fake_drive()
    turned = turn(interleaver, drive, deadline_ns=time.monotonic_ns() + 10**6)
    assert (turned.reason, turned.blocks) == (TurnReason.CHECKPOINT, 9)
    turned = turn(interleaver, drive, deadline_ns=time.monotonic_ns() + 10**6)  # it has run dry: it gathers anew
    assert (turned.reason, turned.blocks) == (TurnReason.CHECKPOINT, 0)
    writing = Writing(arena, drive)
    until(asleep(arena))
    add(feeders[0], 2)
    assert len(drive.written) == 9
    arena.stop(Stop.NOW)
    assert writing.end().reason is TurnReason.STOPPED


@pytest.mark.parametrize("stop", ["stop", "detach"])
def test_it_comes_back_at_once_when_it_is_told_to(fake_drive: MakeDrive, stop: str) -> None:
    arena = make_arena([(20, 20)], [[0]], start_blocks=[100])
    feeder = feeder_on(arena, 0)
    add(feeder, 3)
    writing = Writing(arena, fake_drive())
    until(asleep(arena))
    if stop == "stop":
        arena.stop(Stop.NOW)
    else:
        arena.detach(0)
    assert writing.end().blocks == 0


def test_memory_that_cannot_hold_so_much_is_enough(fake_drive: MakeDrive) -> None:
    arena = make_arena([(2, 4), (2, 4)], [[0, 1]], common=2, patience_ns=ENDLESS, start_blocks=[100])
    threads, drive = Threads(), fake_drive()
    for stream in range(2):
        threads.start(feed_blocks, arena, stream, 50)
    assert turn(_kernel.Interleaver(arena, 0), drive).reason is TurnReason.ENDED
    threads.join()
    assert len(drive.written) == 100


def test_a_block_that_was_refused_is_not_gathered_for(fake_drive: MakeDrive) -> None:
    """Its producer sleeps for its slot, and has said so once."""
    arena = make_arena([(2, 2)], [[0]], run_blocks=8, patience_ns=ENDLESS, start_blocks=[100])
    threads, drive = Threads(), fake_drive()
    threads.start(feed_blocks, arena, 0, 9)
    until(lambda: arena.stream_statistics(0).waiting_since_ns)
    drive.trouble(0, Status.END_OF_MEDIUM)
    interleaver = _kernel.Interleaver(arena, 0)
    assert turn(interleaver, drive).reason is TurnReason.END_OF_MEDIUM
    assert turn(interleaver, drive).reason is TurnReason.ENDED
    threads.join()


def test_what_it_lacks_is_told(fake_drive: MakeDrive) -> None:
    """Of three streams, one has ended, and one has more than the other."""
    arena = make_arena([(20, 20)] * 3, [[0, 1, 2]], start_blocks=[100])
    assert arena.lacks(0) == []  # it does not sleep
    one, _ = feeder_on(arena, 0), feeder_on(arena, 1)
    add(one, 2)
    feed_blocks(arena, 2, 1)
    writing = Writing(arena, fake_drive())
    until(asleep(arena))
    assert arena.lacks(0) == [(1, None)]
    arena.stop(Stop.NOW)
    writing.end()
    assert arena.lacks(0) == []
    with pytest.raises(IndexError):
        arena.lacks(1)


def test_who_holds_the_slots_that_it_waits_for_is_told(fake_drive: MakeDrive) -> None:
    arena = make_arena([(4, 4)], [[0], [0], [0]], run_blocks=1)
    hanging, drive, nearly = fake_drive(), fake_drive(), fake_drive()
    hanging.hang(0)
    nearly.hang(3)
    threads = Threads()
    for agent, one in enumerate([drive, hanging, nearly]):
        threads.start(lambda agent=agent, one=one: turn(_kernel.Interleaver(arena, agent), one))
    threads.start(feed_blocks, arena, 0, 10)
    until(lambda: arena.lacks(0) == [(0, 1)])  # the other one that hangs has fewer
    hanging.release()
    nearly.release()
    threads.join()
    assert len(drive.written) == 10


@st.composite
def jobs(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[list[int]], int, list[int], list[int], int | None]:
    streams = draw(st.integers(1, 3))
    common = draw(st.integers(0, 6))
    quotas = [draw(st.integers(1, 4)) for _ in range(streams)]
    caps = [quota + draw(st.integers(0, common)) for quota in quotas]
    agents = [sorted(draw(st.sets(st.integers(0, streams - 1), min_size=1))) for _ in range(draw(st.integers(1, 3)))]
    agents[0] = list(range(streams))
    starts = [draw(st.sampled_from([0, 1, 2, 5, 20, 10**6])) for _ in agents]
    blocks = [draw(st.integers(1, 60)) for _ in range(streams)]
    detached = draw(st.none() | st.integers(1, len(agents) - 1)) if len(agents) > 1 else None
    return list(zip(quotas, caps, strict=True)), agents, common, starts, blocks, detached


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=jobs(), run_blocks=st.integers(1, 9), batch_max=st.integers(1, 5))
def test_whatever_shares_slots_with_whatever_nobody_sleeps_for_ever(
    fake_drive: MakeDrive,
    job: tuple[list[tuple[int, int]], Sequence[Sequence[int]], int, list[int], list[int], int | None],
    run_blocks: int,
    batch_max: int,
) -> None:
    """With endless patience, nothing but what ends the gathering brings anybody to write."""
    streams, agents, common, starts, blocks, detached = job
    arena = make_arena(streams, agents, common=common, run_blocks=run_blocks, patience_ns=ENDLESS, start_blocks=starts)
    drives = [fake_drive(batch_max) for _ in agents]
    threads = Threads()
    for agent, drive in enumerate(drives):
        threads.start(lambda agent=agent, drive=drive: turn(_kernel.Interleaver(arena, agent), drive))
    for stream, count in enumerate(blocks):
        threads.start(feed_blocks, arena, stream, count)
    if detached is not None:
        threads.start(arena.detach, detached)
    threads.join()
    for agent, (drive, reads) in enumerate(zip(drives, agents, strict=True)):
        if agent != detached:
            assert sorted(block.name for block in drive.written) == [
                (stream, seq) for stream in reads for seq in range(blocks[stream])
            ]
