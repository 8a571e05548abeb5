"""What a virtual tape keeps in its files, and what becomes of it in a crash, on a full disk, and in damaged files."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from device_facts import Kernel, block, open_vtape, read_all, read_one, write_layout
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom.device import Device, open_drive
from tapeloom.device.virtual import VirtualDrive
from tapeloom.errors import DeviceError, HeldError, HostFull, NoMedium, UsageError, VersionTooNew, WriteProtected

PAGE = 4096
HEAD = 4096
ENTRY = 32
FIRST_ENTRIES = (256 * 1024 - HEAD) // ENTRY
"""That is how many the index has room for after its first growth."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "R1"


def opened(folder: Path, cartridge: str = "A", **options: object) -> VirtualDrive:
    drive = open_vtape(folder, **options)
    assert isinstance(drive, VirtualDrive)
    if cartridge not in drive.cartridges():
        drive.new_cartridge(cartridge)
    drive.load(cartridge)
    return drive


class TestFiles:
    def test_a_cartridge_is_two_files_and_nothing_else(self, folder: Path) -> None:
        opened(folder).close()
        assert sorted(os.listdir(folder)) == [".held", "A.index", "A.tape"]

    def test_blocks_begin_on_pages_and_no_byte_behind_a_block_is_written(self, folder: Path) -> None:
        slot = mmap.mmap(-1, 4 * PAGE)
        slot[:] = b"\xee" * len(slot)  # what an earlier block left behind
        sizes = [PAGE + 1, 2 * PAGE, 100, 3 * PAGE - 1]
        with opened(folder) as drive, memoryview(slot) as view:
            for size in sizes:
                for offset in (0, 3):  # straight from the slot, and by the detour
                    slot[offset : offset + size] = b"\x55" * size
                    with view[offset : offset + size] as data:
                        drive.write(data)
                    slot[offset : offset + size] = b"\xee" * size
        whole = b"".join(b"\x55" * size + bytes(-size % PAGE) for size in sizes for _ in range(2))
        assert (folder / "A.tape").read_bytes() == whole

    def test_overwriting_cuts_the_file_when_the_cartridge_goes_out(self, folder: Path) -> None:
        with opened(folder) as drive:
            write_layout(drive, "bbbb")
        before = (folder / "A.tape").stat().st_size
        with opened(folder) as drive:
            drive.write(b"x")
            assert (folder / "A.tape").stat().st_size == before
        assert (folder / "A.tape").stat().st_size == PAGE

    def test_only_looking_at_a_cartridge_changes_nothing(self, folder: Path) -> None:
        with opened(folder) as drive:
            write_layout(drive, "bb|")
        files = [folder / "A.tape", folder / "A.index"]
        before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
        with opened(folder) as drive:
            read_all(drive)
        assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before

    def test_an_interrupted_new_cartridge_is_none_and_can_be_made_again(self, folder: Path) -> None:
        with open_vtape(folder) as drive:
            (folder / "A.tape").touch()
            (folder / ".A.index").write_bytes(b"half")
            assert drive.cartridges() == []
            drive.new_cartridge("A")
            assert drive.cartridges() == ["A"]

    def test_data_without_an_index_is_never_overwritten(self, folder: Path) -> None:
        with open_vtape(folder) as drive:
            (folder / "A.tape").write_bytes(b"data")
            with pytest.raises(UsageError, match=r"has data but no A\.index"):
                drive.new_cartridge("A")
            assert (folder / "A.tape").read_bytes() == b"data"

    def test_a_link_in_the_place_of_a_cartridge_is_not_followed(self, folder: Path, tmp_path: Path) -> None:
        target = tmp_path / "elsewhere"
        target.touch()
        with open_vtape(folder) as drive:
            (folder / "A.tape").symlink_to(target)
            with pytest.raises(DeviceError):
                drive.new_cartridge("A")
            (folder / "B.tape").symlink_to(target)
            (folder / "B.index").symlink_to(target)
            with pytest.raises(DeviceError):
                drive.load("B")

    def test_it_says_whether_it_writes_past_the_page_cache(self, folder: Path) -> None:
        probe = folder.parent / "probe"
        try:
            os.close(os.open(probe, os.O_RDWR | os.O_CREAT | os.O_DIRECT))
        except OSError:
            expected = False
        else:
            expected = True
        with opened(folder) as drive:
            assert drive.direct is expected

    def test_a_file_system_without_direct_access_is_written_through_its_cache(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real_open = os.open

        def refusing(path: object, flags: int, *arguments: object, **options: object) -> int:
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return real_open(path, flags, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "open", refusing)
        with opened(folder) as drive:
            assert drive.direct is False
            write_layout(drive, "bb|")
            assert read_all(drive) == [block(0), block(1), None]


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing can be opened for writing."""
    real_open = os.open

    def refusing(path: object, flags: int, *arguments: object, **options: object) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, "Read-only file system")
        return real_open(path, flags, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)


class TestWriteProtect:
    @pytest.fixture
    def kept(self, folder: Path) -> Path:
        with opened(folder) as drive:
            drive.write(block(0))
        return folder

    def refuses(self, drive: Device) -> None:
        assert drive.write_protected is True
        for call in (lambda: drive.write(b"x"), drive.write_filemarks):
            with pytest.raises(WriteProtected):
                call()
        assert read_all(drive) == [block(0), None]

    def test_by_the_flag(self, kept: Path) -> None:
        with open_vtape(kept) as drive:
            assert isinstance(drive, VirtualDrive)
            drive.protect("A")
            drive.load("A")
            self.refuses(drive)
            with pytest.raises(UsageError, match="unload it first"):
                drive.protect("A", on=False)
            drive.unload()
            drive.protect("A", on=False)
            drive.load("A")
            drive.write(b"x")

    @pytest.mark.parametrize("file", ["A.tape", "A.index"])
    def test_by_the_mode_of_either_file(self, kept: Path, file: str) -> None:
        (kept / file).chmod(0o444)
        with opened(kept) as drive:
            self.refuses(drive)

    def test_by_a_file_system_that_is_read_only(self, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read_only(monkeypatch)
        with opened(kept) as drive:
            self.refuses(drive)


class TestHeld:
    @pytest.mark.parametrize("named", [True, False])
    def test_a_folder_that_cannot_be_written_is_held_all_the_same(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, named: bool
    ) -> None:
        folder.mkdir()
        if named:
            (folder / ".held").touch()
        read_only(monkeypatch)
        with open_vtape(folder), pytest.raises(HeldError, match="could not leave its name"):
            open_vtape(folder)
        open_vtape(folder).close()

    def test_a_second_opener_is_told_who_has_it(self, folder: Path) -> None:
        with open_vtape(folder):
            with pytest.raises(HeldError) as caught:
                open_vtape(folder)
            assert f"pid {os.getpid()}: {sys.orig_argv[0]}" in str(caught.value)
        open_vtape(folder).close()

    def test_another_process_too_and_a_dead_holder_frees_it(self, folder: Path) -> None:
        child = start(folder, "print('held', flush=True); sys.stdin.read()")
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(HeldError, match=f"pid {child.pid}: "):
            open_vtape(folder)
        child.kill()
        child.communicate()
        open_vtape(folder).close()


def start(folder: Path, body: str) -> subprocess.Popen[str]:
    """A process that has a drive with cartridge A loaded, and runs `body`."""
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}
from device_facts import Kernel, block, open_vtape
from pathlib import Path
drive = open_vtape(Path({str(folder)!r}))
if not drive.cartridges():
    drive.new_cartridge("A")
drive.load("A")
{body}
"""
    return subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True)


class TestCrash:
    @pytest.mark.parametrize("lines", [1, 2, 7])
    def test_what_a_killed_writer_wrote_is_there(self, folder: Path, lines: int) -> None:
        body = """
for number in range(10_000):
    drive.write(block(number, 3000 + number))
    if number % 5 == 4:
        drive.write_filemarks()
        print(number + 1, flush=True)
"""
        child = start(folder, body)
        assert child.stdout is not None
        marked = [int(child.stdout.readline()) for _ in range(lines)][-1]
        child.send_signal(signal.SIGKILL)
        child.communicate()
        with opened(folder) as drive:
            assert drive.damaged_entries <= 1  # it may have been killed in the midst of one
            found = read_all(drive)
            blocks = [item for item in found if item is not None]
            assert len(blocks) >= marked
            assert blocks == [block(number, 3000 + number) for number in range(len(blocks))]
            assert found.count(None) >= marked // 5
            drive.write(b"appended")
            assert read_all(drive) == [*found, b"appended", None]

    def test_a_writer_killed_without_a_filemark_leaves_its_tail(self, folder: Path) -> None:
        body = """
for number in range(7):
    drive.write(block(number))
print('written', flush=True)
sys.stdin.read()
"""
        child = start(folder, body)
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
        child.communicate()
        with opened(folder) as drive:
            assert read_all(drive) == [block(number) for number in range(7)]

    def test_a_writer_killed_while_it_overwrites_leaves_nothing_of_the_old_tail(self, folder: Path) -> None:
        with opened(folder) as drive:
            write_layout(drive, "bbbb|bbbb|")
        child = start(folder, "drive.locate(2); drive.write(block(90)); print(flush=True); sys.stdin.read()")
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
        child.communicate()
        with opened(folder) as drive:
            assert read_all(drive) == [block(0), block(1), block(90)]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Every file of this process ends at `size`, as on a disk that is full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestHostFull:
    def test_a_full_disk_is_no_end_of_the_tape_and_what_is_on_it_stays(self, folder: Path) -> None:
        size = 300_000  # three fit, of the fourth only a part
        with opened(folder) as drive:
            with file_size_limit(250 * PAGE):
                for number in range(3):
                    drive.write(block(number, size))
                with pytest.raises(HostFull, match="free some space") as caught:
                    drive.write(block(3, size))
                assert caught.value.errno != 0
                drive.write_filemarks()
            drive.write(block(4, size))
            assert read_all(drive) == [*(block(number, size) for number in range(3)), None, block(4, size), None]

    def test_no_room_for_the_index_is_an_error_and_no_signal(self, folder: Path) -> None:
        with opened(folder) as drive:
            with file_size_limit(HEAD), pytest.raises(HostFull):
                drive.write(b"x")
            drive.write(b"x")
            assert read_all(drive) == [b"x", None]

    def test_the_index_always_has_room_for_the_closing_filemark(self, folder: Path) -> None:
        with opened(folder) as drive:
            kernel = Kernel(drive)
            for _ in range(FIRST_ENTRIES // 64):
                kernel.write([b"x"] * 64)
            with file_size_limit(HEAD + FIRST_ENTRIES * ENTRY):
                with pytest.raises(HostFull):
                    drive.write(b"x")
                drive.write_filemarks()
            assert drive.position().end_of_data == FIRST_ENTRIES + 1

    def test_no_new_cartridge_either(self, folder: Path) -> None:
        with open_vtape(folder) as drive, file_size_limit(100):
            with pytest.raises(DeviceError):
                drive.new_cartridge("A")
            assert drive.cartridges() == []


class TestBrokenDisk:
    @contextmanager
    def broken(self, drive: VirtualDrive) -> Iterator[None]:
        """While this lasts, a pipe stands in the place of the data file: nothing can be written or made durable."""
        assert drive._medium is not None
        data, (end, other_end) = drive._medium.data_fd, os.pipe()
        kept = os.dup(data)
        os.dup2(end, data)
        try:
            yield
        finally:
            os.dup2(kept, data)
            for fd in (kept, end, other_end):
                os.close(fd)

    def test_a_write_that_fails_is_not_on_tape(self, folder: Path) -> None:
        with opened(folder) as drive:
            drive.write(block(0))
            with self.broken(drive), pytest.raises(DeviceError) as caught:
                drive.write(block(1))
            assert (type(caught.value), caught.value.errno) == (DeviceError, errno.ESPIPE)
            assert read_all(drive) == [block(0), None]

    def test_after_a_flush_that_failed_nothing_more_is_taken_in_this_mount(self, folder: Path) -> None:
        with opened(folder) as drive:
            write_layout(drive, "b|b")
            with self.broken(drive), pytest.raises(DeviceError):
                drive.write_filemarks()
            for call in (lambda: drive.write(b"x"), drive.write_filemarks):
                with pytest.raises(DeviceError):
                    call()
            assert read_all(drive) == [block(0), None, block(2)]
        with opened(folder) as drive:
            assert read_all(drive) == [block(0), None, block(2)]
            drive.write(b"x")

    def test_the_filemark_of_close_tells_that_the_disk_failed(self, folder: Path) -> None:
        drive = opened(folder)
        drive.write(block(0))
        with self.broken(drive), pytest.raises(DeviceError):
            drive.close()
        with opened(folder) as drive:
            assert read_all(drive) == [block(0)]


class TestDamage:
    LAYOUT = "bb|bbb|b|"

    def make(self, folder: Path) -> None:
        with opened(folder) as drive:
            write_layout(drive, self.LAYOUT)

    def expected(self, count: int) -> list[bytes | None]:
        return [None if mark == "|" else block(at) for at, mark in enumerate(self.LAYOUT[:count])]

    @given(data=st.data())
    @settings(max_examples=25, deadline=None)
    def test_a_damaged_entry_ends_the_tape_before_it(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        folder = tmp_path_factory.mktemp("damage")
        self.make(folder)
        index = bytearray((folder / "A.index").read_bytes())
        at = data.draw(st.integers(0, len(self.LAYOUT) * ENTRY - 1), label="byte")
        index[HEAD + at] ^= data.draw(st.integers(1, 255), label="damage")
        (folder / "A.index").write_bytes(index)
        sound = at // ENTRY
        with opened(folder) as drive:
            assert drive.damaged_entries == len(self.LAYOUT) - sound
            assert read_all(drive) == self.expected(sound)
        assert (folder / "A.index").read_bytes() == index  # nothing is thrown away by looking
        with opened(folder) as drive:
            drive.to_end_of_data()
            drive.write(b"appended")
            assert read_all(drive) == [*self.expected(sound), b"appended", None]
        with opened(folder) as drive:
            assert drive.damaged_entries == 0

    @pytest.mark.parametrize("size", [HEAD, HEAD + 1, HEAD + ENTRY * 4 - 1, HEAD + ENTRY * 4])
    def test_an_index_that_was_cut_off_keeps_its_whole_entries(self, folder: Path, size: int) -> None:
        self.make(folder)
        os.truncate(folder / "A.index", size)
        with opened(folder) as drive:
            assert read_all(drive) == self.expected((size - HEAD) // ENTRY)
            drive.write(b"appended")
            assert read_all(drive)[-2:] == [b"appended", None]

    def test_blocks_that_the_data_file_has_lost_are_not_shown(self, folder: Path) -> None:
        self.make(folder)
        os.truncate(folder / "A.tape", 4 * PAGE - 1)  # two blocks of two pages each, less a byte
        with opened(folder) as drive:
            assert read_all(drive) == self.expected(1)
            assert drive.damaged_entries == len(self.LAYOUT) - 1

    def test_entries_of_another_cartridge_are_not_taken_for_ours(self, folder: Path) -> None:
        self.make(folder)
        with opened(folder, "B") as drive:
            write_layout(drive, self.LAYOUT)
        other = (folder / "B.index").read_bytes()
        index = bytearray((folder / "A.index").read_bytes())
        index[HEAD + 3 * ENTRY :] = other[HEAD + 3 * ENTRY :]
        (folder / "A.index").write_bytes(index)
        with opened(folder) as drive:
            assert read_all(drive) == self.expected(3)

    @pytest.mark.parametrize("at", [0, 8, 12, 16, 24])
    def test_a_damaged_head_is_refused_and_the_drive_goes_on(self, folder: Path, at: int) -> None:
        self.make(folder)
        index = bytearray((folder / "A.index").read_bytes())
        index[at] ^= 1
        (folder / "A.index").write_bytes(index)
        with open_drive(f"vtape:{folder}", name="R1") as drive:
            with pytest.raises(DeviceError, match="cartridge A: the head of its index is damaged"):
                drive.load("A")
            assert drive.loaded is None
            drive.new_cartridge("B")
            drive.load("B")

    def test_an_empty_index_is_refused(self, folder: Path) -> None:
        self.make(folder)
        os.truncate(folder / "A.index", 0)
        with open_vtape(folder) as drive, pytest.raises(DeviceError, match="head of its index"):
            drive.load("A")

    def test_a_newer_version_is_named_as_that(self, folder: Path) -> None:
        opened(folder).close()
        index = bytearray((folder / "A.index").read_bytes())
        index[8] = 2
        index[24:32] = check(2, 0, int.from_bytes(index[16:24], "little")).to_bytes(8, "little")
        (folder / "A.index").write_bytes(index)
        with open_vtape(folder) as drive, pytest.raises(VersionTooNew, match="newer version"):
            drive.load("A")


def check(*numbers: int) -> int:
    """The self-check of the layout table in csrc/vtape.c, written from the table."""
    total = 1
    for number in numbers:
        total = (total ^ number) * 0x9E3779B97F4A7C15 % 2**64
        total ^= total >> 32
    return total


def test_the_index_is_laid_out_as_the_table_says(folder: Path) -> None:
    with opened(folder) as drive:
        drive.write(block(0, 5000))
        drive.write_filemarks()
        drive.write(block(2, 100))
        drive.write_filemarks()
    index = (folder / "A.index").read_bytes()

    def number(at: int, size: int) -> int:
        return int.from_bytes(index[at : at + size], "little")

    identity = number(16, 8)
    assert index[:8] == b"TLVTINDX"
    assert (number(8, 4), number(12, 4), number(24, 8)) == (1, 0, check(1, 0, identity))
    assert not any(index[32:HEAD])
    rows = [(0, 0, 5000), (2 * PAGE, 0, 0), (2 * PAGE, 1, 100), (3 * PAGE, 1, 0)]
    for position, (at, file, size) in enumerate(rows):
        here = HEAD + position * ENTRY
        assert (number(here, 8), number(here + 8, 8), number(here + 16, 4), number(here + 20, 4)) == (at, file, size, 0)
        assert number(here + 24, 8) == check(identity, position, at, file, size)
    assert not any(index[HEAD + len(rows) * ENTRY :])


def test_a_tape_of_many_blocks_grows_its_index(folder: Path) -> None:
    with opened(folder) as drive:
        kernel = Kernel(drive)
        for first in range(0, FIRST_ENTRIES + 64, 64):
            kernel.write([number.to_bytes(2, "little") for number in range(first, first + 64)])
        for number in (0, FIRST_ENTRIES - 1, FIRST_ENTRIES, FIRST_ENTRIES + 63):
            drive.locate(number)
            assert read_one(drive) == number.to_bytes(2, "little")
        assert drive.position().end_of_data == FIRST_ENTRIES + 65
    with opened(folder) as drive, pytest.raises(NoMedium):
        drive.load("MISSING")
