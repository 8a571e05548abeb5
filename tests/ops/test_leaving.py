"""What becomes of a drive whose agent did not come back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tapeloom.device import Trouble, open_drive
from tapeloom.errors import DeviceError, HeldError
from tapeloom.ops.tapes import leave


def test_one_that_was_abandoned_is_let_go_and_can_be_had_again(tmp_path: Path) -> None:
    spec = f"vtape:{tmp_path}"
    drive = open_drive(spec, name="R1", aside=True, trouble=Trouble(hang_write=1))
    drive.new_cartridge("A")
    drive.load("A")
    aside = drive.aside
    assert aside is not None
    with ThreadPoolExecutor(1) as pool:
        write = pool.submit(drive.write, b"x")
        assert drive.wait_hang(30)
        with pytest.raises(HeldError, match=f"held by pid {aside.pid}"):
            open_drive(spec, name="R1")
        aside.abandon()
        with pytest.raises(DeviceError, match="was killed"):
            write.result(30)
    leave(drive, {"R1"})
    assert aside.gone(30)
    with open_drive(spec, name="R1") as again:
        assert again.cartridges() == ["A"]
