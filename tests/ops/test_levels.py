"""Increments: what they begin from, what they hold, and what is kept beside the catalog for them."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest
from agent_world import snapshot
from ops_world import World

from tapeloom.catalog import Catalog, JobStatus, Object, VolumeState
from tapeloom.index import Index
from tapeloom.ops import lineage
from tapeloom.ops.outcome import BackupResult, kept_troubles
from tapeloom.runtime import JobObject
from tapeloom.seal import new_key_file
from tapeloom.volume.header import Content, Level

FULL, INCREMENTAL, DIFFERENTIAL = Level.FULL, Level.INCREMENTAL, Level.DIFFERENTIAL
LONG_AGO_NS = 1_600_000_000 * 10**9


class Week(World):
    """One source onto one drive, mirrored twice. Its files get their stamps long before anything reads them."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.chain(sources=["D1"])
        self.root = self.data("D1", 30_000)
        self.settle()

    def settle(self) -> None:
        """Waits until the file system's clock has left the moment of the last change: stamps of that moment are not
        trusted."""
        probe = self.folder / "probe"
        probe.touch()
        begun = probe.stat().st_mtime_ns
        while probe.stat().st_mtime_ns < begun + 50_000_000:
            os.utime(probe)

    def taken(self, level: Level) -> tuple[Object, BackupResult]:
        self.settle()
        result = self.backup(level=level)
        return self.object("D1"), result

    def names(self, name: str) -> set[str]:
        """What the archive of an object holds, folders with their closing slash."""
        with tarfile.open(fileobj=io.BytesIO(self.sequence(name))) as tar:
            return {one.name + ("/" if one.isdir() else "") for one in tar}


@pytest.fixture(autouse=True, params=[1, lineage.MOMENTS])
def moments(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of the last objects are at hand, all count."""
    monkeypatch.setattr(lineage, "MOMENTS", request.param)


@pytest.fixture
def week(tmp_path: Path) -> Week:
    return Week(tmp_path)


def test_the_first_is_full_whatever_was_asked_for(week: Week) -> None:
    one, result = week.taken(INCREMENTAL)
    assert (one.level, one.parent) == (FULL, None)
    assert (result.status, result.remarks) == (JobStatus.COMPLETE, [])


def test_an_increment_holds_what_changed_and_names_its_parent(week: Week) -> None:
    full, _ = week.taken(FULL)
    (week.root / "file-1").write_bytes(b"new")
    one, result = week.taken(INCREMENTAL)
    assert (one.level, one.parent, result.exit_status) == (INCREMENTAL, full.id, 0)
    assert week.names("D1") == {"./file-1"}
    two, _ = week.taken(INCREMENTAL)
    assert (two.parent, week.names("D1")) == (one.id, set())
    headers = [met.header for met in week.on_tape("R3", "R3-0001") if met.header and met.header.object == two.id]
    assert {(header.level, header.parent) for header in headers} == {(INCREMENTAL, one.id)}


def test_a_differential_builds_on_the_newest_full_one(week: Week) -> None:
    full, _ = week.taken(FULL)
    (week.root / "file-1").write_bytes(b"new")
    week.taken(INCREMENTAL)
    (week.root / "file-2").write_bytes(b"newer")
    one, _ = week.taken(DIFFERENTIAL)
    assert (one.level, one.parent) == (DIFFERENTIAL, full.id)
    assert week.names("D1") == {"./file-1", "./file-2"}


def test_the_groups_level_is_what_a_job_takes(week: Week) -> None:
    text = week.file.read_text().replace(
        "[backup.nightly.A]", '[backup.nightly]\nlevel = "incremental"\n[backup.nightly.A]'
    )
    week.file.write_text(text)
    week.backup()
    week.settle()
    week.backup()
    assert week.object("D1").level is INCREMENTAL
    week.backup(level=FULL)
    assert week.object("D1").level is FULL


def test_other_rules_take_a_full_one_and_say_so(week: Week) -> None:
    week.taken(FULL)
    text = week.file.read_text().replace('D1 = "data/D1"', 'D1 = { path = "data/D1", exclude = ["*.tmp"] }')
    week.file.write_text(text)
    one, result = week.taken(INCREMENTAL)
    assert (one.level, one.parent) == (FULL, None)
    (remark,) = result.remarks
    assert "D1: a full backup instead of one that is incremental" in remark
    assert result.status is JobStatus.COMPLETE


@pytest.mark.parametrize("harm", ["missing", "torn", "foreign"])
def test_without_its_snapshot_an_object_is_not_built_on(week: Week, harm: str) -> None:
    full, _ = week.taken(FULL)
    with week.catalog() as catalog:
        path = catalog.snapshot_path(full)
    match harm:
        case "missing":
            path.unlink()
        case "torn":
            path.write_bytes(path.read_bytes()[:-9])
        case "foreign":
            path.write_bytes(b"something else")
    one, result = week.taken(INCREMENTAL)
    assert one.level is FULL
    assert str(full.id) in result.remarks[0]


def test_an_object_without_a_complete_copy_is_not_built_on(week: Week) -> None:
    full, _ = week.taken(FULL)
    week.chain(
        sources=["D1"],
        R1='"vtape:tapes/R1?fail_write=10"',
        R2='"vtape:tapes/R2?fail_write=10"',
        R3='"vtape:tapes/R3?fail_write=10"',
    )
    (week.root / "file-1").write_bytes(os.urandom(200_000))
    broken, result = week.taken(INCREMENTAL)
    assert result.exit_status != 0
    week.chain(sources=["D1"])
    one, _ = week.taken(INCREMENTAL)
    assert one.parent == full.id != broken.id
    assert week.names("D1") == {"./file-1"}


def test_snapshots_that_nobody_needs_any_more_go(week: Week) -> None:
    objects = []
    for level in (FULL, INCREMENTAL, INCREMENTAL, FULL, INCREMENTAL, INCREMENTAL):
        (week.root / "file-1").write_bytes(os.urandom(100))
        objects.append(week.taken(level)[0])
    kept = {path.name for path in (week.state / "snapshots").iterdir()}
    assert kept == {f"{one.id}.snapshot" for one in (objects[3], objects[5])}
    assert {path.name for path in (week.state / "index").iterdir()} == {f"{one.id}.parquet" for one in objects}


def test_each_objects_index_is_kept_and_is_on_every_copys_tape(week: Week) -> None:
    full, _ = week.taken(FULL)
    (week.root / "file-1").unlink()
    one, _ = week.taken(INCREMENTAL)
    with week.catalog() as catalog:
        for each in (full, one):
            index = catalog.index_of(each.id)
            assert index is not None
            assert (index.content, index.parent, index.status) == (Content.INDEX, each.id, "complete")
            assert len(index.copies) == len(each.copies) == 3
            assert week.sequence(str(index.id), copy="M2") == catalog.index_path(each).read_bytes()
        assert {item.id for item in catalog.objects()} == {full.id, one.id}
        with Index.open(catalog.index_path(full)) as listed:
            assert listed.count == 4


def test_an_index_that_cannot_be_kept_is_a_trouble_and_the_object_stays_whole(week: Week) -> None:
    week.state.mkdir()
    (week.state / "index").write_text("in the way")
    one, result = week.taken(FULL)
    assert (one.status, result.exit_status) == ("complete", 1)
    assert [trouble for trouble in one.troubles if "file index cannot be kept" in trouble]
    assert week.names("D1") == {"./", "./file-0", "./file-1", "./file-2"}


def test_what_is_kept_is_for_its_owner_alone(week: Week) -> None:
    week.taken(FULL)
    for name in ("index", "snapshots"):
        folder = week.state / name
        assert folder.stat().st_mode & 0o777 == 0o700
        assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


def test_a_restored_mtime_hides_nothing(week: Week) -> None:
    week.taken(FULL)
    changed = week.root / "file-1"
    before = changed.stat()
    changed.write_bytes(bytes(before.st_size))
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    touched = week.root / "file-2"
    os.utime(touched, ns=(LONG_AGO_NS, LONG_AGO_NS))
    week.taken(INCREMENTAL)
    assert week.names("D1") == {"./file-1", "./file-2"}


def test_a_clock_that_went_back_changes_no_order(week: Week, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns
    monkeypatch.setattr("tapeloom.runtime.stream.time.time_ns", lambda: real() + 3600 * 10**9)
    first, _ = week.taken(FULL)
    monkeypatch.undo()
    (week.root / "file-1").write_bytes(b"new")
    second, _ = week.taken(INCREMENTAL)
    assert (second.parent, second.as_of) == (first.id, first.as_of + 1)
    (week.root / "file-2").write_bytes(b"newer")
    third, _ = week.taken(FULL)
    assert week.object("D1").id == third.id
    assert snapshot(week.restored("D1")) == snapshot(week.root)
    assert snapshot(week.restored(str(second.id))) != snapshot(week.root)


def test_nothing_is_built_on_a_retired_volume(week: Week) -> None:
    full, _ = week.taken(FULL)
    with Catalog.open(week.state) as catalog:
        for label in ("R1-0001", "R2-0001"):
            catalog.set_volume_state(catalog.volume(label).id, VolumeState.RETIRED)
    (week.root / "file-1").write_bytes(b"new")
    one, result = week.taken(INCREMENTAL)
    assert (one.parent, result.remarks) == (full.id, [])
    with Catalog.open(week.state) as catalog:
        catalog.set_volume_state(catalog.volume("R3-0001").id, VolumeState.RETIRED)
    two, result = week.taken(INCREMENTAL)
    assert two.level is FULL
    assert "which is retired" in result.remarks[0]


def test_the_catalog_keeps_no_names_of_a_sealed_source(week: Week) -> None:
    new_key_file(week.folder / "k.key")
    text = week.file.read_text().replace('D1 = "data/D1"', 'D1 = { path = "data/D1", encrypt = "K" }')
    week.file.write_text(text + '\n[keys]\nK = "k.key"\n')
    (week.root / ("secret" * 40 + "name")).symlink_to("x")
    os.mkfifo(week.root / "secretfifo")
    os.link(week.root / "file-1", week.root / "secretlink")
    one, result = week.taken(FULL)
    assert (one.key is not None, result.exit_status) == (True, 0)
    shown = kept_troubles(JobObject(0, one.id, "D1", 0, 0, 1, key="k", troubles=["./secretname: vanished"]))
    assert "secret" not in shown[0]
    for path in week.state.rglob("*"):
        if path.is_file():
            assert b"secretlink" not in path.read_bytes(), path
    assert snapshot(week.restored("D1")) == snapshot(week.root)
    two, _ = week.taken(INCREMENTAL)
    assert (two.parent, week.names("D1")) == (one.id, set())


def test_a_missing_key_fails_its_source_alone(week: Week) -> None:
    week.chain(sources=["D1", "D2"], given={"D1": '{ path = "data/D1", encrypt = "K" }'})
    week.data("D2", 1000)
    key = week.folder / "k.key"
    week.file.write_text(week.file.read_text() + '\n[keys]\nK = "k.key"\n')
    new_key_file(key)
    assert week.backup().exit_status == 0
    week.settle()
    assert week.backup(level=INCREMENTAL).exit_status == 0
    key.rename(week.folder / "away")
    result = week.backup(level=INCREMENTAL)
    assert result.exit_status == 1
    (failed,) = [item for item in result.objects if item.source == "D1"]
    assert "k.key" in failed.troubles[0]
    assert week.object("D2").status == "complete"
    new_key_file(key)  # another one under the same name: nothing to build on can be read
    result = week.backup(level=INCREMENTAL)
    assert (result.exit_status, week.object("D1").level) == (0, FULL)
    assert "D1: a full backup" in result.remarks[0]
