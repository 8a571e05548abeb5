from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ops_world import World

sys.path[:0] = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / each) for each in ("agent", "volume"))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    from ops_world import World

    return World(tmp_path)
