"""The objects of a chain become one, without the client: what a full backup of that time would have been."""

from __future__ import annotations

import shutil

import pytest
from nasty_trees import same_tree
from ops_world import World, flip, place_in_file

from tapeloom.catalog import Outcome
from tapeloom.errors import UsageError
from tapeloom.index import Index, final_state
from tapeloom.ops.consolidate import open_consolidation
from tapeloom.ops.mergeplan import plan_consolidation
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import restore, restore_as_asked
from tapeloom.seal import new_key_file
from tapeloom.volume.header import Level

TWO = """
[backup.first.A]
drive = "R1"
buffers = { B1 = "D1" }
[backup.then.B]
drive = "R2"
buffers = { B1 = "D1" }
"""


@pytest.fixture
def week(tmp_path):
    """A full object and three increments: `make(then)` writes the increments by that group."""

    def make(then, settings="", keys=""):
        world = World(tmp_path)
        world.configure(
            TWO,
            drives={name: f'"vtape:tapes/{name}"' for name in ("R1", "R2", "R3")},
            sources={"D1": '{ paths = ["data/D1"]' + settings + " }"},
        )
        world.file.write_text(world.file.read_text() + keys)
        data = world.data("D1", 300_000, files=30)
        (data / "folder").mkdir()
        (data / "folder" / "link").hardlink_to(data / "file-3")
        assert world.backup(["first"], level=Level.FULL).exit_status == 0
        for day in range(3):
            (data / f"file-{day}").unlink()
            (data / f"file-{20 + day}").write_bytes(b"changed" * 1000)
            (data / "folder" / f"new {day}").write_bytes(b"new" * day)
            if day == 1:
                (data / "folder" / "link").rename(data / "folder" / "renamed")
            assert world.backup([then], level=Level.INCREMENTAL).exit_status == 0
        return world

    return make


def consolidate(world, to="R3"):
    plan = plan_consolidation(world.config, "D1", to)
    with open_consolidation(world.config, plan) as job:
        result = job.run()
    return plan, result


@pytest.mark.parametrize(("then", "spooled"), [("first", 3), ("then", 2)])
def test_what_a_full_backup_would_have_been(week, then, spooled):
    """Byte by byte, and so is its index; with all objects on one drive, and on two."""
    world = week(then)
    plan, result = consolidate(world)
    assert result.exit_status == 0, result
    assert sum(link.waits for link in plan.links) == spooled
    assert not list(world.config.server.spool.iterdir())
    new = world.object("D1")
    assert (new.level, new.parent, new.troubles) == (Level.FULL, None, ())
    assert world.backup(["first"], level=Level.FULL).exit_status == 0
    full = world.object("D1")
    assert world.sequence(str(new.id)) == world.sequence(str(full.id))
    assert new.files == full.files
    with (
        world.catalog() as catalog,
        Index.open(catalog.index_path(new)) as made,
        Index.open(catalog.index_path(full)) as wanted,
    ):
        assert list(final_state([made])) == list(final_state([wanted]))
        assert made.end == wanted.end


def test_restored_by_its_name(week, tmp_path):
    world = week("then")
    consolidate(world)
    new = world.object("D1")
    shutil.rmtree(world.folder / "tapes" / "R1")
    shutil.rmtree(world.folder / "tapes" / "R2")
    restore(world.config, str(new.id), tmp_path / "found")
    assert same_tree(world.folder / "data" / "D1", tmp_path / "found") == []


def test_sealed_and_compressed(week, tmp_path):
    new_key_file(tmp_path / "k1.key", "K1")
    world = week("then", keys='[keys]\nK1 = "k1.key"\n', settings=', encrypt = "K1", compress = "zstd"')
    assert consolidate(world)[1].exit_status == 0
    new = world.object("D1")
    assert new.key is not None
    assert new.codec == "zstd"
    restore(world.config, str(new.id), tmp_path / "found")
    assert same_tree(world.folder / "data" / "D1", tmp_path / "found") == []


@pytest.mark.parametrize(
    ("to", "source", "why"),
    [
        ("R1", "D1", "can only be read in drive R1, which is to be written"),
        ("R9", "D1", 'there is no drive "R9"'),
        ("R3", "D9", 'there is no source "D9"'),
    ],
)
def test_refused(week, to, source, why):
    world = week("then")
    with pytest.raises(UsageError, match=why):
        plan_consolidation(world.config, source, to)


def test_nothing_to_consolidate(week):
    world = week("then")
    consolidate(world)
    with pytest.raises(UsageError, match="is full already"):
        plan_consolidation(world.config, "D1", "R3")


def test_a_damaged_link_fails_the_object_and_nothing_else(week):
    """It is read from the one drive that has it, and no other copy can help."""
    world = week("then")
    plan = plan_consolidation(world.config, "D1", "R3")
    (run,) = world.runs(plan.links[2].item, "B")
    (tape,) = world.tapes("R2")
    flip(tape, place_in_file(tape, run.position)[0] + 900)
    with open_consolidation(world.config, plan) as job:
        result = job.run()
    assert result.exit_status != 0
    assert world.object("D1").outcome is Outcome.FAILED
    with world.catalog() as catalog:
        assert catalog.object(plan.links[2].item.id).status == "damaged"


def test_an_increment_builds_on_what_was_consolidated(week, tmp_path):
    world = week("then")
    consolidate(world)
    data = world.folder / "data" / "D1"
    (data / "file-9").unlink()
    (data / "later").write_bytes(b"later")
    assert world.backup(["then"], level=Level.INCREMENTAL).exit_status == 0
    assert world.object("D1").level is Level.INCREMENTAL
    restore_as_asked(world.config, Request("D1"), tmp_path / "found")
    assert same_tree(data, tmp_path / "found") == []
