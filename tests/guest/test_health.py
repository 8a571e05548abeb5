"""What real drives tell of themselves and of their cartridges, and what becomes of it."""

from __future__ import annotations

import re

import pytest
from scenery import Scene
from tapeguest import Guest, Shape
from tapeguest.control import ILLEGAL_REQUEST, MEDIUM_ERROR, WRITE

pytestmark = pytest.mark.slow
MIB = 1 << 20
CAPACITY = 64 * MIB
SIZE = 5 * MIB
SHAPE = Shape(drives=2, tapes=4, changer=True, capacity=CAPACITY)

LOG_SENSE, READ_ATTRIBUTE = 0x4D, 0x8C
AGENTS = """
[backup.nightly.BMA1]
drive = "R1"
buffers = { B1 = "docs" }
[backup.alone.BMA2]
drive = "R2"
buffers = { B1 = "docs" }
"""


def scene_of(guest: Guest, name: str, second: str = "/dev/nst1") -> Scene:
    """R1 stands in a library, R2 alone."""
    drives = {"R1": "/dev/nst0", "R2": second}
    return Scene(guest, name, drives=drives, library=("R1",), sources={"docs": SIZE}, agents=AGENTS)


MEDIA = "TapeAlert 4, media: copy what is on it to another cartridge, and do not use this one again"


def test_a_bad_tape_is_seen_and_not_written_again(guest: Guest) -> None:
    scene = scene_of(guest, "bad")
    guest.control.counters(0, hours=1234, meters=56789)
    guest.control.alert(0, 4, 21)
    first = scene.run("backup", "nightly")
    assert f"volume T00001L5: {MEDIA}" in first
    assert "drive R1: TapeAlert 21, clean periodic: the drive is due to be cleaned" in first

    (volume,) = scene.json("volumes")
    assert volume["doubt"].startswith("at its mount in drive R1 on ")
    assert volume["doubt"].endswith(MEDIA)
    health = volume["health"]
    assert (health["by"], [one["number"] for one in health["alerts"]]) == ("R1", [4])
    memory = health["cartridge"]
    assert (memory["barcode"], memory["kind"], memory["loads"]) == ("T00001L5", "data", 1)
    used = sum(length or 0 for length in guest.control.layout("T00001L5"))
    assert (memory["capacity"], memory["remaining"]) == (CAPACITY, (CAPACITY - used) // MIB * MIB)
    assert memory["written"] == used // MIB * MIB
    assert (memory["write_errors"], memory["read_errors"], health["writing"]["uncorrected"]) == (0, 0, 0)

    one, other = scene.json("drives")
    assert [flag["number"] for flag in one["alerts"]] == [21]  # the drive has forgotten it, the catalog has not
    assert (one["serial"], one["library"], one["bay"], one["cartridge"]) == ("DRV00001", "L1", "bay 0", None)
    assert one["what"].startswith("TAPELOOM TEST DRIVE")
    assert one["status"] == "free"
    assert one["block_bytes_max"] >= one["direct_bytes_max"] > 0
    assert one["health"]["drive"] == {"power_on_hours": 1234, "meters": 56789}
    assert (other["library"], other["cartridge"], other["status"]) == (None, None, "free")

    assert "volume T00001L5 is left alone: at its mount in drive R1" in scene.run("backup", "nightly")
    drives_shown = scene.run("drives")
    assert "TapeAlert 21" not in drives_shown  # the mount after it raised none
    assert "R1: 1,234 hours switched on, 56,789 meters of tape" in drives_shown
    volumes_shown = scene.run("volumes")
    assert re.search(r"^volume .* loads +left +errors$", volumes_shown, re.MULTILINE)
    assert re.search(r"^T00002L5 .* 1 +5\d MiB +0$", volumes_shown, re.MULTILINE)
    assert f"T00001L5, {volume['doubt']}" in volumes_shown


def test_a_drive_without_log_pages_and_one_that_fails(guest: Guest) -> None:
    """R2 has nothing to tell; then it has, and says it with the failure, behind the last filemark."""
    scene = scene_of(guest, "silent")
    guest.control.load(1, "T00003L5")
    for opcode in (LOG_SENSE, READ_ATTRIBUTE):
        guest.control.fail(1, opcode, key=ILLEGAL_REQUEST, asc=0x20, times=10_000)
    guest.control.alert(1, 6)
    assert "TapeAlert" not in scene.run("backup", "alone")
    assert [one["health"] for one in scene.json("volumes")] == [None]
    assert [one["told_at"] for one in scene.json("drives")][1] is None

    guest.control.heal(1)
    guest.control.load(1, "T00004L5")  # the other one got its name while nobody could read its barcode
    guest.control.fail(1, WRITE, key=MEDIUM_ERROR, asc=0x0C, after=40)
    guest.control.counters(1, unwritten=3)
    assert "TapeAlert 6, write failure" in scene.run("backup", "alone", status=3)
    newest = scene.json("volumes")[-1]["health"]
    assert (newest["cartridge"]["write_errors"], newest["writing"]["uncorrected"]) == (3, 3)
    assert [one["number"] for one in newest["alerts"]] == [6]


def test_reading_a_volume_tells_of_it_too(guest: Guest) -> None:
    scene = scene_of(guest, "reading")
    scene.run("backup", "nightly")
    guest.control.alert(0, 5)
    scene.run("verify", "docs")
    (volume,) = scene.json("volumes")
    assert [one["number"] for one in volume["health"]["alerts"]] == [5]
    assert volume["health"]["cartridge"]["loads"] == 2
    assert "TapeAlert 5, read failure" in volume["doubt"]


def test_drives_that_cannot_be_had(guest: Guest) -> None:
    scene = scene_of(guest, "held", second="/dev/nst9")
    hold = (
        "import os, subprocess, sys; fd = os.open('/dev/nst0', os.O_RDWR | os.O_NONBLOCK); "
        "sys.exit(subprocess.call([sys.executable, '-m', 'tapeloom.cli.main', '-c', sys.argv[1], 'drives']))"
    )
    result = guest.python("-c", hold, str(scene.file))
    assert result.status == 1, result.output
    assert "drive R1 (/dev/nst0) is held by pid" in result.output
    assert "drive R2: /dev/nst9 cannot be looked at" in result.output
