"""The guest itself: what other tests count on."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tapeguest import ControlError, Guest, GuestError, Shape, Unavailable, control, packages

pytestmark = pytest.mark.slow

SHAPE = Shape(drives=2, tapes=3, changer=True)


def children() -> set[str]:
    """The command lines of this process's children that run for a guest."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
            line = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(parent) == os.getpid() and any(word in line for word in ("qemu-system", "virtiofsd", "tapeguest")):
            found.add(line)
    return found


def test_status_output_and_files_come_back(guest: Guest) -> None:
    result = guest.run(f"echo said; echo complained >&2; pwd > {guest.folder}/where; exit 3")
    assert (result.status, result.output) == (3, "said\ncomplained\n")
    assert (guest.folder / "where").read_text().strip() == str(Path(__file__).parents[2])


def test_what_it_writes_elsewhere_stays_in_it(guest: Guest, tmp_path: Path) -> None:
    assert guest.run(["touch", str(tmp_path / "mine")]).status == 0
    assert guest.run(["ls", str(tmp_path)]).output == "mine\n"
    assert list(tmp_path.iterdir()) == []


def test_drives_are_found_by_their_serial_numbers(guest: Guest) -> None:
    found = guest.run(
        "readlink -f /dev/tape/by-id/*-nst; for n in /dev/sg1 /dev/sg2; do sg_inq -p 0x80 $n; done"
    ).output
    assert [line for line in found.split() if line.startswith(("/dev/", "DRV"))] == [
        *guest.drives,
        "DRV00001",
        "DRV00002",
    ]


def test_another_program_moves_cartridges_with_the_changer(guest: Guest) -> None:
    guest.control.mail(1, "CLEAN1L5")
    done = guest.run("mtx -f /dev/sg0 load 2 1 && mtx -f /dev/sg0 transfer 7 4 && mtx -f /dev/sg0 status")
    assert done.status == 0, done.output
    there = {place: barcode for place, barcode in guest.control.places().items() if barcode}
    assert there == {"drive 1": "T00002L5", "slot 0": "T00001L5", "slot 2": "T00003L5", "slot 3": "CLEAN1L5"}
    assert "Data Transfer Element 1:Full (Storage Element 2 Loaded):VolumeTag = T00002L5" in done.output


def test_another_program_reads_the_health_that_a_test_made_up(guest: Guest) -> None:
    guest.control.reset(loaded=True)
    guest.control.alert(0, 20)
    guest.control.counters(0, rewritten=7, unread=2)
    # The first commands meet unit attentions. Without -m, pages are asked for twice, and reading clears the flags.
    said = guest.run(
        "for n in 1 2 3; do sg_turs /dev/sg1 >/dev/null 2>&1; done; "
        "for page in 0x2e 2 3 0x17 0x31; do sg_logs -m 2048 -p $page /dev/sg1; done; sg_read_attr /dev/sg1"
    ).output
    for line in (
        "Cleaning required: 1",
        "Total rewrites or rereads = 7",
        "Total uncorrected errors = 2",
        "Volume barcode: T00001L5",
        "Main partition remaining capacity (in MiB): 64",
        "Medium serial number: SNT00001L5",
        "Load count: 1",
    ):
        assert line in said, said


def test_faults_come_when_asked_for_while_a_command_runs(guest: Guest) -> None:
    guest.control.reset(loaded=True)
    guest.control.hang(0, control.WRITE, after=3)
    running = guest.start("dd if=/dev/zero of=/dev/nst0 bs=64k count=8")
    until = time.monotonic() + 60
    while not guest.control.hanging(0):
        assert time.monotonic() < until, running.output()
    assert guest.control.layout("T00001L5") == [65536] * 3
    guest.control.heal(0)
    assert running.wait().status == 0
    guest.control.fail(0, control.WRITE, key=control.MEDIUM_ERROR, asc=0x0C, after=2)
    failed = guest.run("mt -f /dev/nst0 rewind && dd if=/dev/zero of=/dev/nst0 bs=64k count=8")
    assert failed.status == 1
    assert "Input/output error" in failed.output


def test_a_wrong_request_is_an_error_here(guest: Guest) -> None:
    with pytest.raises(ControlError, match="KeyError: 'NONE'"):
        guest.control.load(0, "NONE")


def test_two_at_once_and_nothing_is_left_of_the_one_that_hangs(guest: Guest, tmp_path: Path) -> None:
    before = children()
    with Guest(tmp_path, Shape(drives=1, tapes=1)) as other:
        assert other.run("cat /dev/nst0", timeout=60).status == 1  # blank
        assert guest.run("ls /dev/nst1").status == 0
        with pytest.raises(GuestError, match=r"sleep 1000: it has not ended within 1 seconds"):
            other.run("sleep 1000", timeout=1)
    assert children() == before


def test_a_machine_without_qemu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Unavailable, match="QEMU is not installed"):
        packages.check_machine()
