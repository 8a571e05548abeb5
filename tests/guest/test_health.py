"""What real drives tell of themselves and of their cartridges, and what becomes of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tapeguest import Guest, Shape
from tapeguest.control import ILLEGAL_REQUEST, MEDIUM_ERROR, WRITE

pytestmark = pytest.mark.slow
MIB = 1 << 20
CAPACITY = 64 * MIB
SHAPE = Shape(drives=2, tapes=4, changer=True, capacity=CAPACITY)

LOG_SENSE, READ_ATTRIBUTE = 0x4D, 0x8C
CONFIGURATION = """\
[server]
state = "state"
block = "64KiB"
memory = "4MiB"
[libraries]
L1 = "/dev/sg0"
[drives]
R1 = {{ device = "/dev/nst0", library = "L1" }}
R2 = "{second}"
[sources]
docs = "{docs}"
[backup.nightly.BMA1]
drive = "R1"
buffers = {{ B1 = "docs" }}
[backup.alone.BMA2]
drive = "R2"
buffers = {{ B1 = "docs" }}
"""


VERBS = """\
import json, sys
from tapeguest import Control
from tapeloom.cli.main import main
for line in sys.argv[2:]:
    first, *rest = line.split()
    if first == "alert":
        Control.from_environment().alert(*map(int, rest))
    else:
        status = main(["-c", sys.argv[1], first, *rest])
        sys.stderr.flush()
        print(f"\\n=== {status}", flush=True)
"""
"""One start of the interpreter, which an emulated processor takes long for."""


class Site:
    """A configuration in a folder of its own, and command lines run in the guest: R1 in a library, R2 alone."""

    def __init__(self, guest: Guest, name: str, second: str = "/dev/nst1"):
        self.guest = guest
        self.folder = guest.folder / name
        docs = self.folder / "docs"
        docs.mkdir(parents=True)
        (docs / "file").write_bytes(bytes(range(256)) * 20000)
        self.file = self.folder / "tapeloom.toml"
        self.file.write_text(CONFIGURATION.format(docs=docs, second=second))

    def run(self, *lines: str) -> list[tuple[str, int]]:
        """What each verb said, and its exit status; "alert DRIVE FLAG..." raises flags."""
        result = self.guest.python("-c", VERBS, str(self.file), *lines)
        assert result.status == 0, result.output
        assert "Traceback" not in result.output
        parts = re.split(r"\n=== (\d+)\n", result.output)
        return list(zip(parts[::2], map(int, parts[1::2]), strict=False))


def rows(output: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output[output.index("[\n") :])
    return found


MEDIA = "TapeAlert 4, media: copy what is on it to another cartridge, and do not use this one again"


def test_a_bad_tape_is_seen_and_not_written_again(guest: Guest) -> None:
    site = Site(guest, "bad")
    guest.control.counters(0, hours=1234, meters=56789)
    lines = "backup nightly", "volumes --json", "drives --json", "backup nightly", "drives", "volumes"
    told = site.run("alert 0 4 21", *lines)
    assert [status for _, status in told] == [0] * 6
    first, volumes, drives, second, drives_shown, volumes_shown = (output for output, _ in told)

    assert f"volume T00001L5: {MEDIA}" in first
    assert "drive R1: TapeAlert 21, clean periodic: the drive is due to be cleaned" in first

    (volume,) = rows(volumes)
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

    one, other = rows(drives)
    assert [flag["number"] for flag in one["alerts"]] == [21]  # the drive has forgotten it, the catalog has not
    assert (one["serial"], one["library"], one["bay"], one["cartridge"]) == ("DRV00001", "L1", "bay 0", None)
    assert one["what"].startswith("TAPELOOM TEST DRIVE")
    assert one["status"] == "free"
    assert one["block_bytes_max"] >= one["direct_bytes_max"] > 0
    assert one["health"]["drive"] == {"power_on_hours": 1234, "meters": 56789}
    assert (other["library"], other["cartridge"], other["status"]) == (None, None, "free")

    assert "volume T00001L5 is left alone: at its mount in drive R1" in second
    assert "TapeAlert 21" not in drives_shown  # the mount after it raised none
    assert "R1: 1,234 hours switched on, 56,789 meters of tape" in drives_shown
    assert re.search(r"^volume .* loads +left +errors$", volumes_shown, re.MULTILINE)
    assert re.search(r"^T00002L5 .* 1 +5\d MiB +0$", volumes_shown, re.MULTILINE)
    assert f"T00001L5, {volume['doubt']}" in volumes_shown


def test_a_drive_without_log_pages_and_one_that_fails(guest: Guest) -> None:
    """R2 has nothing to tell; then it has, and says it with the failure, behind the last filemark."""
    site = Site(guest, "silent")
    guest.control.load(1, "T00003L5")
    for opcode in (LOG_SENSE, READ_ATTRIBUTE):
        guest.control.fail(1, opcode, key=ILLEGAL_REQUEST, asc=0x20, times=10_000)
    (silent, well), (volumes, _), (drives, _) = site.run("alert 1 6", "backup alone", "volumes --json", "drives --json")
    assert well == 0
    assert "TapeAlert" not in silent
    assert [one["health"] for one in rows(volumes)] == [None]
    assert [one["told_at"] for one in rows(drives)][1] is None

    guest.control.heal(1)
    guest.control.load(1, "T00004L5")  # the other one got its name while nobody could read its barcode
    guest.control.fail(1, WRITE, key=MEDIUM_ERROR, asc=0x0C, after=40)
    guest.control.counters(1, unwritten=3)
    (failed, status), (volumes, _) = site.run("backup alone", "volumes --json")
    assert status != 0
    assert "TapeAlert 6, write failure" in failed
    newest = rows(volumes)[-1]["health"]
    assert (newest["cartridge"]["write_errors"], newest["writing"]["uncorrected"]) == (3, 3)
    assert [one["number"] for one in newest["alerts"]] == [6]


def test_reading_a_volume_tells_of_it_too(guest: Guest) -> None:
    site = Site(guest, "reading")
    told = site.run("backup nightly", "alert 0 5", "verify docs", "volumes --json")
    assert [status for _, status in told] == [0, 0, 0], told
    (volume,) = rows(told[-1][0])
    assert [one["number"] for one in volume["health"]["alerts"]] == [5]
    assert volume["health"]["cartridge"]["loads"] == 2
    assert "TapeAlert 5, read failure" in volume["doubt"]


def test_drives_that_cannot_be_had(guest: Guest) -> None:
    site = Site(guest, "held", second="/dev/nst9")
    hold = (
        "import os, subprocess, sys; fd = os.open('/dev/nst0', os.O_RDWR | os.O_NONBLOCK); "
        "sys.exit(subprocess.call([sys.executable, '-m', 'tapeloom.cli.main', '-c', sys.argv[1], 'drives']))"
    )
    result = guest.python("-c", hold, str(site.file))
    assert result.status == 1, result.output
    assert "drive R1 (/dev/nst0) is held by pid" in result.output
    assert "drive R2: /dev/nst9 cannot be looked at" in result.output
