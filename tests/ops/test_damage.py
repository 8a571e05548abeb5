"""Damage that was found is taken down, kept in mind where copies are chosen, and taken back when it is gone."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from agent_world import snapshot
from ops_world import World, flip, place_in_file

from tapeloom.catalog import Catalog, CopyStatus, Finding
from tapeloom.cli.main import main
from tapeloom.errors import RestoreError
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import plan_restore, restore
from tapeloom.ops.verify import verify
from tapeloom.volume.harm import Harm
from tapeloom.volume.header import Level

DRIVES = {"A": "R1", "M1": "R2", "M2": "R3"}


@dataclass
class Harmed:
    """Three copies of D1, and blocks of them that can be harmed and mended."""

    world: World

    def flip(self, agent: str, *seqs: int) -> None:
        """Turns a byte of the payloads; once more, and they are as before."""
        item = self.world.object("D1")
        (tape,) = self.world.tapes(DRIVES[agent])
        for run in self.world.runs(item, agent):
            for seq in seqs:
                if run.seq <= seq < run.seq + run.blocks:
                    flip(tape, place_in_file(tape, run.position + seq - run.seq)[0] + 900)

    def damage(self, agent: str) -> list[tuple[int, int, Harm]]:
        (copy,) = [copy for copy in self.world.object("D1").copies if copy.agent == agent]
        assert (copy.status is CopyStatus.DAMAGED) == bool(copy.damage)
        return [(one.first, one.last, one.harm) for one in copy.damage]

    def restored(self, **more: object) -> list[str]:
        """Restores D1, which has to be identical. Gives whose blocks were met as faulty."""
        target = self.world.folder / "out"
        result = restore(self.world.config, "D1", target, in_place=True, existing="replace", **more)  # type: ignore[arg-type]
        assert result.exit_status == 0
        assert snapshot(target) == snapshot(self.world.folder / "data" / "D1")
        return [fault.copy for fault in result.faults]


@pytest.fixture
def harmed(world: World) -> Harmed:
    world.chain(settings='checkpoint = "320KiB"')
    world.data("D1", 800_000, files=12)
    world.data("D2", 200_000)
    assert world.backup().exit_status == 0
    return Harmed(world)


def invoke(world: World, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = main(["-c", str(world.file), *arguments])
    return status, capsys.readouterr().out


def test_what_verify_finds_is_taken_down_and_taken_back(harmed: Harmed) -> None:
    world = harmed.world
    harmed.flip("A", 5, 6, 7, 20)
    assert verify(world.config, "D1").unrecorded is None
    assert harmed.damage("A") == [(5, 7, Harm.CHECKSUM), (20, 20, Harm.CHECKSUM)]
    assert world.status("D1") == {"A": "damaged", "M1": "complete", "M2": "complete"}
    assert world.object("D1").status == "complete"
    harmed.flip("A", 6)
    assert verify(world.config, "D1").cleared == []
    assert harmed.damage("A") == [(5, 5, Harm.CHECKSUM), (7, 7, Harm.CHECKSUM), (20, 20, Harm.CHECKSUM)]
    harmed.flip("A", 5, 7, 20)
    assert verify(world.config, "D1", copy="M1").cleared == [], "of A it says nothing"
    assert harmed.damage("A")
    again = verify(world.config)
    assert [(one.copy.agent, status) for one, status in again.cleared] == [("A", CopyStatus.COMPLETE)]
    assert world.status("D1") == {"A": "complete", "M1": "complete", "M2": "complete"}


def test_an_undamaged_copy_is_taken_first(harmed: Harmed) -> None:
    harmed.flip("A", 5, 20)
    assert harmed.restored() == ["A", "A"], "nobody knew"
    assert harmed.damage("A") == [(5, 5, Harm.CHECKSUM), (20, 20, Harm.CHECKSUM)], "a restore tells, too"
    assert harmed.restored() == []
    plan = plan_restore(harmed.world.config, Request("D1"))
    assert [run.label for run in plan.volumes] == ["R2-0001"]


def test_each_range_comes_from_where_it_is_good(harmed: Harmed) -> None:
    world = harmed.world
    blocks = world.object("D1").blocks
    assert blocks is not None
    for number, agent in enumerate(DRIVES):
        harmed.flip(agent, *(seq for seq in range(blocks) if seq % 3 == number))
    verify(world.config, "D1")
    item = world.object("D1")
    assert (item.status, item.pieced) == ("damaged", True)
    plan = plan_restore(world.config, Request("D1"))
    assert plan.blocks == blocks
    assert sum(run.blocks for run in plan.volumes) == blocks
    assert harmed.restored() == [], "no block is read where it is known to be harmed"


def test_a_block_without_a_good_copy(harmed: Harmed) -> None:
    world = harmed.world
    for agent in DRIVES:
        harmed.flip(agent, 5)
    verify(world.config, "D1")
    item = world.object("D1")
    assert (item.status, item.pieced) == ("damaged", False)
    with pytest.raises(RestoreError, match="has A damaged, M1 damaged, M2 damaged, and together they do not give all"):
        restore(world.config, "D1", world.folder / "out")
    partial = restore(world.config, "D1", world.folder / "out", partial=True)
    assert partial.exit_status == 1
    assert partial.lost is not None
    assert "block 5 is on none of the copies" in partial.lost
    harmed.flip("M2", 5)  # it was the drive, and the catalog does not know
    assert set(harmed.restored(partial=True)) == {"A", "M1"}


def test_an_older_object_is_not_taken_for_a_ruined_one_without_a_word(harmed: Harmed) -> None:
    world = harmed.world
    older = world.object("D1")
    (world.folder / "data" / "D1" / "file-3").write_bytes(b"newer")
    assert world.backup().exit_status == 0
    for agent in DRIVES:
        harmed.flip(agent, 5)
    verify(world.config, "D1")
    with pytest.raises(RestoreError, match=f"the newest before it that can be had is {older.id}"):
        restore(world.config, "D1", world.folder / "out")
    assert restore(world.config, str(older.id), world.folder / "out").exit_status == 0


def test_nothing_is_built_on_what_has_no_good_copy(harmed: Harmed) -> None:
    world = harmed.world
    harmed.flip("A", 5)
    harmed.flip("M1", 6)
    verify(world.config)
    assert world.backup(level=Level.INCREMENTAL).exit_status == 0
    assert world.object("D1").level is Level.INCREMENTAL, "M2 is good"
    full = world.object("D1").parent
    with Catalog.open(world.state, readonly=True) as catalog:
        first = catalog.object(str(full))
    tape = world.tapes("R3")[0]
    position = next(run.position for run in world.runs(first, "M2"))
    flip(tape, place_in_file(tape, position)[0] + 900)
    verify(world.config, str(full))
    result = world.backup(level=Level.INCREMENTAL)
    assert world.object("D1").level is Level.FULL
    (remark,) = [one for one in result.remarks if one.startswith("D1")]
    assert "has no good copy left (A damaged, M1 damaged, M2 damaged)" in remark
    assert world.object("D2").level is Level.INCREMENTAL


def test_a_drives_failure_is_verifys_to_take_down(harmed: Harmed) -> None:
    world = harmed.world
    item = world.object("D1")
    position = world.runs(item, "A")[0].position
    world.chain(R1=f'"vtape:tapes/R1?fail_read_at={position}"')
    assert harmed.restored() == ["A"]
    assert harmed.damage("A") == []
    verify(world.config, "D1")
    assert harmed.damage("A") == [(0, 0, Harm.UNREADABLE)]
    world.chain()
    verify(world.config, "D1")
    assert harmed.damage("A") == []


def test_what_is_not_on_the_tape_is_missing(harmed: Harmed) -> None:
    world = harmed.world
    item = world.object("D1")
    run = world.runs(item, "A")[-1]
    index = world.tapes("R1")[0].with_suffix(".index")
    flip(index, 4096 + 32 * run.position + 3)
    verify(world.config, "D1")
    assert harmed.damage("A") == [(run.seq, run.seq + run.blocks - 1, Harm.MISSING)]


def test_a_volume_that_cannot_be_had_says_nothing_of_its_blocks(harmed: Harmed) -> None:
    world = harmed.world
    harmed.flip("A", 5)
    verify(world.config, "D1")
    (tape,) = world.tapes("R1")
    tape.rename(world.folder / "away")
    assert verify(world.config, "D1").exit_status == 1
    assert harmed.damage("A") == [(5, 5, Harm.CHECKSUM)]
    (world.folder / "away").rename(tape)


def test_a_partial_copy_is_never_made_complete_by_it(harmed: Harmed) -> None:
    world = harmed.world
    world.chain(mirror='checkpoint = "160KiB"', R2='"vtape:tapes/R2?fail_write=40"')
    world.data("D1", 800_000, files=12, seed=2)
    assert world.backup().exit_status == 1
    item = world.object("D1")
    assert world.status("D1")["M1"] == "partial"
    (copy,) = [copy for copy in item.copies if copy.agent == "M1"]
    first = world.runs(item, "M1")[0].seq
    with Catalog.open(world.state) as catalog:
        volume = catalog.volume(copy.volumes[0]).id
        catalog.found([Finding(copy.id, volume, (), ((first, first, Harm.CHECKSUM),))])
    assert world.status("D1")["M1"] == "damaged"
    world.chain()
    cleared = verify(world.config, "D1").cleared
    assert [(one.copy.agent, status) for one, status in cleared] == [("M1", CopyStatus.PARTIAL)]
    assert world.status("D1")["M1"] == "partial"


def test_while_a_job_holds_the_catalog_it_is_said(harmed: Harmed) -> None:
    world = harmed.world
    harmed.flip("A", 5)
    with Catalog.open(world.state):
        result = verify(world.config, "D1", copy="A")
        healed = restore(world.config, "D1", world.folder / "out")
    assert result.unrecorded is not None
    assert "is in use by" in result.unrecorded
    assert any("does not know of the damage yet" in remark for remark in healed.remarks)
    assert harmed.damage("A") == []


def test_it_is_shown(harmed: Harmed, capsys: pytest.CaptureFixture[str]) -> None:
    world = harmed.world
    harmed.flip("A", 5, 6)
    assert invoke(world, capsys, "verify", "D1")[0] == 1
    _, shown = invoke(world, capsys, "objects")
    assert "A (damaged), M1, M2" in shown
    assert "blocks 5 to 6 on R1-0001: bad checksum" in shown
    listed = json.loads(invoke(world, capsys, "objects", "D1", "--json")[1])
    (copy,) = [copy for copy in listed[0]["copies"] if copy["agent"] == "A"]
    assert [{**one, "found_at": None} for one in copy["damage"]] == [
        {"volume": "R1-0001", "first": 5, "last": 6, "harm": "checksum", "found_at": None}
    ]
    volumes = json.loads(invoke(world, capsys, "volumes", "--json")[1])
    assert {one["label"]: one["damaged_blocks"] for one in volumes} == {"R1-0001": 2, "R2-0001": 0, "R3-0001": 0}
    assert "R1-0001: 2 blocks" in invoke(world, capsys, "volumes")[1]
    with pytest.raises(
        RestoreError, match=r"\(A damaged\); --partial restores what there is; M1, M2 not asked, because of --copy"
    ):
        restore(world.config, "D1", world.folder / "out", copy="A")
    harmed.flip("A", 5, 6)
    status, shown = invoke(world, capsys, "verify")
    assert status == 0
    assert "Not damaged any more" in shown
    assert "copy of A, now complete" in shown
