"""Many objects asked for at once, in more parts than one."""

from __future__ import annotations

import pytest
from catalog_world import World

from tapeloom.catalog import queries
from tapeloom.ident import new_id


def test_many_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "IDS_AT_ONCE", 2)
    ids = [world.add() for _ in range(5)]
    world.write((ids[1], 0, 3))
    world.end(ids[1], 4)
    found = world.catalog.these([*ids[1:], new_id()])
    assert found == {id: world.catalog.object(id) for id in ids[1:]}
    assert world.catalog.these([]) == {}
    assert world.catalog.indexes_of(ids) == {}
