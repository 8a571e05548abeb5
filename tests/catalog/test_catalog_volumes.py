"""Volumes: pools, states with their reasons, what becomes of one whose cartridge is written anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from catalog_world import World

from tapeloom.catalog import Catalog, CopyStatus, VolumeState
from tapeloom.catalog.database import Database
from tapeloom.catalog.schema import MIGRATIONS
from tapeloom.errors import CatalogError
from tapeloom.ident import new_id


def test_a_catalog_of_version_5_is_brought_up_to_date(tmp_path: Path) -> None:
    Database(tmp_path, readonly=False, migrations=MIGRATIONS[:5]).close()
    volume = new_id()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as old:
        old.execute(
            "INSERT INTO volumes VALUES (?, 'R1-0001', 'R1', 'R1-0001', 'scratch', 1, NULL, 16384, 5, 4)", [str(volume)]
        )
        with pytest.raises(sqlite3.IntegrityError):
            old.execute("UPDATE volumes SET state = 'unknown'")
    with Catalog.open(tmp_path) as catalog:
        found = catalog.volume(volume)
        assert (found.pool, found.barcode, found.reason, found.state_at, found.successor) == ("default",) + (None,) * 4
        assert (found.state, found.made_at, found.end_position, found.home) == (VolumeState.SCRATCH, 5, 4, "R1")
        catalog.set_volume_state(volume, VolumeState.UNKNOWN, "nobody knows")
        assert catalog.volume(volume).reason == "nobody knows"
    with sqlite3.connect(tmp_path / "catalog.sqlite") as new:
        assert new.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        assert new.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        with pytest.raises(sqlite3.IntegrityError):
            new.execute("UPDATE volumes SET state = 'lost'")


def test_a_pools_volumes_are_its_own(world: World) -> None:
    made = {}
    for pool, label in (("daily", "D-1"), ("daily", "D-2"), ("weekly", "W-1")):
        made[label] = new_id()
        world.catalog.add_volume(made[label], label=label, drive="L1", cartridge=label, block_bytes=1, pool=pool)
    assert [one.label for one in world.catalog.appendable("L1", "daily")] == ["D-1", "D-2"]
    assert [one.label for one in world.catalog.appendable("L1", "weekly")] == ["W-1"]
    assert world.catalog.appendable("L1") == []
    for label in made:
        world.catalog.put_out_of_use(made[label], VolumeState.SCRATCH, [], reason="why")
    world.catalog.put_out_of_use(made["W-1"], VolumeState.SCRATCH, [], pool=None)
    assert [one.label for one in world.catalog.scratch("L1", "daily")] == ["D-1", "D-2", "W-1"]
    assert [one.label for one in world.catalog.scratch("L1", "monthly")] == ["W-1"]


def test_one_that_holds_something_is_gone_on_with_before_an_empty_one(world: World) -> None:
    world.write((world.add(), 0, 3))
    world.catalog.add_volume(new_id(), label="EMPTY", drive="R1", cartridge="EMPTY", block_bytes=524288)
    assert [one.label for one in world.catalog.appendable("R1")] == ["R1-0001", "EMPTY"]


def test_only_a_scratch_volume_is_written_anew_and_its_rows_stay(world: World) -> None:
    id = world.add()
    world.write((id, 0, 9))
    world.end(id, 10)
    old = world.catalog.volume(world.volume)
    again = {"label": old.label, "drive": "R1", "cartridge": old.cartridge, "block_bytes": 1, "replaces": old.id}
    with pytest.raises(CatalogError, match="is appendable and not scratch"):
        world.catalog.add_volume(new_id(), **again)
    (copy,) = world.catalog.object(id).copies
    world.catalog.put_out_of_use(old.id, VolumeState.SCRATCH, [copy.id], reason="test")
    new = new_id()
    world.catalog.add_volume(new, **again)
    assert world.catalog.volume(old.label).id == new
    history = world.catalog.volume(old.id)
    assert (history.label, history.state, history.successor) == ("R1-0001#1", VolumeState.RETIRED, new)
    assert world.catalog.object(id).copies[0].status is CopyStatus.RETIRED
    assert world.catalog.object(id).copies[0].volumes == ("R1-0001#1",)
    world.catalog.put_out_of_use(new, VolumeState.SCRATCH, [])
    world.catalog.add_volume(new_id(), **(again | {"replaces": new}))
    assert {one.label for one in world.catalog.volumes()} == {"R1-0001", "R1-0001#1", "R1-0001#2"}
    assert [one.label for one in world.catalog.volumes(current=True)] == ["R1-0001"]
