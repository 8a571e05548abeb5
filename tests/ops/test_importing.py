"""The state folder is gone: the catalog is made again from the volumes, and is what it was."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from import_world import DRIVES, ImportWorld, canonical, differences, tables
from ops_world import flip, place_in_file

from tapeloom.catalog import VolumeState
from tapeloom.ops.mounts import open_configured
from tapeloom.volume.header import Header, Kind, Level


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ImportWorld:
    world = ImportWorld(tmp_path_factory.mktemp("made"))
    world.make()
    return world


@pytest.fixture
def world(made: ImportWorld, tmp_path: Path) -> ImportWorld:
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    return ImportWorld(tmp_path)


def test_the_set_is_what_it_is_called(world: ImportWorld) -> None:
    assert len(world.labels()) >= 10
    with world.catalog() as catalog:
        assert {len(copy.volumes) for item in catalog.objects() for copy in item.copies} >= {1, 2}
        assert {job.status.value for job in catalog.jobs()} >= {"complete", "partial", "interrupted"}
        assert {job.kind for job in catalog.jobs()} >= {"backup", "copy", "consolidate"}


def test_all_of_a_catalog_is_compared(world: ImportWorld) -> None:
    """But for what NOT_ON_TAPE says: names of sources are compared with their objects, and health is on no tape."""
    assert tables(world.state) - canonical(world.state).keys() == {"sources", "drive_health", "volume_health"}


def test_all_at_once(world: ImportWorld) -> None:
    before = canonical(world.state)
    world.lose_state()
    result = world.import_()
    assert {row.way for row in result.volumes} == {"tables"}
    after = canonical(world.state)
    assert differences(before, after) == []
    assert after["untold"] == {max(before["jobs"])}, "only of the last one no later one tells the end"


@pytest.mark.parametrize("scan", [False, True])
def test_a_clock_that_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scan: bool) -> None:
    """What was written last counts, whatever time it was then."""
    world, day, now = ImportWorld(tmp_path), 86_400 * 10**9, time.time_ns
    world.configure_drives()
    world.data("D3", 150_000)
    for back in range(3):
        monkeypatch.setattr(time, "time_ns", lambda back=back: now() - back * day)
        assert world.backup(["alone"]).exit_status == 0
    before = canonical(world.state)
    world.lose_state()
    world.import_(scan=scan)
    after = canonical(world.state)
    last = min(before["jobs"])
    assert after["untold"] == {last}
    told = [id for id, row in before["objects"].items() if row["job"] != last]
    assert [after["objects"][id] for id in told] == [before["objects"][id] for id in told]
    assert {id: row for id, row in after["jobs"].items() if id != last} == {
        id: row for id, row in before["jobs"].items() if id != last
    }


@pytest.mark.parametrize("seed", range(2))
def test_in_any_order_and_twice(world: ImportWorld, seed: int) -> None:
    before = canonical(world.state)
    world.lose_state()
    labels = world.labels()
    Random(seed).shuffle(labels)
    world.import_in_order(labels)
    after = canonical(world.state)
    assert differences(before, after) == []
    again = world.import_()
    assert {(row.objects, row.receipts, row.conflicts) for row in again.volumes} == {(0, 0, ())}
    assert canonical(world.state) == after


def test_restores_and_the_next_backup(world: ImportWorld) -> None:
    """Every object gives the bytes that it gave, file indexes come back, and increments and appends go on."""
    with world.catalog() as catalog:
        kept = {str(one.id): one.outcome for one in catalog.objects() if one.status == "complete"}
    bytes_before = {id: world.sequence(id) for id in kept}
    newest = world.object("D1")
    world.lose_state()
    world.import_(indexes=True)
    assert {id: world.sequence(id) for id in kept} == bytes_before
    assert same_files(world.restored("D1"), world.folder / "data" / "D1")
    with world.catalog() as catalog:
        indexed = [(one, index) for one in catalog.objects() if (index := catalog.index_of(one.id)) is not None]
        assert {catalog.index_path(one).exists() for one, index in indexed if index.status == "complete"} == {True}
        ends = {one.id: one.end_position for one in catalog.volumes()}
    data = world.folder / "data" / "D1" / "file-1"
    data.write_bytes(b"changed since")
    (world.folder / "data" / "D1" / "file-2").unlink()
    result = world.backup(["nightly"], level=Level.INCREMENTAL)
    assert result.exit_status == 0, result
    with world.catalog() as catalog:
        made = catalog.newest("D1")
        assert made.parent == newest.id or made.level is Level.FULL  # without a snapshot it is a full one
        assert any(one.end_position > ends.get(one.id, one.end_position) for one in catalog.volumes()), "appended to"
    shutil.rmtree(world.folder / "restored")
    assert same_files(world.restored("D1"), world.folder / "data" / "D1")


def test_unknown_is_not_appended_to(world: ImportWorld) -> None:
    world.lose_state()
    result = world.import_(appendable=False)
    with world.catalog() as catalog:
        states = {one.label: one.state for one in catalog.volumes()}
    assert set(states.values()) == {VolumeState.FULL, VolumeState.UNKNOWN}
    assert result.unknown == [label for label, state in states.items() if state is VolumeState.UNKNOWN]
    tapes = {label: tape for drive in DRIVES for tape in world.tapes(drive) if states[label := tape.stem] != "full"}
    before = {label: tape.stat().st_size for label, tape in tapes.items()}
    assert world.backup(["nightly"]).exit_status == 0
    assert {label: tape.stat().st_size for label, tape in tapes.items()} == before


def test_a_volume_that_is_ahead_of_the_catalog(world: ImportWorld) -> None:
    """What CatalogOlderThanTape asks for: after the import appending works again."""
    old = world.folder / "old"
    shutil.copytree(world.state, old)
    assert world.backup(["nightly"]).exit_status == 0
    now = canonical(world.state)
    world.lose_state()
    shutil.copytree(old, world.state)
    assert any("older than the tape" in (one.why or "") for one in world.backup(["nightly"]).agents)
    world.import_()
    after = canonical(world.state)
    failed = {key for key in after["jobs"] if key not in now["jobs"]}
    assert len(failed) == 1  # the one that was refused
    assert [one for one in differences(now, after) if not any(job in one for job in failed)] == []
    assert world.backup(["nightly"]).exit_status == 0


def test_one_is_missing(world: ImportWorld) -> None:
    before = canonical(world.state)
    with world.catalog() as catalog:
        volume = next(one for one in catalog.volumes() if one.label == "R3-0002")
        entries, _ = catalog.runs_on(volume.id)
    world.lose_state()
    for path in (world.folder / "tapes" / "R3").glob("R3-0002.*"):
        path.unlink()
    result = world.import_()
    assert result.exit_status == 1
    assert result.unseen == ["R3-0002"]
    short = {(str(one.object.id), one.copy.agent) for one in result.short if one.missing}
    assert {(str(entry.id), "M") for entry in entries} <= short
    left = [one for one in differences(before, canonical(world.state)) if not is_of(one, volume.id, before)]
    assert left == []


@pytest.mark.parametrize("label", ["R3-0003", "R2-0001"], ids=["a full one", "one with room"])
@pytest.mark.parametrize("what", ["label", "volume-start", "checkpoint", "records", "data", "header"])
def test_one_is_damaged(world: ImportWorld, what: str, label: str) -> None:
    """Harm to one volume costs what it costs, and nothing else."""
    before = canonical(world.state)
    with world.catalog() as catalog:
        volume = catalog.volume(label)
    tape = world.folder / "tapes" / label[:2] / f"{label}.tape"
    harmed = [one.position for one in world.on_tape(label[:2], label) if one.header and harms(what, one.header)]
    positions = [0] if what == "label" else harmed if what == "records" else harmed[:1]
    for position in positions:
        at, _ = place_in_file(tape, position)
        flip(tape, at if what == "label" else at + (700 if what in ("data", "checkpoint") else 60))
    world.lose_state()
    (row,) = [row for row in world.import_().volumes if row.label == label]
    found = differences(before, canonical(world.state))
    if what in ("label", "volume-start"):
        assert (row.way, row.state) == ("tables", VolumeState.DAMAGED)
        assert len(found) == 1, found
        assert found[0].startswith(f"volumes {volume.id}")
        return
    by_blocks = what == "records" or (what == "checkpoint" and volume.state is not VolumeState.FULL)
    assert ("scan" in row.way, row.scanned > 0) == (by_blocks, by_blocks)
    if what == "records":  # whose blocks they are, only other volumes can tell
        assert blocks_on(before, volume.id) <= blocks_on(canonical(world.state), volume.id)
        return
    assert found == []
    if what in ("data", "header"):  # of which the tables say nothing
        world.lose_state()
        (row,) = [row for row in world.import_(scan=True).volumes if row.label == label]
        assert row.way == "scan"
        found = differences(before, canonical(world.state))
        assert all(is_of(one, volume.id, before) for one in found), found
        assert any(one.startswith("damages" if what == "data" else "receipts") for one in found)
        scanned = canonical(world.state)["receipts"]
        world.import_()  # by the tables, which may speak of a block more
        again = canonical(world.state)["receipts"]
        assert {key: again.get(key) for key in scanned} == scanned


def test_one_that_was_asked_for_and_names_nothing(world: ImportWorld) -> None:
    """It is there, and its row says what is wrong with it."""
    with open_configured(world.config, "R3") as device:
        device.load("R3-0006")
        device.write(bytes(5000))
    world.lose_state()
    result = world.import_("R3-0006", "R3-0005")
    assert [(row.cartridge, row.why is None) for row in result.volumes] == [("R3-0005", True), ("R3-0006", False)]
    assert ("names no volume" in str(result.volumes[1].why), result.exit_status) == (True, 1)
    assert world.import_("R3-0006").exit_status == 3


def blocks_on(catalog: dict[str, dict], volume: object) -> set[tuple[str, int, int]]:
    """(object, seq, position) of all that has a receipt on a volume."""
    return {
        (copy[0], seq + ahead, position + ahead)
        for (copy, on, _), row in catalog["receipts"].items()
        if on == str(volume)
        for _, seq, blocks, position in row["runs"]
        for ahead in range(blocks)
    }


def harms(what: str, header: Header) -> bool:
    if header.kind is Kind.OBJECT:
        return what in ("data", "header")
    return (what == "records" and header.name != "volume-start") or header.name == what


def is_of(difference: str, volume: object, before: dict[str, dict]) -> bool:
    """Whether it is about what stands on that volume: its receipts, the copies that they belong to, their damage."""
    copies = {key[0] for key in before["receipts"] if key[1] == str(volume)}
    return str(volume) in difference or any(difference.startswith(f"copies {copy}") for copy in copies)


def same_files(one: Path, other: Path) -> bool:
    return subprocess.run(["diff", "-r", one, other], capture_output=True, check=False).returncode == 0
