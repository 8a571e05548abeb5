"""What of a real drive needs no drive: its node, sense data, block sizes. The rest runs in the guest (tests/guest)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom._devio import ffi, lib
from tapeloom.device import open_drive
from tapeloom.device.blocks import check_block
from tapeloom.device.nodes import drive_number, tape_node
from tapeloom.errors import BlockSizeError, DeviceError, UsageError

BYTE = st.integers(0, 255)


def decoded(sense: bytes) -> tuple[int, int, int]:
    out = [ffi.new("uint8_t *") for _ in range(3)]
    lib.tl_sense_decode(ffi.from_buffer(sense) if sense else ffi.NULL, len(sense), *out)
    return out[0][0], out[1][0], out[2][0]


class TestSense:
    @given(st.sampled_from([0x70, 0x71, 0xF0, 0xF1]), BYTE, BYTE, BYTE, st.binary(max_size=40))
    def test_fixed(self, code: int, key: int, asc: int, ascq: int, more: bytes) -> None:
        length = 6 + len(more)
        sense = bytes([code, 0, key, 0, 0, 0, 0, length, 0, 0, 0, 0, asc, ascq]) + more
        assert decoded(sense) == (key & 15, asc, ascq)

    @given(st.sampled_from([0x72, 0x73]), BYTE, BYTE, BYTE, st.binary(max_size=40))
    def test_descriptors(self, code: int, key: int, asc: int, ascq: int, more: bytes) -> None:
        assert decoded(bytes([code, key, asc, ascq, 0, 0, 0, len(more)]) + more) == (key & 15, asc, ascq)

    @pytest.mark.parametrize("length", [0, 4])
    def test_additional_sense_that_is_not_there_is_none(self, length: int) -> None:
        assert decoded(bytes([0x70, 0, 3, 0, 0, 0, 0, length, 1, 2, 3, 4, 5, 6])) == (3, 0, 0)

    @given(st.binary(max_size=64))
    def test_any_bytes_are_read_no_further_than_they_go(self, sense: bytes) -> None:
        key, asc, ascq = decoded(sense)
        assert key == 0 or key in {one & 15 for one in sense[1:3]}
        assert {asc, ascq} <= {0, *sense}

    @pytest.mark.parametrize(("status", "key", "good"), [(0, 0, 1), (2, 1, 1), (2, 3, 0), (8, 0, 0)])
    def test_a_recovered_error_is_none(self, status: int, key: int, good: int) -> None:
        assert lib.tl_sg_good(ffi.new("struct tl_sg_result *", {"scsi_status": status, "key": key})) == good


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Makes every path the node with these numbers."""

    def become(major: int, minor: int) -> None:
        found = SimpleNamespace(st_mode=stat.S_IFCHR | 0o600, st_rdev=os.makedev(major, minor))
        words = SimpleNamespace(stat=lambda path: found, major=os.major, minor=os.minor)
        monkeypatch.setattr("tapeloom.device.nodes.os", words)

    return become


class TestNodes:
    @pytest.mark.parametrize(("minor", "number"), [(0, 0), (128, 0), (159, 31), (224, 0), (384, 32), (511, 63)])
    def test_all_nodes_of_a_drive_have_its_number(self, minor: int, number: int) -> None:
        assert drive_number(minor) == number

    @pytest.mark.parametrize("minor", [0, 1, 31, 96, 256])
    def test_one_that_rewinds_is_refused_and_the_right_one_is_named(
        self, node: Callable[[int, int], None], minor: int
    ) -> None:
        node(9, minor)
        with pytest.raises(UsageError, match=rf"drive R1: /dev/x rewinds .* take /dev/nst{drive_number(minor)},"):
            open_drive("/dev/x", name="R1")

    def test_one_that_does_not_rewind_is_taken(self, node: Callable[[int, int], None]) -> None:
        node(9, 131)
        assert tape_node("/dev/x", "drive R1").number == 3

    def test_a_device_of_another_kind_is_refused(self, node: Callable[[int, int], None]) -> None:
        node(21, 128)
        with pytest.raises(UsageError, match="drive R1: /dev/x is no tape drive"):
            open_drive("/dev/x", name="R1")

    def test_what_is_no_tape_is_refused(self) -> None:
        with pytest.raises(UsageError, match="drive R1: /dev/null "):
            open_drive("/dev/null", name="R1")

    def test_what_is_not_there_may_be_switched_off(self) -> None:
        with pytest.raises(DeviceError, match="drive R1: /dev/no-such-nst cannot be looked at"):
            tape_node("/dev/no-such-nst", "drive R1")

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "nst0").touch()
        with pytest.raises(UsageError, match="is no tape drive"):
            tape_node(str(tmp_path / "nst0"), "drive R1")

    def test_without_a_word_of_the_system_the_direct_limit_is_the_documented_one(
        self, node: Callable[[int, int], None]
    ) -> None:
        node(9, 128 + 30)
        assert tape_node("/dev/x", "drive R1").direct_bytes == 254 * 4096

    @pytest.mark.parametrize("options", [{"capacity": 1}, {"early_warning": 1}])
    def test_a_real_tape_has_its_own_end(self, options: dict[str, int]) -> None:
        with pytest.raises(UsageError, match="its own end"):
            open_drive("/dev/null", name="R1", **options)  # type: ignore[arg-type]


class TestBlocks:
    def drive(self, longest: int, direct: int) -> object:
        return SimpleNamespace(name="R1", block_bytes_max=longest, block_bytes_direct_max=direct)

    def test_too_long_is_an_error(self) -> None:
        with pytest.raises(BlockSizeError, match="drive R1 takes blocks of at most 256 KiB, not of 512 KiB"):
            check_block(self.drive(262144, 262144), 524288)  # type: ignore[arg-type]

    def test_through_the_drivers_buffer_is_said(self) -> None:
        (remark,) = check_block(self.drive(8388608, 1040384), 1048576)  # type: ignore[arg-type]
        assert "blocks of 1 MiB go through the buffer" in remark
        assert "up to 1016 KiB they do not" in remark

    def test_direct_needs_no_word(self) -> None:
        assert check_block(self.drive(8388608, 1040384), 1040384) == []  # type: ignore[arg-type]


def test_a_virtual_tape_has_no_word_of_its_own() -> None:
    with open_drive("memory:", name="R1") as drive:
        control = lib.tl_control(ffi.cast("struct tl_device_ops *", drive.ops_address), ffi.NULL, 1, ffi.NULL, 0)
    assert control == lib.TL_ERR_UNSUPPORTED
