"""The flags of TapeAlert, and what they make of a cartridge."""

from __future__ import annotations

import pytest

from tapeloom.health import doubt
from tapeloom.tapealert import FLAGS, FLAGS_MAX, About, Severity, flag, flags


def test_every_number_has_a_flag() -> None:
    assert set(FLAGS) == set(range(1, 65)) - {47, 48, 49, 62, 63, 64}
    assert all(flag(number).number == number for number in range(1, FLAGS_MAX + 1))
    assert flag(63).name == "reserved"
    for number in (0, 65):
        with pytest.raises(ValueError, match=f"no TapeAlert flag {number}"):
            flag(number)


def test_severities_are_those_of_the_standard() -> None:
    """SSC-4; a few that matter."""
    critical = {4, 5, 6, 9, 13, 14, 16, 20, 22, 23, 30, 31, 33, 38, 40, 41, 43, 44, 45, 52, 53, 54, 55, 56, 57}
    assert {number for number, one in FLAGS.items() if one.severity is Severity.CRITICAL} == critical
    assert {number for number, one in FLAGS.items() if one.severity is Severity.INFORMATION} == {10, 11, 12, 19}


def test_names_and_advice_are_parts_of_one_sentence() -> None:
    for one in FLAGS.values():
        assert one.name
        assert one.advice
        assert not one.sentence.endswith(".")
        assert ";" not in one.advice
        assert not (one.unfit and one.about is About.DRIVE)


def test_the_gravest_comes_first() -> None:
    assert [one.number for one in flags((21, 4, 10, 20, 4))] == [4, 20, 21, 10]
    assert [one.number for one in flags((21, 4, 6, 20), About.DRIVE)] == [6, 20, 21]
    assert [one.number for one in flags((21, 4, 6, 20), About.CARTRIDGE)] == [4, 6]


def test_doubts() -> None:
    assert doubt(None, "then") is None
    assert doubt((1, 9 + 12, 20, 38), "then") is None
    assert doubt((4, 20), "then") == doubt((4,), "then")
    unfit, protected = doubt((7,), "then"), doubt((9,), "then")
    assert unfit is not None
    assert unfit.unfit
    assert unfit.why == "then: TapeAlert 7, media life: copy what is on it to another cartridge, and discard this one"
    assert protected is not None
    assert not protected.unfit
