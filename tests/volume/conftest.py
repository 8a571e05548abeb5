from __future__ import annotations

import pytest
from small_volume import SmallVolume, make_volume


@pytest.fixture(scope="session")
def volume() -> SmallVolume:
    return make_volume()
