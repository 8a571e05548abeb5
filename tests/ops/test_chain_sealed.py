"""States of objects that are compressed and sealed: with their keys, and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from chain_world import Chains, read, week
from ops_world import World

from tapeloom.cli.main import main
from tapeloom.errors import SealError
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import open_object, plan_restore, restore, restore_as_asked
from tapeloom.runtime.coding import Coding
from tapeloom.seal import new_key_file


@pytest.fixture
def made(world: World) -> Chains:
    """Two versions, sealed with the key K1, whose file is `k1.key`."""
    key = new_key_file(world.folder / "k1.key", "K1")
    configure(world)
    made = Chains(world, coding=Coding(zstd_level=3, key=key, digest="sha256"))
    for tree in list(week())[:2]:
        made.add(tree)
    return made


def configure(world: World, keys: str = '[keys]\nK1 = "k1.key"\n') -> None:
    world.chain(sources=["D1"], given={"D1": "{ producer = true }"})
    world.file.write_text(world.file.read_text() + keys)


def test_states_and_paths_of_sealed_objects(made: Chains) -> None:
    assert all(item.key is not None and item.step is not None for item in made.items)
    folder = made.world.folder
    assert restore_as_asked(made.world.config, Request("D1"), folder / "out").exit_status == 0
    assert read(folder / "out") == dict(made.trees[1])
    first = str(made.items[0].id)
    assert restore(made.world.config, first, folder / "first").exit_status == 0
    assert read(folder / "first") == dict(made.trees[0])
    plan = plan_restore(made.world.config, Request("D1", ("b/4",)))
    assert plan.blocks <= 5
    assert restore_as_asked(made.world.config, Request("D1", ("b/4",)), folder / "one").exit_status == 0
    assert read(folder / "one") == {"b": None, "b/4": made.trees[1]["b/4"]}


def test_without_the_key_nothing_is_read(made: Chains) -> None:
    configure(made.world, "")
    for drive in ("R1", "R2", "R3"):
        (made.world.folder / "tapes" / drive).rename(made.world.folder / "tapes" / f"{drive}-away")
    item = made.items[1]
    words = f"object {item.id} of D1 is sealed with the key {item.key}, which is not here: name its file in .keys."
    with pytest.raises(SealError, match=words), open_object(made.world.config, "D1"):
        pass
    with pytest.raises(SealError, match="is sealed with the key"):
        restore_as_asked(made.world.config, Request("D1"), made.world.folder / "out")
    assert not (made.world.folder / "out").exists()


def test_a_key_given_on_the_command_line(made: Chains, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure(made.world, "")
    wrong = tmp_path / "wrong.key"
    new_key_file(wrong)
    restoring = ["-c", str(made.world.file), "restore", "D1", "--to", str(tmp_path / "out")]
    assert main([*restoring, "--key", str(wrong)]) == 3
    said = capfd.readouterr().err
    assert "which is not here" in said
    assert "--key FILE" in said
    assert main([*restoring, "--key", str(made.world.folder / "k1.key")]) == 0
    assert read(tmp_path / "out") == dict(made.trees[1])
