from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kernel_world import FakeDrive

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    made = tmp_path_factory.mktemp("fake") / "fake_drive.so"
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-pthread", f"-I{CSRC}"]
    subprocess.run([*command, str(HERE / "fake_drive.c"), "-o", str(made)], check=True)
    return ctypes.CDLL(str(made))


@pytest.fixture
def fake_drive(fake_library: ctypes.CDLL) -> Iterator[Callable[..., FakeDrive]]:
    """Makes drives: `fake_drive(batch_max=4)`."""
    drives: list[FakeDrive] = []

    def make(batch_max: int = 4) -> FakeDrive:
        drives.append(FakeDrive(fake_library, batch_max))
        return drives[-1]

    yield make
    for drive in drives:
        drive.close()
