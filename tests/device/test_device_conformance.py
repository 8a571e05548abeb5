"""What every tape drive must answer, call by call, as the Linux st driver does."""

from __future__ import annotations

import mmap
from collections.abc import Callable

import pytest
from device_facts import BLOCK, block, end_of, new_cartridge, place, read_all, read_one, write_layout

from tapeloom.device import Device, Status
from tapeloom.errors import (
    BlockSizeError,
    DeviceError,
    EndOfData,
    EndOfMedium,
    NoMedium,
    TapeloomError,
    UsageError,
)

#          01234567890
LAYOUT = "bbb|bb|bbbb||"


@pytest.fixture
def written(drive: Device) -> Device:
    """A rewound tape with `LAYOUT` on it."""
    write_layout(drive, LAYOUT)
    drive.rewind()
    return drive


class TestBlank:
    def test_it_stands_at_the_beginning_and_has_no_data(self, drive: Device) -> None:
        assert place(drive) == (0, 0)
        assert end_of(drive) == 0
        assert drive.write_protected is False
        assert drive.loaded == "BLANK"
        with pytest.raises(EndOfData):
            read_one(drive)

    def test_every_way_forward_ends_at_the_end_of_data(self, drive: Device) -> None:
        drive.to_end_of_data()
        for step in (lambda: drive.space_filemarks(1), lambda: drive.space_blocks(1), lambda: drive.locate(1)):
            with pytest.raises(EndOfData):
                step()
            assert place(drive) == (0, 0)

    def test_every_way_back_meets_the_beginning(self, drive: Device) -> None:
        assert drive.space_filemarks(-1) is Status.BEGIN_OF_TAPE
        assert drive.space_blocks(-1) is Status.BEGIN_OF_TAPE


class TestBlocks:
    def test_every_length_comes_back_as_it_was_written(self, drive: Device) -> None:
        sizes = [1, 511, 512, 4095, 4096, 4097, 65536, 262143, 262144, 262145, 1048576, drive.block_bytes_max]
        for number, size in enumerate(sizes):
            drive.write(block(number, size))
        assert read_all(drive) == [block(number, size) for number, size in enumerate(sizes)] + [None]

    def test_a_block_from_page_aligned_memory_and_the_same_from_any_other(self, drive: Device) -> None:
        pages = mmap.mmap(-1, BLOCK + 8)
        pages[: BLOCK + 8] = block(7, BLOCK + 8)
        view = memoryview(pages)
        pieces = [view[:BLOCK], view[1:BLOCK], view[8 : BLOCK + 8], view[: BLOCK - 1], view[4095:]]
        for piece in pieces:
            drive.write(piece)
        assert read_all(drive) == [bytes(piece) for piece in pieces] + [None]

    @pytest.mark.parametrize("offset", [0, 1, 8, 512])
    def test_reading_into_any_memory_touches_nothing_behind_the_room(self, drive: Device, offset: int) -> None:
        drive.write(block(1, 10_000))
        drive.rewind()
        pages = mmap.mmap(-1, 16384)
        pages[:] = b"\xee" * len(pages)
        with memoryview(pages) as whole, whole[offset : offset + 10_000] as room:
            assert drive.read_into(room) == 10_000
        assert pages[offset : offset + 10_000] == block(1, 10_000)
        assert set(pages[:offset] + pages[offset + 10_000 :]) <= {0xEE}

    def test_a_block_longer_than_the_room_is_passed(self, written: Device) -> None:
        with pytest.raises(BlockSizeError):
            written.read_into(bytearray(4999))
        assert place(written) == (1, 0)
        assert read_one(written) == block(1)

    @pytest.mark.parametrize("excess", [None, 1])
    def test_no_block_is_empty_or_too_long(self, drive: Device, excess: int | None) -> None:
        size = 0 if excess is None else drive.block_bytes_max + excess
        with pytest.raises(BlockSizeError):
            drive.write(bytes(size))
        assert place(drive) == (0, 0)


class TestReading:
    def test_a_filemark_reads_as_zero_and_is_passed(self, written: Device) -> None:
        assert [read_one(written) for _ in range(4)] == [block(0), block(1), block(2), None]
        assert place(written) == (4, 1)

    def test_behind_the_last_mark_is_the_end_of_data_and_stays_it(self, written: Device) -> None:
        assert read_all(written) == [None if mark == "|" else block(at) for at, mark in enumerate(LAYOUT)]
        with pytest.raises(EndOfData):
            read_one(written)
        assert place(written) == (13, 4)

    def test_there_is_nothing_to_read_just_after_a_write(self, written: Device) -> None:
        written.write(block(90))
        with pytest.raises(EndOfData):
            read_one(written)


class TestWriting:
    @pytest.mark.parametrize("at", range(len(LAYOUT) + 1))
    def test_a_write_truncates_what_follows(self, written: Device, at: int) -> None:
        written.locate(at)
        written.write(block(91))
        kept = [None if mark == "|" else block(n) for n, mark in enumerate(LAYOUT[:at])]
        assert read_all(written) == [*kept, block(91), None]

    @pytest.mark.parametrize("at", [0, 2, 4, 13])
    def test_a_filemark_truncates_what_follows(self, written: Device, at: int) -> None:
        written.locate(at)
        written.write_filemarks(2)
        kept = [None if mark == "|" else block(n) for n, mark in enumerate(LAYOUT[:at])]
        assert read_all(written) == [*kept, None, None]

    def test_no_filemarks_at_all_is_refused(self, written: Device) -> None:
        written.locate(5)
        with pytest.raises(DeviceError) as caught:
            written.write_filemarks(0)
        assert caught.value.status == Status.ERR_INVALID
        assert place(written) == (5, 1)
        assert end_of(written) == len(LAYOUT)


class TestLeavingAfterAWrite:
    """Some movements write a filemark first, some do not."""

    def after_write(self, drive: Device) -> int:
        drive.write_filemarks()
        drive.write(block(1))
        return 2

    def test_rewind_marks(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.rewind()
        assert (place(drive), end_of(drive)) == ((0, 0), end + 1)

    def test_locate_marks(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.locate(1)
        assert (place(drive), end_of(drive)) == ((1, 1), end + 1)

    def test_locate_to_the_very_place_marks(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.locate(end)
        assert (place(drive), end_of(drive)) == ((end, 1), end + 1)

    def test_spacing_filemarks_back_marks_and_does_not_count_that_mark(self, drive: Device) -> None:
        end = self.after_write(drive)
        assert drive.space_filemarks(-1) is Status.OK
        assert (place(drive), end_of(drive)) == ((0, 0), end + 1)

    def test_spacing_too_many_filemarks_back_marks_too(self, drive: Device) -> None:
        end = self.after_write(drive)
        assert drive.space_filemarks(-2) is Status.BEGIN_OF_TAPE
        assert (place(drive), end_of(drive)) == ((0, 0), end + 1)

    def test_spacing_blocks_back_does_not(self, drive: Device) -> None:
        end = self.after_write(drive)
        assert drive.space_blocks(-1) is Status.OK
        assert (place(drive), end_of(drive)) == ((end - 1, 1), end)

    def test_going_forward_does_not(self, drive: Device) -> None:
        end = self.after_write(drive)
        with pytest.raises(EndOfData):
            drive.space_filemarks(1)
        drive.rewind()
        assert end_of(drive) == end

    def test_the_end_of_data_does_not(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.to_end_of_data()
        drive.rewind()
        assert end_of(drive) == end

    def test_asking_for_the_position_changes_nothing(self, drive: Device) -> None:
        end = self.after_write(drive)
        assert place(drive) == (end, 1)
        drive.rewind()
        assert end_of(drive) == end + 1

    def test_reading_does_not(self, drive: Device) -> None:
        end = self.after_write(drive)
        with pytest.raises(EndOfData):
            read_one(drive)
        drive.rewind()
        assert end_of(drive) == end

    def test_a_filemark_is_enough(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.write_filemarks()
        drive.rewind()
        assert end_of(drive) == end + 1

    def test_unloading_marks(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.unload()
        drive.load("BLANK")
        assert (place(drive), end_of(drive)) == ((0, 0), end + 1)

    def test_unloading_after_a_filemark_does_not(self, drive: Device) -> None:
        end = self.after_write(drive)
        drive.write_filemarks()
        drive.unload()
        drive.load("BLANK")
        assert (place(drive), end_of(drive)) == ((0, 0), end + 1)


class TestPositioning:
    @pytest.mark.parametrize(
        ("start", "count", "end", "file"),
        [(0, 1, 4, 1), (0, 2, 7, 2), (0, 4, 13, 4), (5, 1, 7, 2), (3, 1, 4, 1), (4, 1, 7, 2), (12, 1, 13, 4)],
    )
    def test_space_filemarks_forward(self, written: Device, start: int, count: int, end: int, file: int) -> None:
        written.locate(start)
        assert written.space_filemarks(count) is Status.OK
        assert place(written) == (end, file)

    @pytest.mark.parametrize(
        ("start", "count", "end", "file"),
        [(13, 1, 12, 3), (13, 2, 11, 2), (13, 4, 3, 0), (5, 1, 3, 0), (4, 1, 3, 0), (7, 2, 3, 0)],
    )
    def test_space_filemarks_back(self, written: Device, start: int, count: int, end: int, file: int) -> None:
        written.locate(start)
        assert written.space_filemarks(-count) is Status.OK
        assert place(written) == (end, file)
        assert read_one(written) is None

    def test_too_many_filemarks(self, written: Device) -> None:
        with pytest.raises(EndOfData):
            written.space_filemarks(5)
        assert place(written) == (13, 4)
        assert written.space_filemarks(-5) is Status.BEGIN_OF_TAPE
        assert place(written) == (0, 0)

    @pytest.mark.parametrize(
        ("start", "count", "end", "status"),
        [
            (0, 3, 3, Status.OK),
            (0, 4, 4, Status.FILEMARK),
            (0, 99, 4, Status.FILEMARK),
            (3, 1, 4, Status.FILEMARK),
            (7, 4, 11, Status.OK),
            (3, -3, 0, Status.OK),
            (3, -4, 0, Status.BEGIN_OF_TAPE),
            (6, -2, 4, Status.OK),
            (6, -3, 3, Status.FILEMARK),
            (4, -1, 3, Status.FILEMARK),
            (13, -1, 12, Status.FILEMARK),
            (9, 0, 9, Status.OK),
        ],
    )
    def test_space_blocks(self, written: Device, start: int, count: int, end: int, status: Status) -> None:
        written.locate(start)
        assert written.space_blocks(count) is status
        assert place(written)[0] == end

    def test_space_blocks_to_the_end_of_data(self, written: Device) -> None:
        written.to_end_of_data()
        written.write(block(13))
        written.space_blocks(-1)
        with pytest.raises(EndOfData):
            written.space_blocks(2)
        assert place(written) == (14, 4)

    @pytest.mark.parametrize("at", range(len(LAYOUT)))
    def test_locate_counts_blocks_and_filemarks(self, written: Device, at: int) -> None:
        written.locate(at)
        assert place(written) == (at, LAYOUT[:at].count("|"))
        assert read_one(written) == (None if LAYOUT[at] == "|" else block(at))

    def test_locate_beyond_the_end_stands_at_the_end(self, written: Device) -> None:
        with pytest.raises(EndOfData):
            written.locate(14)
        assert place(written) == (13, 4)

    def test_to_end_of_data(self, written: Device) -> None:
        written.to_end_of_data()
        assert place(written) == (13, 4)


class TestEndOfMedium:
    """`short_drive`: the twelfth block meets early warning, there is room for 16."""

    def fill(self, drive: Device) -> int:
        """Writes to early warning; returns how many blocks are on tape."""
        for number in range(1000):
            if drive.write(block(number, BLOCK)):
                return number + 1
        raise AssertionError("no early warning")

    def on_tape(self, blocks: int) -> list[bytes | None]:
        return [block(number, BLOCK) for number in range(blocks)]

    def test_the_block_behind_the_one_that_meets_it_warns_and_is_on_tape(self, short_drive: Device) -> None:
        assert self.fill(short_drive) == 13
        assert place(short_drive) == (13, 0)
        assert read_all(short_drive) == [*self.on_tape(13), None]

    def test_then_every_write_warns_and_is_on_tape(self, short_drive: Device) -> None:
        written = self.fill(short_drive)
        for number in range(written, written + 2):
            assert short_drive.write(block(number, BLOCK)) is True
        assert read_all(short_drive) == [*self.on_tape(written + 2), None]

    def test_a_filemark_is_possible_and_the_writes_behind_it_warn_at_once(self, short_drive: Device) -> None:
        written = self.fill(short_drive)
        short_drive.write_filemarks()
        for number in (50, 51):
            assert short_drive.write(block(number, BLOCK)) is True
        assert place(short_drive) == (written + 3, 1)
        assert read_all(short_drive)[-4:] == [None, block(50, BLOCK), block(51, BLOCK), None]

    def test_at_the_physical_end_every_write_is_refused_but_no_filemark(self, short_drive: Device) -> None:
        written = self.fill(short_drive)
        while written < 16:
            assert short_drive.write(block(written, BLOCK)) is True
            written += 1
        for _ in range(3):
            with pytest.raises(EndOfMedium):
                short_drive.write(block(99, BLOCK))
        assert place(short_drive) == (16, 0)
        short_drive.write_filemarks()
        assert read_all(short_drive) == [*self.on_tape(16), None]

    def test_leaving_after_a_refused_write_marks(self, short_drive: Device) -> None:
        for number in range(self.fill(short_drive), 16):
            short_drive.write(block(number, BLOCK))
        short_drive.write_filemarks()
        with pytest.raises(EndOfMedium):
            short_drive.write(block(99, BLOCK))
        assert read_all(short_drive) == [*self.on_tape(16), None, None]

    def test_a_shorter_block_may_still_fit_where_a_long_one_does_not(self, opener: Callable[..., Device]) -> None:
        drive = opener(capacity=4 * BLOCK, early_warning=2 * BLOCK)
        for number in range(3):
            drive.write(block(number, BLOCK))
        drive.write(block(3, BLOCK // 2))
        with pytest.raises(EndOfMedium):
            drive.write(block(99, BLOCK))
        assert drive.write(block(4, BLOCK // 2)) is True
        expected = [*self.on_tape(3), block(3, BLOCK // 2), block(4, BLOCK // 2), None]
        assert read_all(drive) == expected

    def test_a_tape_positioned_back_has_room_again(self, short_drive: Device) -> None:
        self.fill(short_drive)
        short_drive.locate(1)
        assert short_drive.write(block(77, BLOCK)) is False
        assert short_drive.write(block(78, BLOCK)) is False
        assert read_all(short_drive) == [block(0, BLOCK), block(77, BLOCK), block(78, BLOCK), None]

    def test_the_second_write_appended_in_the_zone_warns(self, short_drive: Device) -> None:
        written = self.fill(short_drive)
        short_drive.unload()
        short_drive.load("BLANK")
        short_drive.to_end_of_data()
        assert [short_drive.write(block(number, 512)) for number in (1, 2)] == [False, True]
        assert place(short_drive) == (written + 3, 1)


class TestCartridges:
    def test_without_one_every_call_says_so(self, drive: Device) -> None:
        drive.unload()
        assert drive.loaded is None
        calls = [
            lambda: drive.write(b"x"),
            lambda: drive.read_into(bytearray(9)),
            lambda: drive.write_filemarks(),
            lambda: drive.rewind(),
            lambda: drive.locate(0),
            lambda: drive.to_end_of_data(),
            lambda: drive.space_filemarks(1),
            lambda: drive.space_blocks(1),
            lambda: drive.position(),
            lambda: drive.write_protected,
        ]
        for call in calls:
            with pytest.raises(NoMedium):
                call()
        drive.unload()

    def test_each_keeps_what_was_written_on_it(self, drive: Device) -> None:
        new_cartridge(drive, "OTHER")
        drive.write(b"on the first")
        drive.load("OTHER")
        drive.write(b"on the other")
        drive.load("BLANK")
        assert read_all(drive) == [b"on the first", None]
        drive.load("OTHER")
        assert read_all(drive) == [b"on the other", None]
        assert drive.cartridges() == ["BLANK", "OTHER"]

    def test_loading_what_is_loaded_rewinds(self, written: Device) -> None:
        written.locate(5)
        written.load("BLANK")
        assert place(written) == (0, 0)
        written.locate(5)
        written.load()
        assert place(written) == (0, 0)

    def test_the_next_of_the_stack_is_taken(self, drive: Device) -> None:
        new_cartridge(drive, "CC")
        new_cartridge(drive, "AA")
        drive.unload()
        drive.load()
        assert drive.loaded == "CC"
        drive.unload()
        with pytest.raises(NoMedium, match="no further cartridge"):
            drive.load()

    def test_an_unknown_one_is_refused_with_the_names_there_are(self, written: Device) -> None:
        with pytest.raises(NoMedium, match="no cartridge NONE; it has BLANK"):
            written.load("NONE")
        assert written.loaded == "BLANK"

    def test_nobody_feeds_a_drive_that_has_several(self, drive: Device) -> None:
        new_cartridge(drive, "AA")
        assert drive.cartridges() == ["AA", "BLANK"]
        assert not drive.fed_by_hand

    def test_a_name_is_taken_once(self, drive: Device) -> None:
        refused = "there is one of that name" if drive.makes_cartridges else "cannot make cartridges"
        with pytest.raises(UsageError, match=refused):
            drive.new_cartridge("BLANK")

    @pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a", "a" * 33, "ä", "a\n", "a b"])
    def test_a_name_cannot_leave_its_place(self, drive: Device, name: str) -> None:
        for call in (drive.new_cartridge, drive.load):
            with pytest.raises(UsageError, match="cannot name a cartridge"):
                call(name)


class TestClosed:
    def test_a_closed_drive_says_so_and_may_be_closed_again(self, drive: Device) -> None:
        drive.write(b"block")
        drive.close()
        drive.close()
        for call in (drive.rewind, lambda: drive.handle_address, lambda: drive.load("BLANK")):
            with pytest.raises(UsageError, match="closed"):
                call()

    def test_every_message_names_the_drive_and_the_cartridge(self, drive: Device) -> None:
        with pytest.raises(TapeloomError, match=r"^drive R1, cartridge BLANK: read: "):
            read_one(drive)
