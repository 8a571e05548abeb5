"""on_lag = "spool": an agent that lags goes on from disk, at its own pace and to the end, and nobody waits for it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from runtime_world import PAYLOAD, Rig, Seeded, rig, text

from tapeloom import _kernel
from tapeloom._kernel import Stop
from tapeloom.device import Trouble
from tapeloom.errors import UsageError
from tapeloom.runtime import Ending, JobResult, State
from tapeloom.runtime.reading import POOL
from tapeloom.runtime.spool import LOCK, OURS, SpoolDisk

BLOCKS = 200
ID = UUID(int=1)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.runtime.job.TICK_SECONDS", 0.02)


def plan(spool_max: str = "64MiB", *, owner: str = "mirror", sources: int = 1, mirrors: int = 1) -> str:
    """A on R0; M1 on R1 spools, or A itself with `owner` = "settings"."""
    spools = 'on_lag = "spool"\nlag_max = "40ms"'
    made = text(mirrors, below=True, slots=32 + 16 * mirrors, sources=sources, **{owner: spools})
    return made.replace("[drives]", f'spool_max = "{spool_max}"\n[drives]')


def long(blocks: int = BLOCKS) -> Callable[[str], Seeded]:
    return lambda name: Seeded(name, blocks * PAYLOAD - 100)


@contextmanager
def spooling(
    folder: Path,
    plan: str,
    drives: dict[str, str],
    *,
    blocks: int = BLOCKS,
    bytes_max: int = 64 << 20,
    trouble: Trouble | None = None,
    capacity: int | None = None,
) -> Iterator[Rig]:
    """A job whose spool folder is empty before and after."""
    with SpoolDisk(folder / "spool", ID, bytes_max, trouble) as disk:
        with rig(plan, long(blocks), drives, capacity=capacity, disk=disk) as made:
            yield made
        assert [file.name for file in (folder / "spool" / OURS / f"job-{ID}").iterdir()] == [LOCK]
    assert list((folder / "spool" / OURS).iterdir()) == []


def run_until(made: Rig, ready: Callable[[], bool], then: Callable[[], None]) -> JobResult:
    """Runs the job; calls `then` once, as soon as `ready`."""
    done = threading.Event()

    def look() -> None:
        if not done.is_set() and ready():
            done.set()
            then()

    result = made.run_aside(look)()
    assert done.is_set(), "it never came to that"
    return result


def whole(made: Rig, drive: str) -> bool:
    return made.content(drive) == {name: source.sequence for name, source in made.sources.items()}


def is_prefix(made: Rig, drive: str) -> bool:
    return all(made.sources[name].sequence.startswith(part) for name, part in made.content(drive).items())


def written(made: Rig, drive: str) -> int:
    return made.job.agent_statistics(made.rows[drive]).blocks


@pytest.mark.parametrize("spool_max", ["4MiB", "64MiB"])
@pytest.mark.parametrize("capacity", [None, 48 * 16 * 1024])
def test_nobody_waits_for_a_mirror_that_hangs_and_its_copy_is_whole(
    tmp_path: Path, spool_max: str, capacity: int | None
) -> None:
    """Over one segment and over several, with one cartridge and with several."""
    with spooling(tmp_path, plan(spool_max), {"R1": "memory:?hang_write=20"}, capacity=capacity) as made:
        result = run_until(made, lambda: written(made, "R0") == BLOCKS, made.devices["R1"].release_hang)
        assert result.well
        assert [made.ending(result, drive).ending for drive in ("R0", "R1")] == [Ending.COMPLETE] * 2
        assert whole(made, "R0")
        assert whole(made, "R1")
        spooled = made.job.spooled(made.rows["R1"])
        assert spooled is not None
        assert 100 < spooled.blocks < BLOCKS
        assert spooled.segments == 1 if spool_max == "64MiB" else spooled.segments > 3
        assert written(made, "R1") == BLOCKS
        assert made.job.arena.stream_statistics(0).held == 0
        assert made.job.spooled(made.rows["R0"]) is None


def test_several_buffers_and_stages_that_spool(tmp_path: Path) -> None:
    drives = {"R1": "memory:?hang_write=30", "R2": "memory:?hang_write=60"}
    with spooling(tmp_path, plan(sources=3, mirrors=2), drives) as made:

        def release() -> None:
            for drive in drives:
                made.devices[drive].release_hang()

        result = run_until(made, lambda: written(made, "R0") == 3 * BLOCKS, release)
        assert result.well
        assert all(whole(made, drive) for drive in ("R0", "R1", "R2"))


def test_an_original_may_spool_too(tmp_path: Path) -> None:
    with spooling(tmp_path, plan(owner="settings"), {"R0": "memory:?hang_write=20"}) as made:
        result = run_until(made, lambda: written(made, "R1") == BLOCKS, made.devices["R0"].release_hang)
        assert result.well
        assert whole(made, "R0")
        assert whole(made, "R1")


def test_a_drive_that_has_caught_up_does_not_wait_for_a_full_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source holds back its end until the mirror has all there is, which stands in a segment that is not full."""
    monkeypatch.setattr("tapeloom.runtime.spool.SEGMENT_SECONDS", 0.05)
    gate = threading.Event()

    def hold(sink: object, at: int) -> None:
        if at > 150 * PAYLOAD:
            assert gate.wait(30)

    with SpoolDisk(tmp_path, ID, 64 << 20) as disk:
        source = Seeded("D0", BLOCKS * PAYLOAD - 100, hold)
        with rig(plan(), lambda name: source, {"R1": "memory:?hang_write=20"}, disk=disk) as made:
            spooled = lambda: made.job.spooled(made.rows["R1"]).blocks  # noqa: E731

            def look() -> None:
                if spooled() > 100:
                    made.devices["R1"].release_hang()
                if written(made, "R1") >= 149:
                    gate.set()

            assert made.run_aside(look)().well
            assert whole(made, "R1")


def test_a_spool_that_is_never_needed_leaves_no_trace(tmp_path: Path) -> None:
    before = threading.active_count()
    with spooling(tmp_path, plan().replace("40ms", "60s"), {}) as made:
        result = made.run()
        assert result.well
        assert made.job.spooled(made.rows["R1"]).blocks == 0
        assert not made.job.agent_statistics(made.rows["R1"]).detached
    assert threading.active_count() == before


def test_a_full_spool_detaches_its_agent_and_keeps_what_it_has(tmp_path: Path) -> None:
    with spooling(tmp_path, plan("1MiB"), {"R1": "memory:?hang_write=20"}, bytes_max=1 << 20) as made:
        result = run_until(
            made,
            lambda: written(made, "R0") == BLOCKS and made.job.agent_statistics(made.rows["R1"]).detached,
            made.devices["R1"].release_hang,
        )
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.DETACHED
        assert "held the others up" in ending.why
        assert "is full" in ending.why
        assert "spool_max 1 MB" in ending.why
        assert [item.state for item in result.objects] == [State.COMPLETE]
        assert whole(made, "R0")
        assert is_prefix(made, "R1")
        assert made.proved("R1") > 40, "what was spooled before is on tape"


def test_the_last_block_may_fill_the_spool(tmp_path: Path) -> None:
    """Full to the last byte is not too small: no segment is made for blocks that never come."""
    with spooling(tmp_path, plan("1MiB"), {"R1": "memory:?hang_write=9"}, blocks=8, bytes_max=8 << 14) as made:
        gate = threading.Event()
        made.sources["D0"].before = lambda sink, at: gate.wait(30)

        def hand_over() -> None:
            made.job.lags(made.rows["R1"], "for a test")
            gate.set()

        assert run_until(made, lambda: True, hand_over).well
        assert made.job.spooled(made.rows["R1"]).blocks == 8
        assert whole(made, "R1")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Trouble(fail_write=40), "write block"),
        (Trouble(fail_filemark=1), "filemark"),
        (Trouble(late_write=40), "spool segment"),
        (Trouble(fail_read_at=3), "read block 3"),
    ],
)
def test_a_disk_that_fails_detaches_the_agent_alone(tmp_path: Path, trouble: Trouble, said: str) -> None:
    with spooling(tmp_path, plan("8MiB"), {"R1": "memory:?hang_write=20"}, trouble=trouble) as made:
        result = run_until(made, lambda: written(made, "R0") == BLOCKS, made.devices["R1"].release_hang)
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.DETACHED
        assert said in ending.why
        assert whole(made, "R0")
        assert is_prefix(made, "R1")
        assert made.job.arena.stream_statistics(0).held == 0


def test_a_disk_that_hangs_holds_nobody_up_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("tapeloom.compile.freeze"), "SPOOL_LAG_SECONDS_MIN", 0.1)
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.5)
    opened = []
    monkeypatch.setattr(
        SpoolDisk, "open", lambda disk, segment, open=SpoolDisk.open: opened.append(open(disk, segment)) or opened[-1]
    )
    with (
        SpoolDisk(tmp_path, ID, 64 << 20, Trouble(hang_write=10)) as disk,
        rig(plan(), long(), {"R1": "memory:?hang_write=20"}, disk=disk) as made,
    ):
        result = run_until(made, lambda: written(made, "R0") == BLOCKS, made.devices["R1"].release_hang)
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.DETACHED
        assert "its spool cannot keep up" in ending.why
        assert whole(made, "R0")
        assert is_prefix(made, "R1")
        for device in opened:
            device.release_hang()
        for thread in threading.enumerate():
            if thread.name == "spool of M1":
                thread.join(30)
                assert not thread.is_alive()


def test_a_stop_at_once_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.5)
    opened = []
    monkeypatch.setattr(
        SpoolDisk, "open", lambda disk, segment, open=SpoolDisk.open: opened.append(open(disk, segment)) or opened[-1]
    )
    with (
        SpoolDisk(tmp_path, ID, 64 << 20, Trouble(hang_write=10)) as disk,
        rig(plan(), long(), {"R1": "memory:?hang_write=20"}, disk=disk) as made,
    ):

        def stop() -> None:
            made.job.stop(Stop.NOW)
            made.devices["R1"].release_hang()

        result = run_until(made, lambda: any(device.wait_hang(0) for device in opened), stop)
        assert made.ending(result, "R1").ending is Ending.STOPPED
        for device in opened:
            device.release_hang()


@pytest.fixture
def read_that_hangs(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The first segment's fourth block does not come, until the test ends. Set when it is asked for."""
    hangs, goes_on = threading.Event(), threading.Event()

    class Hanging:
        def __init__(self, *given: Any, **more: Any):
            self._splitter = splitter(*given, **more)

        def run(self, *given: Any, blocks_max: int, **more: Any) -> Any:
            if hangs.is_set():
                return self._splitter.run(*given, blocks_max=blocks_max, **more)
            self._splitter.run(*given, blocks_max=3, **more)
            hangs.set()
            goes_on.wait(30)
            return self._splitter.run(*given, blocks_max=0, **more)

    splitter = _kernel.Splitter
    monkeypatch.setattr(_kernel, "Splitter", Hanging)
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.3)
    yield hangs
    goes_on.set()
    for thread in threading.enumerate():
        if thread.name == "spool of M1, back":
            thread.join(30)
            assert not thread.is_alive()


def test_a_disk_that_hangs_in_a_read_costs_its_copy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_that_hangs: threading.Event
) -> None:
    monkeypatch.setattr("tapeloom.runtime.hanging.READ_HUNG_SECONDS", 0.3)
    with (
        SpoolDisk(tmp_path, ID, 64 << 20) as disk,
        rig(plan("4MiB"), long(), {"R1": "memory:?hang_write=20"}, disk=disk) as made,
    ):
        result = run_until(made, lambda: made.job.spooled(made.rows["R1"]).blocks > 0, made.devices["R1"].release_hang)
        assert read_that_hangs.is_set()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.DETACHED
        assert "does not come back from a read" in ending.why
        assert [item.state for item in result.objects] == [State.COMPLETE]
        assert whole(made, "R0")
        assert is_prefix(made, "R1")
        assert made.proved("R1") > 0, "what came before is on tape"


def test_a_stop_at_once_does_not_wait_for_a_read_that_hangs(tmp_path: Path, read_that_hangs: threading.Event) -> None:
    with (
        SpoolDisk(tmp_path, ID, 64 << 20) as disk,
        rig(plan("4MiB"), long(), {"R1": "memory:?hang_write=20"}, disk=disk) as made,
    ):

        def stop() -> None:
            made.job.stop(Stop.NOW)
            made.devices["R1"].release_hang()

        result = run_until(made, read_that_hangs.is_set, stop)
        assert made.ending(result, "R1").ending is Ending.STOPPED


def test_a_read_that_waits_for_its_drive_is_not_one_that_hangs(tmp_path: Path) -> None:
    """The drive hangs longer than a read may, and be that no time at all: nothing is lost."""
    with spooling(tmp_path, plan("4MiB"), {"R1": "memory:?hang_write=20"}) as made:
        (spool,) = made.job._spools.values()

        def ready() -> bool:
            if written(made, "R0") < BLOCKS or not spool._arena.stream_statistics(POOL).waiting_since_ns:
                return False
            spool.look_at_reader(0.0)
            spool.look_at_reader(0.0)  # nothing has moved since then
            return True

        assert run_until(made, ready, made.devices["R1"].release_hang).well
        assert whole(made, "R1")


def test_a_disk_that_hangs_in_the_making_of_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("tapeloom.compile.freeze"), "SPOOL_LAG_SECONDS_MIN", 0.1)
    monkeypatch.setattr("tapeloom.runtime.hanging.HUNG_SECONDS", 0.3)
    goes_on = threading.Event()
    new = SpoolDisk.new

    def hang(*given: Any) -> Any:
        goes_on.wait(30)
        return new(*given)

    monkeypatch.setattr(SpoolDisk, "new", hang)
    with (
        SpoolDisk(tmp_path, ID, 64 << 20) as disk,
        rig(plan(), long(), {"R1": "memory:?hang_write=20"}, disk=disk) as made,
    ):
        result = run_until(made, lambda: written(made, "R0") == BLOCKS, made.devices["R1"].release_hang)
        assert made.ending(result, "R1").ending is Ending.DETACHED
        assert whole(made, "R0")
        goes_on.set()
        for thread in threading.enumerate():
            if thread.name == "spool of M1":
                thread.join(30)
                assert not thread.is_alive()


def test_a_drive_that_fails_after_the_hand_over(tmp_path: Path) -> None:
    with spooling(tmp_path, plan("4MiB"), {"R1": "memory:?hang_write=20&fail_write=60"}) as made:
        result = run_until(made, lambda: written(made, "R0") == BLOCKS, made.devices["R1"].release_hang)
        assert made.ending(result, "R1").ending is Ending.FAILED
        assert whole(made, "R0")
        assert is_prefix(made, "R1")
        assert made.job.arena.stream_statistics(0).held == 0


def test_what_it_has_in_its_hands_goes_home_when_its_drive_fails_under_it(tmp_path: Path) -> None:
    with spooling(tmp_path, plan("4MiB"), {"R1": "memory:?hang_write=20&fail_write=20"}) as made:
        result = run_until(made, lambda: written(made, "R0") == BLOCKS, made.devices["R1"].release_hang)
        assert made.ending(result, "R1").ending is Ending.FAILED
        assert made.job.arena.stream_statistics(0).held == 0


def test_a_stop_in_order_writes_what_is_spooled(tmp_path: Path) -> None:
    with spooling(tmp_path, plan("4MiB"), {"R1": "memory:?hang_write=20"}, blocks=100_000 // 64) as made:

        def stop() -> None:
            made.job.stop(Stop.IN_ORDER)
            made.devices["R1"].release_hang()

        result = run_until(made, lambda: made.job.spooled(made.rows["R1"]).blocks > 50, stop)
        assert result.stopped
        assert made.ending(result, "R1").ending is Ending.COMPLETE
        assert is_prefix(made, "R0")
        assert made.content("R1") == made.content("R0")


def test_a_stop_at_once_leaves_it_where_it_is(tmp_path: Path) -> None:
    with spooling(tmp_path, plan("4MiB"), {"R1": "memory:?hang_write=20"}, blocks=100_000 // 64) as made:

        def stop() -> None:
            made.job.stop(Stop.NOW)
            made.devices["R1"].release_hang()

        result = run_until(made, lambda: made.job.spooled(made.rows["R1"]).blocks > 50, stop)
        assert made.ending(result, "R1").ending is Ending.STOPPED


def test_a_job_does_not_wait_for_ever_for_a_drive_that_spools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.runtime.hanging.SPOOLING_HUNG_SECONDS", 0.5)
    with spooling(tmp_path, plan("4MiB"), {"R1": "memory:?hang_write=20"}) as made:
        result = made.run()
        ending = made.ending(result, "R1")
        assert ending.ending is Ending.HUNG
        assert "has not come back" in ending.why
        assert whole(made, "R0")
        agent = next(thread for thread in threading.enumerate() if thread.name == "M1")
        made.devices["R1"].release_hang()
        agent.join(30)
        assert not agent.is_alive()


def dead(folder: Path, marked: bool = True) -> Path:
    (folder / "0001-000001").mkdir(parents=True)
    (folder / "0001-000001" / "file").write_bytes(b"x")
    if marked:
        (folder / LOCK).write_bytes(b"")
    return folder


def test_what_a_dead_job_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ours = tmp_path / OURS
    with SpoolDisk(tmp_path, UUID(int=2), 1 << 20) as other:
        kept = other.new("0001-000001", 1 << 19)
        left = dead(ours / f"job-{UUID(int=3)}")
        elsewhere = dead(tmp_path / "elsewhere")
        link = ours / f"job-{UUID(int=4)}"
        link.symlink_to(elsewhere)
        strangers = [
            dead(tmp_path / "job-12345"),
            dead(tmp_path / f"job-{UUID(int=5)}"),
            dead(ours / "job-12345"),
            dead(ours / f"job-{UUID(int=6)}x"),
            dead(ours / f"job-{UUID(int=7)}", marked=False),
            elsewhere,
        ]
        with SpoolDisk(tmp_path, ID, 1 << 20):
            assert not left.exists()
            assert kept.folder.is_dir()
            assert (ours / f"job-{ID}").is_dir()
        assert link.is_symlink()
        assert all((stranger / "0001-000001" / "file").exists() for stranger in strangers)
    assert not kept.folder.parent.exists()
    assert ours.stat().st_mode & 0o777 == 0o700


def test_another_users_folder_of_that_kind_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = dead(tmp_path / OURS / f"job-{UUID(int=3)}")
    (tmp_path / OURS).chmod(0o700)
    own = Path.lstat

    def foreign(path: Path) -> os.stat_result:
        found = list(own(path))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "lstat", foreign)
        with SpoolDisk(tmp_path, ID, 1 << 20):
            assert left.is_dir()


def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / OURS).mkdir()
    (tmp_path / OURS).chmod(0o770)
    with pytest.raises(UsageError, match=r"tapeloom-spool must belong to the user .*chmod 700"):
        SpoolDisk(tmp_path, ID, 1 << 20).__enter__()


def test_what_cannot_be_removed_today_is_still_known_as_a_jobs_tomorrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = dead(tmp_path / OURS / f"job-{UUID(int=3)}")
    (tmp_path / OURS).chmod(0o700)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "refused")

    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", refuse)
        with SpoolDisk(tmp_path, ID, 1 << 20):
            pass
    assert (left / LOCK).exists()
    with SpoolDisk(tmp_path, ID, 1 << 20):
        assert not left.exists()


def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"the spool folder .*file/spool cannot be used .*name another one"):
        SpoolDisk(tmp_path / "file" / "spool", ID, 1 << 20).__enter__()


def test_the_disks_share_is_kept_to(tmp_path: Path) -> None:
    with SpoolDisk(tmp_path, ID, 300 << 10) as disk:
        one, two = disk.new("a", 128 << 10), disk.new("b", 128 << 10)
        with pytest.raises(Exception, match="is full: 262 kB of spool_max 307 kB are used"):
            disk.new("c", 128 << 10)
        one.blocks, one.bytes = 1, 16 << 10
        disk.trim(one)
        disk.new("d", 128 << 10)
        disk.remove(two)
        disk.remove(one)
        disk.new("e", 128 << 10)
