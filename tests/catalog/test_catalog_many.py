"""Many objects asked for at once, in more parts than one."""

from __future__ import annotations

from uuid import UUID

import pytest
from catalog_world import AS_OF, World

from tapeloom.catalog import beside, queries
from tapeloom.errors import NotFound
from tapeloom.ident import new_id
from tapeloom.volume.header import Level


def test_many_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "IDS_AT_ONCE", 2)
    ids = [world.add() for _ in range(5)]
    world.write((ids[1], 0, 3))
    world.end(ids[1], 4)
    found = world.catalog.these([*ids[1:], new_id()])
    assert found == {id: world.catalog.object(id) for id in ids[1:]}
    assert world.catalog.these([]) == {}
    assert world.catalog.indexes_of(ids) == {}


def test_the_latest_moments_of_one_source(world: World) -> None:
    ids = [world.add(as_of=AS_OF + n) for n in (0, 1, 1, 2)]
    world.add("D2", as_of=AS_OF + 9)

    def latest(moments: int) -> set[UUID]:
        return {one.id for one in world.catalog.objects("D1", moments=moments)}

    assert latest(1) == {ids[3]}
    assert latest(2) == set(ids[1:])  # what has the same moment belongs together
    assert latest(4) == latest(99) == set(ids)
    with pytest.raises(NotFound):
        world.catalog.objects("D9", moments=1)


def test_how_large_the_newest_object_is(world: World) -> None:
    """Of those of a level that hold something."""
    for number, blocks in enumerate((3, 5, 0)):
        world.end(world.add(as_of=AS_OF + number), blocks)
    world.end(world.add("D2", as_of=AS_OF + 9), 7)
    assert world.catalog.newest_bytes("D1", Level.FULL) == 5000
    assert world.catalog.newest_bytes("D1", Level.INCREMENTAL) is None
    assert world.catalog.newest_bytes("D9", Level.FULL) is None


def test_snapshots_and_whose_they_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "IDS_AT_ONCE", 2)
    assert world.catalog.snapshots() == {}
    ids = {world.add(name): name for name in ("D1", "D2", "D1")}
    state = world.catalog.path.parent
    paths = {id: beside.snapshot_path(state, id, sealed=name == "D2") for id, name in ids.items()}
    for path in paths.values():
        beside.make_folder(path)
        path.touch()
    path.with_suffix(".snapshot.part").touch()
    assert world.catalog.snapshots() == paths
    assert world.catalog.sources_of([*ids, new_id()]) == ids
