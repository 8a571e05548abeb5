from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog_world import World

from tapeloom.catalog import Catalog


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    state = tmp_path / "state"
    made = World(state, Catalog.open(state)).begin()
    yield made
    made.catalog.close()
