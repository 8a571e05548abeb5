"""The health of a drive and of the volumes in it, over one job: read when a mount begins and when it ends, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from tapeloom.device import Device
from tapeloom.errors import CatalogError

if TYPE_CHECKING:
    from tapeloom.health import Health

Keep = Callable[[UUID, str, "Health"], None]
"""Told the volume, the drive and what it said, once a mount. Raises CatalogError."""


class Condition:
    """Of a drive that tells nothing, nothing is kept. `remarks` are sentences for people.

    A drive forgets its TapeAlert flags when it has told them, so those from before the first write of a mount are
    kept with those from its end.
    """

    def __init__(self, device: Device, keep: Keep):
        self._device = device
        self._keep = keep
        self._mounted: tuple[UUID, str] | None = None
        self._before: Health | None = None
        self.remarks: list[str] = []

    def begins(self, volume: UUID, label: str) -> None:
        """Its label has been read, and nothing written since."""
        self._mounted = volume, label
        self._before = self._device.health()
        cartridge = None if self._before is None else self._before.cartridge
        if cartridge is not None:
            from tapeloom.health import doubt  # virtual drives tell nothing

            why = doubt(cartridge.alerts, "the cartridge remembers of its mount before")
            if why is not None:
                self.remarks.append(f"volume {label}: {why.why}")

    def ends(self) -> None:
        """Behind a filemark that was heard of, or where the mount is over. Nothing more is written in it."""
        if self._mounted is None:
            return
        (volume, label), self._mounted = self._mounted, None
        now = self._device.health()
        health = self._before if now is None else now.behind(self._before)
        if health is None:
            return
        self._remark(health, label)
        try:
            self._keep(volume, self._device.name, health)
        except CatalogError as error:
            self.remarks.append(f"what drive {self._device.name} told of its health is not kept: {error}")

    def _remark(self, health: Health, label: str) -> None:
        from tapeloom.tapealert import About, Severity, flags

        drive = f"drive {self._device.name}"
        who = {About.DRIVE: drive, About.CARTRIDGE: f"volume {label}", About.EITHER: f"volume {label} in {drive}"}
        for one in flags(health.alerts or ()):
            if one.severity is not Severity.INFORMATION:
                self.remarks.append(f"{who[one.about]}: {one.sentence}")
