"""Jobs whose next volume is not there: they wait and say for what, while the other drives go on."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from agent_world import snapshot
from hand_fed import HandFed
from ops_world import World

from tapeloom.ops import tapes
from tapeloom.ops.backup import Backup, open_backup
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.outcome import BackupResult
from tapeloom.runtime import Ending
from tapeloom.runtime.job import Stop
from tapeloom.volume import waiting

SMALL = '{ device = "vtape:tapes/R1", capacity = "500KiB" }'


@pytest.fixture
def by_hand(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, HandFed]:
    """Drives that are fed by hand, by name, as they are opened."""
    opened: dict[str, HandFed] = {}

    def opening(config: object, name: str) -> object:
        device = open_configured(config, name)  # type: ignore[arg-type]
        if name not in fed:
            return device
        opened[name] = HandFed(device)
        return opened[name]

    fed = {"R1"}
    monkeypatch.setattr(tapes, "open_configured", opening)
    monkeypatch.setitem(waiting.Waiting.__init__.__kwdefaults__, "look_seconds", 0.01)
    return opened


def run(world: World, operate: Callable[[Backup], None]) -> BackupResult:
    """`operate` runs beside the job, as whoever stands at the drives."""
    with open_backup(world.config) as job:

        def body() -> None:
            try:
                operate(job)
            except BaseException:
                job.job.stop(Stop.NOW)
                raise

        thread = threading.Thread(target=body)
        thread.start()
        try:
            return job.run()
        finally:
            thread.join()


def waits(job: Backup, drives: dict[str, HandFed]) -> str:
    """What the drive's agent waits for, as soon as it does."""
    assert drives["R1"].empty.wait(20)
    for _ in range(2000):
        told = next(filter(None, map(job.job.waiting_for, range(len(job.schedule.agents)))), None)
        if told is not None:
            return told
        threading.Event().wait(0.005)
    raise AssertionError("it does not wait")


def test_the_next_cartridge_is_waited_for(world: World, by_hand: dict[str, HandFed]) -> None:
    world.chain(sources=["D1"], R1=SMALL)
    world.data("D1", 550_000)
    told = []

    def operate(job: Backup) -> None:
        for number in range(3):
            told.append(waits(job, by_hand))
            by_hand["R1"].insert(f"cartridge-{number}")

    result = run(world, operate)
    assert result.exit_status == 0
    assert told == ["R1 waits for a blank cartridge of pool default"] * 3
    assert len([one for one in result.remarks if one.startswith(told[0] + ": waited ")]) == 3
    (copy,) = [one for one in world.object("D1").copies if one.agent == "A"]
    assert copy.volumes == ("R1-0001", "R1-0002", "R1-0003")
    assert set(world.status("D1").values()) == {"complete"}


def test_a_job_that_is_stopped_waits_no_longer(world: World, by_hand: dict[str, HandFed]) -> None:
    world.chain(sources=["D1"])
    world.data("D1", 600_000)

    def operate(job: Backup) -> None:
        waits(job, by_hand)
        job.job.stop(Stop.IN_ORDER)

    result = run(world, operate)
    (end,) = [one for one in result.agents if one.drive == "R1"]
    assert end.ending is Ending.FAILED
    assert "told to stop while R1 waits for a blank cartridge of pool default" in (end.why or "")


def test_a_mirror_that_waits_too_long_is_detached(
    world: World, by_hand: dict[str, HandFed], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.configure(
        '[backup.n.A]\ndrive = "R2"\nbuffers = { B1 = "D1" }\n'
        '[mirror.1.M]\ndrive = "R1"\nlag_max = "200ms"\nbuffers = { B1 = "A.B1" }',
        drives={"R1": '"vtape:tapes/R1"', "R2": '"vtape:tapes/R2"'},
        sources={"D1": '"data/D1"'},
    )
    world.data("D1", 2_000_000)
    result = run(world, lambda job: None)
    ends = {one.agent: one for one in result.agents}
    assert ends["A"].ending is Ending.COMPLETE
    assert ends["M"].ending is Ending.FAILED
    assert "R1 waits for a blank cartridge" in (ends["M"].why or "")
    assert world.status("D1") == {"A": "complete", "M": "missing"}


def test_who_is_not_patient_fails_and_names_the_volume(world: World, by_hand: dict[str, HandFed]) -> None:
    world.chain(sources=["D1"])
    world.data("D1", 100_000)
    with open_backup(world.config, patient=False) as job:
        result = job.run()
    (end,) = [one for one in result.agents if one.drive == "R1"]
    assert end.why == "nothing was written: there is no blank cartridge of pool default for drive R1"
    assert snapshot(world.restored("D1", copy="M1")) == snapshot(world.folder / "data" / "D1")
