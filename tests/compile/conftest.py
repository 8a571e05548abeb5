from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom.config import Config, load

SHORT = """
[server]
block = "512KiB"
memory = "64MiB"
[drives]
R1 = "null:"
R2 = "null:"
R3 = "null:"
R4 = "null:"
[sources]
D1 = "data/D1"
D2 = "data/D2"
P1 = { producer = true }
P2 = { producer = true }
"""
"""Drives and sources for the tests' own groups; its last line is the 14th of a file."""


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Config]:
    """Loads a file that begins with `SHORT` and goes on with a text."""

    def config(text: str) -> Config:
        file = tmp_path / "tapeloom.toml"
        file.write_text(SHORT + text, encoding="utf-8")
        return load(file)

    return config
