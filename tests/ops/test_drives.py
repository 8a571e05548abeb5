"""Drives that hang are named, and hold up nobody: neither the command nor the drives beside them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from ops_world import World

from tapeloom.device import Device, open_drive
from tapeloom.device.aside import Aside
from tapeloom.errors import DriveHangs, UsageError
from tapeloom.ops.asking import Asked
from tapeloom.ops.drives import DriveRow, drives

MEND = "; switch the drive off and on, and look at its cable and at the kernel's log"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.ops.asking.LIMIT_SECONDS", 1.0)
    monkeypatch.setattr("tapeloom.ops.asking._END_SECONDS", 0.5)


def rows(world: World, **given: str) -> dict[str, DriveRow]:
    """What is said of R1, R2 and R3, which are null drives where nothing is given."""
    world.chain(**dict.fromkeys(("R1", "R2", "R3"), '"null:"') | {key: f'"{one}"' for key, one in given.items()})
    return {row.name: row for row in drives(world.config)}


@pytest.mark.usefixtures("short")
def test_one_that_hangs_when_it_is_opened_is_named_and_killed(world: World) -> None:
    found = rows(world, R2="memory:?hang_open=1&aside=1")
    assert [row.status for row in found.values()] == ["free", "hung", "free"]
    assert found["R3"].block_bytes_max
    said = found["R2"].trouble or ""
    assert said.startswith("drive R2 has not come back from a call to open it for 1 s: its process ")
    assert said.endswith(f" was killed{MEND}")
    pid = int(said.split("its process ")[1].split()[0])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


class Stopping:
    """Opens drives; what is in a process of its own is stopped then, and answers nothing more."""

    def __init__(self) -> None:
        self.pid = 0

    def open(self, spec: str, **options: Any) -> Device:
        device = open_drive(spec, **options)
        if device.aside is not None:
            self.pid = device.aside.pid
            os.kill(self.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)  # not only asked to stop
        return device


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> Stopping:
    found = Stopping()
    monkeypatch.setattr("tapeloom.ops.drives.open_drive", found.open)
    return found


@pytest.mark.usefixtures("short")
def test_one_that_hangs_when_it_is_asked(world: World, stopping: Stopping) -> None:
    found = rows(world, R1="memory:?aside=1")
    assert [row.status for row in found.values()] == ["hung", "free", "free"]
    said = f"drive R1 has not come back from a cartridges for 1 s: its process {stopping.pid} was killed{MEND}"
    assert found["R1"].trouble == said
    assert found["R1"].as_json()["status"] == "hung"


@pytest.mark.usefixtures("short")
def test_one_that_is_stuck_in_the_kernel_is_left_behind(
    world: World, stopping: Stopping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is in an uninterruptible sleep: it hears no signal."""
    with monkeypatch.context() as patch:
        patch.setattr("tapeloom.device.aside.signal.pidfd_send_signal", lambda *_: None)
        found = rows(world, R1="memory:?aside=1")
    assert found["R1"].hung
    assert f"was killed, but is stuck in the kernel, and keeps the drive until it comes out{MEND}" in (
        found["R1"].trouble or ""
    )
    os.kill(stopping.pid, signal.SIGKILL)


@pytest.mark.usefixtures("short")
def test_what_hangs_in_this_process_is_named_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder on a file server that does not answer."""
    never = threading.Event()

    def opened(spec: str, *, name: str, **options: Any) -> Device:
        if name == "R3":
            never.wait()
            raise UsageError("it was waited for")
        return open_drive(spec, name=name, **options)

    monkeypatch.setattr("tapeloom.ops.drives.open_drive", opened)
    found = rows(world)
    never.set()
    assert [row.status for row in found.values()] == ["free", "free", "hung"]
    assert found["R3"].trouble == (
        "drive R3 (null:) hangs: it has not come back for 1 s; "
        "look at the disk or the file server that its folder is on"
    )


def test_all_are_asked_at_the_same_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(3)

    def opened(spec: str, **options: Any) -> Device:
        together.wait(30)
        return open_drive(spec, **options)

    monkeypatch.setattr("tapeloom.ops.drives.open_drive", opened)
    assert [row.status for row in rows(world).values()] == ["free", "free", "free"]


def test_what_a_thread_does_not_expect_is_raised_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spec: str, **options: Any) -> Device:
        raise ZeroDivisionError

    monkeypatch.setattr("tapeloom.ops.drives.open_drive", broken)
    with pytest.raises(ZeroDivisionError):
        rows(world)


@pytest.mark.usefixtures("short")
def test_one_that_hangs_as_it_is_left_is_named_too(world: World) -> None:
    """Its process is being ended, and cannot be abandoned any more."""
    world.chain(R1='"memory:?aside=1"')
    never = threading.Event()

    def question(on_aside: Callable[[Aside], None]) -> None:
        with open_drive("memory:?aside=1", name="R1", on_aside=on_aside):
            pass
        never.wait()

    asked = Asked(world.config.drives["R1"], question)
    with pytest.raises(DriveHangs) as hangs:
        asked.answer()
    never.set()
    assert str(hangs.value) == f"drive R1 has not come back for 1 s{MEND}"
