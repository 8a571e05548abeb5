"""Opening: versions, the lock, crashes."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from catalog_world import AGENT, AS_OF, World

from tapeloom.catalog import Catalog, CopyStatus, JobStatus, Outcome
from tapeloom.catalog.database import Database
from tapeloom.catalog.schema import MIGRATIONS
from tapeloom.errors import CatalogError, CatalogTooNew, HeldError, NotFound
from tapeloom.ident import new_id

GOLDEN = Path(__file__).parents[1] / "golden"


def test_the_state_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "deep" / "state").close()
    assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700


def test_a_lock_that_cannot_say_whose_it_is_holds_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the disk is full."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Catalog.open(tmp_path).close()
    monkeypatch.setattr(os, "pwrite", full)
    with Catalog.open(tmp_path), pytest.raises(HeldError, match="in use by another process"):
        Catalog.open(tmp_path)
    Catalog.open(tmp_path).close()


def test_a_reader_needs_a_catalog_and_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no catalog yet"):
        Catalog.open(tmp_path / "state", readonly=True)
    assert not (tmp_path / "state").exists()
    Catalog.open(tmp_path / "state").close()
    with Catalog.open(tmp_path / "state", readonly=True) as reader:
        assert reader.objects() == []
        with pytest.raises(CatalogError, match="for reading only"):
            reader.begin_job(new_id(), kind="backup", groups=[])


def test_readers_are_not_blocked_and_see_each_transaction(world: World) -> None:
    with Catalog.open(world.state, readonly=True) as reader:
        id = world.add()
        world.write((id, 0, 3))
        assert reader.object(id).copies[0].status is CopyStatus.PARTIAL
        world.end(id, 4)
        assert reader.object(id).copies[0].status is CopyStatus.COMPLETE
        with world.catalog._database.writing():
            assert len(reader.objects()) == 1


def test_a_second_writer_is_told_who_holds_the_folder(world: World) -> None:
    program = (
        f"from tapeloom.catalog import Catalog; from pathlib import Path; Catalog.open(Path({str(world.state)!r}))"
    )
    second = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"is in use by process {os.getpid()}: " in second.stderr
    with pytest.raises(HeldError):
        Catalog.open(world.state)
    world.reopen()


def test_a_forked_child_does_not_keep_the_folder(world: World) -> None:
    """A drive's process may hang in the kernel for long after its job has ended."""
    waiting, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(waiting, 1)
        os._exit(0)
    try:
        os.close(waiting)
        world.reopen()
    finally:
        os.close(go)
        os.waitpid(child, 0)


def test_several_threads_take_turns(world: World) -> None:
    ids = [world.add(f"D{n}") for n in range(4)]
    failures: list[BaseException] = []

    def work(id: Any) -> None:
        try:
            for count in range(1, 6):
                world.end(id, count)
                world.catalog.objects()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(id,)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [one.blocks for one in world.catalog.objects()] == [5] * 4


def test_what_dead_processes_left_is_closed(world: World) -> None:
    id = world.add()
    world.write((id, 0, 3))
    world.reopen()
    assert world.catalog.job(world.job).status is JobStatus.INTERRUPTED
    one = world.catalog.object(id)
    assert (one.outcome, one.status, one.copies[0].status) == (Outcome.INTERRUPTED, "interrupted", CopyStatus.PARTIAL)
    assert world.catalog.tail_of(world.volume).unfinished


# Versions


def add_colours(db: Any) -> None:
    db.execute_sql("ALTER TABLE volumes ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey'")


def columns(world: World) -> list[str]:
    with sqlite3.connect(world.catalog.path) as database:
        return [row[1] for row in database.execute("PRAGMA table_info(volumes)")]


def test_older_tables_are_migrated_and_newer_ones_refused(world: World) -> None:
    id = world.add()
    world.write((id, 0, 3))
    world.catalog.close()
    newer = (*MIGRATIONS, add_colours)
    database = Database(world.state, readonly=False, migrations=newer)
    database.close()
    assert "colour" in columns(world)
    for readonly in (False, True):
        with pytest.raises(
            CatalogTooNew, match=f"version {len(newer)} .* up to version {len(MIGRATIONS)}.*update tapeloom"
        ):
            Catalog.open(world.state, readonly=readonly)


def test_a_reader_brings_older_tables_up_to_date(world: World) -> None:
    world.catalog.close()
    database = Database(world.state, readonly=True, migrations=(*MIGRATIONS, add_colours))
    database.close()
    assert "colour" in columns(world)


def test_a_migration_that_fails_changes_nothing(world: World) -> None:
    def half(db: Any) -> None:
        add_colours(db)
        db.execute_sql("ALTER TABLE nowhere ADD COLUMN x")

    world.catalog.close()
    with pytest.raises(CatalogError, match="no such table"):
        Database(world.state, readonly=False, migrations=(*MIGRATIONS, half))
    world.catalog = Catalog.open(world.state)
    assert "colour" not in columns(world)


def test_golden_catalog_of_version_1(tmp_path: Path) -> None:
    """A catalog as version 1 wrote it, as SQL. Every later version opens it."""
    with sqlite3.connect(tmp_path / "catalog.sqlite") as old:
        old.executescript((GOLDEN / "catalog_v1.sql").read_text())
    with Catalog.open(tmp_path) as catalog:
        (one,) = catalog.objects("D1")
        assert (one.as_of, one.blocks, one.status, one.copies[0].volumes) == (AS_OF, 12, "complete", ("R1-0001",))
        assert [row[1:] for row in catalog.runs(one.copies[0].id).rows()] == [(4, 0, 10), (15, 10, 2)]
        assert catalog.volume("R1-0001").end_position == 18


@pytest.mark.parametrize("version", [None, 0, 1])
def test_other_files_are_refused(tmp_path: Path, version: int | None) -> None:
    path = tmp_path / "catalog.sqlite"
    if version is None:
        path.write_bytes(b"not a database at all" * 100)
    else:
        with sqlite3.connect(path) as other:
            other.executescript(f"CREATE TABLE x (y); PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=r"not a (catalog of tapeloom|database)"):
        Catalog.open(tmp_path)
    assert path.read_bytes() == before
    with pytest.raises(CatalogError):
        Catalog.open(tmp_path, readonly=True)


# Crashes

CHILD = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from catalog_world import World
from tapeloom.catalog import Catalog

world = World(Path(sys.argv[1]), Catalog.open(Path(sys.argv[1]))).begin()
one, two = world.add("D1"), world.add("D2")
steps = int(sys.argv[2])

def step():
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), signal.SIGKILL)

world.catalog._database._db.connection().set_progress_handler(step, 20)
for n in range(1000):
    world.write((one, n, n), (two, n, n))
    os.write(1, b"x")
"""


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_point_it_knows_exactly_the_committed_receipts(tmp_path: Path, seed: int) -> None:
    """The child is killed in the middle of a statement of some receipt; after each it says that it was given."""
    steps = random.Random(seed).randrange(50, 3000)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(steps), str(Path(__file__).parent)],
        capture_output=True,
        check=False,
    )
    assert child.returncode == -9, child.stderr
    acknowledged = len(child.stdout)
    assert acknowledged < 1000
    with Catalog.open(tmp_path) as catalog:
        counts = {}
        for one in catalog.objects():
            (copy,) = one.copies
            counts[one.source] = [receipt.filemark for receipt in catalog.receipts(copy.id)]
            given = len(counts[one.source])
            assert catalog.missing(copy.id) == []
            assert [row[2:] for row in catalog.runs(copy.id).rows()] == [(n, 1) for n in range(given)]
            assert copy.status == ("partial" if given else "missing")
        assert counts["D1"] == counts["D2"]
        assert given in (acknowledged, acknowledged + 1)
        tail = catalog.tail_of(catalog.volumes()[0].id)
        assert tail.end_position == 4 + 3 * given
        assert [(append.agent, append.checkpoints) for append in tail.appends] == [(AGENT, given)]
        assert [job.status for job in catalog.jobs()] == [JobStatus.INTERRUPTED]
