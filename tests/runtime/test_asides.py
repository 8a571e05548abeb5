"""Drives in processes of their own, in a job: memory shared, what hangs given up, and the others not disturbed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
from runtime_world import BLOCK, PAYLOAD, Rig, Seeded, rig, text

from tapeloom._kernel import Stop
from tapeloom.runtime import Ending, State


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up sooner than in earnest."""
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.2)
    monkeypatch.setattr("tapeloom.runtime.job.TICK_SECONDS", 0.02)
    monkeypatch.setattr("tapeloom.runtime.drives.PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("tapeloom.runtime.drives.STUCK_SECONDS", 0.5)
    monkeypatch.setattr("tapeloom.device.aside._DEATH_SECONDS", 0.2)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive that is given up is waited for: what ends it is something else."""
    monkeypatch.setattr("tapeloom.runtime.drives.PATIENCE_SECONDS", 3600.0)


def long(blocks: int = 200) -> Callable[[str], Seeded]:
    return lambda name: Seeded(name, blocks * PAYLOAD - 100)


def whole(made: Rig, drive: str) -> bool:
    return made.content(drive) == {name: source.sequence for name, source in made.sources.items()}


def pid_of(made: Rig, drive: str) -> int:
    aside = made.devices[drive].aside
    assert aside is not None
    return aside.pid


def thread_of(name: str) -> threading.Thread:
    return next(thread for thread in threading.enumerate() if thread.name == name)


MIRROR = 'on_lag = "detach"\nlag_max = "100ms"'


def test_blocks_go_to_it_without_a_copy() -> None:
    with rig(text(1, sources=2), long(), {"R0": "memory:?aside=1"}) as made:
        assert made.run().well
        aside = made.devices["R0"].aside
        assert aside is not None
        calls, bounced = aside.counts()
        assert bounced == 0
        assert calls < 2 * 400  # a call for a batch, where there is one
        assert whole(made, "R0")
        assert whole(made, "R1")


def test_a_mirror_that_hangs_is_killed_and_the_others_are_whole() -> None:
    with rig(text(2, below=True, mirror=MIRROR), long(), {"R1": "memory:?hang_write=20&aside=1"}) as made:
        pid = pid_of(made, "R1")
        result = made.run()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.FAILED
        assert ending.why is not None
        assert "held the others up" in ending.why
        assert "drive R1 has not come back from a write for" in ending.why
        assert ending.why.endswith(f"its process {pid} was killed")
        assert [item.state for item in result.objects] == [State.COMPLETE]
        assert whole(made, "R0")
        assert whole(made, "R2")
        assert made.job.hung == []
        assert made.job.arena.stream_statistics(0).held == 0


def test_a_mirror_that_hangs_when_all_else_is_written_is_killed() -> None:
    with rig(text(2, slots=32, mirror=MIRROR), long(10), {"R1": "memory:?hang_write=7&aside=1"}) as made:
        ending = made.ending(made.run(), "R1")
        assert ending.ending is Ending.FAILED
        assert "held up the end of the job" in (ending.why or "")
        assert (ending.why or "").endswith("was killed")
        assert whole(made, "R0")
        assert whole(made, "R2")


def test_one_that_is_stuck_in_the_kernel_keeps_its_slots_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, and not killed: as a process in an uninterruptible sleep, it does nothing and hears nothing."""
    with rig(text(2, mirror=MIRROR), long(), {"R1": "memory:?hang_write=20&aside=1"}) as made:
        pid = pid_of(made, "R1")
        with monkeypatch.context() as patch:
            patch.setattr("tapeloom.device.aside.signal.pidfd_send_signal", lambda *_: None)
            join = made.run_aside()
            assert made.devices["R1"].wait_hang(30)
            os.kill(pid, signal.SIGSTOP)
            result = join()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.HUNG
        assert ending.why is not None
        assert f"process {pid} was killed, but is stuck in the kernel, and keeps the drive" in ending.why
        assert whole(made, "R0")
        assert whole(made, "R2")
        assert made.job.hung == [made.rows["R1"]]
        assert made.job.arena.stream_statistics(0).held > 0
        agent = thread_of("M1")
        os.kill(pid, signal.SIGKILL)
        agent.join(30)
        assert not agent.is_alive()
        assert made.job.arena.stream_statistics(0).held == 0


def test_an_original_that_hangs_longer_than_any_driver_lets_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody lags behind it, and nobody waits but the job."""
    monkeypatch.setattr("tapeloom.device.aside.CALL_SECONDS_MAX", 0.3)
    with rig(text(1), long(), {"R0": "memory:?hang_write=50&aside=1"}) as made:
        result = made.run()
        assert made.ending(result, "R0").ending is Ending.FAILED
        assert "drive R0 has not come back from a write" in (made.ending(result, "R0").why or "")
        assert made.ending(result, "R1").ending is Ending.COMPLETE
        assert whole(made, "R1")


@pytest.mark.usefixtures("patient")
def test_an_original_that_hangs_is_waited_for_until_then() -> None:
    with rig(text(1), long(), {"R0": "memory:?hang_write=50&aside=1"}) as made:
        join = made.run_into_hang("R0")
        made.devices["R0"].release_hang()
        assert join().well
        assert whole(made, "R0")


@pytest.mark.usefixtures("patient")
def test_a_process_that_dies_in_the_midst_is_its_own_copys_trouble() -> None:
    with rig(text(1), long(), {"R1": "memory:?hang_write=30&aside=1"}) as made:
        pid = pid_of(made, "R1")
        join = made.run_aside()
        assert made.devices["R1"].wait_hang(30)
        os.kill(pid, signal.SIGKILL)
        result = join()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.FAILED
        assert f"the process of drive R1 (pid {pid}) was ended by signal 9" in (ending.why or "")
        assert whole(made, "R0")


@pytest.mark.usefixtures("patient")
def test_stopped_at_once_nothing_is_waited_for_long() -> None:
    with rig(text(1), long(), {"R0": "memory:?hang_write=30&aside=1"}) as made:
        join = made.run_aside()
        assert made.devices["R0"].wait_hang(30)
        made.job.stop(Stop.NOW)
        result = join()
        assert made.ending(result, "R0").ending is Ending.FAILED
        assert "was killed" in (made.ending(result, "R0").why or "")
        assert made.ending(result, "R1").ending is Ending.STOPPED


def test_a_filemark_that_hangs_comes_back_at_once_even_from_a_process_that_is_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No memory of the job is under that call."""
    plan = text(1, mirror='checkpoint = "320KiB"\n' + MIRROR)
    with rig(plan, long(), {"R1": "memory:?aside=1"}) as made:
        pid = pid_of(made, "R1")
        checkpoint = made.tapes["R1"].checkpoint

        def stopped_before() -> None:
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)  # not only asked to stop
            checkpoint()

        monkeypatch.setattr(made.tapes["R1"], "checkpoint", stopped_before)
        with monkeypatch.context() as patch:
            patch.setattr("tapeloom.device.aside.signal.pidfd_send_signal", lambda *_: None)
            result = made.run()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.FAILED
        assert "drive R1 has not come back from a filemark" in (ending.why or "")
        assert "is stuck in the kernel" in (ending.why or "")
        assert made.job.hung == []
        assert whole(made, "R0")
        os.kill(pid, signal.SIGKILL)


def test_memory_is_no_longer_shared_behind_the_job() -> None:
    """The addresses may be anybody's by then."""
    with rig(text(1), long(20), {"R0": "memory:?aside=1"}) as made:
        assert made.run().well
        device = made.devices["R0"]
        aside = device.aside
        assert aside is not None
        device.load("0001")
        device.to_end_of_data()
        made.job.arena.give_back()
        device.write(b"x" * BLOCK)
        assert aside.counts()[1] == BLOCK
