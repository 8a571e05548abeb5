"""Whole jobs on real tape nodes: what an operator sees of them."""

from __future__ import annotations

import pytest
from scenery import COMMAND_SECONDS, KIB, Scene, copies_in, json_in, until
from tapeguest import Guest, Shape
from tapeguest.control import MEDIUM_ERROR, WRITE

pytestmark = pytest.mark.slow

MIB = KIB * KIB
BLOCK = 64 * KIB
SHAPE = Shape(drives=6, tapes=8, block_bytes_max=512 * KIB)

ONE = """
[backup.nightly.BMA1]
drive = "R1"
buffers = { B1 = "docs" }
"""
PAIR = f"""{ONE}
[mirror.1.BMA2]
drive = "R2"
buffers = {{ B1 = "BMA1.B1" }}
"""
FAN = ONE + "".join(
    f"""
[mirror.1.BMA{number}]
drive = "R{number}"
buffers = {{ B1 = "BMA1.B1" }}
lag_max = "{"2s" if number == 5 else "10min"}"
"""
    for number in range(2, 7)
)
FIGURE_2 = """
[backup.nightly.BMA124]
drive = "R1"
buffers = { B1 = "D3", B2 = "D2", B3 = "D1" }
[backup.nightly.BMA126]
drive = "R2"
buffers = { B1 = "D4", B3 = "D5" }
[mirror.1.BMA138]
drive = "R5"
buffers = { B2 = "BMA124.B2", B3 = "BMA124.B3" }
[mirror.1.BMA140]
drive = "R8"
buffers = { B1 = "BMA126.B3" }
[mirror.2.BMA144]
drive = "R3"
buffers = { B2 = "BMA138.B2" }
[mirror.2.BMA146]
drive = "R6"
buffers = { B1 = "BMA140.B1" }
"""
BY_HAND = """
set -e
cd {folder}
mt -f {node} setblk 0
mt -f {node} rewind
mt -f {node} fsr 1
dd if={node} of=reader.py bs=64k count=1
mt -f {node} rewind
python3 reader.py list {node}
mt -f {node} rewind
python3 reader.py get {object} object.tar {node}
tar --diff -f object.tar -C data/{source}
"""


def nodes(*names: str) -> dict[str, str]:
    return {name: f"/dev/nst{number}" for number, name in enumerate(names)}


DRIVES = nodes("R1", "R2", "R3", "R4", "R5", "R6")


def whole_blocks(guest: Guest, *barcodes: str) -> int:
    """How many blocks of the longest kind are on these tapes."""
    return sum(guest.control.layout(barcode).count(BLOCK) for barcode in barcodes)


def broken_off(scene: Scene, at_write: int) -> list[int | None]:
    """A backup is killed in this write of drive 0, and the kernel ends what it had begun: the tape then."""
    control = scene.guest.control
    control.hang(0, WRITE, after=at_write)
    kill = scene.folder / "kill"
    wrapped = f"{{}} & while [ ! -s {kill} ]; do sleep 0.1; done; kill -9 $(cat {kill}); rm {kill}; wait $!"
    running = scene.start("backup", wrapped=wrapped)
    until(lambda: control.hanging(0) == 1, running.output())
    before = control.layout("T00001L5")
    kill.write_text(scene.process)
    until(lambda: not kill.exists(), "the killing")
    control.heal(0)
    assert running.wait(COMMAND_SECONDS).status == 128 + 9
    tail = control.layout("T00001L5")
    assert len(tail) > len(before)
    return tail


def test_figure_2_and_the_reader_that_stands_on_the_tape(guest: Guest) -> None:
    sources = {f"D{number}": 300_000 + 100_000 * number for number in range(1, 6)}
    scene = Scene(guest, "figure2", drives=nodes("R1", "R2", "R3", "R5", "R6", "R8"), sources=sources, agents=FIGURE_2)
    outcome = scene.json("backup")
    copies = copies_in(outcome)
    assert len(copies) == 10
    assert set(copies.values()) == {"complete"}
    scene.run("verify")
    for source, agent in copies:
        assert scene.restored(source, "--copy", agent), (source, agent)
    d2 = next(one["id"] for one in outcome["objects"] if one["source"] == "D2")
    result = guest.run(BY_HAND.format(folder=scene.folder, node="/dev/nst2", object=d2, source="D2"))
    assert result.status == 0, result.output


def test_nothing_but_one_write_a_block_while_it_streams(guest: Guest) -> None:
    scene = Scene(guest, "steady", drives=DRIVES, sources={"docs": 4 * MIB}, agents=ONE)
    guest.control.commands(0)
    scene.backup()
    commands = guest.control.commands(0)
    writes = [at for at, cdb in enumerate(commands) if cdb.startswith(f"0a00{BLOCK:06x}"[:10])]
    assert len(writes) == whole_blocks(guest, "T00001L5") >= 4 * MIB // BLOCK
    assert writes == list(range(writes[0], writes[0] + len(writes))), "something stands between the writes"


def test_spanning_and_the_way_back_over_the_seam(guest: Guest) -> None:
    scene = Scene(guest, "spanning", drives=DRIVES, sources={"docs": 4 * MIB}, agents=PAIR)
    sizes = {0: (2 * MIB, 512 * KIB), 1: (3 * MIB, 256 * KIB)}
    used: dict[int, list[str]] = {0: ["T00001L5"], 1: ["T00002L5"]}
    for drive, (capacity, early_warning) in sizes.items():
        guest.control.resize(used[drive][0], capacity, early_warning)
    running = scene.start("backup", "--json")
    for drive, times in ((1, 1), (0, 1), (0, 2)):
        until(lambda d=drive, n=times: running.output().count(f"R{d + 1} waits for") >= n, running.output())
        capacity, early_warning = sizes[drive]
        used[drive].append(f"NEXT{drive}{times}L5")
        guest.control.add(used[drive][-1], capacity=capacity, early_warning=early_warning)
        guest.control.load(drive, used[drive][-1])
    outcome = json_in(scene.ended(running.wait(COMMAND_SECONDS)))
    blocks = {one["agent"]: one["blocks"] for one in outcome["copies"]}
    assert set(copies_in(outcome).values()) == {"complete"}
    for drive, agent in enumerate(("BMA1", "BMA2")):
        assert whole_blocks(guest, *used[drive]) == blocks[agent] - 1, "the last block is a shorter one"
    back = scene.start("restore", "docs", "--to", str(scene.folder / "out"), "--copy", "BMA2")
    for barcode in used[1]:
        until(lambda wanted=barcode: f"volume {wanted} is wanted" in back.output(), back.output())
        guest.control.load(1, barcode)
    scene.ended(back.wait(COMMAND_SECONDS))
    assert scene.same("docs", scene.folder / "out")


def test_five_mirrors_four_of_which_come_to_grief(guest: Guest) -> None:
    """A bad spot, a reset, another cartridge put in, and a drive that hangs: while the original is written."""
    scene = Scene(guest, "grief", drives=DRIVES, sources={"docs": 4 * MIB}, agents=FAN, memory="2MiB")
    control = guest.control
    control.hang(0, WRITE, after=20)  # the original, so that all others can be looked after
    control.fail(1, WRITE, key=MEDIUM_ERROR, asc=0x0C, after=12)
    for drive in (2, 3, 4):
        control.hang(drive, WRITE, after=12)
    running = scene.start("backup", "--json")
    until(lambda: all(control.hanging(drive) for drive in (0, 2, 3, 4)), running.output())
    control.reset_drive(2)
    control.load(3, "T00007L5")
    for drive in (2, 3, 0):
        control.heal(drive)
    until(lambda: "BMA5 is detached" in running.output(), "the lag")
    control.heal(4)
    outcome = json_in(scene.ended(running.wait(COMMAND_SECONDS), status=1))
    copies = {agent: status for (_, agent), status in copies_in(outcome).items()}
    bad = ["BMA2", "BMA3", "BMA4", "BMA5"]
    assert {agent for agent, status in copies.items() if status == "complete"} == {"BMA1", "BMA6"}, outcome
    why = {one["agent"]: one["why"] for one in outcome["job"]["report"]["agents"]}
    assert all(f"drive R{agent[-1]}" in why[agent] for agent in bad[:3]), why
    assert control.layout("T00007L5") == [], "another cartridge was written"
    assert scene.restored("docs", "--copy", "BMA1")
    assert scene.restored("docs", "--copy", "BMA6")
    for drive in range(1, 5):
        control.add(f"NEXT{drive}L5")
        control.load(drive, f"NEXT{drive}L5")
    scene.run("copy", "--missing")
    (found,) = scene.json("objects")
    assert {one["agent"]: one["status"] for one in found["copies"]}.items() >= dict.fromkeys(bad, "complete").items()
    assert scene.restored("docs", "--copy", "BMA2")


def test_a_mirror_that_never_comes_back_does_not_hold_up_the_end(guest: Guest) -> None:
    """All of the object fits into memory: the mirror is in nobody's way. Its process is in the kernel, and no signal
    reaches it before the driver gives the command up; the job does not wait for that."""
    agents = PAIR + 'lag_max = "2s"\n'
    scene = Scene(guest, "endless", drives=DRIVES, sources={"docs": MIB}, agents=agents)
    control = guest.control
    control.hang(1, WRITE, after=12)
    outcome = scene.json("backup", status=1)
    assert control.hanging(1) == 1
    assert {agent: status for (_, agent), status in copies_in(outcome).items()}["BMA1"] == "complete"
    (why,) = (one["why"] for one in outcome["job"]["report"]["agents"] if one["agent"] == "BMA2")
    assert "held up the end of the job for" in why
    assert "is stuck in the kernel, and keeps the drive" in why
    assert scene.restored("docs")
    assert "drive R2" in scene.run("copy", "--missing", "--no-wait", status=3), "it is not free"
    control.heal(1)
    scene.run("copy", "--missing", "--no-wait")
    assert scene.restored("docs", "--copy", "BMA2")


def test_cartridges_that_are_none_of_ours(guest: Guest) -> None:
    control = guest.control
    other = Scene(guest, "other", drives={"R1": "/dev/nst4"}, sources={"docs": 1000}, agents=ONE)
    other.backup()
    control.protect("T00002L5")
    (other.folder / "vol1").write_bytes(b"VOL1TAPE01".ljust(80))
    foreign = guest.run(
        f"cd {other.folder} && tar -b 20 -cf /dev/nst2 data && dd if=vol1 of=/dev/nst3 bs=80 && mt -f /dev/nst3 weof"
    )
    assert foreign.status == 0, foreign.output
    control.unload(5)
    kept = {barcode: control.layout(barcode) for barcode in ("T00003L5", "T00004L5", "T00005L5")}
    for drive in (2, 3, 4):
        control.commands(drive)
    scene = Scene(guest, "strangers", drives=DRIVES, sources={"docs": 100_000}, agents=FAN)
    outcome = scene.json("backup", "--no-wait", status=1)
    assert {agent for (_, agent), status in copies_in(outcome).items() if status == "complete"} == {"BMA1"}
    why = {one["agent"]: one["why"] for one in outcome["job"]["report"]["agents"]}
    assert "write-protected" in why["BMA2"]
    assert "holds data of tar" in why["BMA3"]
    assert "ANSI label" in why["BMA4"]
    assert "catalog does not know" in why["BMA5"]
    assert "there is no blank cartridge of pool default for drive R6" in why["BMA6"]
    assert kept == {barcode: control.layout(barcode) for barcode in kept}
    for drive in (2, 3, 4):
        assert not [cdb for cdb in control.commands(drive) if cdb[:2] in ("0a", "10", "19")]
    scene.configure(ONE, drives={"R1": "/dev/st0"})
    assert "rewinds the tape" in scene.run("backup", status=2)
    big = Scene(guest, "big", drives=DRIVES, sources={"docs": 1000}, agents=ONE, block="1MiB")
    control.commands(0)
    assert "takes blocks of at most 512 KiB" in big.run("backup", status=3)
    assert not [cdb for cdb in control.commands(0) if cdb.startswith("0a")]


def test_other_hands_a_killed_job_and_a_catalog_made_again(guest: Guest) -> None:
    scene = Scene(guest, "hands", drives=DRIVES, sources={"docs": MIB}, agents=ONE)
    scene.backup()
    wound = guest.run("mt -f /dev/nst0 rewind && mt -f /dev/nst0 fsf 1")
    assert wound.status == 0, wound.output
    scene.put("docs", MIB, seed=1)
    tail = broken_off(scene, at_write=8)
    assert tail[-1] is None, "the kernel writes a filemark"
    scene.put("docs", MIB, seed=2)
    scene.backup()
    assert scene.restored("docs")
    known = [one for one in scene.json("objects") if one["status"] == "complete"]
    assert len(known) == 2
    scene.configure(state="anew")
    scene.run("import")
    assert [one for one in scene.json("objects") if one["status"] == "complete"] == known
    assert scene.restored("docs")


def test_what_is_written_once_is_never_written_anew(guest: Guest) -> None:
    """A whole life of a WORM cartridge: two jobs, one that was killed between them, and its catalog made again."""
    control = guest.control
    control.worm("T00001L5")
    scene = Scene(guest, "once", drives=DRIVES, sources={"docs": MIB}, agents=ONE)
    scene.backup()
    first = control.layout("T00001L5")
    scene.put("docs", MIB, seed=1)
    broken = broken_off(scene, at_write=8)
    assert broken[: len(first)] == first
    scene.put("docs", MIB, seed=2)
    scene.backup()
    last = control.layout("T00001L5")
    assert last[: len(broken)] == broken, "what the killed job left stays where it is"
    scene.run("verify")
    assert scene.restored("docs")
    known = [one for one in scene.json("objects") if one["status"] == "complete"]
    assert len(known) == 2
    assert "copies that count" in scene.run("relabel", "T00001L5", "--yes", status=3)
    scene.configure(state="anew")
    said = scene.run("import", "--appendable", status=1)
    assert "copy of BMA1 partial" in said, "of the killed job, whose tail is still there"
    assert [one for one in scene.json("objects") if one["status"] == "complete"] == known
    scene.put("docs", MIB, seed=3)
    scene.backup()
    assert control.layout("T00001L5")[: len(last)] == last
    assert scene.restored("docs")
    control.worm("T00001L5", on=False)
