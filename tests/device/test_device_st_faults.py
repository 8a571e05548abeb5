"""What a real drive answers when something goes wrong under it: in the guest alone, where the target obeys a test."""

from __future__ import annotations

from pathlib import Path

import pytest
from device_facts import BLOCK, block, new_cartridge, place, read_all
from guest_drive import NODE, open_st
from tapeguest import Control
from tapeguest import control as target

from tapeloom.device import UNNAMED, Device, Status, open_drive
from tapeloom.device.st import READ_ATTRIBUTE, StDrive
from tapeloom.errors import DeviceError, NoMedium, NotReady, PositionLost, WriteProtected


@pytest.fixture
def control() -> Control:
    return Control.from_environment()


@pytest.fixture
def drive(tmp_path: Path) -> object:
    with open_st(tmp_path) as drive:
        new_cartridge(drive, "BLANK")
        drive.load("BLANK")
        yield drive
        Control.from_environment().heal(0)


@pytest.fixture
def alone(drive: Device) -> object:
    """The same drive without anybody who brings cartridges, "BLANK" in it."""
    Control.from_environment()
    drive.close()
    Control.from_environment().load(0, "BLANK")
    with open_drive(NODE, name="R1", aside=False) as other:
        yield other


def test_a_write_that_failed_ends_the_mount_until_it_is_loaded_again(drive: Device, control: Control) -> None:
    drive.write(block(0, BLOCK))
    drive.write_filemarks()
    control.fail(0, target.WRITE, key=target.MEDIUM_ERROR, asc=0x0C)
    for call in (lambda: drive.write(block(1, BLOCK)), lambda: drive.write(block(2, BLOCK)), drive.write_filemarks):
        with pytest.raises(DeviceError) as caught:
            call()
        assert caught.value.status == Status.ERR_IO
    drive.load("BLANK")
    assert read_all(drive)[:2] == [block(0, BLOCK), None]


def test_a_filemark_that_failed_says_so(drive: Device, control: Control) -> None:
    drive.write(block(0, BLOCK))
    control.fail(0, target.WRITE_FILEMARKS, key=target.MEDIUM_ERROR, asc=0x0C)
    for _ in range(2):
        with pytest.raises(DeviceError):
            drive.write_filemarks()


def test_a_read_that_failed_is_no_end_of_data(drive: Device, control: Control) -> None:
    drive.write(block(0, BLOCK))
    drive.rewind()
    control.fail(0, target.READ, key=target.MEDIUM_ERROR, asc=0x11)
    with pytest.raises(DeviceError) as caught:
        drive.read_into(bytearray(BLOCK))
    assert caught.value.status == Status.ERR_IO


def test_a_recovered_error_is_none(drive: Device, control: Control) -> None:
    control.fail(0, target.WRITE, key=1, asc=0x0C, carry_out=True)
    drive.write(block(0, BLOCK))
    drive.write_filemarks()
    assert read_all(drive) == [block(0, BLOCK), None]


def test_a_reset_is_noticed_before_anything_else_is_written(drive: Device, control: Control) -> None:
    for number in range(3):
        drive.write(block(number, BLOCK))
    drive.write_filemarks()
    control.reset_drive(0)
    with pytest.raises(DeviceError):
        drive.write(block(3, BLOCK))
    with pytest.raises(DeviceError):
        drive.write(block(3, BLOCK))
    drive.load("BLANK")
    assert read_all(drive) == [*(block(number, BLOCK) for number in range(3)), None]


def test_another_cartridge_put_in_is_not_written_to(drive: Device, control: Control) -> None:
    new_cartridge(drive, "OTHER")
    for number in range(3):
        drive.write(block(number, BLOCK))
    control.load(0, "OTHER")
    for _ in range(3):
        with pytest.raises(PositionLost):
            drive.write(block(3, BLOCK))
    assert control.layout("OTHER") == []


def test_a_protected_cartridge_cannot_be_written(drive: Device, control: Control) -> None:
    drive.unload()
    control.protect("BLANK", True)
    drive.load("BLANK")
    assert drive.write_protected is True
    for call in (lambda: drive.write(b"x"), drive.write_filemarks):
        with pytest.raises(WriteProtected):
            call()


class TestAlone:
    def test_the_barcode_in_its_memory_is_its_name(self, alone: StDrive) -> None:
        with pytest.raises(NoMedium, match="no cartridge R1-0002; it has BLANK: put R1-0002 in"):
            alone.load("R1-0002")
        alone.load("BLANK")
        assert (alone.loaded, alone.cartridges()) == ("BLANK", ["BLANK"])

    def test_without_one_it_has_no_name_until_it_is_called(self, alone: StDrive, control: Control) -> None:
        control.fail(0, READ_ATTRIBUTE, key=5, asc=0x20, times=9)
        assert alone.fed_by_hand
        assert (alone.loaded, alone.cartridges()) == (None, [UNNAMED])
        alone.load("R1-0001")
        assert alone.loaded == UNNAMED
        alone.call_it("R1-0001")
        alone.load("R1-0001")
        assert (alone.loaded, alone.cartridges()) == ("R1-0001", ["R1-0001"])
        with pytest.raises(NoMedium, match="no cartridge R1-0002; it has R1-0001: put R1-0002 in"):
            alone.load("R1-0002")
        assert place(alone) == (0, 0)

    def test_one_that_is_written_once_says_so(self, alone: StDrive, control: Control) -> None:
        alone.load()
        assert not alone.write_once
        alone.unload()
        control.worm("BLANK")
        control.load(0, "BLANK")
        alone.load()
        assert alone.write_once
        alone.write(b"x")
        alone.write_filemarks()
        alone.rewind()
        with pytest.raises(DeviceError):
            alone.write(b"y")
        control.worm("BLANK", on=False)

    def test_closing_leaves_it_in(self, alone: StDrive, control: Control) -> None:
        alone.load()
        alone.write(b"x")
        alone.close()
        assert control.places()["drive 0"] == "BLANK"
        assert control.layout("BLANK") == [1, None]

    def test_an_empty_one_says_so_and_tells_when_one_is_put_in(self, alone: StDrive, control: Control) -> None:
        control.unload(0)
        with pytest.raises(NoMedium, match="no cartridge is in it; put one in"):
            alone.load()
        before = alone.changes()
        assert alone.changes() == before
        control.load(0, "BLANK")
        assert alone.changes() != before
        alone.load()

    def test_one_that_becomes_ready_is_waited_for(self, alone: StDrive, control: Control) -> None:
        told: list[str] = []
        alone.on_waiting = told.append
        control.becoming_ready(0, 8)
        alone.load()
        assert len(told) == 1
        assert "LTO-9 cartridges may calibrate up to two hours" in told[0]

    def test_and_after_a_while_who_loads_it_is_told(self, alone: StDrive, control: Control) -> None:
        alone.patience_seconds = 0.0
        control.becoming_ready(0, 1000)
        before = alone.changes()
        with pytest.raises(NotReady, match="becoming ready"):
            alone.load()
        control.becoming_ready(0, 0)
        assert alone.changes() != before
        alone.load()


def test_one_write_for_each_block(drive: Device, control: Control) -> None:
    """Commands, that is: of system calls there is one for each."""
    drive.write(block(0, BLOCK))
    control.commands(0)
    for number in range(1, 9):
        drive.write(block(number, BLOCK))
    assert [command[:2] for command in control.commands(0)] == ["0a"] * 8
