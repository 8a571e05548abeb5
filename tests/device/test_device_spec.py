"""What a configuration may say of a drive."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

import tapeloom.device
from tapeloom import softdrive, vlib
from tapeloom.device import open_drive
from tapeloom.device.memory import MemoryDrive
from tapeloom.device.null import NullDrive
from tapeloom.device.tape import MIB, early_warning_bytes
from tapeloom.device.virtual import VirtualDrive
from tapeloom.errors import DeviceError, UsageError


@pytest.mark.parametrize("module", [tapeloom.device, softdrive, vlib])
def test_the_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_each_kind_opens(tmp_path: Path) -> None:
    for spec, kind in ((f"vtape:{tmp_path}/a/b", VirtualDrive), ("null:", NullDrive), ("memory:", MemoryDrive)):
        with open_drive(spec, name="R1") as drive:
            assert type(drive) is kind
            assert (drive.name, drive.spec) == ("R1", spec)


def test_one_that_is_not_there_may_only_be_switched_off() -> None:
    with pytest.raises(DeviceError, match=r"cannot be looked at .* is the drive connected, and the module st loaded"):
        open_drive("/dev/no-such-nst", name="R1")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tape:x", r"drive R1: 'tape:x' is no kind of drive; there are vtape:DIR, null: and memory:"),
        ("vtape", "no kind of drive"),
        ("", "no kind of drive"),
        ("/dev/null", "is no tape drive; name a node such as /dev/nst0"),
        ("vtape:", "needs a folder"),
        ("null:x", "takes no place"),
        ("memory:x?fail_write=1", "takes no place"),
        ("null:?speed=1", "no option 'speed'; it has model, rate, "),
        ("memory:?rate=fast&", "no option ''"),
        ("null:?", "no option ''"),
        ("null:?rate=fast", "'fast' is not a size"),
        ("null:?rate=0", "never ends"),
        ("memory:?fail_write=-1", "'-1' is not a count"),
    ],
)
def test_a_wrong_one_is_refused_with_the_right_ones(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        open_drive(spec, name="R1")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"capacity": 0}, "holds nothing"),
        ({"early_warning": 5}, "needs a capacity"),
        ({"capacity": 5, "early_warning": 6}, "needs a capacity"),
        ({"capacity": 5, "early_warning": 0}, "needs a capacity"),
    ],
)
@pytest.mark.parametrize("kind", ["memory", "vtape"])
def test_a_capacity_that_makes_no_sense_is_refused(
    tmp_path: Path, kind: str, options: dict[str, int], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        open_drive("memory:" if kind == "memory" else f"vtape:{tmp_path}", name="R1", **options)
    if kind == "vtape":
        open_drive(f"vtape:{tmp_path}", name="R1").close()  # and the drive is not left reserved


def test_a_null_drive_has_no_capacity() -> None:
    with pytest.raises(UsageError, match="has no end"):
        open_drive("null:", name="R1", capacity=5)


def test_trouble_can_stand_in_the_spec(tmp_path: Path) -> None:
    with open_drive(f"vtape:{tmp_path}?fail_write=2&fail_filemark=9", name="R1") as drive:
        drive.new_cartridge("A")
        drive.load("A")
        drive.write(b"x")
        with pytest.raises(DeviceError):
            drive.write(b"x")


@pytest.mark.parametrize(
    ("capacity", "zone"),
    [(1, 0), (2 * MIB, MIB), (16 * MIB, 4 * MIB), (64 * MIB, 8 * MIB), (10**12, 64 * MIB)],
)
def test_the_zone_of_early_warning(capacity: int, zone: int) -> None:
    assert early_warning_bytes(capacity) == zone


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match=rf"drive R1: its folder {tmp_path}/file cannot be used \(File exists\)"):
        open_drive(f"vtape:{tmp_path}/file", name="R1")
