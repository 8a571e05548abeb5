"""One copy's trouble is its own: drives that fail, hang or lag, and the slots that they hold."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from runtime_world import BLOCK, PAYLOAD, BareTape, Rig, Seeded, rig, text

from tapeloom import _kernel
from tapeloom._kernel import Stop
from tapeloom.runtime import Ending, State


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up sooner than in earnest."""
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.2)
    monkeypatch.setattr("tapeloom.runtime.job.TICK_SECONDS", 0.02)


def long(blocks: int = 200) -> Callable[[str], Seeded]:
    return lambda name: Seeded(name, blocks * PAYLOAD - 100)


def whole(made: Rig, drive: str) -> bool:
    return made.content(drive) == {name: source.sequence for name, source in made.sources.items()}


def is_prefix(made: Rig, drive: str) -> bool:
    return all(made.sources[name].sequence.startswith(part) for name, part in made.content(drive).items())


@pytest.mark.parametrize(
    "trouble", ["fail_write=1", "fail_write=77", "late_write=50", "fail_filemark=1", "fail_filemark=2"]
)
@pytest.mark.parametrize("victim", ["R0", "R1", "R2"])
def test_a_drive_that_fails_leaves_the_others_alone(victim: str, trouble: str) -> None:
    """Primary, mirror, or the stage below it: the chain is fed past the dead one."""
    plan = text(2, below=True, settings='checkpoint = "512KiB"', mirror='checkpoint = "512KiB"')
    with rig(plan, long(), {victim: f"memory:?{trouble}"}) as made:
        result = made.run()
        assert not result.well
        assert [item.state for item in result.objects] == [State.COMPLETE]
        for drive in ("R0", "R1", "R2"):
            ending = made.ending(result, drive)
            if drive == victim:
                assert ending.ending is Ending.FAILED
                assert f"drive {victim}" in (ending.why or "")
                assert made.proved(drive) < 200
            else:
                assert (ending.ending, ending.why) == (Ending.COMPLETE, None)
                assert whole(made, drive)
        assert made.job.arena.stream_statistics(0).held == 0


def test_what_has_a_filemark_behind_it_is_there_after_a_failure() -> None:
    plan = text(1, mirror='checkpoint = "320KiB"')
    with rig(plan, long(), {"R1": "memory:?fail_write=101"}) as made:
        made.run()
        assert 60 <= made.proved("R1") <= 100
        assert len(made.content("R1")["D0"]) >= made.proved("R1") * PAYLOAD
        assert is_prefix(made, "R1")


def test_when_every_drive_of_a_chain_fails_its_source_is_told() -> None:
    """D0 and D1 go to two drives that die; a third chain has drives of its own and goes on."""
    plan = text(1, sources=2, slots=32)
    plan = plan.replace("[sources]", 'R9 = "memory:"\n[sources]\nD9 = { path = "unused" }')
    plan += '\n[backup.nightly.Z]\ndrive = "R9"\nbuffers = { B = "D9" }'
    given: list[tuple[str, int]] = []

    def source(name: str) -> Seeded:
        return Seeded(name, 400 * PAYLOAD, lambda sink, at: given.append((name, at)))

    with rig(plan, source, {"R0": "memory:?fail_write=40", "R1": "memory:?fail_write=90"}) as made:
        result = made.run()
        states = {item.source: item.state for item in result.objects}
        # The drives may have died before the thread of D1 had its first turn: then it was never begun.
        assert states.pop("D1", State.FAILED) is State.FAILED
        assert states == {"D0": State.FAILED, "D9": State.COMPLETE}
        assert max(at for name, at in given if name == "D0") < 200 * PAYLOAD
        assert all("no drive takes this object" in item.troubles[0] for item in result.objects if item.source != "D9")
        assert made.content("R9") == {"D9": made.sources["D9"].sequence}


def test_a_hanging_mirror_is_detached_and_the_job_ends_without_it() -> None:
    plan = text(2, below=True, mirror='on_lag = "detach"\nlag_max = "100ms"')
    with rig(plan, long(), {"R1": "memory:?hang_write=20"}) as made:
        result = made.run()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.HUNG
        assert "held the others up" in (ending.why or "")
        assert "has not come back" in (ending.why or "")
        assert [item.state for item in result.objects] == [State.COMPLETE]
        assert whole(made, "R0")
        assert whole(made, "R2")
        # The slots under its call are still what they were: let go, the drive writes the very blocks it was given.
        agent = next(thread for thread in threading.enumerate() if thread.name == "M1")
        made.devices["R1"].release_hang()
        agent.join(30)
        assert not agent.is_alive()
        # 19 blocks were written before: the volume's first three, job-start, and 15 of the object.
        assert len(made.content("R1")["D0"]) > 15 * PAYLOAD
        assert is_prefix(made, "R1")
        assert made.job.arena.stream_statistics(0).held == 0


@pytest.mark.parametrize("call", [5, 10])
def test_a_mirror_that_hangs_when_all_else_is_written_does_not_hold_up_the_end(call: int) -> None:
    """All that it lacks fits into memory: it is in nobody's way."""
    plan = text(2, below=True, slots=32, mirror='on_lag = "detach"\nlag_max = "100ms"')
    with rig(plan, long(10), {"R1": f"memory:?hang_write={call}"}) as made:
        result = made.run()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.HUNG
        assert "held up the end of the job" in (ending.why or "")
        assert whole(made, "R0")
        assert whole(made, "R2")


@pytest.mark.parametrize("volume", [1, 2])
def test_a_mirror_that_is_given_a_volume_when_all_else_is_written_is_let_finish(
    monkeypatch: pytest.MonkeyPatch, volume: int
) -> None:
    """A changer and a drive take minutes for that, and whoever feeds a drive by hand may be asleep."""
    given = threading.Event()
    begin = BareTape.begin

    def takes_its_time(tape: BareTape) -> None:
        assert tape.device.name != "R1" or tape.cartridges + 1 != volume or given.wait(30)
        begin(tape)

    monkeypatch.setattr(BareTape, "begin", takes_its_time)
    plan = text(1, slots=32, mirror='on_lag = "detach"\nlag_max = "50ms"')
    with rig(plan, long(10), capacity=8 * BLOCK) as made:
        ticks = threading.Semaphore(0)
        join = made.run_aside(ticks.release)
        for _ in range(20):
            assert ticks.acquire(timeout=30)
        given.set()
        assert made.ending(join(), "R1").ending is Ending.COMPLETE
        assert whole(made, "R1")


def test_a_mirror_that_has_the_only_copy_is_waited_for_to_the_end() -> None:
    plan = text(1, slots=32, mirror='on_lag = "detach"\nlag_max = "50ms"')
    with rig(plan, long(10), {"R0": "memory:?fail_write=3", "R1": "memory:?hang_write=10"}) as made:
        join = made.run_into_hang("R1")
        made.devices["R1"].release_hang()
        assert made.ending(join(), "R1").ending is Ending.COMPLETE
        assert whole(made, "R1")


def test_a_hanging_primary_is_waited_for() -> None:
    plan = text(1)
    with rig(plan, long(), {"R0": "memory:?hang_write=50"}) as made:
        join = made.run_into_hang("R0")
        assert not made.job.arena.stream_statistics(0).ended
        made.devices["R0"].release_hang()
        assert join().well
        assert whole(made, "R0")
        assert whole(made, "R1")


def test_a_mirror_that_waits_is_waited_for() -> None:
    plan = text(1, mirror='on_lag = "wait"\nlag_max = "1ms"')
    with rig(plan, long(), {"R1": "memory:?hang_write=50"}) as made:
        join = made.run_into_hang("R1")
        made.devices["R1"].release_hang()
        assert join().well
        assert whole(made, "R1")


def test_a_lag_in_bytes() -> None:
    """Behind by more than lag_max, though nobody has had to wait yet: the source has not filled all slots."""
    plan = text(1, slots=64, mirror='on_lag = "detach"\nlag_max = { bytes = "320KiB", time = "1h" }')
    gate, far = threading.Event(), threading.Event()

    def before(sink: _kernel.Feeder, at: int) -> None:
        if at >= 40 * PAYLOAD:
            far.set()
            assert gate.wait(30)

    with rig(plan, lambda name: Seeded(name, 100 * PAYLOAD, before), {"R1": "memory:?hang_write=1"}) as made:
        join = made.run_aside(lambda: gate.set() if made.job.arena.agent_statistics(made.rows["R1"]).detached else None)
        assert far.wait(30)
        result = join()
        assert "MB behind" in (made.ending(result, "R1").why or "")
        assert whole(made, "R0")


@pytest.mark.parametrize("slots", [2, 3, 8])
def test_a_drive_that_hangs_with_every_slot_in_its_hands(slots: int) -> None:
    """Its slots come back only with the call: the objects in them cannot go on, but the job ends and says so."""
    plan = text(1, slots=slots, mirror='on_lag = "detach"\nlag_max = "50ms"')
    with rig(plan, long(), {"R1": "memory:?hang_write=1"}) as made:
        result = made.run()
        assert made.ending(result, "R1").ending is Ending.HUNG
        assert is_prefix(made, "R0")
        if result.objects[0].state is State.COMPLETE:
            assert whole(made, "R0")


@pytest.mark.parametrize("how", [Stop.IN_ORDER, Stop.NOW])
def test_stopped_in_the_middle(how: Stop) -> None:
    reached = threading.Event()
    plan = text(1, sources=2)
    with rig(plan, lambda name: Seeded(name, 2000 * PAYLOAD, lambda sink, at: at > 300_000 and reached.set())) as made:
        join = made.run_aside()
        assert reached.wait(30)
        made.job.stop(how)
        result = join()
        assert result.stopped
        assert not result.well
        assert {item.state for item in result.objects} == {State.FAILED}
        endings = {agent.ending for agent in result.agents}
        assert endings == ({Ending.COMPLETE} if how is Stop.IN_ORDER else {Ending.STOPPED})
        for drive in ("R0", "R1"):
            assert is_prefix(made, drive)
            if how is Stop.IN_ORDER:  # the same on all of them, ended as failed, and proved
                assert made.proved(drive) == sum(item.blocks for item in result.objects)
        if how is Stop.IN_ORDER:
            assert made.content("R0") == made.content("R1")


def test_stopped_at_once_with_a_hanging_primary() -> None:
    with rig(text(1), long(), {"R0": "memory:?hang_write=30"}) as made:
        join = made.run_aside()
        assert made.devices["R0"].wait_hang(30)
        made.job.stop(Stop.NOW)
        result = join()
        assert made.ending(result, "R0").ending is Ending.HUNG
        assert made.ending(result, "R1").ending is Ending.STOPPED


def test_a_bug_in_a_source_is_not_hidden_and_ends_the_job_in_order() -> None:
    def before(sink: _kernel.Feeder, at: int) -> None:
        if at > 100_000:
            raise ZeroDivisionError("a bug")

    with rig(
        text(1, sources=2), lambda name: Seeded(name, 3000 * PAYLOAD, before if name == "D1" else lambda *_: None)
    ) as made:
        with pytest.raises(ZeroDivisionError):
            made.job.run()
        result = made.job.result
        assert result is not None
        assert result.stopped
        assert {item.state for item in result.objects} == {State.FAILED}
        (broken,) = [item for item in result.objects if item.source == "D1"]
        assert broken.troubles == ["a bug in tapeloom: ZeroDivisionError: a bug"]
        assert broken.blocks > 0
        assert {agent.ending for agent in result.agents} == {Ending.COMPLETE}
        for drive in ("R0", "R1"):
            assert is_prefix(made, drive)
            assert made.proved(drive) == sum(item.blocks for item in result.objects)
    assert not [thread for thread in threading.enumerate() if thread.name in ("A", "M1", "stream-0", "stream-1")]


def test_an_interrupt_of_the_calling_thread_ends_the_job() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with rig(text(1), long(100), {"R0": "memory:?hang_write=20"}) as made, pytest.raises(KeyboardInterrupt):
        made.job.run(interrupt)
    for thread in threading.enumerate():
        if thread.name in ("A", "M1", "stream-0"):
            thread.join(30)
            assert not thread.is_alive(), thread.name


def test_a_volume_that_ends_in_the_middle_costs_no_block_and_doubles_none() -> None:
    with rig(text(1, sources=3, slots=24), long(60), capacity=37 * BLOCK) as made:
        assert made.run().well
        assert made.tapes["R0"].cartridges > 3
        for drive in ("R0", "R1"):
            assert whole(made, drive)
            assert made.proved(drive) == 180
