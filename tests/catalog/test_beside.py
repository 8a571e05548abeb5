"""What processes that came to no end left beside the catalog goes when the next one writes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from catalog_world import World

from tapeloom.catalog import JobStatus, Outcome
from tapeloom.catalog.beside import bringing, index_path, make_folder, snapshot_path
from tapeloom.ident import new_id


def put(path: Path) -> Path:
    make_folder(path)
    path.touch()
    return path


@pytest.fixture
def dead(world: World) -> World:
    """A job that was killed while it read D1; D2 is whole."""
    world.died, world.whole, world.failed = (world.add(source) for source in ("D1", "D2", "D3"))  # type: ignore[attr-defined]
    world.write((world.whole, 0, 3))  # type: ignore[attr-defined]
    world.end(world.whole, 4)  # type: ignore[attr-defined]
    world.end(world.failed, 4, Outcome.FAILED)  # type: ignore[attr-defined]
    return world


def test_what_goes_and_what_stays(dead: World) -> None:
    state, died, whole = dead.state, dead.died, dead.whole  # type: ignore[attr-defined]
    unknown = new_id()
    gone, kept = [], []
    for path_of in (index_path, snapshot_path):
        for sealed in (False, True):
            gone.append(put(path_of(state, died, sealed=sealed)))
            for id in (died, whole, unknown):
                path = path_of(state, id, sealed=sealed)
                gone += [put(path.with_name(path.name + ".part")), put(path.with_name(f".{path.name}-abc123"))]
            kept += [put(path_of(state, id, sealed=sealed)) for id in (whole, dead.failed, unknown)]  # type: ignore[attr-defined]
            kept.append(put(path_of(state, whole, sealed=sealed).with_name("somebody's notes.part")))
    dead.reopen()
    assert dead.catalog.object(died).outcome is Outcome.INTERRUPTED
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_what_is_being_brought_there_stays(dead: World) -> None:
    path = index_path(dead.state, dead.whole, sealed=False)  # type: ignore[attr-defined]
    unfinished, part = put(path.with_name(f".{path.name}-abc123")), put(path.with_name(path.name + ".part"))
    with bringing(path.parent):
        dead.reopen()
        assert (unfinished.exists(), part.exists()) == (True, False)
    dead.reopen()
    assert not unfinished.exists()


def test_what_cannot_be_removed_holds_nobody_up(dead: World) -> None:
    path = index_path(dead.state, dead.died, sealed=False)  # type: ignore[attr-defined]
    make_folder(path)
    path.mkdir()
    others = [put(path.with_name(f"{dead.whole}.parquet.part")), put(path.with_name(f"{new_id()}.parquet.part"))]  # type: ignore[attr-defined]
    dead.reopen()
    assert [each for each in others if each.exists()] == []
    assert dead.catalog.job(dead.job).status is JobStatus.INTERRUPTED
