"""Increments of a tree in which nothing has changed: they have no file index, and need none."""

from __future__ import annotations

import os

import pytest
from agent_world import snapshot
from ops_world import World

from tapeloom.catalog import Object
from tapeloom.cli.main import main
from tapeloom.ops.indexes import open_index
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import plan_restore, restore_as_asked
from tapeloom.ops.verify import verify
from tapeloom.seal import KeyRing, new_key_file
from tapeloom.volume.header import Level


@pytest.fixture(params=["in the clear", "sealed"])
def chain(world: World, request: pytest.FixtureRequest) -> tuple[World, list[Object], list[dict[str, object]]]:
    """A full object, an increment without changes, one with some, and one without changes again; and what stood there
    at each of them."""
    world.chain(sources=["D1"])
    if request.param == "sealed":
        new_key_file(world.folder / "k.key", "K")
        world.chain(sources=["D1"], given={"D1": '{ path = "data/D1", encrypt = "K" }'})
        world.file.write_text(world.file.read_text() + '\n[keys]\nK = "k.key"\n')
    folder = world.data("D1", 90_000, files=5)
    for path in [*folder.iterdir(), folder]:
        os.utime(path, ns=(1_000_000_000, 1_000_000_000))
    items, states = [], []
    for n in range(4):
        if n == 2:
            (folder / "file-1").write_bytes(b"other")
            (folder / "file-2").unlink()
        assert world.backup(level=None if n == 0 else Level.INCREMENTAL).exit_status == 0
        items.append(world.object("D1"))
        states.append(dict(snapshot(folder)))
    return world, items, states


Made = tuple[World, list[Object], list[dict[str, object]]]


def test_they_have_no_file_index_and_the_others_have(chain: Made) -> None:
    world, items, _ = chain
    keys = KeyRing.load(world.config.keys)
    assert [item.is_empty_archive for item in items] == [False, True, False, True]
    with world.catalog() as catalog:
        for item in items:
            assert catalog.index_path(item).exists() is not item.is_empty_archive
            assert (catalog.index_of(item.id) is None) is item.is_empty_archive
            index = open_index(catalog, item, keys)
            assert index is not None
            with index:
                assert (index.count == 0) is item.is_empty_archive
                assert index.object_id == item.id


def test_all_states_and_single_paths_are_restored_through_them(chain: Made) -> None:
    world, items, states = chain
    for n, item in enumerate(items):
        request = Request("D1", at=item.as_of)
        assert n == 0 or plan_restore(world.config, request).indexed
        target = world.folder / f"out{n}"
        assert restore_as_asked(world.config, request, target).exit_status == 0
        assert snapshot(target) == states[n]
    plan = plan_restore(world.config, Request("D1", ("file-1",)))
    assert plan.indexed
    assert [stage.item.id for stage in plan.stages] == [items[2].id], "nothing is read where there is nothing"
    assert restore_as_asked(world.config, Request("D1", ("file-1", "file-0")), world.folder / "some").exit_status == 0
    assert sorted(path.name for path in (world.folder / "some").iterdir()) == ["file-0", "file-1"]
    assert (world.folder / "some" / "file-1").read_bytes() == b"other"


def test_an_index_that_is_lost_is_told_apart(chain: Made) -> None:
    """That of an object with entries is not there, and nobody takes it for one without rows."""
    world, items, states = chain
    keys = KeyRing.load(world.config.keys)
    with world.catalog() as catalog:
        catalog.index_path(items[2]).unlink()
    with world.catalog() as catalog:
        assert open_index(catalog, items[2], keys) is None
    plan = plan_restore(world.config, Request("D1"))
    assert not plan.indexed
    assert any(str(items[2].id) in remark for remark in plan.remarks)
    assert restore_as_asked(world.config, Request("D1"), world.folder / "out").exit_status == 0
    assert snapshot(world.folder / "out") == states[-1]


def test_verbs_that_ask_for_files(chain: Made, capfd: pytest.CaptureFixture[str]) -> None:
    world, items, _ = chain
    command = ["-c", str(world.file)]
    assert main([*command, "files", str(items[1].id)]) == 0
    assert capfd.readouterr().out == ""
    assert main([*command, "find", "file-*"]) == 0
    said = capfd.readouterr()
    assert "without a file index" not in said.err
    assert len(said.out.splitlines()) == 4
    assert verify(world.config).exit_status == 0
