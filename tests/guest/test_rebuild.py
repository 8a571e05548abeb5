"""The state folder is gone, and all there is are cartridges in a library."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from scenery import Scene
from tapeguest import Guest, Shape

pytestmark = pytest.mark.slow
SHAPE = Shape(drives=2, tapes=3, changer=True, processors=2)

AGENTS = """
[backup.nightly.A]
drive = "R1"
buffers = { B1 = "D1", B2 = "D2" }
[mirror.1.M]
drive = "R2"
buffers = { B1 = "A.B1", B2 = "A.B2" }
"""
MIB = 1024 * 1024


def rows(state: Path) -> dict[str, list[Any]]:
    """All of a catalog that tapes tell, whatever numbers its rows have."""
    with closing(sqlite3.connect(f"file:{state / 'catalog.sqlite'}?mode=ro&immutable=1", uri=True)) as db:
        return {
            query: sorted(map(repr, db.execute(f"SELECT {query}")))
            for query in (
                "id, kind, groups, status, started_at FROM jobs",
                "objects.id, name, job, content, level, as_of, parent, outcome, blocks, bytes, files, digest, "
                "troubles, step FROM objects JOIN sources ON source = sources.id",
                "object, job, writer, agent, agent_group, drive, status FROM copies",
                "id, label, drive, cartridge, state, sequence, previous, block_bytes, made_at, end_position, pool, "
                "barcode FROM volumes",
                "object, agent, volume, receipts.job, filemark, first_seq, last_seq, blocks, hex(runs) "
                "FROM receipts JOIN copies ON copy = copies.id",
            )
        }


def test_the_catalog_comes_back_through_the_changer(guest: Guest) -> None:
    """An original that goes over two cartridges, its mirror on a third, an increment of both."""
    guest.control.resize("T00001L5", 3 * MIB, MIB)
    scene = Scene(
        guest,
        "rebuild",
        drives={"R1": guest.drives[0], "R2": guest.drives[1]},
        library=("R1", "R2"),
        sources={"D1": 2 * MIB, "D2": MIB},
        agents=AGENTS,
    )
    scene.run("backup")
    scene.put("D1", MIB, seed=1)
    scene.run("backup", "--level", "incremental")
    volumes = scene.json("volumes")
    assert {one["cartridge"] for one in volumes} == {"T00001L5", "T00002L5", "T00003L5"}
    state = scene.folder / "state"
    before = rows(state)
    shutil.rmtree(state)
    said = scene.json("import", "--appendable")
    assert {one["cartridge"] for one in said["volumes"]} == {"T00001L5", "T00002L5", "T00003L5"}
    assert {one["drive"] for one in said["volumes"]} == {"R1", "R2"}
    assert (said["unseen"], said["unknown"], said["remarks"], said["incomplete"]) == ([], [], [], [])
    assert rows(state) == before
    assert scene.restored("D1")
    assert scene.restored("D2", "--copy", "M")
    assert all(place.startswith("slot") for place, barcode in guest.control.places().items() if barcode)
