"""A real drive whose tape is not, or may not be, the one that was mounted: in the guest alone, where the target obeys a
test. What stands on the other tape must stay."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from device_facts import BLOCK, block, new_cartridge, read_all
from guest_drive import NODE, open_st
from tapeguest import Control, mt

from tapeloom.device import Device, open_drive
from tapeloom.errors import DeviceError, EndOfData, PositionLost

KEPT = [block(7, BLOCK), None, block(8, BLOCK), None]


@pytest.fixture
def control() -> Control:
    return Control.from_environment()


@pytest.fixture
def drive(tmp_path: Path, control: Control) -> object:
    """With "BLANK" in it; on "OTHER" stand `KEPT`."""
    with open_st(tmp_path) as drive:
        new_cartridge(drive, "OTHER")
        drive.load("OTHER")
        for number in (7, 8):
            drive.write(block(number, BLOCK))
            drive.write_filemarks()
        new_cartridge(drive, "BLANK")
        drive.load("BLANK")
        yield drive
        control.heal(0)


def kept(control: Control) -> bool:
    return control.layout("OTHER") == [BLOCK, None, BLOCK, None]


@pytest.mark.parametrize("end", ["close", "unload", "load"])
@pytest.mark.parametrize("before", [0, 2])
def test_a_tape_put_in_while_another_was_written_keeps_what_is_on_it(
    drive: Device, control: Control, end: str, before: int
) -> None:
    for number in range(before):
        drive.write(block(number, BLOCK))
    control.load(0, "OTHER")
    with pytest.raises(DeviceError):
        drive.write(block(9, BLOCK))
    with suppress(DeviceError):
        {"close": drive.close, "unload": drive.unload, "load": lambda: drive.load("BLANK")}[end]()
    drive.close()
    assert kept(control)


def test_a_tape_put_in_that_a_question_to_the_drive_tells_of_keeps_what_is_on_it(
    drive: Device, control: Control
) -> None:
    """A driver before 6.15 never hears of it."""
    drive.write(block(0, BLOCK))
    control.load(0, "OTHER")
    with suppress(DeviceError):
        drive.health()
    with pytest.raises(PositionLost):
        drive.write(block(1, BLOCK))
    drive.close()
    assert kept(control)


def test_a_tape_put_in_for_a_blank_one_that_was_looked_at_is_not_taken_for_blank(
    drive: Device, control: Control
) -> None:
    room = bytearray(BLOCK)
    with pytest.raises(EndOfData):
        drive.read_into(room)
    drive.rewind()
    control.load(0, "OTHER")
    with pytest.raises(DeviceError) as caught:
        drive.read_into(room)
    assert caught.type is not EndOfData
    with pytest.raises(DeviceError):
        drive.write(block(0, BLOCK))
    drive.close()
    assert kept(control)


LONG = 2 * 1024 * 1024
"""Longer than what this host adapter takes from where it lies: through the driver's buffer, errors late."""


@pytest.mark.parametrize("blocks_each", [1, 2, 3])
def test_the_tape_s_end_and_blocks_that_go_through_the_driver_s_buffer(tmp_path: Path, blocks_each: int) -> None:
    """Early warning may then be met by the filemark."""
    control = Control.from_environment()
    with open_st(tmp_path, capacity=24 * LONG, early_warning=8 * LONG + 1024) as drive:
        assert drive.block_bytes_direct_max < LONG
        new_cartridge(drive, "SHORT")
        drive.load("SHORT")
        wrote: list[bytes | None] = []
        warned = 0
        while warned < 4:
            for _ in range(blocks_each):
                warned += drive.write(block(len(wrote), LONG))
                wrote.append(block(len(wrote), LONG))
            drive.write_filemarks()
            wrote.append(None)
        assert len(wrote) - wrote.count(None) < 24
        drive.rewind()
        assert read_all(drive) == wrote
    assert control.layout("SHORT") == [None if one is None else LONG for one in wrote]


def options(more: int) -> None:
    """Of the driver: MTSETDRVBUFFER, with booleans set or cleared, for one that the administrator chose."""
    node = os.open(NODE, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mt.operate(node, mt.Op.SETDRVBUFFER, more)
    finally:
        os.close(node)


SET, CLEAR, NOWAIT, NOWAIT_EOF = 0x30000000, 0x40000000, 0x2000, 0x8000


@pytest.mark.parametrize("option", [NOWAIT, NOWAIT_EOF])
def test_a_driver_that_is_told_not_to_wait_for_filemarks_proves_nothing_by_them(
    drive: Device, control: Control, option: int
) -> None:
    drive.close()
    options(SET | option)
    control.load(0, "BLANK")
    try:
        with open_drive(NODE, name="R1", aside=False) as other, pytest.raises(DeviceError, match="does not wait") as no:
            other.load()
        subprocess.run(str(no.value).partition("make it wait: ")[2].split(), check=True)
    except BaseException:
        options(CLEAR | option)
        raise
    with open_drive(NODE, name="R1", aside=False) as other:
        other.load()
        control.commands(0)
        other.write(block(0, BLOCK))
        other.write_filemarks()
        assert [command[:12] for command in control.commands(0) if command[:2] == "10"] == ["100000000100"]


@pytest.mark.parametrize("by_host", [True, False])
@pytest.mark.parametrize("end", ["close", "unload", "load"])
def test_a_tape_that_a_reset_rewound_keeps_what_is_on_it(
    drive: Device, control: Control, end: str, by_host: bool
) -> None:
    for number in range(2):
        drive.write(block(number, BLOCK))
    drive.write_filemarks()
    drive.write(block(2, BLOCK))
    if by_host:
        subprocess.run(["sg_reset", "-d", NODE.replace("nst", "sg")], check=True, capture_output=True)
    control.reset_drive(0)
    with pytest.raises(DeviceError):
        drive.write(block(3, BLOCK))
    with suppress(DeviceError):
        {"close": drive.close, "unload": drive.unload, "load": lambda: drive.load("BLANK")}[end]()
    drive.close()
    assert control.layout("BLANK")[:4] == [BLOCK, BLOCK, None, BLOCK]


def test_one_whose_process_has_died_does_not_seem_empty_for_ever(drive: Device, control: Control) -> None:
    """Or who waits for a cartridge would wait for ever."""
    drive.close()
    other = open_drive(NODE, name="R1")
    assert other.aside is not None
    os.kill(other.aside.pid, signal.SIGKILL)
    assert other.aside.gone(10)
    for call in (other.changes, other.cartridges, other.load):
        with pytest.raises(DeviceError, match=r"the process of drive R1 \(pid \d+\) was ended by signal 9"):
            call()
    other.close()
