"""The drives that the conformance suite runs on. To put another one under it, add a function
to `DRIVES`. The real st driver has no such function here: it is there alone where the suite runs in a guest
(tests/guest/test_conformance.py)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from device_facts import BLOCK, new_cartridge, open_aside, open_memory, open_modelled, open_vtape

from tapeloom.device import Device, Trouble

Opener = Callable[..., Device]

collect_ignore = []


if "TAPELOOM_GUEST" in os.environ:
    from guest_drive import open_st

    DRIVES: dict[str, Opener] = {"st": open_st}
else:
    DRIVES = {"vtape": open_vtape, "memory": open_memory, "modelled": open_modelled, "aside": open_aside}
    collect_ignore += ["test_device_st_doubt.py", "test_device_st_faults.py"]


@pytest.fixture(params=DRIVES)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens a drive with a blank loaded tape, and closes it after the test, whatever state it is in."""
    with ExitStack() as stack:

        def start(**options: object) -> Device:
            drive = stack.enter_context(DRIVES[request.param](tmp_path / "R1", **options))
            new_cartridge(drive, "BLANK")
            drive.load("BLANK")
            return drive

        yield start


@pytest.fixture
def drive(opener: Opener) -> Device:
    """A drive with a blank loaded tape that the test will not fill."""
    return opener()


@pytest.fixture
def short_drive(opener: Opener) -> Device:
    """A drive with a blank loaded tape of 16 blocks of `BLOCK` bytes; the twelfth meets early warning."""
    return opener(capacity=16 * BLOCK, early_warning=5 * BLOCK - 1)


@pytest.fixture
def troubled(opener: Opener) -> Callable[..., Device]:
    def start(**trouble: int) -> Device:
        return opener(trouble=Trouble(**trouble))

    return start
