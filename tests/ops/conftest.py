from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "agent")]

from ops_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
