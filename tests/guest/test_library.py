"""A real changer and its drives: found by serial number, and a backup that goes through them."""

from __future__ import annotations

import json
import re

import pytest
from tapeguest import Guest, Shape
from tapeguest.control import HARDWARE_ERROR, MOVE_MEDIUM

pytestmark = pytest.mark.slow
SHAPE = Shape(drives=2, tapes=4, changer=True)

CONFIGURATION = """\
[server]
state = "state"
block = "64KiB"
memory = "4MiB"
[libraries]
L1 = "/dev/sg0"
[drives]
R1 = {{ device = "{first}", library = "L1" }}
R2 = {{ device = "{second}", library = "L1" }}
[sources]
docs = "/work/docs"
[backup.nightly.BMA1]
drive = "R1"
buffers = {{ B1 = "docs" }}
[mirror.1.BMA2]
drive = "R2"
buffers = {{ B1 = "BMA1.B1" }}
"""


class Site:
    """A configuration in a folder of its own, and command lines run in the guest."""

    def __init__(self, guest: Guest, name: str, first: str = "/dev/nst0", second: str = "/dev/nst1"):
        self.guest = guest
        self.folder = guest.folder / name
        docs = self.folder / "docs"
        docs.mkdir(parents=True)
        (docs / "file").write_bytes(bytes(range(256)) * 1000)
        text = CONFIGURATION.format(first=first, second=second).replace("/work/docs", str(docs))
        self.file = self.folder / "tapeloom.toml"
        self.file.write_text(text)

    def run(self, *words: str, status: int = 0) -> str:
        result = self.guest.python("-m", "tapeloom.cli.main", "-c", str(self.file), *words)
        assert result.status == status, result.output
        assert "Traceback" not in result.output
        return result.output

    def inventory(self) -> dict[str, str | None]:
        """What the cartridges are in, the bays by their drives."""
        output = self.run("inventory", "--json")
        found = json.loads(output[output.index("[\n") :])
        return {one["drive"] or one["element"]: one["barcode"] for one in found if one["full"]}


def test_the_inventory_is_what_mtx_says(guest: Guest) -> None:
    site = Site(guest, "inventory")
    site.run("mount", "T00002L5", "--drive", "R2")
    said = guest.run("mtx -f /dev/sg0 status").output
    bays = {f"R{int(n) + 1}": tag for n, tag in re.findall(r"Transfer Element (\d+):Full.*?VolumeTag = (\S+)", said)}
    slots = {f"slot {n}": tag for n, tag in re.findall(r"Storage Element (\d+):Full :VolumeTag=(\S+)", said)}
    assert (
        bays | slots
        == site.inventory()
        == {
            "R2": "T00002L5",
            "slot 1": "T00001L5",
            "slot 3": "T00003L5",
            "slot 4": "T00004L5",
        }
    )


def test_mounting_and_unmounting(guest: Guest) -> None:
    site = Site(guest, "mounting")
    assert "T00003L5 is in drive R1" in site.run("mount", "T00003L5")
    assert guest.control.places()["drive 0"] == "T00003L5"
    site.run("mount", "T00001L5", "--drive", "R1")
    assert site.inventory() == {
        "R1": "T00001L5",
        "slot 2": "T00002L5",
        "slot 3": "T00003L5",
        "slot 4": "T00004L5",
    }
    assert "went from drive R1" in site.run("unmount", "R1")
    assert "cartridge T00009L5 is not in library L1" in site.run("mount", "T00009L5", status=3)


def test_a_drive_is_found_by_its_serial_number(guest: Guest) -> None:
    """Whatever its node is called today."""
    site = Site(guest, "swapped", first="/dev/nst1", second="/dev/tape/by-id/scsi-DRV00001-nst")
    site.run("mount", "T00001L5", "--drive", "R1")
    assert guest.control.places()["drive 1"] == "T00001L5"


def test_backup_restore_and_the_door(guest: Guest) -> None:
    site = Site(guest, "backup")
    site.run("backup")
    volumes = json.loads(site.run("volumes", "--json"))
    assert [(one["drive"], one["cartridge"]) for one in volumes] == [("L1", "T00001L5"), ("L1", "T00002L5")]
    assert set(site.inventory().values()) == {"T00001L5", "T00002L5", "T00003L5", "T00004L5"}
    assert all(place.startswith("slot") for place in site.inventory())
    target = site.folder / "out"
    site.run("restore", "docs", "--to", str(target))
    assert (site.folder / "docs" / "file").read_bytes() in [path.read_bytes() for path in target.rglob("file")]
    site.run("import-export", "--out", volumes[1]["label"], "--yes")
    assert "mail 1" in site.inventory()
    site.run("import-export", "--in")
    assert all(place.startswith("slot") for place in site.inventory())


def test_an_arm_that_fails_is_one_sentence(guest: Guest) -> None:
    site = Site(guest, "arm")
    guest.control.fail(None, MOVE_MEDIUM, key=HARDWARE_ERROR, asc=0x15, ascq=0x01)
    said = site.run("mount", "T00001L5", status=3)
    assert "moving T00001L5 from slot 1 to bay 0: mechanical positioning error" in said
