from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_world import Site


@pytest.fixture
def site(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Site]:
    made = Site(tmp_path, capfd)
    made.configure()
    for source in ("docs", "mail"):
        folder = tmp_path / "data" / source
        folder.mkdir(parents=True)
        (folder / "one.txt").write_text(f"one of {source}\n")
        (folder / "large.bin").write_bytes(bytes(range(256)) * 1000)
    yield made
    made.end()
