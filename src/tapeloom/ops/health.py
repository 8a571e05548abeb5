"""What drives tell of their health while volumes are read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from tapeloom.catalog import Catalog
from tapeloom.device import Device
from tapeloom.errors import CatalogError, HeldError
from tapeloom.health import Health

Keep = Callable[[UUID, str, Health], None]
"""Told the volume, the drive and what it said. Raises CatalogError."""


def keep_health(device: Device, volume: UUID, state: Path, keep: Keep | None = None) -> None:
    """At the end of a mount for reading. A drive forgets its TapeAlert flags when it has told them: where they cannot
    be kept, because another process has the state folder, it is not asked.

    `keep` is for whoever has the catalog open for writing.
    """
    if device.aside is None:  # so it is no real drive: none of the others has anything to tell
        return
    with suppress(HeldError, CatalogError):
        if keep is not None:
            _ask(device, volume, keep)
            return
        with Catalog.open(state) as catalog:
            _ask(device, volume, lambda id, drive, health: catalog.keep_health(health, drive=drive, volume=id))


def _ask(device: Device, volume: UUID, keep: Keep) -> None:
    health = device.health()
    if health is not None:
        keep(volume, device.name, health)
