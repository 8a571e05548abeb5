from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tapeloom.config import Config, load
from tapeloom.errors import ConfigError, Problem


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration file and gives its path."""

    def write(text: str) -> Path:
        file = tmp_path / "tapeloom.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def loaded(write: Callable[[str], Path]) -> Callable[[str], Config]:
    return lambda text: load(write(text))


@pytest.fixture
def mistakes(write: Callable[[str], Path]) -> Callable[[str], list[Problem]]:
    """The problems that a text has; it must have some."""

    def mistakes(text: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(write(text))
        assert caught.value.exit_status == 2
        return caught.value.problems

    return mistakes
