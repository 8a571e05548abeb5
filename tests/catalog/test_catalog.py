from __future__ import annotations

import json

import numpy as np
import pytest
from catalog_world import AGENT, AS_OF, LABEL_END, PLACE, World
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom.catalog import Catalog, CopyStatus, JobStatus, Outcome, Place, VolumeState
from tapeloom.errors import CatalogError, NotFound
from tapeloom.ident import new_id
from tapeloom.volume import runs
from tapeloom.volume.header import Level
from tapeloom.volume.records import Entry


def status(world: World, id: object) -> CopyStatus:
    return world.catalog.object(str(id)).copies[0].status


def test_a_copy_is_complete_when_receipts_cover_its_last_block(world: World) -> None:
    id = world.add()
    assert status(world, id) is CopyStatus.MISSING
    world.write((id, 0, 9))
    assert status(world, id) is CopyStatus.PARTIAL
    world.end(id, 12)
    assert status(world, id) is CopyStatus.PARTIAL
    assert world.catalog.object(id).status == "partial"
    world.write((id, 10, 11))
    assert status(world, id) is CopyStatus.COMPLETE
    assert world.catalog.object(id).status == "complete"


def test_the_end_of_the_source_can_come_after_the_last_receipt(world: World) -> None:
    id = world.add()
    world.write((id, 0, 9))
    assert world.catalog.object(id).status == "reading"
    world.end(id, 10)
    assert status(world, id) is CopyStatus.COMPLETE


def test_a_failed_source_is_no_complete_object(world: World) -> None:
    id, nothing = world.add(), world.add("D2")
    world.write((id, 0, 2))
    world.end(id, 3, Outcome.FAILED)
    world.end(nothing, 0, Outcome.FAILED)
    assert (world.catalog.object(id).status, status(world, id)) == ("failed", CopyStatus.COMPLETE)
    assert status(world, nothing) is CopyStatus.MISSING


def test_what_a_detached_mirror_missed_is_known_and_completed_later(world: World) -> None:
    mirror = Place("BMA138", "1", "R5")
    id = world.add(places=(PLACE, mirror))
    world.write((id, 0, 99))
    world.end(id, 100)
    world.write((id, 0, 9), (id, 20, 29), (id, 50, 59), agent="BMA138")
    copy = world.catalog.object(id).copies[1]
    assert (copy.status, copy.drive) == (CopyStatus.PARTIAL, "R5")
    assert world.catalog.missing(copy.id) == [(10, 19), (30, 49), (60, 99)]
    world.catalog.finish_job(world.job, JobStatus.PARTIAL)
    first, world.job = world.job, new_id()
    world.catalog.begin_job(world.job, kind="copy", groups=["1"])
    world.catalog.resume_copy(copy.id, job=world.job)
    world.write((id, 60, 99), (id, 10, 19), (id, 30, 49), agent="BMA138")
    assert world.catalog.copy(copy.id).status is CopyStatus.COMPLETE
    assert [row.copy.agent for row in world.catalog.job_table(first)] == [AGENT, "BMA138"]
    assert [row.copy.agent for row in world.catalog.job_table(world.job)] == ["BMA138"]
    assert world.catalog.missing(copy.id) == []
    assert [row[2] for row in world.catalog.runs(copy.id).rows()] == [0, 10, 20, 30, 50, 60]


def test_missing_of_an_object_without_an_end_goes_to_what_others_have(world: World) -> None:
    id = world.add(places=(PLACE, Place("BMA138", "1", "R5")))
    world.write((id, 0, 99))
    world.write((id, 0, 9), agent="BMA138")
    first, second = world.catalog.object(id).copies
    assert world.catalog.missing(first.id) == []
    assert world.catalog.missing(second.id) == [(10, 99)]


def test_damage_and_retirement_stay(world: World) -> None:
    id = world.add()
    world.write((id, 0, 9))
    copy = world.catalog.object(id).copies[0].id
    world.catalog.set_copy_status(copy, CopyStatus.DAMAGED)
    world.end(id, 10)
    assert status(world, id) is CopyStatus.DAMAGED
    world.catalog.set_copy_status(copy, CopyStatus.COMPLETE)
    assert status(world, id) is CopyStatus.COMPLETE


def test_objects_as_json(world: World) -> None:
    late, early = world.add(as_of=AS_OF + 1), world.add(as_of=AS_OF)
    world.write((early, 0, 4))
    world.end(early, 5)
    listed = [one.as_json() for one in world.catalog.objects("D1")]
    assert [one["id"] for one in listed] == [str(early), str(late)]
    assert json.loads(json.dumps(listed[0])) == {
        "id": str(early),
        "source": "D1",
        "job": str(world.job),
        "level": "full",
        "as_of": "2023-11-14T22:13:20.123456789Z",
        "parent": None,
        "stands_for": None,
        "bytes": 5000,
        "files": 5,
        "digest": None,
        "codec": None,
        "key": None,
        "status": "complete",
        "copies": [
            {
                "agent": AGENT,
                "group": "nightly",
                "drive": "R1",
                "volumes": ["R1-0001"],
                "status": "complete",
                "damage": [],
            }
        ],
    }
    assert listed[1]["bytes"] is None


def test_increments_and_troubles_are_kept(world: World) -> None:
    full, increment = world.add(), new_id()
    world.catalog.add_object(
        increment,
        source="D1",
        job=world.job,
        as_of=AS_OF + 9,
        content=1,
        copies=[],
        level=Level.INCREMENTAL,
        parent=full,
    )
    world.catalog.object_ended(
        increment, outcome=Outcome.WHOLE, blocks=1, bytes=1, files=None, troubles=["a/b shrank while it was read"]
    )
    world.catalog.set_digest(increment, "blake2b:00")
    one = world.catalog.object(increment)
    assert (one.parent, one.level, one.files, one.digest) == (full, Level.INCREMENTAL, None, "blake2b:00")
    assert one.troubles == ("a/b shrank while it was read",)
    assert one.as_json()["parent"] == str(full)


def test_newest_goes_by_as_of(world: World) -> None:
    second, first, third = (world.add(as_of=AS_OF + n) for n in (2, 1, 3))
    for id in (second, first):
        world.write((id, 0, 0))
        world.end(id, 1)
    assert world.catalog.newest("D1").id == second
    assert world.catalog.newest("D1", whole=False).id == third
    with pytest.raises(NotFound, match=r"no object of a source D9 in .*; it knows D1"):
        world.catalog.newest("D9")
    world.add("D2")
    with pytest.raises(NotFound, match="source D2 has no object with a complete copy"):
        world.catalog.newest("D2")


def test_objects_are_found_by_the_beginning_of_their_id(world: World) -> None:
    id = world.add()
    assert world.catalog.object(str(id)[:35].upper()).id == id
    world.add()
    for prefix, words in [(str(id)[:4], "more than one"), ("ffff", "no object"), ("", "no object"), ("%", "no object")]:
        with pytest.raises(NotFound, match=words):
            world.catalog.object(prefix)


def test_a_copy_over_several_volumes_is_listed_in_seq_order(world: World) -> None:
    id = world.add()
    world.write((id, 0, 9))
    world.catalog.set_volume_state(world.volume, VolumeState.FULL)
    second = new_id()
    world.catalog.add_volume(
        second,
        label="R1-0002",
        drive="R1",
        cartridge="R1-0002",
        block_bytes=524288,
        sequence=2,
        previous=world.volume,
    )
    world.catalog.labelled(second, LABEL_END)
    first, world.volume, world.position = world.volume, second, LABEL_END + 1
    world.write((id, 10, 19))
    world.end(id, 20)
    copy = world.catalog.object(id).copies[0]
    assert (copy.status, copy.volumes) == (CopyStatus.COMPLETE, ("R1-0001", "R1-0002"))
    assert [(volume.id, *rest) for volume, *rest in world.catalog.runs(copy.id).rows()] == [
        (first, 4, 0, 10),
        (second, 5, 10, 10),
    ]
    assert [one.id for one in world.catalog.appendable("R1")] == [second]
    assert [volume.label for volume in world.catalog.volumes("R1")] == ["R1-0001", "R1-0002"]
    assert world.catalog.volume("R1-0002").previous == first
    assert world.catalog.volume_in("R1", "R1-0001").state is VolumeState.FULL
    assert world.catalog.volume_in("R1", "R1-0003") is None
    assert world.catalog.appendable("R2") == []


def test_runs_on_a_volume_are_in_order_of_position(world: World) -> None:
    one, two = world.add("D1"), world.add("D2")
    world.write((one, 0, 1), (two, 0, 2), (one, 2, 2))
    world.write((two, 3, 3))
    entries, table = world.catalog.runs_on(world.volume)
    assert sorted(entries, key=lambda entry: entry.source) == [Entry(one, "D1"), Entry(two, "D2")]
    assert [(entries[i].source, s, n, p) for i, s, n, p in table.tolist()] == [
        ("D1", 0, 2, 4),
        ("D2", 0, 3, 6),
        ("D1", 2, 1, 9),
        ("D2", 3, 1, 11),
    ]


def test_jobs_and_their_tables(world: World) -> None:
    one, two = world.add("D1"), world.add("D2", places=(PLACE, Place("BMA138", "1", "R5")))
    world.write((one, 0, 4), (two, 0, 2))
    world.end(one, 5)
    world.catalog.finish_job(world.job, JobStatus.PARTIAL, report={"R5": "write error"}, ended_at=AS_OF + 10**9)
    job = world.catalog.job(str(world.job)[:30])
    assert (job.status, job.report, job.groups) == (JobStatus.PARTIAL, {"R5": "write error"}, ("nightly",))
    assert job.as_json()["ended_at"] == "2023-11-14T22:13:21.123456789Z"
    table = [
        (row.source, row.copy.agent, row.copy.status.value, row.blocks_safe, row.blocks, row.outcome.value)
        for row in world.catalog.job_table(world.job)
    ]
    assert table == [
        ("D1", AGENT, "complete", 5, 5, "whole"),
        ("D2", AGENT, "partial", 3, None, "interrupted"),
        ("D2", "BMA138", "missing", 0, None, "interrupted"),
    ]
    with pytest.raises(NotFound):
        world.catalog.job("ffffffff")


def test_one_receipt_is_one_transaction(world: World) -> None:
    """The second object is a stranger: nothing of the receipt stays."""
    id = world.add()
    with pytest.raises(NotFound, match="knows no copy of object"):
        world.write((id, 0, 4), (new_id(), 0, 1))
    assert status(world, id) is CopyStatus.MISSING
    assert world.catalog.volume(world.volume).end_position == LABEL_END


@pytest.mark.parametrize("row", [(0, 0, 3, LABEL_END - 1), (0, 0, 3, 8)])
def test_runs_outside_of_their_receipt_are_refused(world: World, row: tuple[int, int, int, int]) -> None:
    id = world.add()
    with pytest.raises(CatalogError, match="outside of positions 4 to 10"):
        world.catalog.receipt(
            job=world.job, agent=AGENT, volume=world.volume, filemark=10, runs={id: runs.table([row])}
        )


def test_receipts_do_not_go_backwards(world: World) -> None:
    id = world.add()
    world.write((id, 0, 4))
    with pytest.raises(CatalogError, match="has one up to position"):
        world.catalog.receipt(job=world.job, agent=AGENT, volume=world.volume, filemark=6, runs={})
    with pytest.raises(CatalogError, match="would overwrite them"):
        world.catalog.append_begins(world.job, AGENT, world.volume, 5)
    with pytest.raises(CatalogError, match="a new label would overwrite"):
        world.catalog.labelled(world.volume, LABEL_END)


def test_labels_are_unequivocal(world: World) -> None:
    with pytest.raises(CatalogError, match="choose another label"):
        world.catalog.add_volume(new_id(), label="R1-0001", drive="R2", cartridge="x", block_bytes=1)


def test_receipts_are_listed(world: World) -> None:
    id = world.add()
    world.write((id, 0, 4))
    world.write((id, 5, 5), (id, 7, 7))
    given = world.catalog.receipts(world.catalog.object(id).copies[0].id)
    assert [(r.filemark, r.first_seq, r.last_seq, r.blocks, r.volume) for r in given] == [
        (9, 0, 4, 5, world.volume),
        (12, 5, 7, 2, world.volume),
    ]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), blocks=st.integers(1, 30))
def test_any_order_of_receipts_against_a_set_of_blocks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, blocks: int
) -> None:
    """The model: the set of blocks that have a receipt. Blocks come in any order, with gaps, some of them twice."""
    with Catalog.open(tmp_path_factory.mktemp("state")) as catalog:
        world = World(catalog.path.parent, catalog).begin()
        id = world.add()
        held: set[int] = set()
        tape: dict[int, int] = {}
        ends_before = data.draw(st.integers(0, 4))
        for turn in range(data.draw(st.integers(0, 5))):
            if turn == ends_before:
                world.end(id, blocks)
            parts = data.draw(
                st.lists(
                    st.tuples(st.integers(0, blocks - 1), st.integers(0, 6)).map(
                        lambda part: (part[0], min(part[0] + part[1], blocks - 1))
                    ),
                    min_size=1,
                    max_size=3,
                )
            )
            at = world.position
            for first, last in parts:
                for seq in range(first, last + 1):
                    tape[at] = seq
                    at += 1
                    held.add(seq)
            world.write(*((id, first, last) for first, last in parts))
        world.end(id, blocks)
        copy = catalog.object(id).copies[0]
        expected = "complete" if len(held) == blocks else "partial" if held else "missing"
        assert copy.status == expected
        missing = {seq for first, last in catalog.missing(copy.id) for seq in range(first, last + 1)}
        assert missing == set(range(blocks)) - held
        rows = [(seq + k, position + k) for _, position, seq, n in catalog.runs(copy.id).rows() for k in range(n)]
        assert [seq for seq, _ in rows] == sorted(held)
        assert all(tape[position] == seq for seq, position in rows)


def test_run_tables_are_not_changed_by_a_receipt(world: World) -> None:
    id = world.add()
    table = runs.table([(7, 0, 5, LABEL_END)])
    table.setflags(write=False)
    world.catalog.receipt(job=world.job, agent=AGENT, volume=world.volume, filemark=9, runs={id: table}, bytes={id: 77})
    assert np.array_equal(table, [[7, 0, 5, LABEL_END]])
    assert world.catalog.receipts(world.catalog.object(id).copies[0].id)[0].bytes == 77


def test_a_block_written_twice_does_not_hide_a_gap(world: World) -> None:
    id = world.add()
    world.write((id, 0, 0), (id, 0, 0), (id, 2, 2))
    world.end(id, 3)
    copy = world.catalog.object(id).copies[0]
    assert copy.status == "partial"
    assert world.catalog.missing(copy.id) == [(1, 1)]
