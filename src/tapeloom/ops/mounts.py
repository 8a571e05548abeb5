"""Volumes for reading: which drive has them, put in, their labels looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import UUID

from tapeloom import _kernel
from tapeloom.device import Device, Status, open_drive
from tapeloom.errors import (
    DeviceError,
    ForeignVolume,
    HeldError,
    NoMedium,
    NotFound,
    PositionLost,
    UsageError,
    VolumeBusy,
    VolumeWanted,
)
from tapeloom.volume.recognizing import found_to_be, inside, read_label
from tapeloom.volume.waiting import Waiting

if TYPE_CHECKING:
    from tapeloom.catalog import Volume
    from tapeloom.config import Config, Drive
    from tapeloom.ops.health import Keep
    from tapeloom.runtime.reading import Place
    from tapeloom.timing import Timing

KEPT_NOWHERE = ("memory", "null")
"""Kinds of drives whose cartridges nobody can bring back."""


def open_configured(config: Config, name: str) -> Device:
    """Opens a drive as the configuration describes it. Raises UsageError, HeldError, DeviceError."""
    drive = config.drives[name]
    if drive.library is None:
        return open_drive(drive.device, name=drive.name, capacity=drive.capacity)
    from tapeloom.ops.libraries import open_in_library  # that few need

    return open_in_library(config, drive)


def open_first_free(config: Config, names: Sequence[str]) -> Device:
    """The first of these drives that nobody else has, open. Raises as `open_configured`, HeldError where none is
    free."""
    held: HeldError | None = None
    for name in names:
        try:
            return open_configured(config, name)
        except HeldError as error:
            held = held or error
    assert held is not None, "there is a drive at least"
    raise held


def drives_for(config: Config, home: str) -> list[str]:
    """The drives that the volumes of a home can be put into: those of a library, or the one that stands alone. A drive
    that has been put into a library since has left them to that."""
    known = config.drives.get(home)
    wanted = home if known is None else known.home
    return [drive.name for drive in config.drives.values() if drive.home == wanted]


def reader_for(config: Config, home: str, besides: Container[str] = ()) -> str | None:
    """A drive that reads the volumes of a home while those of `besides` do something else; None: there is none. What is
    read of one library in one job goes through one drive, so that nobody waits for a volume that another one has."""
    return next((name for name in drives_for(config, home) if name not in besides), None)


def home_of(config: Config, drive: str) -> str:
    """Where the volumes that a drive has written are now; of a drive that the configuration does not have: its name."""
    known = config.drives.get(drive)
    return drive if known is None else known.home


def timings_of(config: Config) -> dict[str, Timing]:
    """By home: what is expected of the drive that its volumes are read in."""
    found = {
        name: timing_of(config.drives[drive]) for name in config.libraries for drive in drives_for(config, name)[:1]
    }
    return found | {name: timing_of(drive) for name, drive in config.drives.items()}


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
    else has opened and will close, by name: where there is one for a volume, no other is taken.

    A volume of a library goes into one of its drives that is free, and so do those after it. `labels` are the volumes
    that were mounted, in this order. `keep` is told of the health of volumes, by whoever writes the catalog. `waiting`
    is how cartridges are waited for that are not there; without it they are not.
    """

    def __init__(
        self,
        config: Config,
        volume_of: Callable[[UUID], Volume],
        held: Mapping[str, Device] | None = None,
        keep: Keep | None = None,
        waiting: Waiting | None = None,
    ):
        self._config = config
        self._volume_of = volume_of
        self._held = held or {}
        self._keep = keep
        self.waiting = waiting or Waiting(patient=False)
        self._open: dict[str, Device] = {}
        self._places: dict[str, tuple[UUID, Place]] = {}
        self.labels: list[str] = []

    def place(self, volume: UUID, until: threading.Event | None = None) -> Place:
        """See `tapeloom.runtime.reading.Mounts`."""
        known = self._volume_of(volume)
        for there, place in self._places.values():
            if there == volume:
                return place
        name, device = self._device(known)
        self._ends(name)
        if until is None:
            self._put_in(device, known)
        else:
            self.waiting.when_there(device, partial(self._wait_for, device, known), until)
        self.labels.append(known.label)
        from tapeloom.runtime.reading import Place  # a backup has none

        place = Place(device, timing_of(self._config.drives[name]), known.block_bytes)
        self._places[name] = (volume, place)
        return place

    def _put_in(self, device: Device, known: Volume) -> None:
        """The volume is in the drive now, its label looked at.

        Raises
        ------
        VolumeWanted
            Its cartridge is not there, or the one that somebody has put in is another one. VolumeBusy: it is in another
            drive of this process.
        PositionLost
            Another volume is on the cartridge that is called so.
        """
        by_hand = device.fed_by_hand  # there the label alone says what is in it
        if by_hand or device.loaded != known.cartridge:
            try:
                device.load(None if by_hand else known.cartridge)
            except NoMedium as error:
                if device.spec.partition(":")[0] in KEPT_NOWHERE:
                    raise NoMedium(f"volume {known.label} is gone: {error}", status=error.status) from None
                kind = VolumeBusy if self._is_in_use(device, known) else VolumeWanted
                what = "wanted" if self.waiting.patient else "not there"
                raise kind(f"volume {known.label} is {what}: {error}", status=error.status) from None
        try:
            start = read_label(device, crc=_kernel.crc32c)
        except ForeignVolume as error:
            if by_hand:
                raise self._wanted(known, device, str(error)) from None
            raise
        if start is None or start.volume != known.id:
            found = found_to_be(start)
            if by_hand:
                raise self._wanted(known, device, f"{inside(device)} {found}")
            raise PositionLost(
                f"drive {device.name}: cartridge {known.cartridge} {found}, where the catalog has volume {known.label} "
                f"({known.id})"
            )
        if by_hand:
            device.call_it(known.cartridge)

    def _wanted(self, known: Volume, device: Device, why: str) -> VolumeWanted:
        what = "wanted" if self.waiting.patient else "not"
        sentence = f"volume {known.label} is {what} in drive {device.name}: {why}"
        return VolumeWanted(sentence, status=Status.ERR_NO_MEDIUM)

    def _wait_for(self, device: Device, known: Volume) -> None:
        """The same for one who waits, and keeps nobody waiting: what is in the drive goes out, so that another one can
        be put in, or another drive of the library can have it."""
        try:
            self._put_in(device, known)
        except VolumeWanted:
            device.unload()
            raise

    def _is_in_use(self, device: Device, known: Volume) -> bool:
        """Whether it is in another drive of a library, which this process has."""
        name = self._config.drives[device.name].library
        if name is None:
            return False
        from tapeloom.ops.libraries import library_named

        library = library_named(self._config, name)
        there = library.find(known.cartridge)
        return there is not None and there.kind == "bay" and library.is_claimed(there.address)

    def _device(self, known: Volume) -> tuple[str, Device]:
        """The drive that this volume goes into, open."""
        names = drives_for(self._config, known.drive)
        if not names:
            raise NotFound(
                f"volume {known.label} was written in {known.drive}, which the configuration does not have: add it to "
                "[drives] or [libraries]"
            )
        mine = {name: device for name in names for device in (self._held.get(name), self._open.get(name)) if device}
        if mine:
            inside = [name for name, device in mine.items() if device.loaded == known.cartridge]
            name = (inside or list(mine))[0]
            return name, mine[name]
        device = open_first_free(self._config, self._by_nearness(names, known))
        self._open[device.name] = device
        return device.name, device

    def _by_nearness(self, names: list[str], known: Volume) -> list[str]:
        """First the drive that has the cartridge in it."""
        library = self._config.drives[names[0]].library
        if library is None or len(names) == 1:
            return names
        from tapeloom.ops.libraries import drive_in, library_named

        opened = library_named(self._config, library)
        there = opened.find(known.cartridge)
        nearest = None if there is None or there.kind != "bay" else drive_in(self._config, opened, there)
        return names if nearest is None else [nearest.name, *(name for name in names if name != nearest.name)]

    def __enter__(self) -> Mounts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        for device in self._open.values():
            with suppress(DeviceError):  # what was read has been checked; a last rewind changes nothing of that
                device.close()

    def end(self) -> None:
        """Nothing more is read: what the drives have in them may tell of its health."""
        for name in list(self._places):
            self._ends(name)

    def let_go(self) -> None:
        """Nothing more is read, and other drives of a library may have the cartridges. DeviceError."""
        for name, (_, place) in list(self._places.items()):
            if self._config.drives[name].library is not None:
                self._ends(name)
                place.device.unload()

    def _ends(self, name: str) -> None:
        """The mount that a drive has, if it has one."""
        if name not in self._places:
            return
        from tapeloom.ops.health import keep_health  # a backup has no mounts for reading

        volume, place = self._places.pop(name)
        keep_health(place.device, volume, self._config.server.state, self._keep)
