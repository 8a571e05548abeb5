"""Volumes for reading: which drive has them, put in, their labels looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import UUID

from tapeloom import _kernel
from tapeloom.device import Device, open_drive
from tapeloom.errors import NotFound, PositionLost, UsageError
from tapeloom.volume.mounting import read_label

if TYPE_CHECKING:
    from tapeloom.catalog import Volume
    from tapeloom.config import Config, Drive
    from tapeloom.runtime.reading import Place
    from tapeloom.timing import Timing


def open_configured(drive: Drive) -> Device:
    """Opens a drive as the configuration describes it."""
    return open_drive(drive.device, name=drive.name, capacity=drive.capacity)


def refuse_unknown_target(config: Config, to: str) -> None:
    """Raises UsageError where `to`, given with --to, is no drive of the configuration."""
    if to not in config.drives:
        from tapeloom.config.faults import nearest, quoted  # what is read or backed up has no target

        hint = nearest(to, config.drives, "there are")
        raise UsageError(f"{config.shown}: there is no drive {quoted(to)} for --to{f' ({hint})' if hint else ''}")


def timing_of(drive: Drive) -> Timing:
    """What is expected of a drive: as the configuration has it, else as drives of its kind are."""
    return drive.timing


class Mounts:
    """Opens drives as they are needed and keeps them until the end of the `with` block. `held` are drives that somebody
    else has opened and will close, by name.

    `labels` are the volumes that were mounted, in this order.
    """

    def __init__(
        self,
        drives: Mapping[str, Drive],
        volume_of: Callable[[UUID], Volume],
        held: Mapping[str, Device] | None = None,
    ):
        self._drives = drives
        self._volume_of = volume_of
        self._held = held or {}
        self._open: dict[str, Device] = {}
        self._places: dict[str, tuple[UUID, Place]] = {}
        self.labels: list[str] = []

    def place(self, volume: UUID) -> Place:
        """See `tapeloom.runtime.reading.Mounts`."""
        known = self._volume_of(volume)
        inside = self._places.get(known.drive)
        if inside is not None and inside[0] == volume:
            return inside[1]
        self._places.pop(known.drive, None)
        device = self._device(known.drive, known.label)
        if device.loaded != known.cartridge:
            device.load(known.cartridge)
        start = read_label(device, crc=_kernel.crc32c)
        if start is None or start.volume != volume:
            found = "is blank" if start is None else f"is volume {start.label} ({start.volume})"
            raise PositionLost(
                f"drive {known.drive}: cartridge {known.cartridge} {found}, where the catalog has volume {known.label} "
                f"({volume})"
            )
        self.labels.append(known.label)
        from tapeloom.runtime.reading import Place  # a backup has none

        place = Place(device, timing_of(self._drives[known.drive]), known.block_bytes)
        self._places[known.drive] = (volume, place)
        return place

    def _device(self, name: str, label: str) -> Device:
        if name in self._held:
            return self._held[name]
        if name not in self._open:
            if name not in self._drives:
                raise NotFound(
                    f"volume {label} was written in drive {name}, which the configuration does not have: add it to "
                    "[drives]"
                )
            self._open[name] = open_configured(self._drives[name])
        return self._open[name]

    def __enter__(self) -> Mounts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in self._open.values():
            device.close()
