"""A virtual library through the command line: backup onto two drives of it, restore, mounting, the door."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_world import Said, Site

from tapeloom.config import load
from tapeloom.ops.mounts import open_configured

DRIVES = 'R1 = "vtape:tapes/R1"\nR2 = "vtape:tapes/R2"\nR3 = "vtape:tapes/R3"\n'
LIBRARY = """\
R1 = "vlib:lib?bay=0"
R2 = "vlib:lib?bay=1"
[libraries]
L1 = "vlib:lib?drives=2&slots=8&import_export=2&cartridges=5"
"""
SPANNING = """\
R1 = { device = "vlib:lib?bay=0", capacity = "400KiB" }
R2 = { device = "vlib:lib?bay=1", capacity = "600KiB" }
[libraries]
L1 = "vlib:lib?drives=2&slots=20&cartridges=12"
"""
NAMES = [f"V{n:05d}L9" for n in range(1, 6)]


@pytest.fixture
def library(site: Site) -> Site:
    site.configure((DRIVES, LIBRARY))
    site.good("inventory")  # makes it
    return site


def shelves(site: Site, *words: str) -> dict[str, str]:
    """Cartridges, and what they are in."""
    found = site.good("inventory", "--json", *words).json
    return {one["barcode"]: one["element"] for one in found if one["full"]}


def refused(said: Said, status: int, words: str) -> None:
    assert said.status == status, said
    assert words in said.err
    assert said.err.startswith("tapeloom: ")
    assert len(said.err.splitlines()) == 1


def restored(site: Site) -> dict[str, bytes]:
    target = site.folder / "out"
    for source in ("docs", "mail"):
        site.good("restore", source, "--to", str(target / source))
    return {path.name: path.read_bytes() for path in target.rglob("*.bin")}


def test_backup_and_restore(library: Site) -> None:
    assert library.good("inventory").out.startswith("element")
    library.good("backup")
    volumes = library.good("volumes", "--json").json
    assert {(one["drive"], one["cartridge"]) for one in volumes} == {("L1", "V00001L9"), ("L1", "V00002L9")}
    assert shelves(library) == {name: f"slot {n}" for n, name in enumerate(NAMES, 1)}
    known = {one["barcode"]: one for one in library.good("inventory", "--json").json}
    assert (known["V00001L9"]["state"], known["V00001L9"]["pool"]) == ("appendable", "default")
    assert known["V00003L9"]["volume"] is None
    assert restored(library) == {"large.bin": bytes(range(256)) * 1000}
    library.good("backup")  # each goes on with a volume that the other has not
    assert len(library.good("volumes", "--json").json) == 2
    library.good("verify")


def test_objects_go_on_on_a_second_cartridge(site: Site) -> None:
    site.configure((DRIVES, SPANNING))
    site.good("backup")
    copies = [copy for one in site.good("objects", "--json").json for copy in one["copies"]]
    assert any(len(copy["volumes"]) > 1 for copy in copies)
    assert all(copy["status"] == "complete" for copy in copies)
    by_agent = {agent: {v for c in copies if c["agent"] == agent for v in c["volumes"]} for agent in ("BMA1", "BMA2")}
    assert not by_agent["BMA1"] & by_agent["BMA2"]
    assert restored(site) == {"large.bin": bytes(range(256)) * 1000}


def test_what_is_not_there_and_not_waited_for(site: Site) -> None:
    site.configure((DRIVES, SPANNING))
    (site.folder / "data" / "docs" / "first").write_text("on the first volume")
    site.good("backup")
    (copy,) = [one for one in site.good("objects", "docs", "--json").json[0]["copies"] if one["agent"] == "BMA1"]
    lib, out = site.folder / "lib", site.folder / "out"

    def gone(*labels: str) -> None:
        for label in labels:
            (lib / f"{label}.index").unlink()
        site.good("inventory", "--scan")

    gone(copy["volumes"][1])
    refused(site.run("cat", "docs", "--copy", "BMA1", "--no-wait"), 1, "; not all was written out")
    refused(
        site.run("restore", "docs", "--copy", "BMA1", "--to", str(out / "a"), "--no-wait"), 1, "not all was restored"
    )
    assert [one.name for one in (out / "a").iterdir()] == ["first"], "what was restored stays"
    gone(copy["volumes"][0])
    absent = f"volume {copy['volumes'][0]} is not there: library L1: "
    refused(site.run("cat", "docs", "--copy", "BMA1", "--no-wait"), 3, absent)
    refused(site.run("restore", "docs", "--copy", "BMA1", "--to", str(out / "b" / "c"), "--no-wait"), 3, absent)
    assert [one.name for one in out.iterdir()] == ["a"], "what was made for nothing is gone again"
    gone(*(file.stem for file in lib.glob("*.index")))
    said = site.run("backup", "--no-wait")
    assert said.status == 3
    assert "BMA1 (drive R1) failed: nothing was written: there is no " in said.out
    assert "waits for" not in said.out + said.err


def test_a_copy_within_one_library(library: Site) -> None:
    """Read in one drive of it, written in the other, and never onto the volume that is read."""
    library.configure(
        (DRIVES, LIBRARY),
        ('[mirror.1.BMA2]\ndrive = "R2"\nbuffers = { B1 = "BMA1.B1" }\n', '[restore.v.RMA1]\ndrive = "R1"\n'
         'buffers = { B1 = "docs" }\n[copy.1.C1]\ndrive = "R2"\nbuffers = { B1 = "RMA1.B1" }\n'),
    )  # fmt: skip
    library.good("backup")
    library.good("copy")
    found = next(one for one in library.good("objects", "docs", "--json").json)
    assert [copy["volumes"] for copy in found["copies"]] == [["V00001L9"], ["V00002L9"]]
    library.good("compact", "V00001L9", "--to", "R1", "--fewer-copies")
    moved = library.good("objects", "docs", "--json").json[0]
    assert list({copy["status"] for copy in moved["copies"] if "V00001L9" not in copy["volumes"]}) == ["complete"]


def test_mounting(library: Site) -> None:
    library.good("backup")
    assert "V00002L9 is in drive R1 of library L1" in library.good("mount", "V00002L9").out
    assert shelves(library)["V00002L9"] == "bay 0"
    said = library.good("mount", "V00003L9", "--drive", "R1")
    assert said.out == "V00002L9 went from drive R1 to slot 2\nV00003L9 is in drive R1 of library L1\n"
    assert shelves(library)["V00002L9"] == "slot 2"
    library.good("mount", "V00003L9", "--drive", "R2")
    assert shelves(library)["V00003L9"] == "bay 1"
    library.good("mount", "V00001L9", "--drive", "R2")
    library.good("backup")  # R1 wants what stands in R2
    assert set(shelves(library).values()) == {f"slot {n}" for n in range(1, 6)}
    assert "drive R1 was empty" in library.good("unmount", "R1").out
    library.good("mount", "V00005L9")
    assert "V00005L9 went from drive R1" in library.good("unmount", "R1").out


def test_loading_looks_and_mounting_leaves_it_in(library: Site) -> None:
    library.good("backup")
    assert library.good("load", "V00002L9", "--drive", "R1").out.startswith(
        "cartridge V00002L9 in drive R1 is volume V00002L9 ("
    )
    assert shelves(library)["V00002L9"] == "slot 2"
    library.good("mount", "V00002L9", "--drive", "R1")
    assert library.good("unload", "--drive", "R1").out == "drive R1 is empty now; V00002L9 was in it\n"
    assert shelves(library)["V00002L9"] == "slot 2"
    assert library.good("unload", "--drive", "R1").out == "drive R1 is empty\n"


def test_through_the_door(library: Site) -> None:
    assert "V6: import/export slot 1 -> slot 6" in library.good("import-export", "--put", "V6", "--in").out
    assert "V6: slot 6 -> import/export slot 1" in library.good("import-export", "--out", "V6", "--yes").out
    assert "import/export slot 1  V6" in library.good("import-export").out
    refused(library.run("mount", "V6"), 3, "import/export slot 1")
    refused(library.run("import-export", "--out", "V00001L9"), 2, "There is no terminal to ask on")
    refused(library.run("import-export", "--out", *NAMES, "--yes"), 2, "5 cartridges do not go into 1 free")
    refused(library.run("import-export", "--put", "V6"), 2, "there is a cartridge V6 already")
    refused(library.run("import-export", "--put", ".x"), 2, "cannot name a cartridge")
    refused(library.run("import-export", "--put", "A", "--put", "B"), 2, "2 cartridges do not go into 1 free")
    refused(library.run("import-export", "--in", "--out", "V6"), 2, "opposite directions")
    refused(library.run("import-export", "--out"), 2, "needs volumes")
    refused(library.run("import-export", "V6"), 2, "what is to become of V6")


def test_what_was_labelled_before_a_wrong_name_is_told(library: Site) -> None:
    said = library.run("label", "V00001L9", "NOPE", "--drive", "R1")
    assert said.out == "V00001L9: appendable, pool default, cartridge V00001L9 of L1\n"
    refused(said, 2, "there is no cartridge NOPE")


def test_a_cartridge_that_is_named_twice_goes_out_once(library: Site) -> None:
    library.good("label", "V00001L9")
    library.good("relabel", "V00001L9", "MON", "--drive", "R1", "--yes")
    out = library.good("import-export", "--out", "MON", "V00001L9", "--yes").out
    assert out == "V00001L9: slot 1 -> import/export slot 1\n"


def test_wrong_names(library: Site) -> None:
    refused(library.run("inventory", "L2"), 2, 'there is no library "L2"')
    refused(library.run("mount", "V9"), 2, "cartridge V9 is not in library L1")
    refused(library.run("mount", "V00001L9", "--drive", "R7"), 2, 'there is no drive "R7"')
    refused(library.run("unmount", "R7"), 2, 'there is no drive "R7"')


def test_a_volume_that_is_not_there_is_no_wrong_name(library: Site, tmp_path: Path) -> None:
    library.good("label", "V00001L9")
    for part in ("tape", "index"):
        (tmp_path / "lib" / f"V00001L9.{part}").rename(tmp_path / f"V00001L9.{part}")
    library.good("inventory", "--scan")
    refused(library.run("mount", "V00001L9"), 3, "cartridge V00001L9 is not in library L1")
    refused(library.run("import-export", "--out", "V00001L9", "--yes"), 3, "there is no cartridge V00001L9")


def test_a_library_is_made_once_and_that_is_said(site: Site, tmp_path: Path) -> None:
    site.configure((DRIVES, LIBRARY))
    made = site.good("backup").err.splitlines()[0]
    assert made == f"Made library L1 in {tmp_path / 'lib'}: 2 drives, 8 slots, 5 cartridges."
    assert "Made" not in site.good("inventory").err


@pytest.mark.parametrize("there", [False, True])
def test_a_library_whose_folder_is_lost_is_not_made_anew(library: Site, tmp_path: Path, there: bool) -> None:
    library.good("label", "V00001L9")
    library.file.write_text(library.file.read_text().replace("vlib:lib?", "vlib:lob?"))
    if there:
        (tmp_path / "lob").mkdir()  # what it is on is not mounted
    for verb in (("inventory",), ("backup",), ("label",)):
        refused(library.run(*verb), 3, f"there is none in {tmp_path / 'lob'}, where volume V00001L9 should be")
    assert (list((tmp_path / "lob").iterdir()) if there else (tmp_path / "lob").exists()) in ([], False)
    library.good("retire", "V00001L9", "--reason", "lost", "--yes")
    assert library.good("inventory").err.startswith("Made library L1")


def test_any_drive_of_a_library_labels(library: Site) -> None:
    with open_configured(load(library.file), "R1"):
        said = library.good("label", "V00002L9")
        assert said.err == "Drive R2 of library L1 is free: it is used.\n"
        assert said.out == "V00002L9: appendable, pool default, cartridge V00002L9 of L1\n"
    assert len(library.good("label", "--yes").out.splitlines()) == 4
    assert library.good("label", "--drive", "R1").err == "drive R1 has no blank cartridge\n"


def test_a_library_beside_a_drive_that_stands_alone(site: Site) -> None:
    site.configure((DRIVES, LIBRARY.replace("[libraries]", 'R3 = "vtape:tapes/R3"\n[libraries]')))
    assert "of library L1 is free" in site.good("label", "V00002L9").err
    for names in ((), ("X",)):
        refused(site.run("label", *names), 2, "--drive says which of R1, R2, R3 is meant")


def test_without_a_library(site: Site) -> None:
    refused(site.run("inventory"), 2, "there is no library")
    refused(site.run("mount", "X"), 2, "there is no library")
    refused(site.run("unmount", "R1"), 2, "drive R1 stands in no library")


def test_a_drive_that_somebody_has(library: Site) -> None:
    with open_configured(load(library.file), "R1"):
        refused(library.run("mount", "V00001L9", "--drive", "R1"), 3, "drive R1")
        assert "drive R2" in library.good("mount", "V00001L9").out
        refused(library.run("unmount", "R1"), 3, "held by pid")


@pytest.mark.parametrize("words", [("unmount", "R1"), ("unload", "--drive", "R1")])
def test_a_cartridge_that_cannot_be_read_is_unmounted_all_the_same(
    library: Site, tmp_path: Path, words: tuple[str, ...]
) -> None:
    library.good("mount", "V00001L9", "--drive", "R1")
    (tmp_path / "lib" / "V00001L9.index").write_bytes(b"none of ours")
    library.good(*words)
    assert shelves(library)["V00001L9"] == "slot 1"


def test_scan(library: Site, tmp_path: Path) -> None:
    library.good("inventory")
    for part in ("tape", "index"):
        (tmp_path / "lib" / f"V00002L9.{part}").rename(tmp_path / f"V00002L9.{part}")
    assert "its files are not in the folder any more" in library.good("inventory").out
    assert "V00002L9" not in shelves(library, "--scan")
