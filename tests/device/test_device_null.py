"""The null drive: counts, keeps nothing, keeps its pace."""

from __future__ import annotations

import time

import pytest

from tapeloom.device import Position, Status, open_drive
from tapeloom.device.null import Counts, NullDrive
from tapeloom.errors import EndOfData, NoMedium


def test_it_takes_everything_and_counts() -> None:
    with NullDrive(name="N") as drive:
        assert drive.loaded == "null"
        assert drive.write_protected is False
        for size in (1, 100, 10**6):
            assert drive.write(bytes(size)) is False
        drive.write_filemarks(2)
        assert drive.position() == Position(5, 2, 5)
        assert drive.statistics() == Counts(blocks=3, bytes=1_000_101, filemarks=2, calls=3)


def test_nothing_stays() -> None:
    with open_drive("null:", name="N") as drive:
        drive.write(b"x")
        with pytest.raises(EndOfData):
            drive.read_into(bytearray(9))
        drive.locate(1)
        with pytest.raises(EndOfData):
            drive.space_blocks(1)
        assert drive.space_filemarks(-1) is Status.BEGIN_OF_TAPE
        assert drive.position() == Position(0, 0, 0)
        with pytest.raises(EndOfData):
            drive.locate(1)


def test_cartridges_are_names_only() -> None:
    with open_drive("null:", name="N") as drive:
        drive.new_cartridge("A")
        drive.load("A")
        assert (drive.loaded, drive.cartridges()) == ("A", ["null", "A"])
        drive.unload()
        with pytest.raises(NoMedium):
            _ = drive.write_protected
        with pytest.raises(NoMedium):
            drive.load("B")
        drive.load()
        assert drive.loaded == "null"


def test_it_can_keep_a_pace() -> None:
    with open_drive("null:?rate=40MB&buffer=1MB&time=simulated", name="N") as drive:
        for _ in range(12):
            drive.write(bytes(500_000))
        assert drive.simulated_seconds == pytest.approx(5_000_000 / 40e6)  # all but the buffer
        drive.write_filemarks()
        assert drive.simulated_seconds == pytest.approx(6_000_000 / 40e6)


def test_the_pace_is_kept_without_spinning() -> None:
    with open_drive("null:?rate=40MB&buffer=1MB", name="N") as drive:
        data = bytes(500_000)
        began, cpu = time.monotonic(), time.thread_time()
        for _ in range(6):
            drive.write(data)
        drive.write_filemarks()
        settled = time.monotonic() - began
        spent = time.thread_time() - cpu
    assert settled >= 3_000_000 / 40e6
    assert spent < settled / 2


def test_the_buffer_takes_a_burst_at_once() -> None:
    with open_drive("null:?rate=1&buffer=1MB&time=simulated", name="N") as drive:
        drive.write(bytes(999_999))
        assert drive.simulated_seconds == 0
        drive.write_filemarks()
        assert drive.simulated_seconds == 999_999
