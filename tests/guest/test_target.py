"""The target by itself: what the guest's kernel does not ask it in the other tests. No guest is needed."""

from __future__ import annotations

import pytest
from tapeguest.control import WRITE
from tapeguest.target.library import Library, Plan
from tapeguest.target.sense import Check
from tapeguest.target.unit import Unit

READY, MARK, REWIND = bytes(6), bytes([0x10, 0, 0, 0, 1, 0]), bytes([0x01, 0, 0, 0, 0, 0])
PUT = bytes([WRITE, 0, 0, 0, 4, 0])
BARCODE = "T00001L5"


@pytest.fixture
def library() -> Library:
    plan = Plan(drives=1, tapes=3, changer=True, capacity=1 << 20, early_warning=0, block_bytes_max=1 << 20)
    library = Library(plan)
    library.reset(loaded=True)
    for unit in library.units:
        settle(unit)
    return library


def settle(unit: Unit) -> None:
    """Takes the unit attentions."""
    while refusal(unit, READY)[:1] == (6,):
        pass


def refusal(unit: Unit, cdb: bytes, sent: bytes = b"") -> tuple[int, ...]:
    """Key, code and its qualifier of a command that fails; nothing where it does not."""
    try:
        unit.execute("host", cdb, sent)
    except Check as check:
        return check.key, check.asc, check.ascq
    return ()


def test_worm_takes_more_at_its_end_and_nothing_over_what_it_has(library: Library) -> None:
    drive = library.drives[0]
    library.worm(BARCODE, on=True)
    assert [refusal(drive, PUT, b"data"), refusal(drive, MARK)] == [(), ()]
    drive.execute("host", REWIND, b"")
    assert refusal(drive, PUT, b"more") == (7, 0x30, 0x0C)
    drive.position = 1
    assert refusal(drive, PUT, b"over the last filemark") == ()


def test_becoming_ready_ends_after_so_many_times(library: Library) -> None:
    library.becoming_ready(0, times=2)
    assert [refusal(library.drives[0], READY) for _ in range(3)] == [(2, 4, 1), (2, 4, 1), ()]


def test_what_hangs_hangs_until_it_is_healed(library: Library) -> None:
    drive = library.drives[0]
    library.hang(0, WRITE, after=1)
    assert [drive.hangs(cdb) for cdb in (READY, PUT, REWIND, PUT, READY)] == [False, False, False, True, True]
    assert library.hanging(0) == 2
    library.heal(0)
    drive.wait_released()
    assert not drive.hangs(PUT)


def test_a_fault_comes_in_its_turn_and_may_have_done_its_work(library: Library) -> None:
    library.fail(0, WRITE, key=1, asc=0x0C, ascq=0, after=1, times=1, carry_out=True)
    library.fail(0, WRITE, key=4, asc=0x44, ascq=0, after=0, times=1, carry_out=False)
    came = [refusal(library.drives[0], PUT, b"data") for _ in range(4)]
    assert came == [(), (1, 0x0C, 0), (4, 0x44, 0), ()]
    assert library.layout(BARCODE) == [4, 4, 4]


def test_a_block_that_is_corrupt_is_passed_and_counted(library: Library) -> None:
    drive = library.drives[0]
    refusal(drive, PUT, b"data")
    library.corrupt(BARCODE, 0)
    drive.execute("host", REWIND, b"")
    assert refusal(drive, bytes([0x08, 0, 0, 0, 4, 0])) == (3, 0x11, 0)
    assert (drive.position, drive.health.unread) == (1, 1)


def test_the_changer_moves_nothing_out_of_a_locked_drive_or_into_a_full_place(library: Library) -> None:
    changer, drive = library.changer, library.drives[0]
    move = bytes([0xA5, 0, 0, 0, 1, 0, 4, 0, 0, 0, 0, 0])  # drive 0 to slot 0
    full = bytes([0xA5, 0, 0, 0, 1, 0, 4, 1, 0, 0, 0, 0])
    drive.locked = True
    assert refusal(changer, full) == (5, 0x3B, 0x0D)
    assert refusal(changer, move) == (5, 0x53, 2)
    drive.locked = False
    assert refusal(changer, move) == ()
    assert refusal(changer, move) == (5, 0x3B, 0x0E)
    assert library.places()["slot 0"] == BARCODE


def test_an_operator_at_the_import_slots_is_noticed(library: Library) -> None:
    library.mail(1, "NEW001L5")
    assert refusal(library.changer, READY) == (6, 0x28, 1)
    assert library.take(1) == "NEW001L5"
    with pytest.raises(ValueError, match="there is a cartridge"):
        library.add("NEW001L5")
