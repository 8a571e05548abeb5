from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom.compile import compile_job
from tapeloom.config import Config, load
from tapeloom.schedule import Schedule

GOLDEN = Path(__file__).parent.parent / "golden" / "schedules"


@pytest.fixture
def golden() -> Callable[[str], tuple[Config, Schedule]]:
    """One of the configurations whose schedules are written down, and its schedule."""

    def golden(name: str) -> tuple[Config, Schedule]:
        config = load(GOLDEN / f"{name}.toml")
        return config, compile_job(config)

    return golden


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[str], tuple[Config, Schedule]]:
    """The text of a configuration, and its schedule."""

    def compiled(text: str) -> tuple[Config, Schedule]:
        file = tmp_path / "tapeloom.toml"
        file.write_text(text, encoding="utf-8")
        config = load(file)
        return config, compile_job(config)

    return compiled
