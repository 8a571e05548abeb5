"""Before appending: the end of data on tape against the catalog."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import pytest
from catalog_world import AGENT, LABEL_END, World

from tapeloom.catalog import Catalog, JobStatus, Seen, SeenCheckpoint, append_position
from tapeloom.errors import CatalogError, CatalogOlderThanTape
from tapeloom.ident import new_id


def seen(*jobs: UUID, checkpoints: tuple[SeenCheckpoint, ...] = (), strange: tuple[UUID, ...] = ()) -> Seen:
    return Seen(frozenset(jobs), checkpoints, frozenset(strange))


def finish(world: World, status: JobStatus = JobStatus.COMPLETE) -> None:
    world.catalog.finish_job(world.job, status)


def test_nothing_behind_the_last_receipt(world: World) -> None:
    id = world.add()
    world.write((id, 0, 3))
    finish(world)
    tail = world.catalog.tail_of(world.volume)
    assert (tail.end_position, tail.unfinished) == (LABEL_END + 5, False)
    assert append_position(tail, LABEL_END + 5, None) == LABEL_END + 5


def test_the_tail_of_an_unfinished_job_is_overwritten_from_its_last_receipt(world: World) -> None:
    id = world.add()
    world.write((id, 0, 3))
    world.reopen()
    tail = world.catalog.tail_of(world.volume)
    assert append_position(tail, 1000, seen(world.job)) == LABEL_END + 5


def test_a_job_that_failed_on_this_volume_alone_leaves_its_mark(world: World) -> None:
    other = new_id()
    world.catalog.add_volume(
        other, label="R5-0001", drive="R5", cartridge="R5-0001", block_bytes=524288, end_position=4
    )
    world.catalog.append_begins(world.job, "BMA138", other, 4)
    world.catalog.append_ends(world.job, AGENT, world.volume)
    finish(world, JobStatus.PARTIAL)
    assert not world.catalog.tail_of(world.volume).unfinished
    assert [append.agent for append in world.catalog.tail_of(other).appends] == ["BMA138"]


def test_an_unknown_tail_is_refused(world: World) -> None:
    finish(world)
    with pytest.raises(
        CatalogOlderThanTape, match=r"older than the tape. `tapeloom import --volume R1-0001` brings it up to the tape"
    ):
        append_position(world.catalog.tail_of(world.volume), 1000, seen(new_id()))


def test_less_on_the_tape_than_has_receipts(world: World) -> None:
    with pytest.raises(CatalogError, match="data is missing on it"):
        append_position(world.catalog.tail_of(world.volume), LABEL_END - 1, None)


def test_a_tail_has_to_be_looked_at(world: World) -> None:
    with pytest.raises(ValueError, match="looked at"):
        append_position(world.catalog.tail_of(world.volume), 1000, None)


def test_other_jobs_and_strange_objects_make_the_catalog_older(world: World) -> None:
    tail = world.reopen().catalog.tail_of(world.volume)
    with pytest.raises(CatalogOlderThanTape, match="of job"):
        append_position(tail, 1000, seen(world.job, new_id()))
    with pytest.raises(CatalogOlderThanTape, match="with object"):
        append_position(tail, 1000, seen(world.job, strange=(new_id(),)))


def test_a_checkpoint_without_its_receipt_is_not_overwritten(world: World) -> None:
    """The process died between the filemark and the catalog; or a newer catalog has that receipt. Nobody can tell."""
    id = world.add()
    world.write((id, 0, 3))
    tail = world.reopen().catalog.tail_of(world.volume)
    whole = SeenCheckpoint(world.job, AGENT, 1, 500)
    assert append_position(tail, 1000, seen(world.job, checkpoints=(whole,))) == 500


def test_further_checkpoints_had_their_receipts(world: World) -> None:
    tail = world.reopen().catalog.tail_of(world.volume)
    two = (SeenCheckpoint(world.job, AGENT, 0, 500), SeenCheckpoint(world.job, AGENT, 1, 900))
    with pytest.raises(CatalogOlderThanTape, match="checkpoints that had their receipts"):
        append_position(tail, 1000, seen(world.job, checkpoints=two))
    with pytest.raises(CatalogOlderThanTape):
        append_position(tail, 1000, seen(world.job, checkpoints=two[1:]))


def test_a_stale_copy_of_the_state_folder_is_found_out(world: World, tmp_path: Path) -> None:
    """Taken while a job ran, and brought back after that job had got further receipts."""
    id = world.add()
    world.write((id, 0, 3))
    with Catalog.open(world.state, readonly=True):
        shutil.copytree(world.state, tmp_path / "stale")
    world.write((id, 4, 5))
    world.write((id, 6, 7))
    with Catalog.open(tmp_path / "stale") as stale:
        tail = stale.tail_of(world.volume)
        assert tail.unfinished
        found = (SeenCheckpoint(world.job, AGENT, 1, 11), SeenCheckpoint(world.job, AGENT, 2, 14))
        with pytest.raises(CatalogOlderThanTape):
            append_position(tail, 14, seen(world.job, checkpoints=found))


def test_marks_of_earlier_jobs_stay_until_a_receipt_of_a_later_one(world: World) -> None:
    """Killed before its first write over an older tail, a job leaves that tail on the tape: it is still known."""
    first = world.job
    world.reopen()
    world.job = new_id()
    world.catalog.begin_job(world.job, kind="backup", groups=["nightly"])
    world.catalog.append_begins(world.job, AGENT, world.volume, LABEL_END)
    world.reopen()
    tail = world.catalog.tail_of(world.volume)
    assert {append.job for append in tail.appends} == {first, world.job}
    assert append_position(tail, 1000, seen(first)) == LABEL_END
    third = world.job = new_id()
    world.catalog.begin_job(world.job, kind="backup", groups=["nightly"])
    world.catalog.append_begins(world.job, AGENT, world.volume, LABEL_END)
    id = world.add()
    world.write((id, 0, 0))
    assert [(append.job, append.checkpoints) for append in world.catalog.tail_of(world.volume).appends] == [(third, 1)]


def test_strangers_are_told_from_objects(world: World) -> None:
    id, stranger = world.add(), new_id()
    assert world.catalog.knows([id, stranger]) == {id}
