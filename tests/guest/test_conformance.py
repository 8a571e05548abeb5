"""What every tape drive must answer, asked of the real st driver: tests/device, run in a guest."""

from __future__ import annotations

import pytest
from tapeguest import Guest, Shape

pytestmark = pytest.mark.slow

SHAPE = Shape(drives=1, tapes=0)
SUITE = (
    "tests/device/test_device_conformance.py",
    "tests/device/test_device_contract.py",
    "tests/device/test_device_st_faults.py",
    "tests/device/test_device_st_doubt.py",
)
QUICK = ("-q", "--color=no", "-p", "no:cacheprovider", "-p", "no:benchmark", "-p", "no:hypothesispytest")


def test_the_real_driver_passes_the_suite_of_all_drives(guest: Guest) -> None:
    result = guest.python("-m", "pytest", *SUITE, *QUICK, timeout=480)
    assert result.status == 0, result.output
