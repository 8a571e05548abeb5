"""The drive of blocks that wait: what comes in comes out, places are used again, and there are never more of them."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from random import Random

import pytest

from tapeloom.device import Status, Trouble
from tapeloom.device.waiting import WaitingDrive
from tapeloom.errors import DeviceError, EndOfData, HostFull, UsageError

PAGE = 4096


def drive(folder: Path | None, places: int = 4, blocks: int = 1000, trouble: Trouble | None = None) -> WaitingDrive:
    return WaitingDrive(folder, name="W", place_bytes=2 * PAGE, places=places, blocks=blocks, trouble=trouble)


def padded(content: bytes) -> memoryview:
    """As a slot: whole pages that begin with one."""
    import mmap

    room = mmap.mmap(-1, 2 * PAGE)
    room.write(content)
    return memoryview(room)[: len(content)]


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_blocks_come_out_as_they_went_in(tmp_path: Path, where: str) -> None:
    """In the order in which their places are asked for, whoever left before; the file does not grow."""
    folder = tmp_path / "spool" if where == "disk" else None
    chance = Random(5)
    with drive(folder) as waiting:
        inside: deque[tuple[int, bytes]] = deque()
        buffer = padded(bytes(2 * PAGE))
        most = 0
        for position in range(300):
            if len(inside) == 4 or (inside and chance.random() < 0.4):
                chance.shuffle(inside)
                at, content = inside.popleft()
                waiting.locate(at)
                assert bytes(buffer[: waiting.read_into(buffer)]) == content
                waiting.forget(at, 1)
            content = chance.randbytes(PAGE * chance.randint(1, 2))
            waiting.write(padded(content))
            inside.append((position, content))
            most = max(most, len(inside))
        assert waiting.most == most == 4
        assert waiting.position().end_of_data == 300
        assert waiting.bytes == 8 * PAGE
    if folder is not None:
        assert list(folder.iterdir()) == []


def test_no_more_than_there_are_places() -> None:
    with drive(None, places=2) as waiting:
        for _ in range(2):
            waiting.write(padded(bytes(PAGE)))
        with pytest.raises(HostFull):
            waiting.write(padded(bytes(PAGE)))
        waiting.forget(0, 1)
        waiting.forget(0, 1)  # once is enough
        waiting.write(padded(bytes(PAGE)))
        with pytest.raises(HostFull):
            waiting.write(padded(bytes(PAGE)))


def test_what_is_not_there() -> None:
    with drive(None) as waiting:
        buffer = padded(bytes(2 * PAGE))
        with pytest.raises(EndOfData):
            waiting.read_into(buffer)
        waiting.write(padded(bytes(PAGE)))
        with pytest.raises(EndOfData):
            waiting.locate(2)
        waiting.forget(0, 1)
        waiting.rewind()
        with pytest.raises(DeviceError) as caught:
            waiting.read_into(buffer)
        assert caught.value.status == Status.ERR_INVALID


def test_a_file_that_fails(tmp_path: Path) -> None:
    with drive(tmp_path, trouble=Trouble(fail_write=2)) as waiting:
        waiting.write(padded(bytes(PAGE)))
        with pytest.raises(DeviceError):
            waiting.write(padded(bytes(PAGE)))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="spool folder"):
        drive(tmp_path / "file")


def test_no_memory() -> None:
    with pytest.raises(UsageError, match="has not the memory for a spool"):
        drive(None, places=2**30)


def test_no_room(tmp_path: Path) -> None:
    have = os.statvfs(tmp_path)
    with pytest.raises(UsageError, match="has no room for"):
        drive(tmp_path, places=2 * have.f_blocks * have.f_frsize // (2 * PAGE))
    assert list(tmp_path.iterdir()) == []
