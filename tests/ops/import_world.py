"""A set of volumes with all that a catalog can have of them, and the catalog in a form in which two can be compared."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from ops_world import World
from power_cut import dies

from tapeloom.ops.consolidate import open_consolidation
from tapeloom.ops.copying import open_copying, open_missing
from tapeloom.ops.importing import Imported, ImportResult, Wanted, import_volumes
from tapeloom.ops.mergeplan import plan_consolidation
from tapeloom.volume.header import Level
from tapeloom.volume.runs import unpack

BODY = """
[backup.nightly.A]
drive = "R1"
checkpoint = "96KiB"
buffers = { B1 = "D1", B2 = "D2" }
[backup.nightly.B]
drive = "R2"
checkpoint = "128KiB"
buffers = { B1 = "D3" }
[backup.alone.E]
drive = "R2"
checkpoint = "64KiB"
buffers = { B1 = "D3" }
[mirror.1.M]
drive = "R3"
checkpoint = "80KiB"
buffers = { B1 = "A.B1", B2 = "A.B2" }
[restore.vault.V]
drive = "R1"
buffers = { B1 = "D1", B2 = "D2" }
[copy.1.C]
drive = "R4"
checkpoint = "96KiB"
buffers = { B1 = "V.B1", B2 = "V.B2" }
"""
DRIVES = {"R1": "560KiB", "R2": "2MiB", "R3": "420KiB", "R4": "520KiB", "R5": "4MiB"}
SOURCES = ("D1", "D2", "D3")

NOT_ON_TAPE = """
What does not come back as it was (csrc/FORMAT.md, "A catalog made again"):
- ids of rows, and the time at which a receipt was entered: that of the record before its filemark stands in its place;
- reports of jobs;
- of jobs that no later one tells of: the time of the end, which is that of the last record of their agents;
- a checkpoint of a job with trouble that has its filemark and no receipt, since the catalog missed it: it counts, and
  what it says stands there (test_importing_damage);
- what drives have told of their health.
"""


class ImportWorld(World):
    """Two originals (R1, R2), a mirror (R3), later copies (R4) and a consolidated object (R5)."""

    def configure_drives(self, **trouble: str) -> None:
        self.configure(
            BODY,
            drives={
                name: f'{{ device = "vtape:tapes/{name}{trouble.get(name, "")}", capacity = "{size}" }}'
                for name, size in DRIVES.items()
            },
            sources={name: f'{{ paths = ["data/{name}"], digest = "sha256" }}' for name in SOURCES},
        )

    def make(self) -> None:
        self.configure_drives()
        chance = Random(3)
        self.data("D1", 260_000, files=12)
        self.data("D2", 120_000)
        self.data("D3", 150_000)
        assert self.backup(["nightly"]).exit_status == 0
        self.change(chance)
        self.configure_drives(R3="?fail_write=12")
        assert self.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 1  # the mirror lacks blocks
        self.configure_drives()
        self.change(chance)
        # One agent alone: of others the catalog might miss a receipt that is on tape.
        assert dies(lambda: self.backup(["alone"], level=Level.FULL).exit_status, "a receipt is entered", 1, True)
        with open_missing(self.config) as missing:
            missing.run()  # of the job that broke off it cannot complete everything
        assert self.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 0
        with open_copying(self.config) as copying:
            assert copying.run().exit_status == 0
        with open_consolidation(self.config, plan_consolidation(self.config, "D1", "R5")) as job:
            assert job.run().exit_status == 0
        self.change(chance)
        assert self.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 0
        assert self.backup(["nightly"], level=Level.DIFFERENTIAL).exit_status == 0

    def change(self, chance: Random) -> None:
        for name in SOURCES:
            files = sorted((self.folder / "data" / name).iterdir())
            files[0].write_bytes(chance.randbytes(30_000))
            (self.folder / "data" / name / f"new {len(files)}").write_bytes(chance.randbytes(9_000))

    def lose_state(self) -> None:
        shutil.rmtree(self.state)

    def import_(self, *volumes: str, **more: Any) -> ImportResult:
        return import_volumes(self.config, Wanted(volumes=volumes, **{"appendable": True} | more))

    def labels(self) -> list[str]:
        return [tape.stem for drive in DRIVES for tape in self.tapes(drive)]

    def import_in_order(self, labels: list[str], **more: Any) -> list[Imported]:
        return [row for label in labels for row in self.import_(label, **more).volumes]


def canonical(state: Path) -> dict[str, Any]:
    """All that a catalog has, but for what NOT_ON_TAPE names; rows by what they are about."""
    with closing(sqlite3.connect(state / "catalog.sqlite")) as db:
        db.row_factory = sqlite3.Row

        def rows(table: str) -> list[dict[str, Any]]:
            return [dict(row) for row in db.execute(f"SELECT * FROM {table}")]

        jobs = rows("jobs")
        untold = {
            row["id"] for row in jobs if json.loads(row["report"]).get("rebuilt", {"settled": True})["settled"] is False
        }
        sources = {row["id"]: row["name"] for row in rows("sources")}
        copies = {row["id"]: (row["object"], row["agent"], row["job"]) for row in rows("copies")}
        in_order = [copies[row["id"]] for row in sorted(rows("copies"), key=lambda row: row["id"])]
        return {
            "untold": untold,
            "jobs": {row["id"]: without(row, "report") for row in jobs},
            "objects": {row["id"]: row | {"source": sources[row["source"]]} for row in rows("objects")},
            "copies": {copies[row["id"]]: without(row, "id") for row in rows("copies")},
            "order of copies": {object: [c[1:] for c in in_order if c[0] == object] for object, _, _ in in_order},
            "volumes": {row["id"]: row for row in rows("volumes")},
            "receipts": {
                (copies[row["copy"]], row["volume"], row["filemark"]): without(row, "id", "copy", "given_at")
                | {"runs": unpack(row["runs"]).tolist()}
                for row in rows("receipts")
            },
            "appends": {(row["volume"], row["job"], row["agent"]): row["checkpoints"] for row in rows("appends")},
            "damages": {
                (copies[row["copy"]], row["volume"], row["first_seq"]): (row["last_seq"], row["harm"])
                for row in rows("damages")
            },
        }


def tables(state: Path) -> set[str]:
    with closing(sqlite3.connect(state / "catalog.sqlite")) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def status_of(catalog: dict[str, Any], job: str) -> str | None:
    return catalog["jobs"][job]["status"] if job in catalog["jobs"] else None


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What is not as it was, one line each."""
    found = []
    for table, rows in before.items():
        if table == "untold":
            continue
        for key in rows.keys() | after[table].keys():
            one, other = rows.get(key), after[table].get(key)
            if table == "jobs" and key in after["untold"] and one and other:
                one, other = without(one, "ended_at"), without(other, "ended_at")
            if table == "receipts" and one is None and status_of(before, other["job"]) in ("partial", "interrupted"):
                continue
            if one != other:
                if isinstance(one, dict) and isinstance(other, dict):
                    other = {name: (one[name], value) for name, value in other.items() if one[name] != value}
                    one = "differs"
                found.append(f"{table} {key}: {one} {other}")
    return sorted(found)
