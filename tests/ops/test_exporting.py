"""The catalog itself on tape, and a state folder begun with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_world import canonical, differences
from msgspec.structs import replace
from ops_world import World, reader

from tapeloom.catalog import Catalog, CopyStatus
from tapeloom.catalog.exported import newest_export
from tapeloom.errors import RetentionError, UsageError
from tapeloom.ops.exporting import due, exported, forget_older, open_export
from tapeloom.ops.freeing import open_freeing, open_retiring_volumes
from tapeloom.ops.importing import Wanted, import_volumes
from tapeloom.ops.moving import Verb, open_moving
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.retiring import open_retiring
from tapeloom.runtime import Ending


def export(world: World, to: str | None = None) -> BackupResult:
    with open_export(world.config, to) as job:
        result = job.run()
    assert result.exit_status == 0, result
    forget_older(world.state, result)
    return result


@pytest.fixture
def exporting(world: World) -> World:
    world.chain()
    world.data("D1", 100_000)
    world.data("D2", 50_000)
    assert world.backup().exit_status == 0
    return world


def lose_state(world: World) -> None:
    for path in sorted(world.state.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    world.state.rmdir()


def test_it_comes_back_with_what_is_on_no_tape(exporting: World) -> None:
    """Reports of jobs, copies that were retired: what only a catalog knows. And what was written after it, too."""
    world = exporting
    retired = world.object("D2")
    with Catalog.open(world.state) as catalog:
        catalog.retire(copy.id for copy in retired.copies)
    export(world)
    assert world.backup().exit_status == 0
    before = canonical(world.state)
    with world.catalog() as catalog:
        reports = {job.id: job.report for job in catalog.jobs()}
    lose_state(world)
    result = import_volumes(world.config, Wanted(appendable=True))
    assert result.restored is not None
    assert differences(before, canonical(world.state)) == []
    with world.catalog() as catalog:
        first = catalog.jobs()[0]
        assert first.report == reports[first.id]
        again = catalog.object(retired.id)
    assert {copy.status for copy in again.copies} == {CopyStatus.RETIRED}
    assert world.backup().exit_status == 0


def test_the_newest_is_kept(exporting: World) -> None:
    world = exporting
    for _ in range(3):
        export(world)
    with world.catalog() as catalog:
        states = [one.status for one in exported(catalog)]
        listed = {one.source for one in catalog.objects()}
    assert states == ["complete", "retired", "retired"]
    assert listed == {"D1", "D2"}


def test_a_group_and_its_mirrors_get_a_copy_each(exporting: World) -> None:
    export(exporting, "nightly")
    with exporting.catalog() as catalog:
        (one,) = exported(catalog)
    assert [copy.drive for copy in one.copies] == ["R1", "R2", "R3"]


def test_a_damaged_export_is_not_taken(exporting: World) -> None:
    """The one before it is, where it was not forgotten; else the volumes' own records will do."""
    world = exporting
    export(world, "R3")
    before = canonical(world.state)
    with world.catalog() as catalog:
        (one,) = exported(catalog)
        ((volume, position, *_), *_) = catalog.runs(one.copies[0].id).rows()
    from ops_world import flip, place_in_file

    tape = world.folder / "tapes" / "R3" / f"{volume.cartridge}.tape"
    flip(tape, place_in_file(tape, position)[0] + 900)
    lose_state(world)
    result = import_volumes(world.config, Wanted(appendable=True))
    assert result.restored is None
    assert any("cannot be taken" in remark for remark in result.remarks)
    assert differences(before, canonical(world.state)) == []


def test_without_tapeloom(exporting: World, tmp_path: Path) -> None:
    """It is a gzip file of an SQLite database."""
    import gzip

    export(exporting, "R2")
    with exporting.catalog() as catalog:
        (one,) = exported(catalog)
    out = tmp_path / "catalog.gz"
    assert reader("get", one.id, out, *exporting.tapes("R2")).returncode == 0
    assert gzip.decompress(out.read_bytes()).startswith(b"SQLite format 3\0")


def test_nobody_is_called_so(exporting: World) -> None:
    with (
        pytest.raises(UsageError, match='neither a drive nor a backup group "R9"'),
        open_export(exporting.config, "R9"),
    ):
        pass


def label_of(world: World, drive: str) -> str:
    (tape,) = world.tapes(drive)
    return tape.stem


def state_of(world: World) -> tuple[str, list[str]]:
    """The newest export: its status, and the drives that it is complete on."""
    with world.catalog() as catalog:
        newest = newest_export(catalog.objects(indexes=True))
        assert newest is not None
        return newest.status, [copy.drive for copy in newest.copies if copy.status is CopyStatus.COMPLETE]


def comes_back(world: World) -> None:
    lose_state(world)
    assert import_volumes(world.config, Wanted(appendable=True)).restored is not None


@pytest.mark.parametrize("verb", list(Verb))
def test_it_goes_along_with_what_is_moved(exporting: World, verb: Verb) -> None:
    """compact, refresh, migrate: the newest one goes on, those before it do not come along."""
    export(exporting, "R3")
    export(exporting, "R3")
    with open_moving(exporting.config, verb, [label_of(exporting, "R3")], "R2", fewer_copies=True) as moving:
        assert not [one for one in moving.left_behind if one.status == "complete"]
        assert moving.run().exit_status == 0
    assert state_of(exporting) == ("complete", ["R2"])
    comes_back(exporting)


def test_a_volume_with_the_newest_is_not_made_scratch(exporting: World) -> None:
    """The one that is older is no reason, also where nobody came to retire it."""
    world = exporting
    export(world, "R3")
    with Catalog.open(world.state) as catalog:
        (first,) = exported(catalog)
        on_it = [copy.id for item in catalog.objects(indexes=True) for copy in item.copies if copy.drive == "R3"]
        catalog.retire(set(on_it) - {copy.id for copy in first.copies})
    label = label_of(world, "R3")
    with (
        pytest.raises(RetentionError, match=f"tapeloom/catalog {first.id}, full, is the newest exported catalog"),
        open_freeing(world.config, [label]),
    ):
        pass
    with open_export(world.config, "R2") as job:
        assert job.run().exit_status == 0  # and the process ends before it forgets the older ones
    with open_freeing(world.config, [label]) as freeing:
        assert [one.label for one in freeing.run("test")] == [label]
    assert state_of(world) == ("complete", ["R2"])
    with Catalog.open(world.state) as catalog:
        assert {copy.status for copy in catalog.object(first.id).copies} == {CopyStatus.RETIRED}
    comes_back(world)


def test_a_retired_volume_still_gives_it(exporting: World) -> None:
    export(exporting, "R3")
    with open_retiring_volumes(exporting.config, [label_of(exporting, "R3")]) as retiring:
        retiring.run("test")
    comes_back(exporting)


def test_it_is_not_retired_by_hand(exporting: World) -> None:
    export(exporting)
    with exporting.catalog() as catalog:
        (one,) = exported(catalog)
    with pytest.raises(UsageError, match="is retired by the next one"), open_retiring(exporting.config, [str(one.id)]):
        pass


def test_it_goes_to_the_pool_of_its_drive(exporting: World) -> None:
    """Nobody has to put in another volume for the catalog alone."""
    world = exporting
    world.chain(settings='pool = "weekly"')
    world.file.write_text(world.file.read_text() + "[pools]\nweekly = {}\n")
    assert world.backup().exit_status == 0
    export(world, "R1")
    with world.catalog() as catalog:
        newest = newest_export(catalog.objects(indexes=True))
        assert newest is not None
        pools = {one.label: one.pool for one in catalog.volumes()}
    assert {pools[label] for copy in newest.copies for label in copy.volumes} == {"weekly"}


def test_due_after_a_backup(exporting: World) -> None:
    """To the drives that wrote and had no trouble; not where the job changed nothing, or was stopped."""
    world = exporting
    result = world.backup()
    assert due(world.config, result) == []
    world.file.write_text(world.file.read_text().replace("[server]", "[server]\nexport_catalog = true"))
    assert due(world.config, result) == ["R1", "R2", "R3"]
    assert due(world.config, replace(result, stopped=True)) == []
    assert due(world.config, replace(result, table=[])) == []
    agents = [replace(one, ending=Ending.DETACHED) if one.drive == "R2" else one for one in result.agents]
    assert due(world.config, replace(result, agents=agents)) == ["R1", "R3"]
