"""Drives in processes of their own: a job's memory shared with them, and they themselves given up where they hang.

What they are asked is in `tapeloom.device.aside`; here is when.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tapeloom import _kernel
    from tapeloom.device import Device
    from tapeloom.device.aside import Aside

PATIENCE_SECONDS = 60.0
"""How long one call of a drive that was given up may still take before its process is killed. What it wrote before has
no receipt yet, and a filemark that flushes a drive's whole buffer at its slowest pace, or a write that is tried again,
takes some tens of seconds."""
STUCK_SECONDS = 2.0
"""How long a killed process may take to be gone before it counts as stuck in the kernel."""


class Sharing:
    """An arena whose blocks drives in other processes take without a copy. A drive in this process needs nothing of the
    kind."""

    def __init__(self, arena: _kernel.Arena):
        self._arena = arena
        self._with: dict[Aside, int] = {}

    def share_with(self, device: Device) -> None:
        """No call of the drive may be running. A drive whose process has ended says so when it is asked for something
        else; one that shares as much as it can copies these blocks. DeviceError: the process has not the addresses."""
        aside = device.aside
        if aside is None or aside in self._with or not aside.can_share or aside.ended is not None:
            return
        arena = self._arena
        self._with[aside] = aside.share(arena.fd, arena.address, arena.mapped_bytes, arena)

    def end(self) -> None:
        """No call of any of these drives may be running."""
        for aside, region in self._with.items():
            aside.forget(region)
        self._with.clear()


class Asides:
    """The drives of a job's agents that are in processes of their own, by row of the agent."""

    def __init__(self, devices: Mapping[int, Device]):
        self._devices = {row: device for row, device in devices.items() if device.aside is not None}
        self._asides = {row: device.aside for row, device in devices.items() if device.aside is not None}
        self._sharing: dict[int, list[Sharing]] = {row: [] for row in self._asides}
        self._abandoned_ns: dict[int, int] = {}

    def share(self, arena: _kernel.Arena, rows: Iterable[int] | None = None) -> None:
        """With those of these rows, or with all."""
        for row in self._asides if rows is None else self._asides.keys() & set(rows):
            self._sharing[row].append(Sharing(arena))
            self._sharing[row][-1].share_with(self._devices[row])

    def end_sharing(self, running: Collection[int]) -> None:
        """But not with those that may come back to it."""
        for row in self._asides.keys() - set(running):
            for sharing in self._sharing[row]:
                sharing.end()

    def hanging(self) -> list[int]:
        """Those in a call that takes longer than any driver lets it, and that were not abandoned yet."""
        return [
            row
            for row, aside in self._asides.items()
            if row not in self._abandoned_ns and (call := aside.call) is not None and call.hangs
        ]

    def in_call_since_ns(self, row: int) -> int | None:
        """Since when this drive has been in the call that it is in. None: it is in none, or in this process."""
        aside = self._asides.get(row)
        call = aside.call if aside is not None else None
        return None if call is None else call.since_ns

    def short_call_since_ns(self, row: int) -> int | None:
        """The same of a call that writes, reads or makes a filemark; 0: it is in none."""
        if row not in self._asides:
            return None
        call = self._asides[row].call
        return 0 if call is None or not call.is_short else call.since_ns

    def abandon(self, row: int) -> bool:
        """Kills the process. False: that was done before, or this drive is in this process."""
        if row not in self._asides or row in self._abandoned_ns:
            return False
        self._abandoned_ns[row] = time.monotonic_ns()
        self._asides[row].abandon()
        return True

    def abandoned(self, row: int) -> bool:
        return row in self._abandoned_ns

    def may_come_back(self, row: int) -> bool:
        """It was abandoned just now: its thread is on its way."""
        since = self._abandoned_ns.get(row)
        return since is not None and time.monotonic_ns() - since < STUCK_SECONDS * 1e9

    def why(self, row: int) -> str | None:
        """A sentence where its process was abandoned or has ended."""
        aside = self._asides.get(row)
        return None if aside is None else aside.ended
