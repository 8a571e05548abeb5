"""SIGINT and SIGTERM in the middle of a backup. What a source gives is in the hands of the test, by way of a FIFO."""

from __future__ import annotations

import os
import signal

import pytest
from cli_world import Site

FED = 4 << 20
"""So much that most of it has reached the job when all of it is written: pipes hold a MiB or so."""


@pytest.fixture
def fed(site: Site) -> Site:
    """The source `mail` is what comes through a FIFO."""
    os.mkfifo(site.folder / "fifo")
    site.configure(('mail = "data/mail"', f'mail = {{ command = "exec cat {site.folder / "fifo"}" }}'))
    return site


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_ends_the_job_in_order(number: signal.Signals, fed: Site) -> None:
    process = fed.start("backup")
    with open(fed.folder / "fifo", "wb") as fifo:  # opens when the source runs
        fifo.write(bytes(FED))
        fifo.flush()
        process.send_signal(number)
        out, err = process.communicate()
    assert process.returncode == 1
    assert f"{number.name}: the job ends in order" in err
    assert "stopped before its end" in out
    objects = {one["source"]: one for one in fed.good("objects", "--json").json}
    assert objects["mail"]["status"] == "failed"
    assert objects["mail"]["bytes"] > FED // 2
    assert objects["mail"]["copies"][0]["status"] == "complete"  # all of what there was
    assert fed.good("verify")
    assert fed.good("jobs", "--json").json[0]["status"] == "partial"


def test_a_job_goes_on_with_the_tape_after_one_that_was_stopped(fed: Site) -> None:
    process = fed.start("backup")
    with open(fed.folder / "fifo", "wb") as fifo:
        fifo.write(bytes(FED))
        fifo.flush()
        process.send_signal(signal.SIGINT)
        process.communicate()
    fed.configure()
    fed.good("backup")
    assert {one["label"] for one in fed.good("volumes", "--json").json} == {"R1-0001", "R2-0001"}
    fed.good("verify")


def test_further_signals_do_not_wait_for_a_drive_that_hangs(fed: Site) -> None:
    text = fed.file.read_text()
    fed.file.write_text(text.replace("tapes/R1", "tapes/R1?hang_write=8"))
    process = fed.start("backup")
    assert process.stderr is not None
    with open(fed.folder / "fifo", "wb") as fifo:
        fifo.write(bytes(FED // 16))
        for beginning in ("SIGINT: the job ends in order", "SIGINT again: the job ends at once"):
            process.send_signal(signal.SIGINT)
            while not (line := process.stderr.readline()).startswith(beginning):
                assert line, f"it ended before it said: {beginning}"
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    text = fed.file.read_text()
    fed.configure()
    fed.good("backup")
    assert [one["status"] for one in fed.good("jobs", "--json").json] == ["interrupted", "complete"]
    fed.good("verify")


def test_waiting_for_a_cartridge_ends(site: Site) -> None:
    site.good("backup")
    tape = site.folder / "tapes" / "R1" / "R1-0001.index"
    tape.rename(site.folder / "away")
    refused = site.run("restore", "docs", "--to", str(site.folder / "out"), "--copy", "BMA1", "--no-wait")
    assert refused.status == 3
    assert refused.err.startswith("tapeloom: volume R1-0001 is not there: ")
    assert refused.err.endswith("; nothing was restored\n")
    assert len(refused.err.splitlines()) == 1
    assert not (site.folder / "out").exists()
    process = site.start("restore", "docs", "--to", str(site.folder / "out"), "--copy", "BMA1")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Waiting: volume R1-0001 is wanted: ")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "tapeloom: interrupted\n")


def test_a_cartridge_that_comes_ends_the_waiting(site: Site) -> None:
    site.good("backup")
    tape, away = site.folder / "tapes" / "R1" / "R1-0001.index", site.folder / "away"
    tape.rename(away)
    process = site.start("verify", "docs", "--copy", "BMA1")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("Waiting: volume R1-0001 is wanted: ")
    away.rename(tape)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "every checksum is right" in out
