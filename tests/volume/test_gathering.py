"""What a volume says is found again: by its tables, by its blocks, and as much of it as damage leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_volume import AS_OF, FIRST, GOLDEN, JOB, SECOND, VOLUME, SmallVolume, make_volume, write_cartridge
from told_volume import ended, make_told_volume

from tapeloom import _kernel
from tapeloom.device import Device, open_drive
from tapeloom.errors import ForeignVolume
from tapeloom.volume.evidence import Found
from tapeloom.volume.gathering import gather
from tapeloom.volume.runs import spans


@contextmanager
def loaded(tape: list[bytes | None]) -> Iterator[Device]:
    with open_drive("memory:", name="R1") as drive:
        drive.new_cartridge("W-0001")
        drive.load("W-0001")
        for block in tape:
            if block is None:
                drive.write_filemarks()
            else:
                drive.write(block)
        yield drive


def found_on(tape: list[bytes | None], *, scan: bool = False) -> Found:
    with loaded(tape) as drive:
        found = gather(drive, crc=_kernel.crc32c, scan=scan)
    assert found is not None
    return found


def blocks(found: Found) -> dict[object, list[tuple[int, int]]]:
    return {id: spans(runs) for proof in found.proofs for id, runs in proof.runs.items()}


def harmed(tape: list[bytes | None], position: int, at: int) -> list[bytes | None]:
    block = bytearray(tape[position] or b"")
    block[at % len(block)] ^= 0xFF
    return [*tape[:position], bytes(block), *tape[position + 1 :]]


def test_golden_volume_that_tells() -> None:
    """As it was written once: label and reader may change, this may not."""
    told = make_told_volume()
    assert (GOLDEN / "volume_told.bin").read_bytes() == b"".join(told.blocks[2:])
    found = found_on(told.tape)
    assert (found.id, found.label, found.way, found.left) == (VOLUME, "W-0001", "tables", None)
    assert blocks(found) == {FIRST: [(0, 3)], SECOND: [(0, 4)]}
    assert [said["objects"] for said in found.said][-1] == ended()
    assert (found.end_position, found.behind) == (len(told.tape), 0)


def test_golden_volume_of_before() -> None:
    """No record tells: one block of each object does."""
    small = make_volume()
    assert (GOLDEN / "volume_small.bin").read_bytes() == b"".join(small.blocks[2:])
    found = found_on(small.tape)
    assert (found.said, found.way, found.full) == ((), "tables", True)
    assert blocks(found) == {FIRST: [(0, 3)], SECOND: [(0, 4)]}
    first, second = found.seen[FIRST], found.seen[SECOND]
    assert (first.source, first.as_of, first.parent, first.blocks, first.bytes) == ("D1", AS_OF, None, 4, 5120)
    assert (second.source, second.level, second.parent, second.blocks) == ("Dß", 1, FIRST, 5)


@pytest.mark.parametrize("make", [make_told_volume, make_volume])
def test_a_scan_finds_what_the_tables_say(make: object) -> None:
    volume: SmallVolume = make()  # type: ignore[operator]
    by_tables, by_blocks = found_on(volume.tape), found_on(volume.tape, scan=True)
    assert by_blocks.way == "scan"
    assert blocks(by_blocks) == blocks(by_tables)
    assert by_blocks.end_position == by_tables.end_position


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_costs_its_block_alone(data: st.DataObject) -> None:
    """Whatever single block is harmed, wherever: every other block of an object is found."""
    volume = make_told_volume()
    positions = [at for at, block in enumerate(volume.tape) if block is not None]
    position = data.draw(st.sampled_from(positions))
    at = data.draw(st.integers(0, len(volume.tape[position] or b"") - 1))
    scan = data.draw(st.booleans())
    found = found_on(harmed(volume.tape, position, at), scan=scan)
    assert found.id == VOLUME
    complete = {FIRST: [(0, 3)], SECOND: [(0, 4)]}
    if not scan or position not in (*volume.of(FIRST), *volume.of(SECOND)):
        assert blocks(found) == complete
        return
    short = {id: sum(last - first + 1 for first, last in parts) for id, parts in blocks(found).items()}
    assert 9 - sum(short.values()) + len(found.harmed) == 1


def test_the_tail_of_a_job_that_broke_off_proves_nothing() -> None:
    told = make_told_volume()
    tail = [told.tape[4], *[told.tape[at] for at in told.of(FIRST)[:2]]]
    for behind in ([], [None]):  # with and without the filemark of a drive whose writer is gone
        found = found_on([*told.tape[:4], *tail, *behind])
        assert (found.proofs, found.end_position, found.behind) == ((), 4, 3 + len(behind))
        assert found.left is not None
        assert (found.left.job, found.left.agent, found.left.checkpoints) == (JOB, "BMA124", 0)


def test_two_filemarks_prove_what_stands_before_them() -> None:
    """Where there was no room for the record. The blocks are read."""
    told = make_told_volume()
    found = found_on([*told.tape[:-3], None, None])
    assert (found.way, found.left) == ("scan", None)
    assert blocks(found) == {FIRST: [(0, 3)], SECOND: [(0, 4)]}
    assert [(proof.job, proof.agent, proof.filemark) for proof in found.proofs] == [(JOB, "BMA124", len(told.tape) - 2)]


def test_foreign_and_blank() -> None:
    with loaded([b"VOL1" + bytes(76)]) as drive, pytest.raises(ForeignVolume, match="has an ANSI label"):
        gather(drive)
    with loaded([bytes(5000), None, bytes(5000)]) as drive, pytest.raises(ForeignVolume, match="names no volume"):
        gather(drive)
    with loaded([]) as drive:
        assert gather(drive) is None


def test_a_place_that_cannot_be_read(tmp_path: Path) -> None:
    told = make_told_volume()
    write_cartridge(tmp_path, "W-0001", told.tape)
    with open_drive(f"vtape:{tmp_path}?fail_read_at={told.of(FIRST)[1]}", name="R1") as drive:
        drive.load("W-0001")
        found = gather(drive, scan=True)
    assert found is not None
    assert blocks(found) == {FIRST: [(0, 0), (2, 3)], SECOND: [(0, 4)]}
    assert any("cannot be read" in remark for remark in found.remarks)
