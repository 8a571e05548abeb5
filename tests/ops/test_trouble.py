"""Drives and sources that fail, hang or lie: each costs what is its own, and the job says what that was."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from random import Random

import pytest
from agent_world import as_nobody, snapshot
from ops_world import KIB, World, assert_receipts_hold, place_in_file

from tapeloom._kernel import Stop
from tapeloom.catalog import JobStatus, Outcome
from tapeloom.device import Device
from tapeloom.errors import CatalogError, DeviceError, HeldError, RestoreError
from tapeloom.ops.backup import Backup, BackupResult, open_backup
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.restore import restore
from tapeloom.ops.verify import verify
from tapeloom.runtime import Ending

AGENT = {"R1": "A", "R2": "M1", "R3": "M2"}
OFTEN = 'checkpoint = "256KiB"'


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs is given up sooner than in earnest."""
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.2)
    monkeypatch.setattr("tapeloom.runtime.job.TICK_SECONDS", 0.02)


def ending(result: BackupResult, agent: str) -> Ending:
    return next(one.ending for one in result.agents if one.agent == agent)


def why(result: BackupResult, agent: str) -> str:
    return next(one.why for one in result.agents if one.agent == agent) or ""


def same(world: World, source: str, copy: str | None = None) -> None:
    assert snapshot(world.restored(source, copy=copy)) == snapshot(world.folder / "data" / source)


# Drives


@pytest.mark.parametrize(
    ("drive", "trouble"),
    [
        ("R1", "fail_write=80"),
        ("R2", "fail_write=80"),
        ("R2", "fail_write=1"),
        ("R2", "late_write=60"),
        ("R2", "fail_filemark=1"),
        ("R2", "fail_filemark=4"),
        ("R3", "fail_write=80"),
    ],
)
def test_a_drive_that_fails_in_the_middle(world: World, drive: str, trouble: str) -> None:
    world.chain(settings=OFTEN, mirror=OFTEN, **{drive: f'"vtape:tapes/{drive}?{trouble}"'})
    world.data("D1", 1_500_000)
    world.data("D2", 700_000)
    result = world.backup()
    victim = AGENT[drive]
    assert (result.exit_status, result.status) == (1, JobStatus.PARTIAL)
    assert {one.agent: one.ending for one in result.agents} == {
        agent: Ending.FAILED if agent == victim else Ending.COMPLETE for agent in AGENT.values()
    }
    assert f"drive {drive}" in why(result, victim)
    for row in result.table:
        status = row.copy.status.value
        assert (status == "complete") == (row.blocks_safe == row.blocks)
        assert (status == "missing") == (row.blocks_safe == 0)
        if row.copy.agent != victim:
            assert status == "complete"
            same(world, row.source, row.copy.agent)
    assert any(row.copy.status.value != "complete" for row in result.table if row.copy.agent == victim)
    assert {source: world.status(source)[victim] for source in ("D1", "D2")} == {
        row.source: row.copy.status.value for row in result.table if row.copy.agent == victim
    }
    world.chain(settings=OFTEN, mirror=OFTEN)  # the drive is well again
    assert assert_receipts_hold(world) == sum(row.blocks_safe for row in result.table)
    checked = verify(world.config)
    assert checked.exit_status == 0
    passed_over = [item for item, _ in checked.passed_over if not item.is_index]
    assert len(passed_over) == sum(row.copy.status.value != "complete" for row in result.table)
    assert world.backup().exit_status == 0
    assert set(world.status("D1").values()) == {"complete"}


def test_what_the_receipts_cover_of_a_failed_copy_can_be_read(world: World) -> None:
    world.chain(sources=["D1"], mirror=OFTEN, R2='"vtape:tapes/R2?fail_write=100"')
    world.data("D1", 3_000_000, files=30)
    world.backup()
    world.chain(sources=["D1"])
    whole = world.sequence("D1")
    safe = world.safe_part("D1", "M1")
    assert 700_000 < len(safe) < len(whole)
    assert whole.startswith(safe)
    with pytest.raises(RestoreError, match="no complete copy to read"):
        restore(world.config, "D1", world.folder / "out", copy="M1")
    with pytest.raises(RestoreError, match="on none of the copies"):
        restore(world.config, "D1", world.folder / "out", copy="M1", partial=True)
    for file in (world.folder / "out").glob("file-*"):
        original = world.folder / "data" / "D1" / file.name
        assert original.read_bytes() == file.read_bytes(), "what was restored before the gap is whole"
    assert len(list((world.folder / "out").glob("file-*"))) >= 7


def test_all_drives_of_a_chain_fail_and_the_others_go_on(world: World) -> None:
    world.configure(
        """
        [backup.nightly.A]
        drive = "R1"
        buffers = { B1 = "D1" }
        [mirror.1.M]
        drive = "R2"
        buffers = { B1 = "A.B1" }
        [backup.nightly.Z]
        drive = "R3"
        buffers = { B1 = "D2" }
        """,
        drives={
            "R1": '"vtape:tapes/R1?fail_write=30"',
            "R2": '"vtape:tapes/R2?fail_write=60"',
            "R3": '"vtape:tapes/R3"',
        },
        sources={"D1": '{ command = "cat /dev/zero" }', "D2": '"data/D2"'},
    )
    world.data("D2", 2_000_000)
    result = world.backup()  # or never: /dev/zero has no end
    assert result.exit_status == 1
    assert ending(result, "Z") is Ending.COMPLETE
    (endless,) = [item for item in result.objects if item.source == "D1"]
    assert endless.state == "failed"
    assert world.object("D1").outcome is Outcome.FAILED
    assert world.status("D1") == {"A": "missing", "M": "missing"}
    same(world, "D2")


def test_a_command_that_sleeps_is_ended_when_no_drive_is_left(world: World) -> None:
    world.configure(
        '[backup.nightly.A]\ndrive = "R1"\nbuffers = { B1 = "D1" }',
        drives={"R1": '"vtape:tapes/R1?fail_write=2"'},
        sources={"D1": '{ command = ["sleep", "1000"] }'},
    )
    result = world.backup()
    assert result.exit_status == 3
    assert result.status is JobStatus.FAILED
    with pytest.raises(RestoreError, match="nothing of it is on tape"):
        world.restored("D1")


@pytest.mark.parametrize("hang", [1, 4, 30])
def test_a_mirror_that_hangs(world: World, hang: int) -> None:
    """In its label, in its records, in the midst of blocks."""
    world.chain(mirror='on_lag = "detach"\nlag_max = "200ms"', slots=24, R2=f'"vtape:tapes/R2?hang_write={hang}"')
    world.data("D1", 2_000_000)
    world.data("D2", 700_000)
    result = world.backup()
    assert (result.exit_status, result.status) == (1, JobStatus.PARTIAL)
    assert ending(result, "M1") is Ending.HUNG
    assert "has not come back" in why(result, "M1")
    for source in ("D1", "D2"):
        assert world.status(source) == {"A": "complete", "M1": "missing", "M2": "complete"}
        same(world, source, "A")
        same(world, source, "M2")
    world.chain()
    assert world.backup().exit_status == 0
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)


@pytest.mark.parametrize("hang", [1, 4])
def test_a_mirror_in_a_process_of_its_own_that_hangs_in_its_label(
    world: World, monkeypatch: pytest.MonkeyPatch, hang: int
) -> None:
    """All fits into memory: nothing waits for it but the end."""
    monkeypatch.setattr("tapeloom.runtime.drives.PATIENCE_SECONDS", 0.1)
    settings = 'on_lag = "detach"\nlag_max = "200ms"'
    world.chain(mirror=settings, slots=64, R2=f'"vtape:tapes/R2?hang_write={hang}&aside=1"')
    world.data("D1", 100_000)
    world.data("D2", 100_000)
    result = world.backup()
    assert (result.exit_status, result.status) == (1, JobStatus.PARTIAL)
    assert "held up the end of the job" in why(result, "M1")
    assert why(result, "M1").endswith("was killed")
    assert world.status("D1") == {"A": "complete", "M1": "missing", "M2": "complete"}


@pytest.mark.parametrize("dead", ["R1", "R2"])
def test_a_drive_that_cannot_even_be_opened_costs_its_own_copies(world: World, dead: str) -> None:
    """The original's as little as the mirror's."""
    world.chain(**{dead: '"/dev/no-such-nst"'})
    world.data("D1", 300_000)
    world.data("D2", 100_000)
    result = world.backup()
    agent = {"R1": "A", "R2": "M1"}[dead]
    assert (result.exit_status, ending(result, agent)) == (1, Ending.FAILED)
    assert f"drive {dead}: /dev/no-such-nst cannot be looked at" in why(result, agent)
    states = dict.fromkeys(("A", "M1", "M2"), "complete") | {agent: "missing"}
    assert world.status("D1") == world.status("D2") == states
    same(world, "D1", "M2")
    world.chain()
    assert world.backup().exit_status == 0
    assert_receipts_hold(world)


def test_where_no_drive_can_be_opened_nothing_is_begun(world: World) -> None:
    world.chain(**{name: f'"/dev/no-such-{name}"' for name in ("R1", "R2", "R3")})
    world.data("D1", 1000)
    world.data("D2", 1000)
    with pytest.raises(DeviceError, match="drive R1: /dev/no-such-R1 cannot be looked at"):
        world.backup()
    with world.catalog() as catalog:
        assert not catalog.jobs()


def device_of(backup: Backup, drive: str) -> Device:
    """The open drive of a backup's agent."""
    devices = [agent._tape._device for agent in backup.job._agents.values()]  # type: ignore[attr-defined]
    return next(device for device in devices if device.name == drive)


def test_a_mirror_that_lagged_and_comes_back_has_what_it_wrote(world: World) -> None:
    world.chain(mirror='on_lag = "detach"\nlag_max = "100ms"', slots=24, R2='"vtape:tapes/R2?hang_write=60"')
    world.data("D1", 2_000_000)
    world.data("D2", 700_000)
    with open_backup(world.config) as backup:
        (row,) = [row for row, agent in enumerate(backup.schedule.agent_names) if agent == "M1"]

        def on_tick() -> None:
            if backup.job.arena.agent_statistics(row).detached:
                device_of(backup, "R2").release_hang()

        result = backup.run(on_tick)
    assert (result.exit_status, ending(result, "M1")) == (1, Ending.DETACHED)
    assert "held the others up" in why(result, "M1")
    assert sum(row.blocks_safe for row in result.table if row.copy.agent == "M1") >= 50
    assert "partial" in {world.status(source)["M1"] for source in ("D1", "D2")}
    for source in ("D1", "D2"):
        same(world, source, "M2")
    world.chain()
    assert_receipts_hold(world)
    assert world.backup().exit_status == 0
    assert verify(world.config).exit_status == 0


def test_a_drive_under_a_call_is_never_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a real drive cannot be abandoned from here: were its files closed, it could go on in another's."""
    world.chain(mirror='on_lag = "detach"\nlag_max = "100ms"', slots=24, R2='"vtape:tapes/R2?hang_write=30"')
    world.data("D1", 1_000_000)
    world.data("D2", 100_000)
    with open_backup(world.config) as backup, monkeypatch.context() as patch:
        device = device_of(backup, "R2")
        patch.setattr(device, "wait_hang", lambda seconds: False)  # as if it did not hang on purpose
        result = backup.run()
        assert backup.job.hung
        patch.undo()
        monkeypatch.setattr(type(device), "wait_hang", lambda self, seconds: False)
    assert ending(result, "M1") is Ending.HUNG
    monkeypatch.undo()
    with pytest.raises(HeldError):
        open_configured(world.config, "R2")
    device.close()
    open_configured(world.config, "R2").close()


def test_a_mirror_that_waits_is_waited_for(world: World) -> None:
    world.chain(mirror='on_lag = "wait"', slots=16, R2='"vtape:tapes/R2?hang_write=30"')
    world.data("D1", 1_000_000)
    world.data("D2", 100_000)
    with open_backup(world.config) as backup:
        device = device_of(backup, "R2")
        ticks = []

        def on_tick() -> None:
            ticks.append(1)
            if len(ticks) == 20:
                assert device.wait_hang(30)
                device.release_hang()

        result = backup.run(on_tick)
    assert result.exit_status == 0
    same(world, "D1", "M1")


@pytest.mark.parametrize("seed", range(8))
def test_whatever_fails_what_the_catalog_says_is_true(world: World, seed: int) -> None:
    """Several jobs, each with other troubles on other drives, over small cartridges; then one without any."""
    chance = Random(seed)
    drives = ("R1", "R2", "R3")
    for number in range(4):
        last = number == 3
        kinds = [""] if last else ["", "", "?fail_write={}", "?late_write={}", "?fail_filemark={}"]
        options = [chance.choice(kinds).format(chance.choice([1, 2, 5, 17, 60])) for _ in drives]
        world.chain(
            settings=OFTEN,
            mirror='checkpoint = "100KiB"',
            slots=chance.choice([4, 9, 40]),
            **{
                drive: f'{{ device = "vtape:tapes/{drive}{option}", capacity = {chance.randint(300, 900) * KIB} }}'
                for drive, option in zip(drives, options, strict=True)
            },
        )
        world.data("D1", 400_000, seed=number)
        world.data("D2", 200_000, seed=number)
        result = world.backup()
        for row in result.table:
            assert (row.copy.status.value == "complete") == (row.blocks_safe == row.blocks)
        if last:
            assert verify(world.config).exit_status == 0
        wanted = {one.agent for one in result.agents if one.ending is Ending.COMPLETE}
        assert all(row.copy.status.value == "complete" for row in result.table if row.copy.agent in wanted)
        assert (result.exit_status == 0) == (len(wanted) == 3)
    assert result.exit_status == 0
    assert assert_receipts_hold(world) > 0
    for copy in AGENT.values():
        same(world, "D1", copy)


# Sources


def test_a_missing_path_fails_that_object_alone(world: World) -> None:
    world.chain(sources=["D1", "Gone", "D2"])
    world.data("D1", 300_000)
    world.data("D2", 300_000)
    result = world.backup()
    assert (result.exit_status, result.status) == (1, JobStatus.PARTIAL)
    assert all(one.ending is Ending.COMPLETE for one in result.agents)
    assert world.object("Gone").outcome is Outcome.FAILED
    assert "does not exist: is its disk mounted?" in world.object("Gone").troubles[0]
    assert set(world.status("Gone").values()) == {"missing"}
    for source in ("D1", "D2"):
        assert set(world.status(source).values()) == {"complete"}
        same(world, source, "M2")


def test_nothing_but_a_missing_path_is_nothing_done(world: World) -> None:
    world.chain(sources=["Gone"])
    result = world.backup()
    assert (result.exit_status, result.status) == (3, JobStatus.FAILED)


def test_the_exit_status_of_a_command_decides(world: World) -> None:
    world.chain(
        sources=["D1", "Well", "Ill"],
        given={
            "Well": '{ command = "head -c 100000 /dev/zero" }',
            "Ill": '{ command = "head -c 100000 /dev/zero; echo it broke >&2; exit 3" }',
        },
    )
    world.data("D1", 100_000)
    result = world.backup()
    assert result.exit_status == 1
    assert world.sequence("Well", copy="M2") == bytes(100_000)
    ill = world.object("Ill")
    assert ill.outcome is Outcome.FAILED
    assert "exit status 3" in ill.troubles[0]
    assert "it broke" in ill.troubles[0]
    with pytest.raises(RestoreError, match=f"the newest, {ill.id} of .* ends where its source broke off"):
        world.sequence("Ill")
    assert world.sequence("Ill", partial=True) == bytes(100_000), "what it wrote is on tape, and said to be cut off"
    # A later object that went well is the newest again; one that broke off is never taken for it.
    world.chain(sources=["Ill"], given={"Ill": '{ command = "echo well" }'})
    assert world.backup().exit_status == 0
    assert world.sequence("Ill") == b"well\n"


def test_a_command_that_cannot_be_started(world: World) -> None:
    world.chain(sources=["D1", "None"], given={"None": '{ command = ["/nowhere/at/all"] }'})
    world.data("D1", 100_000)
    assert world.backup().exit_status == 1
    assert "cannot be started" in world.object("None").troubles[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become somebody who may not read")
def test_a_file_that_cannot_be_read_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("open")
    for path in (folder, *folder.parents[:-2]):
        path.chmod(0o777)
    world = World(folder)
    world.chain(sources=["D1"])
    secret = world.data("D1", 300_000) / "file-1"
    secret.chmod(0)

    def work() -> tuple[int, str]:
        result = world.backup()
        return result.exit_status, result.status.value

    assert as_nobody(work) == (1, "partial")
    item = world.object("D1")
    assert (item.outcome, item.files) == (Outcome.WHOLE, 2)
    assert len(item.troubles) == 1
    assert "file-1" in item.troubles[0]
    assert set(world.status("D1").values()) == {"complete"}
    target = world.restored("D1")
    assert sorted(path.name for path in target.iterdir()) == ["file-0", "file-2"]


def test_a_source_that_breaks_off_does_not_stop_the_next_of_its_buffer(world: World) -> None:
    world.configure(
        '[backup.nightly.A]\ndrive = "R1"\nbuffers = { B1 = ["D1", "Gone", "Ill", "D2"] }',
        drives={"R1": '"vtape:tapes/R1"'},
        sources={
            "D1": '"data/D1"',
            "Gone": '"nowhere"',
            "Ill": '{ command = "head -c 50000 /dev/zero; exit 1" }',
            "D2": '"data/D2"',
        },
    )
    world.data("D1", 100_000)
    world.data("D2", 100_000)
    result = world.backup()
    assert result.exit_status == 1
    assert [(item.source, item.state) for item in result.objects] == [
        ("D1", "complete"),
        ("Gone", "failed"),
        ("Ill", "failed"),
        ("D2", "complete"),
    ]
    same(world, "D1")
    same(world, "D2")


# Stopping


class Endless:
    """A source that ends when it is told to. `reached` is set when so many bytes have been taken."""

    content = 0

    def __init__(self, name: str, bytes: int):
        self.name = name
        self.reached = threading.Event()
        self._bytes = bytes

    def run(self, sink: object) -> object:
        given = 0
        while True:
            sink.write(self.name.encode() * 1000)  # type: ignore[attr-defined]
            given += 1000 * len(self.name)
            if given > self._bytes:
                self.reached.set()


@pytest.mark.parametrize("how", [Stop.IN_ORDER, Stop.NOW])
def test_stopped_in_the_middle(world: World, how: Stop) -> None:
    sources = ["D1", "P1", "P2", "Sleep"]
    world.chain(
        sources=sources,
        settings=OFTEN,
        mirror=OFTEN,
        given={"P1": "{ producer = true }", "P2": "{ producer = true }", "Sleep": '{ command = "echo a; sleep 1000" }'},
    )
    world.data("D1", 30_000)
    producers = {name: Endless(name, 1_000_000) for name in ("P1", "P2")}
    with open_backup(world.config, None, producers) as backup:

        def stop() -> None:
            for producer in producers.values():
                assert producer.reached.wait(30)
            backup.job.stop(how)

        thread = threading.Thread(target=stop)
        thread.start()
        result = backup.run()
        thread.join()
    assert result.stopped
    assert (result.exit_status, result.status) == (1, JobStatus.PARTIAL)
    assert_receipts_hold(world)
    for source in sources[1:]:
        assert world.object(source).outcome is Outcome.FAILED
    if how is Stop.IN_ORDER:
        assert {one.ending for one in result.agents} == {Ending.COMPLETE}
        assert set(world.status("D1").values()) == {"complete"}
        for source in ("P1", "P2"):
            assert set(world.status(source).values()) == {"complete"}, (
                "all that was taken is on tape; the object is not whole"
            )
            assert world.sequence(source, partial=True).startswith(source.encode() * 100_000)
        assert all(row.blocks_safe == row.blocks for row in result.table)
        with world.catalog() as catalog:
            assert not any(catalog.tail_of(volume.id).unfinished for volume in catalog.volumes())
    else:
        assert {one.ending for one in result.agents} == {Ending.STOPPED}
    world.chain(sources=["D1"])
    assert world.backup().exit_status == 0
    same(world, "D1", "M2")
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)


def test_stopped_before_it_began(world: World) -> None:
    world.chain()
    world.data("D1", 300_000)
    world.data("D2", 300_000)
    with open_backup(world.config) as backup:
        backup.job.stop(Stop.IN_ORDER)
        result = backup.run()
    assert result.stopped
    assert (result.exit_status, result.untouched) == (3, ["D1", "D2"])
    assert world.backup().exit_status == 0


# Who holds what


def test_a_second_job_on_the_same_state_folder(world: World) -> None:
    world.chain()
    world.data("D1", 10_000)
    world.data("D2", 10_000)
    with open_backup(world.config), pytest.raises(HeldError, match=f"process {os.getpid()}"):
        world.backup()
    assert world.backup().exit_status == 0


def test_a_second_job_on_the_same_drive(world: World) -> None:
    world.chain()
    world.data("D1", 10_000)
    world.data("D2", 10_000)
    other = world.file.read_text().replace('state = "state"', 'state = "other"')
    with open_backup(world.config):
        world.file.write_text(other)
        with pytest.raises(HeldError, match="drive R1"):
            world.backup()
    assert world.backup().exit_status == 0


def test_a_held_drive_lets_go_of_the_state_folder_again(world: World) -> None:
    world.chain()
    world.data("D1", 10_000)
    world.data("D2", 10_000)
    with open_configured(world.config, "R3"), pytest.raises(HeldError, match="drive R3"):
        world.backup()
    with world.catalog() as catalog:
        assert catalog.jobs() == [], "nothing was touched"
    assert world.backup().exit_status == 0


# The disk under a virtual tape


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of 3 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield folder  # type: ignore[misc]
    subprocess.run(["umount", folder], check=True)


def test_the_disk_under_a_tape_is_full(world: World, small_disk: Path) -> None:
    world.chain(sources=["D1"], settings=OFTEN, mirror=OFTEN, R2=f'"vtape:{small_disk}"')
    world.data("D1", 6_000_000)
    result = world.backup()
    assert result.exit_status == 1
    assert ending(result, "M1") is Ending.FAILED
    assert "the disk under" in why(result, "M1") or "file system" in why(result, "M1")
    assert world.status("D1") == {"A": "complete", "M1": "partial", "M2": "complete"}
    (row,) = [row for row in result.table if row.copy.agent == "M1"]
    assert row.blocks_safe > 100
    assert assert_receipts_hold(world) == sum(row.blocks_safe for row in result.table)
    assert world.sequence("D1").startswith(world.safe_part("D1", "M1"))


def test_the_disk_under_the_state_folder_is_full(world: World, small_disk: Path) -> None:
    """The catalog cannot say any more what is on tape: the job ends in words, and what has a receipt is true."""
    world.chain(settings=OFTEN, mirror=OFTEN)
    world.file.write_text(world.file.read_text().replace('state = "state"', f'state = "{small_disk}"'))
    world.state = small_disk
    world.data("D1", 1_500_000)
    world.data("D2", 700_000)
    assert world.backup().exit_status == 0
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes((room.f_bavail - 10) * room.f_bsize))
    with pytest.raises(CatalogError, match="disk is full"):
        for _ in range(5):
            assert world.backup().exit_status == 1
    assert assert_receipts_hold(world) > 0
    (small_disk / "filler").unlink()
    assert world.backup().exit_status == 0
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)


def test_damage_is_found_where_it_is(world: World) -> None:
    """The helper of other tests is right about where a block stands."""
    world.chain(sources=["D1"])
    world.data("D1", 100_000)
    world.backup()
    (run, *_) = world.runs(world.object("D1"), "A")
    (tape,) = world.tapes("R1")
    at, length = place_in_file(tape, run.position)
    assert tape.read_bytes()[at : at + 8] == b"TLOOM" + b"BLK"
    assert 512 < length <= 16 * KIB
