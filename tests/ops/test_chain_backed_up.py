"""Increments of real trees: the state of each time is what stood in the folder then, to the last attribute that a look
at it gives."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from random import Random

import pytest
from agent_world import snapshot
from ops_world import World

from tapeloom.catalog import Object
from tapeloom.ops.backup import open_backup
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import restore_as_asked
from tapeloom.volume.header import Level

OBJECTS = 5


def change(folder: Path, chance: Random) -> None:
    """Some of what people do to their files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    folders = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]
    for _ in range(12):
        within = chance.choice([one for one in folders if one.is_dir()])
        name = f"n{chance.randrange(1000)}"
        old = chance.choice(files) if files else folder / "none"
        what = chance.randrange(9)
        if os.path.lexists(within / name):
            continue
        if what == 0:
            (within / name).mkdir()
            folders.append(within / name)
        elif what in (1, 2):
            (within / name).write_bytes(chance.randbytes(chance.randrange(40_000)))
            files.append(within / name)
        elif what == 3:
            (within / name).symlink_to("somewhere/else")
        elif not old.exists():
            continue
        elif what == 4:
            old.write_bytes(chance.randbytes(chance.randrange(9_000)))
        elif what == 5:
            old.unlink()
        elif what == 6:
            old.rename(within / name)
        elif what == 7:
            os.link(old, within / name)
        elif within != folder:
            shutil.rmtree(within) if chance.random() < 0.5 else within.rename(folder / name)
    old = next((path for path in files if path.exists()), None)
    if old is not None:
        old.chmod(chance.choice([0o600, 0o644, 0o755]))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("indexed", [True, False])
def test_the_state_of_each_time_is_what_stood_there(world: World, seed: int, indexed: bool) -> None:
    world.chain(sources=["D1"])
    chance = Random(seed)
    folder = world.data("D1", 90_000, files=9, seed=seed)
    items: list[Object] = []
    states: list[dict[str, object]] = []
    for n in range(OBJECTS):
        change(folder, chance)
        level = None if n == 0 else chance.choice([Level.INCREMENTAL, Level.INCREMENTAL, Level.DIFFERENTIAL])
        states.append(dict(snapshot(folder)))
        with open_backup(world.config, level=level) as backup:
            assert backup.run().exit_status == 0
        items.append(world.object("D1"))
    assert [item.level is Level.FULL for item in items] == [True] + [False] * (OBJECTS - 1)
    with world.catalog() as catalog:
        for item in items if not indexed else []:
            catalog.index_path(item).unlink()
    for n, item in enumerate(items):
        result = restore_as_asked(world.config, Request("D1", at=item.as_of), world.folder / f"out{n}")
        assert (result.exit_status, result.object.id, result.report.troubles) == (0, item.id, ())
        assert snapshot(world.folder / f"out{n}") == states[n], f"version {n}"
