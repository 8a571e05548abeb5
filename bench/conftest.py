"""What all benchmarks share: sizes, scratch files in the page cache, the plain loops, and where figures go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from goals import GOALS
from plain import Plain
from pytest_benchmark.fixture import BenchmarkFixture
from sizes import FILES, FULL, QUICK, Sizes

from tapeloom.limits import MIB


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    return QUICK if os.environ.get("TAPELOOM_BENCH") == "quick" else FULL


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder on a disk that takes O_DIRECT: below TAPELOOM_BENCH_DIR, else below the folder for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="tapeloom-bench-", dir=os.environ.get("TAPELOOM_BENCH_DIR")))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def plain(scratch: Path) -> Plain:
    return Plain(scratch)


@pytest.fixture(scope="session")
def files(scratch: Path, sizes: Sizes) -> list[Path]:
    """Incompressible files, each alone in a folder of its own; written just now, they are in the page cache."""
    made = []
    for number in range(FILES):
        folder = scratch / f"files-{number}"
        folder.mkdir()
        made.append(folder / "data")
        with made[-1].open("wb") as file:
            for _ in range(0, sizes.file_bytes, MIB):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())
    return made


@pytest.fixture
def note(benchmark: BenchmarkFixture) -> Callable[[str, float], None]:
    """Adds one measured value to a figure of `goals.GOALS`."""
    figures: dict[str, list[float]] = {}
    benchmark.extra_info["figures"] = figures

    def add(key: str, value: float) -> None:
        assert key in GOALS
        figures.setdefault(key, []).append(value)

    return add
