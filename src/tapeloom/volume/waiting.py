"""Waiting for a cartridge that somebody has to put in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tapeloom.device import Device
from tapeloom.errors import VolumeWanted

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How often a drive is asked whether anything has changed: nobody could wake who waits."""


def when_there(
    device: Device,
    attempt: Callable[[], T],
    *,
    told: Callable[[str | None], None],
    stopped: threading.Event,
    look_seconds: float = LOOK_SECONDS,
) -> T:
    """What `attempt` gives, as soon as it finds the volume that it wants.

    Parameters
    ----------
    attempt
        Raises VolumeWanted where the volume is not there, and is called again when the drive's cartridges have changed.
    told
        What it waits for, whenever that changes; None: it waits no longer.
    stopped
        Set by anybody: the waiting is over.

    Raises
    ------
    VolumeWanted
        It was stopped while it waited.
    """
    said: str | None = None
    try:
        while True:
            try:
                return attempt()
            except VolumeWanted as wanted:
                before = device.changes()  # before anybody hears of it and puts one in
                if str(wanted) != said:
                    said = str(wanted)
                    told(said)
                while not stopped.wait(look_seconds):
                    if device.changes() != before:
                        break
                else:
                    raise VolumeWanted(f"it was told to stop while {said}", status=wanted.status) from None
    finally:
        if said is not None:
            told(None)


class Waiting:
    """What one drive of a job waits for, seen from other threads too. `patient` False: it does not wait, what is not
    there is an error at once. `remarks` says afterwards what was waited for, and how long."""

    def __init__(self, *, patient: bool = True, look_seconds: float = LOOK_SECONDS):
        self.for_what: str | None = None
        self.seconds = 0.0
        self.remarks: list[str] = []
        self._patient = patient
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._since = 0.0

    def stop(self) -> None:
        """From any thread: waiting is over, now and later."""
        self._stopped.set()

    def when_there(self, device: Device, attempt: Callable[[], T]) -> T:
        """See the function of that name."""
        if not self._patient:
            return attempt()
        return when_there(device, attempt, told=self._told, stopped=self._stopped, look_seconds=self._look_seconds)

    def _told(self, sentence: str | None) -> None:
        now = time.monotonic()
        if self.for_what is not None:
            self.seconds += now - self._since
            self.remarks.append(f"{self.for_what}: waited {now - self._since:.0f} s")
        self.for_what, self._since = sentence, now
