"""What is expected of a drive with a model: its options say it once, and the file may say otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tapeloom.config import Config
from tapeloom.config.model import Drive
from tapeloom.errors import UsageError
from tapeloom.ops.mounts import timings_of
from tapeloom.timing import LTO9, Timing


def test_a_model_is_what_is_expected(loaded: Callable[[str], Config]) -> None:
    drives = loaded(
        """
        [drives]
        R1 = "vtape:t1?model=lto9&fail_write=7"
        R2 = "vtape:t2?model=lto9&scale=32&time=simulated"
        R3 = { device = "null:?model=lto9", rate = "300MB/s" }
        R4 = { device = "vtape:t4?model=lto9", locate = "60s" }
        R5 = "null:?rate=40MB"
        R6 = "vtape:t6?fail_write=7"
        """
    ).drives
    assert drives["R1"].timing == LTO9
    assert drives["R2"].timing == LTO9.scaled(32)
    assert drives["R3"].timing == LTO9.at_rate(300e6)
    assert drives["R4"].timing.seek(0, 10**12, 1) == 60.0
    assert drives["R5"].timing.rate == 40e6
    assert drives["R6"].timing == Timing.of(real=False)
    rates = [drives[f"R{number}"].stated_rate for number in range(1, 7)]
    assert rates == [400e6, 12.5e6, 300e6, 400e6, 40e6, None]


def test_a_drive_of_a_library_has_one_too(loaded: Callable[[str], Config]) -> None:
    config = loaded(
        """
        [libraries]
        L1 = "vlib:lib"
        [drives]
        R1 = "vlib:lib?model=lto9&scale=32"
        R2 = "vlib:lib?bay=1"
        """
    )
    assert config.drives["R1"].timing == LTO9.scaled(32)
    assert config.drives["R1"].stated_rate == 12.5e6
    assert (config.drives["R1"].bay, config.drives["R2"].bay) == (0, 1)
    assert timings_of(config)["L1"] == LTO9.scaled(32)


def test_a_model_that_is_none_is_named_as_the_driver_would() -> None:
    drive = Drive("R1", "vtape:t?model=lto3")
    with pytest.raises(UsageError, match="drive R1: model: 'lto3' is no model of a drive; there are lto7, lto8, lto9"):
        _ = drive.timing
    with pytest.raises(UsageError, match="drive R1: model: 'lto3'"):
        _ = drive.stated_rate
