"""The pinned numbers, and the table of functions as the kernel calls it: through two addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from device_facts import BLOCK, Kernel, block, end_of

from tapeloom import errors
from tapeloom._devio import ffi, lib
from tapeloom.device import Device, Status, open_drive
from tapeloom.device.contract import failure

DEVICE_H = Path(__file__).parents[2] / "csrc" / "device.h"


def test_status_is_the_enum_of_device_h() -> None:
    in_the_header = dict(re.findall(r"^\s+TL_([A-Z_]+) = (\d+),", DEVICE_H.read_text(), re.MULTILINE))
    assert {status.name: str(status.value) for status in Status} == in_the_header
    assert ffi.typeof("enum tl_status").relements == {f"TL_{status.name}": status.value for status in Status}


def test_every_bad_outcome_has_an_exception_that_carries_it() -> None:
    good = {Status.OK, Status.FILEMARK, Status.EARLY_WARNING, Status.BEGIN_OF_TAPE}
    for status in set(Status) - good:
        error = failure(status, "drive R1: write", 5)
        assert isinstance(error, errors.DeviceError)
        assert (error.status, error.errno) == (status, 5)
        assert str(error).startswith("drive R1: write: ")


@pytest.fixture
def kernel(drive: Device) -> Kernel:
    return Kernel(drive)


def test_the_table_says_which_version_of_the_contract_it_is(kernel: Kernel) -> None:
    assert kernel.ops.abi == lib.TL_DEVICE_ABI
    assert kernel.ops.batch_max >= 1


@pytest.mark.parametrize("count", [1, 2, 31, 32, 33, 64])
def test_a_batch_is_written_and_read_as_single_blocks_are(drive: Device, kernel: Kernel, count: int) -> None:
    blocks = [block(number, 1 + number * 1021) for number in range(count)]
    assert kernel.write(blocks) == (Status.OK, count)
    assert drive.position().position == count
    drive.rewind()
    assert kernel.read(count) == (Status.OK, blocks)
    assert kernel.read(1) == (Status.FILEMARK, [])


def test_a_batch_stops_behind_a_filemark_and_at_the_end_of_data(drive: Device, kernel: Kernel) -> None:
    blocks = [block(number) for number in range(5)]
    kernel.write(blocks[:3])
    drive.write_filemarks()
    kernel.write(blocks[3:])
    drive.write_filemarks()
    drive.rewind()
    assert kernel.read(8) == (Status.FILEMARK, blocks[:3])
    assert kernel.read(8) == (Status.FILEMARK, blocks[3:])
    assert kernel.read(8) == (Status.END_OF_DATA, [])


def test_a_batch_passes_a_block_that_has_no_room(drive: Device, kernel: Kernel) -> None:
    blocks = [block(0, 100), block(1, 4097), block(2, 100)]
    kernel.write(blocks)
    drive.rewind()
    assert kernel.read(3, room=4096) == (Status.ERR_ROOM, blocks[:1])
    assert kernel.read(1, room=4096) == (Status.OK, blocks[2:])


def test_a_batch_of_which_one_block_is_too_long_is_not_begun(drive: Device, kernel: Kernel) -> None:
    vecs = kernel.vecs([100, drive.block_bytes_max + 1])
    assert lib.tl_write(kernel.ops, kernel.handle, vecs, 2, kernel.done) == Status.ERR_BLOCK_SIZE
    assert (kernel.done[0], end_of(drive)) == (0, 0)


def test_a_batch_ends_with_the_block_that_warns(short_drive: Device) -> None:
    kernel = Kernel(short_drive)
    blocks = [block(number, BLOCK) for number in range(20)]
    assert kernel.write(blocks) == (Status.EARLY_WARNING, 13)
    assert kernel.write(blocks[13:]) == (Status.EARLY_WARNING, 1)
    assert kernel.write(blocks[14:16]) == (Status.EARLY_WARNING, 1)
    assert kernel.write(blocks[15:]) == (Status.EARLY_WARNING, 1)
    assert kernel.write(blocks[16:]) == (Status.END_OF_MEDIUM, 0)
    short_drive.rewind()
    assert kernel.read(17) == (Status.FILEMARK, blocks[:16])


def test_a_batch_without_a_warning_zone_ends_at_the_physical_end(opener: Callable[..., Device]) -> None:
    kernel = Kernel(opener(capacity=4 * BLOCK, early_warning=1))
    blocks = [block(number, 3 * BLOCK // 4) for number in range(6)]
    assert kernel.write(blocks) == (Status.END_OF_MEDIUM, 5)
    assert kernel.write(blocks[5:]) == (Status.END_OF_MEDIUM, 0)


def test_the_addresses_stay_while_cartridges_change(drive: Device) -> None:
    before = drive.ops_address, drive.handle_address
    drive.unload()
    drive.load("BLANK")
    assert (drive.ops_address, drive.handle_address) == before


def test_the_null_drive_has_the_same_table() -> None:
    with open_drive("null:", name="N") as drive:
        kernel = Kernel(drive)
        assert kernel.write([b"a", b"b"]) == (Status.OK, 2)
        assert kernel.read(1) == (Status.END_OF_DATA, [])
