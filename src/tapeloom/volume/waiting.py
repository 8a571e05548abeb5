"""Waiting for a cartridge that somebody has to put in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tapeloom.device import Device
from tapeloom.errors import VolumeBusy, VolumeWanted

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
    waits_for: type[VolumeWanted] = VolumeWanted,
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
    waits_for
        What else it raises is an error.

    Raises
    ------
    VolumeWanted
        It was stopped while it waited.
    """
    said: str | None = None
    at_once = False
    try:
        while True:
            before = device.changes()
            try:
                return attempt()
            except waits_for as wanted:
                if str(wanted) != said and not at_once:
                    said = str(wanted)
                    told(said)
                # Whatever the attempt itself took out, another drive may have brought what is wanted meanwhile. What
                # was taken out for somebody's hand, though, is not pulled in again.
                now = device.changes()
                if not device.cartridges():
                    before = now
                at_once = not at_once and now != before
                while not at_once and not stopped.wait(look_seconds):
                    if device.changes() != before:
                        break
                if stopped.is_set():
                    raise VolumeWanted(f"it was told to stop while {said}", status=wanted.status) from None
    finally:
        if said is not None:
            told(None)


class Waiting:
    """What one drive of a job waits for, seen from other threads too. `patient` False: it waits for nobody who would
    have to put a cartridge in, and what is not there is an error at once. `told` hears the same as that of
    `when_there`, from whatever thread waits. `remarks` says afterwards what was waited for, and how long."""

    def __init__(
        self,
        *,
        patient: bool = True,
        look_seconds: float = LOOK_SECONDS,
        told: Callable[[str | None], None] = lambda sentence: None,
    ):
        self.for_what: str | None = None
        self.told_ns = 0
        """When that was another thing last, by the monotonic clock."""
        self.seconds = 0.0
        self.remarks: list[str] = []
        self.patient = patient
        self._look_seconds = look_seconds
        self._tell = told
        self._stopped = False
        self._waited_on: set[threading.Event] = set()
        self._changing = threading.Lock()

    def stop(self) -> None:
        """From any thread: waiting is over, now and later."""
        with self._changing:
            self._stopped = True
            for event in self._waited_on:
                event.set()

    def when_there(self, device: Device, attempt: Callable[[], T], until: threading.Event | None = None) -> T:
        """See the function of that name. `until`: another reason to stop, for this once."""
        event = until or threading.Event()
        with self._changing:
            self._waited_on.add(event)
            if self._stopped:
                event.set()
        try:
            return when_there(
                device,
                attempt,
                told=self._told,
                stopped=event,
                look_seconds=self._look_seconds,
                waits_for=VolumeWanted if self.patient else VolumeBusy,
            )
        finally:
            with self._changing:
                self._waited_on.discard(event)

    def _told(self, sentence: str | None) -> None:
        now = time.monotonic_ns()
        if self.for_what is not None:
            seconds = (now - self.told_ns) / 1e9
            self.seconds += seconds
            self.remarks.append(f"{self.for_what}: waited {seconds:.0f} s")
        self.for_what, self.told_ns = sentence, now
        self._tell(sentence)
