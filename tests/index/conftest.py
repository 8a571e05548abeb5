from __future__ import annotations

import pytest


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of a few rows, so that small trees have many."""
    monkeypatch.setattr("tapeloom.index.writer.GROUP_ROWS", 5)
