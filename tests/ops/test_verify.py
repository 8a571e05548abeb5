"""Damage on a medium: found, named with copy, volume and position, and healed from another copy where there is one."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_world import snapshot
from ops_world import World, flip, place_in_file

from tapeloom._kernel import Splitter
from tapeloom.errors import FormatError, NotFound, RestoreError, TapeloomError
from tapeloom.ops.restore import restore
from tapeloom.ops.verify import VerifyResult, verify
from tapeloom.runtime import reading


@dataclass(frozen=True)
class Damaged:
    """Block `seq` of D1 as agent A wrote it, and where it stands."""

    world: World
    position: int
    seq: int

    @property
    def tape(self) -> Path:
        return self.world.tapes("R1")[0]


@pytest.fixture
def backed_up(world: World) -> Damaged:
    """A block in the midst of D1, not damaged yet."""
    world.chain(settings='checkpoint = "320KiB"')
    world.data("D1", 1_200_000, files=12)
    world.data("D2", 300_000)
    assert world.backup().exit_status == 0
    middle = (world.object("D1").blocks or 0) // 2
    run = next(run for run in world.runs(world.object("D1"), "A") if run.seq <= middle < run.seq + run.blocks)
    return Damaged(world, run.position + middle - run.seq, middle)


def one_fault(result: VerifyResult, damaged: Damaged, what: str) -> None:
    assert result.exit_status == 1
    (fault,) = result.faults
    assert (fault.copy, fault.label, fault.position, fault.seq) == ("A", "R1-0001", damaged.position, damaged.seq)
    assert fault.what == what
    assert f"A's volume R1-0001, position {damaged.position}" in str(fault)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (0, "no block of tapeloom"),
        (12, "its header is damaged"),
        (40, "its header is damaged"),
        (300, "its header is damaged"),
        (512, "its data is damaged"),
        (-1, "its data is damaged"),
    ],
)
def test_a_flipped_byte_is_found_and_named(backed_up: Damaged, where: int, what: str) -> None:
    at, length = place_in_file(backed_up.tape, backed_up.position)
    flip(backed_up.tape, at + where % length)
    world = backed_up.world
    one_fault(verify(world.config), backed_up, what)
    one_fault(verify(world.config, "D1"), backed_up, what)
    one_fault(verify(world.config, volume="R1-0001"), backed_up, what)
    one_fault(verify(world.config, "D1", copy="A"), backed_up, what)
    assert verify(world.config, "D2").exit_status == 0
    assert verify(world.config, volume="R2-0001").exit_status == 0
    assert verify(world.config, "D1", copy="M1").exit_status == 0


def test_a_damaged_copy_alone_is_refused_and_what_came_before_is_whole(backed_up: Damaged) -> None:
    at, _ = place_in_file(backed_up.tape, backed_up.position)
    flip(backed_up.tape, at + 5000)
    world = backed_up.world
    target = world.folder / "out"
    with pytest.raises(
        RestoreError, match=rf"block {backed_up.seq} on A's volume R1-0001, position {backed_up.position}: its data"
    ):
        restore(world.config, "D1", target, copy="A")
    files = sorted(path.name for path in target.glob("file-*"))
    original = world.folder / "data" / "D1"
    assert 4 <= len(files) < 12
    assert all((target / name).read_bytes() == (original / name).read_bytes() for name in files)
    with pytest.raises(RestoreError):
        world.sequence("D1", copy="A")


def test_another_copy_heals_it_and_it_is_said(backed_up: Damaged) -> None:
    at, _ = place_in_file(backed_up.tape, backed_up.position)
    flip(backed_up.tape, at + 5000)
    world = backed_up.world
    result = restore(world.config, "D1", world.folder / "out")
    assert result.exit_status == 0
    assert result.lost is None
    (fault,) = result.faults
    assert (fault.copy, fault.position, fault.seq) == ("A", backed_up.position, backed_up.seq)
    assert snapshot(world.folder / "out") == snapshot(world.folder / "data" / "D1")


def test_damage_to_every_copy_at_different_places_is_healed(backed_up: Damaged) -> None:
    world = backed_up.world
    item = world.object("D1")
    for number, (agent, drive) in enumerate({"A": "R1", "M1": "R2", "M2": "R3"}.items()):
        for run in world.runs(item, agent):
            for seq in range(run.seq, run.seq + run.blocks):
                if seq % 3 == number:
                    (tape,) = world.tapes(drive)
                    at, length = place_in_file(tape, run.position + seq - run.seq)
                    flip(tape, at + length // 2)
    result = restore(world.config, "D1", world.folder / "out")
    assert len(result.faults) >= (item.blocks or 0) // 3
    assert snapshot(world.folder / "out") == snapshot(world.folder / "data" / "D1")
    checked = verify(world.config, "D1")
    assert len(checked.faults) == item.blocks


def test_the_same_block_damaged_everywhere_is_lost(backed_up: Damaged) -> None:
    world = backed_up.world
    item = world.object("D1")
    for agent, drive in {"A": "R1", "M1": "R2", "M2": "R3"}.items():
        (run,) = [run for run in world.runs(item, agent) if run.seq <= backed_up.seq < run.seq + run.blocks]
        (tape,) = world.tapes(drive)
        at, _ = place_in_file(tape, run.position + backed_up.seq - run.seq)
        flip(tape, at + 700)
    with pytest.raises(RestoreError, match=f"block {backed_up.seq} is on none of the copies that can be read"):
        restore(world.config, "D1", world.folder / "out")


def test_two_blocks_in_each_others_place_are_found(backed_up: Damaged) -> None:
    tape, world = backed_up.tape, backed_up.world
    run = next(run for run in world.runs(world.object("D1"), "A") if run.blocks > 1)  # full blocks, side by side
    places = [place_in_file(tape, run.position + ahead) for ahead in (0, 1)]
    data = bytearray(tape.read_bytes())
    (one, length), (other, as_long) = places
    assert length == as_long
    data[one : one + length], data[other : other + length] = data[other : other + length], data[one : one + length]
    tape.write_bytes(data)
    result = verify(world.config, "D1")
    assert [fault.what for fault in result.faults] == ["another block stands there"] * 2
    assert [fault.seq for fault in result.faults] == [run.seq, run.seq + 1]


def test_a_drive_that_cannot_read_a_block(backed_up: Damaged) -> None:
    world = backed_up.world
    world.chain(R1=f'"vtape:tapes/R1?fail_read_at={backed_up.position}"')
    healed = restore(world.config, "D1", world.folder / "out")
    result = verify(world.config, "D1")
    for (fault,) in (healed.faults, result.faults):
        assert (fault.copy, fault.position) == ("A", backed_up.position)
        assert "input or output failed" in fault.what
    assert snapshot(world.folder / "out") == snapshot(world.folder / "data" / "D1")


def test_an_index_that_is_torn(backed_up: Damaged) -> None:
    """The virtual tape ends before the damaged entry: what stands behind it is named as missing."""
    index = backed_up.tape.with_suffix(".index")
    flip(index, 4096 + 32 * backed_up.position + 3)
    world = backed_up.world
    result = verify(world.config, "D1")
    assert result.exit_status == 1
    assert {fault.copy for fault in result.faults} == {"A"}
    assert (result.faults[0].position, result.faults[0].seq) == (backed_up.position, backed_up.seq)
    assert len(result.faults) < 20, "not one for each block behind it"
    healed = restore(world.config, "D1", world.folder / "out")
    assert healed.exit_status == 0
    assert snapshot(world.folder / "out") == snapshot(world.folder / "data" / "D1")
    assert world.backup().exit_status == 1, "nothing is appended to it"


def test_an_index_whose_head_is_damaged(backed_up: Damaged) -> None:
    flip(backed_up.tape.with_suffix(".index"), 9)
    world = backed_up.world
    result = verify(world.config, "D1")
    assert result.exit_status == 1
    assert all("R1" in fault.what and "index" in fault.what for fault in result.faults)
    assert restore(world.config, "D1", world.folder / "out").exit_status == 0


def test_a_label_that_is_damaged(backed_up: Damaged) -> None:
    """Its blocks are still where they were, but nobody would know whose tape it is: it is refused in words."""
    for position in range(4):
        at, _ = place_in_file(backed_up.tape, position)
        flip(backed_up.tape, at + 20)
    world = backed_up.world
    assert verify(world.config, "D1").exit_status == 1
    assert restore(world.config, "D1", world.folder / "out").exit_status == 0


def test_a_cartridge_that_is_gone(backed_up: Damaged) -> None:
    world = backed_up.world
    backed_up.tape.rename(world.folder / "R1.tape")
    result = verify(world.config, "D1")
    assert result.exit_status == 1
    assert "there is no cartridge R1-0001" in result.faults[0].what
    status = {one.copy.agent: (one.status, one.blocks_good) for one in result.checked}
    assert status["A"] == ("not read", 0), "which is not damaged"
    assert status["M1"][0] == "good"
    alone = verify(world.config, "D1", copy="A")
    assert alone.exit_status == 3, "nothing was done"
    assert restore(world.config, "D1", world.folder / "out").exit_status == 0
    with pytest.raises(TapeloomError, match="there is no cartridge R1-0001"):
        restore(world.config, "D1", world.folder / "alone", copy="A")


def test_a_drive_that_dies_says_nothing_of_the_tape(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.chain(R1='"vtape:tapes/R1?aside=1"')
    world.data("D1", 300_000)
    world.data("D2", 10_000)
    assert world.backup().exit_status == 0
    go_to = reading.Place.go_to

    def dies_on_the_way(place: reading.Place, position: int, passing: Splitter) -> None:
        go_to(place, position, passing)
        assert place.device.aside is not None
        os.kill(place.device.aside.pid, signal.SIGKILL)
        assert place.device.aside.gone(30)

    with monkeypatch.context() as patch:
        patch.setattr(reading.Place, "go_to", dies_on_the_way)
        result = verify(world.config, "D1", copy="A")
    (checked,) = result.checked
    assert "was ended by signal 9" in result.faults[0].what
    assert (checked.status, checked.blocks_good, result.exit_status) == ("not read", 0, 3)
    assert world.status("D1")["A"] == "complete"


def test_a_drive_that_the_configuration_does_not_have(backed_up: Damaged) -> None:
    world = backed_up.world
    text = world.file.read_text()
    world.file.write_text(text[: text.index("[sources]")].replace("R1 =", "R9 ="))
    assert restore(world.config, "D1", world.folder / "out").exit_status == 0
    with pytest.raises(TapeloomError, match=r"add it to \[drives\]"):
        restore(world.config, "D1", world.folder / "alone", copy="A")


def test_what_there_is_not(backed_up: Damaged) -> None:
    config = backed_up.world.config
    for arguments in ({"name": "D9"}, {"volume": "R9-0001"}, {"name": "0000-0000"}):
        with pytest.raises(NotFound):
            verify(config, **arguments)
    with pytest.raises(NotFound, match="has no copy by agent BMA1; it has: A"):
        restore(config, "D1", backed_up.world.folder / "out", copy="BMA1")
    with pytest.raises(NotFound, match="has no copy on volume R9"):
        restore(config, "D1", backed_up.world.folder / "out", volume="R9")
    assert not (backed_up.world.folder / "out").exists()


def test_progress_ends_where_it_should(backed_up: Damaged) -> None:
    seen: list[tuple[int, int]] = []
    verify(backed_up.world.config, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    with backed_up.world.catalog() as catalog:
        blocks = [one.blocks or 0 for one in catalog.objects(indexes=True)]
    assert len(blocks) == 4
    assert seen[-1][0] == seen[-1][1] == 3 * sum(blocks)


def test_a_source_that_broke_off_is_not_a_fault_of_the_tape(world: World) -> None:
    world.chain(sources=["Ill"], given={"Ill": '{ command = "head -c 100000 /dev/zero; exit 1" }'})
    assert world.backup().exit_status == 1
    checked = verify(world.config)
    assert checked.exit_status == 0
    with pytest.raises(FormatError, match="ends where its source broke off"):
        restore(world.config, str(world.object("Ill").id), world.folder / "out")
