"""A real changer and its drives: found by serial number, and a backup that goes through them."""

from __future__ import annotations

import re
from collections.abc import Collection

import pytest
from scenery import Scene
from tapeguest import Guest, Shape
from tapeguest.control import HARDWARE_ERROR, MOVE_MEDIUM

pytestmark = pytest.mark.slow
SHAPE = Shape(drives=2, tapes=4, changer=True)

AGENTS = """
[backup.nightly.BMA1]
drive = "R1"
buffers = { B1 = "docs" }
[mirror.1.BMA2]
drive = "R2"
buffers = { B1 = "BMA1.B1" }
"""


def scene_of(
    guest: Guest,
    name: str,
    *,
    first: str = "/dev/nst0",
    second: str = "/dev/nst1",
    library: Collection[str] = ("R1", "R2"),
) -> Scene:
    drives = {"R1": first, "R2": second}
    return Scene(guest, name, drives=drives, library=library, sources={"docs": 256_000}, agents=AGENTS)


def inventory(scene: Scene) -> dict[str, str | None]:
    """What the cartridges are in, the bays by their drives."""
    return {one["drive"] or one["element"]: one["barcode"] for one in scene.json("inventory") if one["full"]}


def test_the_inventory_is_what_mtx_says(guest: Guest) -> None:
    scene = scene_of(guest, "inventory")
    scene.run("mount", "T00002L5", "--drive", "R2")
    said = guest.run("mtx -f /dev/sg0 status").output
    bays = {f"R{int(n) + 1}": tag for n, tag in re.findall(r"Transfer Element (\d+):Full.*?VolumeTag = (\S+)", said)}
    slots = {f"slot {n}": tag for n, tag in re.findall(r"Storage Element (\d+):Full :VolumeTag=(\S+)", said)}
    assert (
        bays | slots
        == inventory(scene)
        == {
            "R2": "T00002L5",
            "slot 1": "T00001L5",
            "slot 3": "T00003L5",
            "slot 4": "T00004L5",
        }
    )


def test_mounting_and_unmounting(guest: Guest) -> None:
    scene = scene_of(guest, "mounting")
    assert "T00003L5 is in drive R1" in scene.run("mount", "T00003L5")
    assert guest.control.places()["drive 0"] == "T00003L5"
    scene.run("mount", "T00001L5", "--drive", "R1")
    assert inventory(scene) == {
        "R1": "T00001L5",
        "slot 2": "T00002L5",
        "slot 3": "T00003L5",
        "slot 4": "T00004L5",
    }
    assert "went from drive R1" in scene.run("unmount", "R1")
    assert "cartridge T00009L5 is not in library L1" in scene.run("mount", "T00009L5", status=2)


def test_looking_at_labels_and_taking_out(guest: Guest) -> None:
    """R1 in the library has its cartridge put away afterwards, R2 keeps what somebody has put into it."""
    scene = scene_of(guest, "looking", library=("R1",))
    assert "cartridge T00003L5 in drive R1 is blank" in scene.run("load", "T00003L5", "--drive", "R1")
    assert guest.control.places()["slot 2"] == "T00003L5"
    scene.run("mount", "T00003L5", "--drive", "R1")
    assert "drive R1 is empty now; T00003L5 was in it" in scene.run("unload", "--drive", "R1")
    assert guest.control.places()["slot 2"] == "T00003L5"
    guest.control.load(1, "T00002L5")
    assert "cartridge T00002L5 in drive R2 is blank" in scene.run("load", "--drive", "R2")
    assert "drive R2 is empty now; T00002L5 was in it" in scene.run("unload", "--drive", "R2")
    assert "drive R2 is empty\n" in scene.run("unload", "--drive", "R2")


def test_a_drive_is_found_by_its_serial_number(guest: Guest) -> None:
    """Whatever its node is called today."""
    scene = scene_of(guest, "swapped", first="/dev/nst1", second="/dev/tape/by-id/scsi-DRV00001-nst")
    scene.run("mount", "T00001L5", "--drive", "R1")
    assert guest.control.places()["drive 1"] == "T00001L5"


def test_backup_restore_and_the_door(guest: Guest) -> None:
    scene = scene_of(guest, "backup")
    scene.run("backup")
    volumes = scene.json("volumes")
    assert [(one["drive"], one["cartridge"]) for one in volumes] == [("L1", "T00001L5"), ("L1", "T00002L5")]
    assert set(inventory(scene).values()) == {"T00001L5", "T00002L5", "T00003L5", "T00004L5"}
    assert all(place.startswith("slot") for place in inventory(scene))
    assert scene.restored("docs")
    scene.run("import-export", "--out", volumes[1]["label"], "--yes")
    assert "import/export slot 1" in inventory(scene)
    scene.run("import-export", "--in")
    assert all(place.startswith("slot") for place in inventory(scene))


def test_an_arm_that_fails_is_one_sentence(guest: Guest) -> None:
    scene = scene_of(guest, "arm")
    guest.control.fail(None, MOVE_MEDIUM, key=HARDWARE_ERROR, asc=0x15, ascq=0x01)
    said = scene.run("mount", "T00001L5", status=3)
    assert "moving T00001L5 from slot 1 to bay 0: mechanical positioning error" in said
