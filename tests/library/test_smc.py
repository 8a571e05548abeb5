"""A real changer, as far as commands and answers go."""

from __future__ import annotations

import errno

import pytest
from changer_world import Robot, sense
from msgspec.structs import replace

from tapeloom.errors import DeviceError
from tapeloom.library import Kind, Library
from tapeloom.library.scsi import ATTENTIONS_MAX, Answer, Scsi
from tapeloom.library.smc import ScsiChanger


def changer(robot: Robot, waits: list[float] | None = None) -> ScsiChanger:
    return ScsiChanger(Scsi(robot, "library L1", (waits if waits is not None else []).append))


def test_what_is_where() -> None:
    """More slots than are asked for at once."""
    found = changer(Robot("A00001L9", "A00002L9")).inventory()
    assert [one.shown for one in found if one.full] == ["slot 1", "slot 2"]
    assert [one.serial for one in found if one.kind is Kind.BAY] == ["SN0", "SN1"]
    assert sum(one.kind is Kind.SLOT for one in found) == 500
    assert [one.number for one in found if one.kind is Kind.SLOT] == list(range(1, 501))


def test_a_changer_that_does_not_know_serial_numbers_is_asked_for_them_once() -> None:
    robot = Robot("A00001L9", serials=False)
    known = changer(robot)
    for _ in range(2):
        assert {one.serial for one in known.inventory()} == {None}
    bays = [one for one in robot.asked if one == 0xB8]
    assert len(bays) == 2 * 5 + 1


def test_attentions_are_heard_and_the_command_goes_again() -> None:
    robot = Robot("A00001L9")
    known = changer(robot)
    robot.first = [sense(6, 0x29, 0), sense(6, 0x28, 1)]
    assert any(one.full for one in known.inventory())


def test_one_that_only_has_attentions_is_given_up() -> None:
    robot = Robot()
    known = changer(robot)
    robot.first = [sense(6, 0x28, 1)] * (ATTENTIONS_MAX + 1)
    with pytest.raises(DeviceError, match=r"an import/export element was accessed \(28h/01h\)"):
        known.inventory()


def test_becoming_ready_is_waited_for() -> None:
    robot, waits = Robot("A00001L9"), list[float]()
    robot.first = [Answer(), sense(2, 4, 1), Answer(status=8), sense(2, 4, 1)]
    robot.first[0] = Answer(bytes([8, 0x80, 5, 2, 31, 0, 0, 2]) + bytes(28))
    known = changer(robot, waits)
    assert len(waits) == 3
    assert known.inventory()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (sense(2, 4, 3), "somebody has to go to it"),
        (sense(4, 0x15, 1), "mechanical positioning error"),
        (Answer(status=2, host=3), "no answer within 900 seconds"),
        (Answer(status=0x18), "it is reserved by another host"),
        (Answer(status=0xFF, host=1), "the host adapter could not bring the command through"),
        (OSError(errno.EPERM, "Operation not permitted"), "the system refused"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_goes_wrong_is_a_sentence(answer: Answer | OSError, words: str) -> None:
    robot = Robot("A00001L9")
    known = changer(robot)
    slot = next(one for one in known.inventory() if one.full)
    bay = known.inventory()[0]
    robot.first = [answer]
    with pytest.raises(DeviceError, match=f"library L1: moving A00001L9 from slot 1 to bay 0: .*{words}"):
        known.move(slot, bay)


def test_a_drive_is_no_changer() -> None:
    robot = Robot()
    robot.kind = 1
    with pytest.raises(DeviceError, match="ACME ROBOT 0001 of type 1, and no medium changer"):
        changer(robot)


def test_an_answer_that_makes_no_sense() -> None:
    robot = Robot()
    known = changer(robot)
    robot.first = [Answer(b"\0\0\0\1\0\0\0\x08\x09\0\0\0\0\0\0\0")]
    with pytest.raises(DeviceError, match=r"its answer makes no sense: .*a kind 9"):
        known.inventory()


def test_a_magazine_over_it() -> None:
    library = Library("L1", changer(Robot("A00001L9", "CLNU01L1", "A00002L9")))
    first, second = (library.magazine(library.bay(n).address) for n in (0, 1))
    assert first.names() == ["A00001L9", "A00002L9"]
    first.bring("A00002L9")
    assert (first.loaded(), second.loaded()) == ("A00002L9", None)
    assert second.names() == ["A00001L9"]
    before = second.changes()
    first.bring("A00001L9")
    assert first.loaded() == "A00001L9"
    assert second.changes() != before
    where = library.find("A00002L9")
    assert where is not None
    assert where.shown == "slot 3"  # where it came from
    first.put_away()
    first.put_away()
    assert first.loaded() is None


def test_a_door_that_is_open_is_no_change_and_no_error() -> None:
    """Who waits for a cartridge does so while somebody puts it in."""
    robot = Robot("A00001L9")
    magazine = Library("L1", changer(robot)).magazine(256)
    robot.first = [sense(2, 0x04, 0x12)]
    with pytest.raises(DeviceError):
        magazine.changes()  # it has never answered
    before = magazine.changes()
    robot.first = [sense(2, 0x04, 0x12)]
    assert magazine.changes() == before
    robot.elements[1030] = replace(robot.elements[1030], full=True, barcode="NEW")
    assert magazine.changes() != before
