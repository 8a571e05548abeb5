"""What was consolidated stands for the object whose state it has: in restores of any time, under further increments,
and when all that it was made of is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import force_setattr, replace
from nasty_trees import same_tree
from ops_world import World, flip, place_in_file

from tapeloom.agent.filed import WINDOW_BYTES, Filing
from tapeloom.catalog import Catalog, JobStatus, Object, Outcome
from tapeloom.errors import FormatError, HeldError, RetentionError
from tapeloom.index import Wanted
from tapeloom.ops.consolidate import Consolidated, open_consolidation
from tapeloom.ops.finding import Search
from tapeloom.ops.mergeplan import flowing, plan_consolidation
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.moving import Verb, open_moving
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import restore_as_asked
from tapeloom.ops.retiring import open_retiring
from tapeloom.ops.sealedspool import SealedFiling
from tapeloom.seal import KeyRing, new_key_file
from tapeloom.volume.header import Level
from tapeloom.volume.writer import VolumeWriter

GROUPS = """
[backup.full.F]
drive = "R4"
buffers = { B1 = "D2" }
[backup.one.A]
drive = "R1"
buffers = { B1 = "D1" }
[backup.two.B]
drive = "R2"
buffers = { B1 = "D1" }
[mirror.1.M]
drive = "R5"
buffers = { B1 = "B.B1" }
"""
DAYS = 5


class Days(World):
    """D1 and D2 are the same files: of D1 there are a full object and increments, of D2 a full one of each day."""

    def __init__(self, folder: Path, settings: str = "", more: str = ""):
        super().__init__(folder)
        self.configure(
            GROUPS,
            drives={name: f'"vtape:tapes/{name}"' for name in ("R1", "R2", "R3", "R4", "R5")},
            sources=dict.fromkeys(("D1", "D2"), f'{{ paths = ["data/D1"]{settings} }}'),
        )
        self.file.write_text(self.file.read_text() + more)
        self.root = self.data("D1", 200_000, files=20)
        self.chance = Random(7)
        self.objects: list[Object] = []
        self.fulls: list[Object] = []
        self.kept: list[Path] = []

    def day(self, group: str = "one", level: Level = Level.INCREMENTAL) -> Object:
        """Something changes, and all is backed up."""
        number = len(self.objects)
        if number:
            gone, changed = self.chance.sample(sorted(one for one in self.root.rglob("*") if one.is_file()), 2)
            gone.unlink()
            changed.write_bytes(b"on day %d " % number * 3000)
            (self.root / f"folder {number % 2}").mkdir(exist_ok=True)
            (self.root / f"folder {number % 2}" / f"new {number}").hardlink_to(changed)
        self.kept.append(shutil.copytree(self.root, self.folder / "kept" / str(number), symlinks=True))
        for of, groups, how in ((self.objects, [group], level), (self.fulls, ["full"], Level.FULL)):
            assert self.backup(groups, level=how).exit_status == 0
            of.append(self.object("D1" if of is self.objects else "D2"))
        return self.objects[-1]

    def consolidate(self, at: int | None = None, to: str = "R3") -> Object:
        plan = plan_consolidation(self.config, "D1", to, at=None if at is None else self.objects[at].as_of)
        with open_consolidation(self.config, plan) as job:
            result = job.run()
        assert result.exit_status == 0, result
        with self.catalog() as catalog:
            return catalog.object(result.objects[0].id)

    def consolidated(self) -> Object:
        with self.catalog() as catalog:
            return next(one for one in catalog.objects("D1") if one.stands_for is not None)

    def assert_restores(self, day: int, name: str = "D1") -> None:
        target = self.folder / "restored" / f"{day}-{len(self.objects)}"
        shutil.rmtree(target, ignore_errors=True)
        at = self.objects[day].as_of if name == "D1" else None
        assert restore_as_asked(self.config, Request(name, at=at), target).exit_status == 0
        assert same_files(self.kept[day], target)


def same_files(one: Path, other: Path) -> bool:
    """But for times, which a copy of the tree does not have all of."""
    found = subprocess.run(["diff", "-r", one, other], capture_output=True, text=True, check=False)
    return found.stdout + found.stderr == ""


@pytest.fixture
def days(tmp_path: Path) -> Days:
    world = Days(tmp_path)
    for day in range(DAYS):
        world.day("two" if day == 3 else "one")
    return world


@pytest.mark.parametrize("order", [(4, 2, 1, 3), (1, 2, 3, 4)])
def test_each_day_is_what_a_full_backup_of_that_day_is(days: Days, order: tuple[int, ...]) -> None:
    for day in order:
        made = days.consolidate(day)
        of = days.objects[day]
        assert (made.as_of, made.stands_for, made.parent, made.level) == (of.as_of, of.id, None, Level.FULL)
        assert days.sequence(str(made.id)) == days.sequence(str(days.fulls[day].id))
        assert days.object("D1").as_of == days.objects[-1].as_of
    for day in range(DAYS):
        days.assert_restores(day)
    (header,) = {(met.header.parent, met.header.as_of) for met in on_tape(days, made)}
    assert header == (of.id, of.as_of)


def on_tape(days: Days, item: Object) -> list:
    (label,) = item.copies[0].volumes
    return [met for met in days.on_tape(item.copies[0].drive, label) if met.header and met.header.object == item.id]


def test_increments_go_on_from_it_and_outlive_what_it_was_made_of(days: Days) -> None:
    made = days.consolidate()
    day = days.day("two")
    assert (day.level, day.parent) == (Level.INCREMENTAL, made.id)
    further = days.day("two", Level.DIFFERENTIAL)
    assert (further.level, further.parent) == (Level.DIFFERENTIAL, made.id)
    with open_retiring(days.config, [str(one.id) for one in days.objects[:DAYS]]) as retiring:
        retiring.run()
    shutil.rmtree(days.folder / "tapes" / "R1")
    for number in (DAYS - 1, DAYS, DAYS + 1):
        days.assert_restores(number)
    assert days.day("two").parent == further.id


def test_an_increment_made_before_is_restored_through_it(days: Days) -> None:
    """Also where its own chain is not whole any more, and the other way round."""
    made = days.consolidate(2)
    assert plan_consolidation(days.config, "D1", "R5").links[0].item.id == made.id
    kept = pytest.raises(RetentionError, match="is kept, and builds on what was named")
    with kept, open_retiring(days.config, [str(days.objects[0].id)]):
        pass
    first = [str(one.id) for one in days.objects[:2]]
    with open_retiring(days.config, first, with_increments=True) as retiring:
        assert {one.id for one in retiring.run()} == {one.id for one in days.objects[:3]}
    for day in (2, 3, 4):
        days.assert_restores(day)
    with pytest.raises(RetentionError), open_retiring(days.config, [str(made.id)]):
        pass


def test_without_it_what_builds_on_it_is_restored_as_before(days: Days) -> None:
    made = days.consolidate()
    day = days.day("two")
    assert day.parent == made.id
    with open_retiring(days.config, [str(made.id)]) as retiring:
        retiring.run()
    for number in range(DAYS + 1):
        days.assert_restores(number)
    assert days.day("two").parent == day.id


def test_volumes_compacted_and_migrated_afterwards(days: Days) -> None:
    days.consolidate()
    with open_retiring(days.config, [str(one.id) for one in days.objects]) as retiring:
        retiring.run()
    with days.catalog() as catalog:
        labels = [one.label for one in catalog.volumes() if one.drive in ("R1", "R2", "R5")]
        mine = [one.label for one in catalog.volumes("R3")]
    with open_moving(days.config, Verb.COMPACT, labels, "R4") as moving:
        assert moving.run().emptied == labels
    with open_moving(days.config, Verb.MIGRATE, mine, "R5") as moving:
        assert moving.run().emptied == mine
    for drive in ("R1", "R3"):
        shutil.rmtree(days.folder / "tapes" / drive)
    days.assert_restores(DAYS - 1)
    day = days.day("two")
    assert (day.level, day.parent) == (Level.INCREMENTAL, days.consolidated().id)
    days.assert_restores(DAYS)


def test_versions_are_not_told_twice(days: Days) -> None:
    def told() -> list[tuple]:
        with days.catalog() as catalog:
            search = Search(catalog, Wanted.parse(["file-*", "new *"]), KeyRing(), source="D1")
            return [(found.entry.path, found.entry.kind, found.item.as_of) for found in search.versions()]

    before = told()
    days.consolidate()
    days.consolidate(2)
    assert told() == before


@pytest.mark.skipif(shutil.which("tar") is None, reason="GNU tar is not installed")
def test_gnu_tar_takes_it_alone(days: Days, tmp_path: Path) -> None:
    made = days.consolidate()
    target = tmp_path / "by tar"
    target.mkdir()
    command = ["tar", "--extract", "--listed-incremental=/dev/null", f"--directory={target}"]
    subprocess.run(command, input=days.sequence(str(made.id)), check=True)
    assert same_tree(days.root, target) == []


def test_what_its_objects_lacked_it_lacks_too(days: Days) -> None:
    """So that `restore --delete` does not take it for all there was."""
    plan = plan_consolidation(days.config, "D1", "R3")
    with days.catalog() as catalog:
        last = catalog.object(days.objects[-1].id)
    with open_consolidation(days.config, plan) as job:
        force_setattr(plan.links[-1].stage, "item", replace(last, troubles=("b cannot be read",)))
        assert job.run().exit_status == 1
    assert days.consolidated().troubles == (f"object {last.id}, which it was made from: b cannot be read",)


def test_a_damaged_block_comes_from_another_copy(days: Days) -> None:
    """One object is on two drives; the damage is known afterwards."""
    plan = plan_consolidation(days.config, "D1", "R3")
    link = plan.links[3]
    assert not link.waits
    (drive,) = link.drives
    (run,) = days.runs(link.item, {"R2": "B", "R5": "M"}[drive])
    (tape,) = days.tapes(drive)
    flip(tape, place_in_file(tape, run.position)[0] + 900)
    with open_consolidation(days.config, plan) as job:
        assert job.run().exit_status == 0
        assert len(job.faults) == 1
    assert days.sequence(str(days.consolidated().id)) == days.sequence(str(days.fulls[-1].id))
    with days.catalog() as catalog:
        copies = catalog.object(link.item.id).copies
    assert {copy.drive: copy.status for copy in copies} == {drive: "damaged"} | {
        copy.drive: "complete" for copy in copies if copy.drive != drive
    }


def test_a_drive_that_another_one_has(days: Days) -> None:
    plan = plan_consolidation(days.config, "D1", "R3")
    taken = open_configured(days.config, "R1")
    with taken, pytest.raises(HeldError, match="R1"), open_consolidation(days.config, plan):
        pass
    with days.catalog() as catalog:
        assert not [job for job in catalog.jobs() if job.kind == "consolidate"]


def test_the_other_copy_is_taken_where_the_drive_is_to_be_written(days: Days) -> None:
    plan = plan_consolidation(days.config, "D1", "R5")
    assert plan.links[3].drives == {"R2"}
    assert "R5" not in plan.drives
    made = days.consolidate(to="R5")
    assert days.sequence(str(made.id)) == days.sequence(str(days.fulls[-1].id))


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_it_leaves_nothing(days: Days, seed: int) -> None:
    config = days.config
    plan = plan_consolidation(config, "D1", "R3")
    left = Random(seed).randrange(plan.bytes // WINDOW_BYTES + 12)
    child = os.fork()
    if child == 0:
        try:
            _die_after(left)
            with open_consolidation(config, plan) as job:
                job.run()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status) or os.WTERMSIG(status) == signal.SIGKILL
    days.assert_restores(DAYS - 1)
    assert not (config.server.spool.exists() and list(config.server.spool.iterdir()))
    day = days.day("two")
    assert day.parent in {one.id for one in days.objects[:-1]} | {_whole(days)}
    days.assert_restores(DAYS)
    with days.catalog() as catalog:
        assert all(job.status is not JobStatus.RUNNING for job in catalog.jobs())
        made = [one for one in catalog.objects("D1") if one.stands_for is not None]
        assert all(one.outcome in (Outcome.INTERRUPTED, Outcome.WHOLE) for one in made)
        for one in made:
            assert catalog.index_path(one).exists() == (one.outcome is Outcome.WHOLE)
    days.consolidate()
    days.assert_restores(DAYS)


def _whole(days: Days) -> object:
    with days.catalog() as catalog:
        return next((one.id for one in catalog.objects("D1") if one.stands_for and one.outcome is Outcome.WHOLE), None)


def _die_after(left: int) -> None:
    """After so many windows that were filed or blocks that were written, and steps that the catalog was told of."""

    def counted(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def method(self, *arguments, **more):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *arguments, **more)

        setattr(kind, name, method)

    for kind, name in (
        (Filing, "add"),
        (VolumeWriter, "wrote"),
        (Catalog, "add_object"),
        (Catalog, "receipt"),
        (Catalog, "object_ended"),
        (Catalog, "finish_job"),
        (Consolidated, "_handed_on"),
    ):
        counted(kind, name)


def test_what_is_sealed_waits_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_key_file(tmp_path / "k1.key", "K1")
    days = Days(tmp_path, settings=', encrypt = "K1"', more='[keys]\nK1 = "k1.key"\n')
    for _ in range(3):
        days.day()
    waited = []

    def archive(self: SealedFiling):
        waited.append(os.pread(self._fd, 1 << 20, 0))
        return real(self)

    real = SealedFiling.archive
    monkeypatch.setattr(SealedFiling, "archive", archive)
    made = days.consolidate()
    assert len(waited) == 2
    assert all(b"on day" not in one and b"ustar" not in one for one in waited)
    assert days.sequence(str(made.id)) == days.sequence(str(days.fulls[-1].id))


@given(st.binary(max_size=5000), st.lists(st.tuples(st.booleans(), st.integers(0, 700)), max_size=20), st.booleans())
def test_what_waits_comes_back(data: bytes, steps: list[tuple[bool, int]], sealed: bool) -> None:
    data *= 200
    fd = os.memfd_create("waiting")
    try:
        filing = SealedFiling(fd) if sealed else Filing(fd)
        for begin in range(0, len(data), WINDOW_BYTES):
            filing.add(data[begin : begin + WINDOW_BYTES])
        archive, at = filing.archive(), 0
        for skips, many in steps:
            many *= 501
            got = archive.skip(many) if skips else archive.read(many)
            assert got == (min(many, len(data) - at) if skips else data[at : at + many])
            at = min(at + many, len(data))
        assert archive.read(len(data)) == data[at:]
    finally:
        os.close(fd)


def test_what_was_changed_while_it_waited_is_not_taken() -> None:
    fd = os.memfd_create("waiting")
    try:
        filing = SealedFiling(fd)
        filing.add(b"a" * 1000)
        os.pwrite(fd, b"b", 500)
        with pytest.raises(FormatError):
            filing.archive().read(1000)
    finally:
        os.close(fd)


@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.sampled_from("ABCD"), min_size=1, max_size=3)), max_size=5))
def test_as_few_bytes_wait_as_can_be(objects: list[tuple[int, set[str]]]) -> None:
    sizes = [size for size, _ in objects]
    choices = [[frozenset(drive) for drive in sorted(drives)] for _, drives in objects]
    found = flowing(choices, sizes)
    taken = [drive for _, drives in found.values() for drive in drives]
    assert len(taken) == len(set(taken))
    assert all(choices[n][choice] == drives for n, (choice, drives) in found.items())
    assert sum(sizes[n] for n in found) == max(_ways(choices, sizes), default=0)


def _ways(choices: list[list[frozenset[str]]], sizes: list[int]) -> Iterator[int]:
    for way in product(*([None, *mine] for mine in choices)):
        drives = [drive for one in way if one is not None for drive in one]
        if len(drives) == len(set(drives)):
            yield sum(size for size, one in zip(sizes, way, strict=True) if one is not None)


WOVEN = """
[backup.nightly.A]
drive = "R1"
run_blocks = 2
buffers = { B1 = "D1", B2 = "D3" }
[backup.nightly.B]
drive = "R2"
run_blocks = 3
buffers = { B1 = "D2", B2 = "D4" }
[mirror.1.M]
drive = "R4"
run_blocks = 1
buffers = { B1 = "A.B1", B2 = "B.B1" }
"""


def test_out_of_several_volumes_that_are_woven_together(tmp_path: Path) -> None:
    world = World(tmp_path)
    small = {name: f'{{ device = "vtape:tapes/{name}", capacity = "150kB" }}' for name in ("R1", "R2", "R3", "R4")}
    names = ("D1", "D2", "D3", "D4")
    world.configure(WOVEN, drives=small, sources={name: f'"data/{name}"' for name in names})
    for name in names:
        world.data(name, 250_000, files=9)
    for day in range(4):
        for name in names:
            for number in range(3):
                (tmp_path / "data" / name / f"file-{2 * day + number}").write_bytes(bytes([day]) * 9000)
        assert world.backup(level=Level.INCREMENTAL).exit_status == 0
    with world.catalog() as catalog:
        assert len(catalog.volumes("R1")) > 3
    for name in ("D1", "D2", "D3"):
        plan = plan_consolidation(world.config, name, "R3")
        with open_consolidation(world.config, plan) as job:
            assert job.run().exit_status == 0
        assert sum(not link.waits for link in plan.links) == (1 if name == "D3" else 2)
    with world.catalog() as catalog:
        assert len(catalog.volumes("R3")) > 3
    for drive in ("R1", "R2", "R4"):
        shutil.rmtree(tmp_path / "tapes" / drive)
    for name in ("D1", "D2", "D3"):
        assert same_tree(tmp_path / "data" / name, world.restored(name)) == []


def test_a_state_in_the_middle_takes_no_snapshot_from_differentials(days: Days) -> None:
    """It has none itself, for that of its increment went long ago; the full one before it still has."""
    days.consolidate(2)
    for _ in range(2):
        day = days.day("two", Level.DIFFERENTIAL)
        assert (day.level, day.parent) == (Level.DIFFERENTIAL, days.objects[0].id)
    days.assert_restores(DAYS + 1)


def test_it_is_told_of_where_nothing_else_is_known(days: Days) -> None:
    days.consolidate()
    day = days.day("two")
    with days.catalog() as catalog:
        for one in days.objects[:DAYS]:
            catalog.index_path(one).unlink()
        search = Search(catalog, Wanted.parse(["file-*", "new *"]), KeyRing(), source="D1")
        told = list(search.versions())
        state = {os.fsencode(one.relative_to(days.root)) for one in days.root.rglob("*") if one.is_file()}
        assert {found.entry.path for found in search.newest()} == state
        gone = {found.entry.path for found in search.deleted()}
    assert {found.item.id for found in told} == {days.consolidated().id, day.id}
    assert gone == {path for path in {found.entry.path for found in told} if path not in state}
    assert len(gone) == 1
