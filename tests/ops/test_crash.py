"""A backup killed with SIGKILL at chosen moments: whatever the catalog says afterwards is true, and the next backup
goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest
from agent_world import snapshot
from ops_world import World, assert_receipts_hold, listed
from power_cut import MOMENTS, dies

from tapeloom.catalog import Catalog, JobStatus, Outcome
from tapeloom.ops.verify import verify


def prepare(world: World) -> None:
    world.chain(
        settings='checkpoint = "64KiB"',
        mirror='checkpoint = "80KiB"',
        slots=24,
        R1='{ device = "vtape:tapes/R1", capacity = "420KiB" }',
        R2='{ device = "vtape:tapes/R2", capacity = "300KiB" }',
    )


def fresh_data(world: World, seed: int) -> None:
    shutil.rmtree(world.folder / "data", ignore_errors=True)
    world.data("D1", 220_000, files=5, seed=seed)
    world.data("D2", 110_000, seed=seed)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> World:
    """One whole backup, to be copied."""
    world = World(tmp_path_factory.mktemp("once"))
    prepare(world)
    fresh_data(world, 1)
    assert world.backup().exit_status == 0
    return world


def brought_over(once: World, folder: Path) -> World:
    shutil.copytree(once.folder, folder, dirs_exist_ok=True)
    return World(folder)


def check_after_death(world: World) -> None:
    """The catalog opens, as it is and for writing, and everything it says is on the tapes."""
    assert_receipts_hold(world)
    with Catalog.open(world.state) as catalog:
        assert all(job.status is not JobStatus.RUNNING for job in catalog.jobs())
        assert all(item.outcome is not Outcome.READING for item in catalog.objects())
    assert verify(world.config).exit_status == 0


def check_next_backup(world: World, seed: int) -> None:
    fresh_data(world, seed)
    result = world.backup()
    assert result.exit_status == 0, [one.why for one in result.agents]
    for source in ("D1", "D2"):
        assert snapshot(world.restored(source, copy="M1")) == snapshot(world.folder / "data" / source)
    shutil.rmtree(world.folder / "restored")
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)
    with world.catalog() as catalog:
        assert not any(catalog.tail_of(volume.id).unfinished for volume in catalog.volumes())
        known = {str(item.id) for item in catalog.objects(indexes=True)}
    tapes = [tape for drive in ("R1", "R2", "R3") for tape in world.tapes(drive)]
    assert {row[0] for row in listed(tapes)} <= known, "no block on tape is a stranger to the catalog"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_when(moment: str, after: bool, once: World, tmp_path: Path) -> None:
    world = brought_over(once, tmp_path)
    fresh_data(world, 2)
    number = Random(f"{moment} {after}").randint(1, 4)
    while number and not dies(lambda: world.backup().exit_status, moment, number, after):
        number -= 1  # it does not come so often
    assert number, "it never came"
    check_after_death(world)
    check_next_backup(world, 3)


@pytest.mark.parametrize("seed", range(4))
def test_killed_in_the_first_backup_of_all(seed: int, world: World) -> None:
    chance = Random(seed)
    prepare(world)
    fresh_data(world, 1)
    dies(lambda: world.backup().exit_status, chance.choice(list(MOMENTS)), chance.randint(1, 6), chance.random() < 0.5)
    check_after_death(world)
    check_next_backup(world, 2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again(seed: int, world: World) -> None:
    """Tails over tails: none of them is taken for another's."""
    chance = Random(f"again {seed}")
    prepare(world)
    for number in range(4):
        fresh_data(world, number)
        dies(
            lambda: world.backup().exit_status,
            chance.choice(list(MOMENTS)),
            chance.randint(1, 12),
            chance.random() < 0.5,
        )
        check_after_death(world)
    check_next_backup(world, 9)
