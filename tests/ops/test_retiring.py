"""What may be retired when a synthetic full object stands for the end of a chain."""

from __future__ import annotations

import pytest
from agent_world import snapshot
from ops_world import World

from tapeloom.errors import RetentionError
from tapeloom.ops.consolidate import open_consolidation
from tapeloom.ops.mergeplan import plan_consolidation
from tapeloom.ops.retiring import open_retiring
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
def chain(world: World) -> World:
    """A full object on R1, an increment to it on R2, a full one on R3 that stands for that, and a further increment."""
    world.configure(
        TWO, drives={name: f'"vtape:tapes/{name}"' for name in ("R1", "R2", "R3")}, sources={"D1": '"data/D1"'}
    )
    data = world.data("D1", 100_000, files=5)
    assert world.backup(["first"], level=Level.FULL).exit_status == 0
    (data / "one").write_text("one")
    assert world.backup(["then"], level=Level.INCREMENTAL).exit_status == 0
    plan = plan_consolidation(world.config, "D1", "R3")
    with open_consolidation(world.config, plan) as job:
        assert job.run().exit_status == 0
    (data / "two").write_text("two")
    assert world.backup(["then"], level=Level.INCREMENTAL).exit_status == 0
    return world


def objects(world: World) -> dict[str, str]:
    """full, increment, synthetic, last -> id"""
    with world.catalog() as catalog:
        known = sorted(catalog.objects("D1"), key=lambda one: one.id)
    return dict(zip(("full", "increment", "synthetic", "last"), (str(one.id) for one in known), strict=True))


def retire(world: World, *ids: str, with_increments: bool = False) -> set[str]:
    with open_retiring(world.config, ids, with_increments=with_increments) as retiring:
        return {str(one.id) for one in retiring.run()}


def test_what_a_synthetic_full_object_stands_for_may_go(chain: World) -> None:
    known = objects(chain)
    assert retire(chain, known["full"], with_increments=True) == {known["full"], known["increment"]}
    assert snapshot(chain.restored("D1")) == snapshot(chain.folder / "data" / "D1")


def test_then_the_synthetic_one_is_what_the_chain_needs(chain: World) -> None:
    known = objects(chain)
    retire(chain, known["full"], known["increment"])
    with pytest.raises(
        RetentionError, match=f"{known['last']} of D1 is kept(.|\n)*{known['synthetic']}.*to be retired"
    ):
        retire(chain, known["synthetic"])
    assert retire(chain, known["synthetic"], with_increments=True) == {known["synthetic"], known["last"]}


def test_a_chain_that_still_has_its_own_objects_does_not_need_the_synthetic_one(chain: World) -> None:
    known = objects(chain)
    assert retire(chain, known["synthetic"]) == {known["synthetic"]}
    assert snapshot(chain.restored("D1")) == snapshot(chain.folder / "data" / "D1")
