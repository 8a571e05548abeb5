"""Failures on purpose: at a write, later, at a filemark, at a read; and a write that hangs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from device_facts import Kernel, block, read_all, read_one, write_layout

from tapeloom.device import Device, Status, Trouble, open_drive
from tapeloom.errors import DeviceError

Troubled = Callable[..., Device]


def failing(call: Callable[..., object], *arguments: object) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        call(*arguments)
    assert type(caught.value) is DeviceError
    assert caught.value.status == Status.ERR_IO
    assert caught.value.errno == 5
    return caught.value


def test_the_chosen_write_fails_and_its_block_is_not_on_tape(troubled: Troubled) -> None:
    drive = troubled(fail_write=3)
    write_layout(drive, "bb")
    failing(drive.write, block(2))
    drive.write(block(3))
    assert read_all(drive) == [block(0), block(1), block(3), None]


@pytest.mark.parametrize("batches", [[8], [2, 6], [1, 1, 1, 1, 4]])
def test_a_batch_stops_at_the_failing_block(troubled: Troubled, batches: list[int]) -> None:
    drive = troubled(fail_write=5)
    kernel = Kernel(drive)
    blocks = [block(number) for number in range(8)]
    on_tape = 0
    for size in batches:
        status, done = kernel.write(blocks[on_tape : on_tape + size])
        on_tape += done
    assert (status, on_tape) == (Status.ERR_IO, 4)
    assert read_all(drive) == [*blocks[:4], None]


def test_a_failure_is_told_late_and_the_block_is_missing(troubled: Troubled) -> None:
    drive = troubled(late_write=2)
    drive.write(block(0))
    drive.write(block(1))
    failing(drive.write_filemarks)
    drive.write_filemarks()
    assert read_all(drive) == [block(0), None]


@pytest.mark.parametrize(
    "call",
    [
        lambda drive: drive.write(b"x"),
        lambda drive: drive.read_into(bytearray(9)),
        lambda drive: drive.write_filemarks(),
        lambda drive: drive.rewind(),
        lambda drive: drive.locate(0),
        lambda drive: drive.to_end_of_data(),
        lambda drive: drive.space_filemarks(-1),
        lambda drive: drive.space_blocks(-1),
        lambda drive: drive.position(),
        lambda drive: drive.unload(),
        lambda drive: drive.close(),
    ],
)
def test_any_next_call_tells_a_late_failure_once(troubled: Troubled, call: Callable[[Device], object]) -> None:
    drive = troubled(late_write=1)
    drive.write(block(0))
    failing(call, drive)
    drive.close()


def test_a_cartridge_goes_out_even_if_that_fails(troubled: Troubled) -> None:
    drive = troubled(late_write=1)
    drive.write(block(0))
    failing(drive.unload)
    assert drive.loaded is None
    drive.load("BLANK")
    assert read_all(drive) == []


def test_the_chosen_filemark_fails(troubled: Troubled) -> None:
    drive = troubled(fail_filemark=2)
    write_layout(drive, "b|b")
    failing(drive.write_filemarks)
    assert drive.position().end_of_data == 3


@pytest.mark.parametrize("leave", ["rewind", "unload", "close"])
def test_the_filemark_that_leaving_writes_can_fail_too(troubled: Troubled, leave: str) -> None:
    drive = troubled(fail_filemark=1)
    drive.write(block(0))
    failing(getattr(drive, leave))


def test_the_chosen_block_cannot_be_read_but_those_around_it(troubled: Troubled) -> None:
    drive = troubled(fail_read_at=3)
    write_layout(drive, "b|bbb")
    drive.rewind()
    assert [read_one(drive) for _ in range(3)] == [block(0), None, block(2)]
    failing(read_one, drive)
    drive.locate(4)
    assert read_one(drive) == block(4)


def test_a_batch_of_reads_delivers_what_is_before_the_bad_block(troubled: Troubled) -> None:
    drive = troubled(fail_read_at=3)
    write_layout(drive, "bbbbb")
    drive.rewind()
    kernel = Kernel(drive)
    assert kernel.read(5) == (Status.ERR_IO, [block(0), block(1), block(2)])
    assert kernel.read(5) == (Status.ERR_IO, [])


def test_a_hanging_write_goes_on_when_it_is_released(troubled: Troubled) -> None:
    drive = troubled(hang_write=2)
    with ThreadPoolExecutor(1) as pool:
        drive.write(block(0))
        hanging = pool.submit(drive.write, block(1))
        assert drive.wait_hang(10)
        assert not hanging.done()
        drive.release_hang()
        assert hanging.result(10) is False
    assert not drive.wait_hang(0)
    assert read_all(drive) == [block(0), block(1), None]


def test_a_hanging_batch_has_written_what_came_before(troubled: Troubled) -> None:
    drive = troubled(hang_write=3)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(Kernel(drive).write, [block(number) for number in range(5)])
        assert drive.wait_hang(10)
        drive.release_hang()
        assert hanging.result(10) == (Status.OK, 5)


def test_closing_ends_a_hanging_write(troubled: Troubled) -> None:
    drive = troubled(hang_write=1)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(drive.write, block(0))
        assert drive.wait_hang(10)
        drive.close()
        failing(hanging.result, 10)


def test_a_drive_released_before_never_hangs(troubled: Troubled) -> None:
    drive = troubled(hang_write=1)
    drive.release_hang()
    assert drive.write(block(0)) is False


def test_a_null_drive_can_be_in_trouble_too() -> None:
    with open_drive("null:", name="N", trouble=Trouble(fail_write=1)) as drive:
        failing(drive.write, b"x")
        drive.write(b"x")


def test_an_untroubled_drive_has_nothing_to_release(drive: Device) -> None:
    drive.release_hang()
    assert not drive.wait_hang(0)
