"""What real drives tell of themselves and of their cartridges, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tapeguest import Guest, Shape
from tapeguest.control import ILLEGAL_REQUEST, MEDIUM_ERROR, WRITE

pytestmark = pytest.mark.slow
MIB = 1 << 20
SHAPE = Shape(drives=2, tapes=4, changer=True, capacity=64 * MIB)

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

    def run(self, *words: str, status: int = 0) -> str:
        result = self.guest.python("-m", "tapeloom.cli.main", "-c", str(self.file), *words)
        assert result.status == status, result.output
        assert "Traceback" not in result.output
        return result.output

    def rows(self, verb: str, status: int = 0) -> list[dict[str, Any]]:
        output = self.run(verb, "--json", status=status)
        found: list[dict[str, Any]] = json.loads(output[output.index("[\n") :])
        return found


def test_what_is_in_the_cartridges_memory_is_kept_with_the_volume(guest: Guest) -> None:
    site = Site(guest, "memory")
    assert "loads" not in site.run("backup", "nightly") + site.run("objects")
    (volume,) = site.rows("volumes")
    told = volume["health"]
    memory = told["cartridge"]
    assert (told["drive"], told["alerts"]) == ("R1", [])
    assert (memory["barcode"], memory["kind"], memory["loads"]) == ("T00001L5", "data", 1)
    used = sum(length or 0 for length in guest.control.layout("T00001L5"))
    assert (memory["capacity"], memory["remaining"]) == (64 * MIB, (64 * MIB - used) // MIB * MIB)
    assert memory["written"] == used // MIB * MIB
    assert (memory["write_errors"], memory["read_errors"]) == (0, 0)
    assert told["writing"]["uncorrected"] == 0
    shown = site.run("volumes")
    assert "loads  left" in " ".join(shown.split("\n")[0].split("  ")).replace("   ", "  ") or "loads" in shown


def test_a_bad_tape_is_not_written_again_while_there_is_another(guest: Guest) -> None:
    site = Site(guest, "bad")
    guest.control.alert(0, 4, 21)
    told = site.run("backup", "nightly")
    media = "TapeAlert 4, media: copy what is on it to another cartridge, and do not use this one again"
    assert f"volume T00001L5: {media}" in told
    assert "drive R1: TapeAlert 21, clean periodic: the drive is due to be cleaned" in told
    assert f"T00001L5, at its mount in drive R1 on " in site.run("volumes")
    assert [one["number"] for one in site.rows("drives")[0]["alerts"]] == [21]
    again = site.run("backup", "nightly")
    assert "volume T00001L5 is left alone: at its mount in drive R1" in again
    assert [(one["volume"], one["objects"]) for one in site.rows("volumes")] == [("T00001L5", 1), ("T00002L5", 1)]
    assert site.rows("volumes")[0]["doubt"].endswith(media)
    assert site.rows("drives")[0]["alerts"] == []  # the mount after it raised none


def test_a_bad_tape_is_written_for_want_of_another(guest: Guest) -> None:
    site = Site(guest, "want")
    guest.control.load(1, "T00003L5")
    guest.control.alert(1, 6)
    site.run("backup", "alone")
    told = site.run("backup", "alone")
    assert "volume T00003L5 is written to for want of another one, though: at its mount in drive R2" in told
    third = site.run("backup", "alone")
    assert "TapeAlert" not in third  # drive or cartridge, nobody knew which, and the next mount went well


def test_what_a_failed_mount_says_is_kept(guest: Guest) -> None:
    """The flags come with the failure, and after the last filemark."""
    site = Site(guest, "failed")
    guest.control.load(1, "T00003L5")
    guest.control.fail(1, WRITE, key=MEDIUM_ERROR, asc=0x0C, after=40)
    guest.control.counters(1, unwritten=3)
    told = site.run("backup", "alone", status=3)
    assert "TapeAlert" not in told
    (volume,) = site.rows("volumes")
    assert volume["health"]["cartridge"]["write_errors"] == 3
    assert volume["health"]["writing"]["uncorrected"] == 3


def test_reading_a_volume_tells_of_it_too(guest: Guest) -> None:
    site = Site(guest, "reading")
    site.run("backup", "nightly")
    guest.control.alert(0, 5)
    site.run("verify", "docs")
    (volume,) = site.rows("volumes")
    assert [one["number"] for one in volume["health"]["alerts"]] == [5]
    assert volume["health"]["cartridge"]["loads"] == 2
    assert "TapeAlert 5, read failure" in volume["doubt"]


def test_a_drive_without_log_pages_works(guest: Guest) -> None:
    site = Site(guest, "silent")
    guest.control.load(1, "T00003L5")
    for opcode in (LOG_SENSE, READ_ATTRIBUTE):
        guest.control.fail(1, opcode, key=ILLEGAL_REQUEST, asc=0x20, times=10_000)
    guest.control.alert(1, 4)
    assert "TapeAlert" not in site.run("backup", "alone")
    (volume,) = site.rows("volumes")
    assert volume["health"] is None
    assert "loads" not in site.run("volumes")
    assert site.rows("drives")[1]["told_at"] is None


def test_what_the_drives_are(guest: Guest) -> None:
    site = Site(guest, "drives")
    guest.control.load(0, "T00002L5")
    guest.control.counters(1, hours=1234, meters=56789)
    guest.control.alert(1, 20)
    first, second = site.rows("drives")
    assert (first["library"], first["bay"], first["cartridge"]) == ("L1", "bay 0", "T00002L5")
    assert (first["serial"], first["status"]) == ("DRV00001", "free")
    assert first["what"].startswith("TAPELOOM TEST DRIVE")
    assert first["block_bytes_max"] >= first["direct_bytes_max"] > 0
    assert (second["library"], second["cartridge"]) == (None, None)
    assert second["drive"] == "R2"
    site.run("backup", "nightly")  # makes a catalog
    shown = site.run("drives")
    assert "R2: 1,234 hours switched on, 56,789 meters of tape" in shown
    assert "TapeAlert 20, clean now: the drive must be cleaned before it is used again" in shown
    assert "TapeAlert 20" in site.run("drives")  # the drive has forgotten it, the catalog has not
    assert guest.control.places()["drive 0"] is None
    assert site.rows("volumes")[0]["volume"] == "T00002L5"


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
