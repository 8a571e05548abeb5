"""A drive in a process of its own: what that process is, what goes to it without a copy, and its end."""

from __future__ import annotations

import mmap
import os
import select
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from random import Random

import pytest
from device_facts import BLOCK, Kernel, block, read_all

from tapeloom._devio import ffi, lib
from tapeloom.device import Device, Status, Trouble, open_drive
from tapeloom.device.aside import Aside
from tapeloom.errors import DeviceError, DriveHangs, HeldError, NoMedium, UsageError

PAGES = 64
ROOM = 8 * 1024 * 1024


def aside_of(drive: Device) -> Aside:
    assert drive.aside is not None
    return drive.aside


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@pytest.fixture
def drive() -> Iterator[Device]:
    with open_drive("memory:", name="R1", aside=True) as made:
        made.new_cartridge("A")
        made.load("A")
        yield made


@pytest.fixture
def hanging() -> Iterator[Device]:
    """The second block hangs."""
    with open_drive("memory:", name="R1", aside=True, trouble=Trouble(hang_write=2)) as made:
        made.new_cartridge("A")
        made.load("A")
        made.write(block(0))
        yield made


def ends_with(parent: int, reader: int, writer: int) -> None:
    """The process whose number stands in the pipe is gone soon after the one that started it."""
    os.waitpid(parent, 0)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)


class Region:
    """Memory that a drive shares: `PAGES` pages, page by page a place for a block."""

    def __init__(self, drive: Device):
        self.fd = os.memfd_create("region")
        os.ftruncate(self.fd, PAGES * 4096)
        self.memory = mmap.mmap(self.fd, PAGES * 4096)
        self.base = ffi.cast("char *", ffi.from_buffer(self.memory))
        self.aside = aside_of(drive)
        self.number = self.aside.share(self.fd, int(ffi.cast("uintptr_t", self.base)), PAGES * 4096, self)
        os.close(self.fd)


class TestProcess:
    def test_it_is_another_one_in_a_session_of_its_own_that_a_terminal_does_not_end(self, drive: Device) -> None:
        pid = aside_of(drive).pid
        assert pid != os.getpid()
        assert os.getsid(pid) == pid
        ignored = int(status_of(pid)["SigIgn"], 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            assert ignored >> (number - 1) & 1
            os.kill(pid, number)
        drive.write(b"x")

    def test_it_inherits_no_file(self, tmp_path: Path) -> None:
        mine = tmp_path / "mine"
        with mine.open("w") as file:
            os.set_inheritable(file.fileno(), True)
            with open_drive("memory:", name="R1", aside=True) as drive:
                folder = f"/proc/{aside_of(drive).pid}/fd"
                assert str(mine) not in [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]

    def test_it_runs_nothing_that_the_environment_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        package = tmp_path / "encodings"
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit(7)")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        with open_drive("memory:", name="R1", aside=True) as drive:
            assert aside_of(drive).gone() is False

    def test_it_is_small(self, drive: Device) -> None:
        assert int(status_of(aside_of(drive).pid)["VmRSS"].split()[0]) < 24 * 1024

    def test_it_ends_with_the_process_that_started_it(self) -> None:
        reader, writer = os.pipe()
        parent = os.fork()
        if parent == 0:
            drive = open_drive("memory:", name="R1", aside=True)
            os.write(writer, str(aside_of(drive).pid).encode())
            os.kill(os.getpid(), signal.SIGKILL)
        ends_with(parent, reader, writer)

    def test_closing_ends_it(self, drive: Device) -> None:
        aside = aside_of(drive)
        drive.close()
        assert aside.gone()
        assert aside.ended is None
        with pytest.raises(UsageError, match="closed"):
            drive.write(b"x")
        drive.close()

    def test_an_abandoned_one_has_let_go_of_its_drive_once_it_is_closed(self, tmp_path: Path) -> None:
        for _ in range(5):
            drive = open_drive(f"vtape:{tmp_path}", name="R1", aside=True)
            aside_of(drive).abandon()
            drive.close()
            assert not Path(f"/proc/{aside_of(drive).pid}").exists()


class TestOpening:
    def test_what_goes_wrong_there_is_said_here(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no kind of drive"):
            open_drive("nonsense:", name="R1", aside=True)
        with open_drive(f"vtape:{tmp_path}", name="R1"), pytest.raises(HeldError, match=f"held by pid {os.getpid()}"):
            open_drive(f"vtape:{tmp_path}", name="R1", aside=True)

    def test_who_holds_it_is_named(self, tmp_path: Path) -> None:
        with open_drive(f"vtape:{tmp_path}?aside=1", name="R1") as drive:
            held = pytest.raises(HeldError, match=f"held by pid {aside_of(drive).pid}: .*python")
            with held:
                open_drive(f"vtape:{tmp_path}", name="R1")
        with open_drive(f"vtape:{tmp_path}", name="R1"):
            pass

    def test_one_that_hangs_there_is_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tapeloom.device.aside.OPEN_SECONDS_MAX", 0.5)
        with pytest.raises(DriveHangs, match=r"R1 has not come back from a call to open it for .* killed"):
            open_drive("memory:?hang_open=1&aside=1", name="R1")

    def test_an_interpreter_that_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.executable", "/bin/false")
        with pytest.raises(DeviceError, match="ended at once, with status 1: /bin/false cannot run tapeloom"):
            open_drive("memory:", name="R1", aside=True)
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        with pytest.raises(DeviceError, match="no process can be started for it"):
            open_drive("memory:", name="R1", aside=True)

    @pytest.mark.parametrize("stuck", [False, True])
    def test_one_that_hangs_there_can_be_abandoned(self, monkeypatch: pytest.MonkeyPatch, stuck: bool) -> None:
        """Also where its process hears no signal, as in an uninterruptible sleep."""
        started: SimpleQueue[Aside] = SimpleQueue()
        if stuck:
            monkeypatch.setattr("tapeloom.device.aside.signal.pidfd_send_signal", lambda *_: None)
            monkeypatch.setattr("subprocess.Popen.kill", lambda _: None)
            monkeypatch.setattr("tapeloom.device.aside._DEATH_SECONDS", 0.1)
        with ThreadPoolExecutor(1) as pool:
            opening = pool.submit(open_drive, "memory:?hang_open=1&aside=1", name="R1", on_aside=started.put)
            aside = started.get(timeout=30)
            while (call := aside.call) is None:
                assert not opening.done()
            if stuck:
                os.kill(aside.pid, signal.SIGSTOP)
            aside.abandon()
            said = rf"has not come back from a {call.what} for \d+ s: its process {aside.pid} was killed"
            with pytest.raises(DeviceError, match=f"{said}, but is stuck in the kernel" if stuck else f"{said}$"):
                opening.result(30)
        assert aside.gone() is not stuck
        aside.abandon()  # which does nothing now
        os.kill(aside.pid, signal.SIGKILL) if stuck else None
        assert aside.gone(30)

    def test_to_hang_there_it_needs_a_process(self, tmp_path: Path) -> None:
        for spec in ("memory:?hang_open=1", f"vtape:{tmp_path}?hang_open=1"):
            with pytest.raises(UsageError, match="drive R1: hang_open: only a process of its own can be ended then"):
                open_drive(spec, name="R1")
        with pytest.raises(UsageError, match="say aside=1 too"):
            open_drive(f"vtape:{tmp_path}", name="R1", trouble=Trouble(hang_open=1))
        open_drive(f"vtape:{tmp_path}", name="R1").close()  # and the drive is not left reserved

    def test_one_that_hangs_there_ends_with_who_asked(self) -> None:
        reader, writer = os.pipe()
        parent = os.fork()
        if parent == 0:

            def end(aside: Aside) -> None:
                os.write(writer, str(aside.pid).encode())
                while aside.call is None:
                    pass
                os.kill(os.getpid(), signal.SIGKILL)

            started = lambda aside: threading.Thread(target=end, args=[aside]).start()  # noqa: E731
            open_drive("memory:?hang_open=1&aside=1", name="R1", on_aside=started)
        ends_with(parent, reader, writer)

    def test_errors_keep_their_kind_and_numbers(self, drive: Device) -> None:
        with pytest.raises(NoMedium) as caught:
            drive.load("B")
        assert caught.value.status == Status.ERR_NO_MEDIUM

    def test_an_argument_of_control_has_a_bound(self, drive: Device) -> None:
        kernel = Kernel(drive)
        argument = bytearray(128 * 1024 + 1)
        with ffi.from_buffer(argument) as data:
            assert lib.tl_control(kernel.ops, kernel.handle, 1, data, len(argument)) == Status.ERR_INVALID
            assert lib.tl_control(kernel.ops, kernel.handle, 1, data, len(argument) - 1) == Status.ERR_UNSUPPORTED


class TestMemory:
    @pytest.mark.parametrize("seed", range(5))
    def test_blocks_from_anywhere_come_back_wherever_wanted(self, drive: Device, seed: int) -> None:
        """Batches with blocks in two regions, across the ends of both, and in no region."""
        random = Random(seed)
        regions = [Region(drive), Region(drive)]
        elsewhere = mmap.mmap(-1, PAGES * 4096)
        bases = [*(one.base for one in regions), ffi.cast("char *", ffi.from_buffer(elsewhere))]
        kernel = Kernel(drive)
        drive.rewind()

        def places(count: int) -> list[object]:
            pages = random.sample(range(PAGES // 2), count)
            return [bases[random.randrange(3)] + 8192 * page for page in pages]

        def vecs(at: list[object], sizes: list[int]) -> object:
            made = ffi.new("struct tl_vec[]", len(at))
            for number, (data, size) in enumerate(zip(at, sizes, strict=True)):
                made[number].data, made[number].bytes, made[number].room = data, size, 8192
            return made

        written = []
        for _ in range(20):
            count = random.randrange(1, 20)
            data = [random.randbytes(random.randrange(1, 8193)) for _ in range(count)]
            at = places(count)
            for place, one in zip(at, data, strict=True):
                ffi.memmove(place, one, len(one))
            sizes = [len(one) for one in data]
            assert lib.tl_write(kernel.ops, kernel.handle, vecs(at, sizes), count, kernel.done) == Status.OK
            assert kernel.done[0] == count
            written += data
        drive.rewind()
        came: list[bytes] = []
        while len(came) < len(written):
            count = min(random.randrange(1, 20), len(written) - len(came))
            into = vecs(places(count), [8192] * count)
            assert lib.tl_read(kernel.ops, kernel.handle, into, count, kernel.done) == Status.OK
            came += [bytes(ffi.buffer(into[n].data, into[n].bytes)) for n in range(kernel.done[0])]  # type: ignore[index]
        assert came == written
        _, bounced = aside_of(drive).counts()
        total = 2 * sum(map(len, written))
        assert 0 < bounced < total * 0.6
        for one in regions:
            one.aside.forget(one.number)

    def test_more_blocks_at_once_than_bounce_memory_or_page_hold(self, drive: Device) -> None:
        kernel = Kernel(drive)
        kernel.slots = mmap.mmap(-1, 100 * BLOCK)
        kernel.base = ffi.cast("char *", ffi.from_buffer(kernel.slots))
        small = [block(number, 100) for number in range(100)]
        assert kernel.write(small) == (Status.OK, 100)
        big = ffi.new("struct tl_vec[]", 3)
        data = mmap.mmap(-1, ROOM)
        data[:] = block(7, ROOM)
        for one in big:
            one.data, one.bytes, one.room = ffi.from_buffer(data), ROOM, ROOM
        assert lib.tl_write(kernel.ops, kernel.handle, big, 3, kernel.done) == Status.OK
        assert kernel.done[0] == 3
        assert read_all(drive) == [*small, *[block(7, ROOM)] * 3, None]

    def test_what_is_in_no_region_any_more_is_copied(self, drive: Device) -> None:
        region = Region(drive)
        vec = ffi.new("struct tl_vec *", (region.base, 4096, 4096))
        kernel = Kernel(drive)
        bounced = []
        for _ in range(2):
            region.memory[:4] = b"here"
            assert lib.tl_write(kernel.ops, kernel.handle, vec, 1, kernel.done) == Status.OK
            bounced.append(region.aside.counts()[1])
            region.aside.forget(region.number)
        assert bounced == [0, 4096]
        assert read_all(drive) == [b"here" + bytes(4092)] * 2 + [None]

    def test_so_many_regions_and_no_more(self, drive: Device) -> None:
        regions = [Region(drive) for _ in range(8)]
        assert not aside_of(drive).can_share
        with pytest.raises(DeviceError, match="cannot be shared"):
            Region(drive)
        regions[3].aside.forget(regions[3].number)
        assert Region(drive).number == regions[3].number


class TestEnd:
    def test_a_process_that_dies_in_a_call(self, hanging: Device) -> None:
        pid = aside_of(hanging).pid
        with ThreadPoolExecutor(1) as pool:
            write = pool.submit(hanging.write, block(1))
            assert hanging.wait_hang(10)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(
                DeviceError, match=rf"the process of drive R1 \(pid {pid}\) was ended by signal 9"
            ) as it:
                write.result(30)
        assert (it.value.status, it.value.errno) == (Status.ERR_IO, 5)

    @pytest.mark.parametrize(
        "call",
        [
            lambda drive: drive.write(b"x"),
            lambda drive: drive.read_into(bytearray(9)),
            lambda drive: drive.write_filemarks(),
            lambda drive: drive.rewind(),
            lambda drive: drive.position(),
            lambda drive: drive.load("A"),
            lambda drive: drive.cartridges(),
            lambda drive: drive.unload(),
            lambda drive: drive.close(),
        ],
    )
    def test_one_that_died_between_two_calls_is_told_by_the_next_one(self, drive: Device, call: object) -> None:
        aside = aside_of(drive)
        os.kill(aside.pid, signal.SIGKILL)
        assert aside.gone(30)
        with pytest.raises(DeviceError, match="was ended by signal 9"):
            call(drive)  # type: ignore[operator]
        drive.close()  # it has been told

    @pytest.mark.parametrize("seed", range(3))
    def test_killed_at_any_moment_it_never_leaves_anybody_waiting(self, seed: int) -> None:
        with open_drive("memory:", name="R1", aside=True) as drive:
            drive.new_cartridge("A")
            drive.load("A")
            many, after = threading.Event(), Random(seed).randrange(1, 200)

            def write() -> int:
                for number in range(10**9):
                    if number == after:
                        many.set()
                    try:
                        drive.write(b"x")
                    except DeviceError:
                        return number
                raise AssertionError

            with ThreadPoolExecutor(1) as pool:
                writing = pool.submit(write)
                assert many.wait(30)
                os.kill(aside_of(drive).pid, signal.SIGKILL)
                assert writing.result(30) >= after

    def test_abandoned_it_lets_its_caller_go(self, hanging: Device) -> None:
        aside = aside_of(hanging)
        with ThreadPoolExecutor(1) as pool:
            write = pool.submit(hanging.write, block(1))
            assert hanging.wait_hang(10)
            call = aside.call
            assert call is not None
            assert call.what == "write"
            aside.abandon()
            with pytest.raises(
                DeviceError, match=r"has not come back from a write for \d+ s: its process \d+ was killed"
            ):
                write.result(30)
        assert aside.gone(30)
        assert aside.call is None
        with pytest.raises(DeviceError, match="was killed"):
            hanging.write(block(2))

    @pytest.mark.parametrize("shared", [False, True])
    def test_a_stuck_one_keeps_the_memory_under_its_call_and_nothing_else(
        self, hanging: Device, monkeypatch: pytest.MonkeyPatch, shared: bool
    ) -> None:
        """Stopped, and not killed: as a process in an uninterruptible sleep, it does nothing and hears nothing."""
        region = Region(hanging)
        own = mmap.mmap(-1, 4096)
        vec = ffi.new("struct tl_vec *", (region.base if shared else ffi.from_buffer(own), 4096, 4096))
        kernel = Kernel(hanging)
        monkeypatch.setattr("tapeloom.device.aside.signal.pidfd_send_signal", lambda *_: None)
        with ThreadPoolExecutor(1) as pool:
            write = pool.submit(lib.tl_write, kernel.ops, kernel.handle, vec, 1, kernel.done)
            assert hanging.wait_hang(10)
            os.kill(region.aside.pid, signal.SIGSTOP)
            region.aside.abandon()
            assert not region.aside.gone()
            assert "is stuck in the kernel" in (region.aside.ended or "")
            if shared:
                assert (region.aside.call is not None, write.done()) == (True, False)
                os.kill(region.aside.pid, signal.SIGKILL)
            assert write.result(30) == Status.ERR_IO
            os.kill(region.aside.pid, signal.SIGKILL)
        assert region.aside.gone(30)
        assert "is stuck" not in (region.aside.ended or "")
