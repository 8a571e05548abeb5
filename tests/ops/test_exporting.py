"""The catalog itself on tape, and a state folder begun with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_world import canonical, differences
from ops_world import World, reader

from tapeloom.catalog import Catalog, CopyStatus
from tapeloom.errors import UsageError
from tapeloom.ops.exporting import exported, forget_older, open_export
from tapeloom.ops.importing import Wanted, import_volumes
from tapeloom.ops.outcome import BackupResult


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
