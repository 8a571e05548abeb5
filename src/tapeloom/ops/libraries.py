"""The libraries of a configuration: one open changer a library in this process, and the drives that stand in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from tapeloom.catalog import Catalog, VolumeState
from tapeloom.device import open_drive
from tapeloom.errors import DeviceError, HeldError, NoMedium, NotFound, TapeloomError, UsageError

if TYPE_CHECKING:
    from tapeloom.config import Config, Drive
    from tapeloom.device import Device
    from tapeloom.library import Element, Library


class _Open:
    """The changers that are open: they are this process's, as their locks are, and stay open until it ends."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.libraries: dict[tuple[str, str], Library] = {}


_OPEN: Final = _Open()

_OUT: Final = (VolumeState.RETIRED, VolumeState.SCRATCH)
"""Of volumes that nobody misses."""


def library_named(config: Config, name: str | None) -> Library:
    """Opens a library; None: the only one there is.

    Raises
    ------
    UsageError
        There is none of that name.
    DeviceError
        Its changer cannot be used.
    """
    if name is None:
        if len(config.libraries) != 1:
            there = ", ".join(config.libraries)
            what = f"there are several libraries: say which, of {there}" if there else "there is no library"
            raise UsageError(f"{config.shown}: {what}{'' if there else ': [libraries] names them'}")
        (name,) = config.libraries
    if name not in config.libraries:
        from tapeloom.config.faults import nearest, quoted

        hint = nearest(name, config.libraries, "there are")
        raise UsageError(f"{config.shown}: there is no library {quoted(name)}{f' ({hint})' if hint else ''}")
    from tapeloom.library import open_library

    changer = config.libraries[name].changer
    with _OPEN.lock:
        library = _OPEN.libraries.get((name, changer))
        if library is None:
            making = partial(_refuse_to_make, config, name, changer)
            library = _OPEN.libraries[name, changer] = open_library(changer, name=name, making=making)
        library.evict = lambda element: _evict(config, library, element)
        return library


def _refuse_to_make(config: Config, name: str, changer: str) -> None:
    """Raises DeviceError where volumes are at home in a library that is to be made: it is elsewhere, or was."""
    try:
        with Catalog.open(config.server.state, readonly=True) as catalog:
            known = [one for one in catalog.volumes(name, current=True) if one.state not in _OUT]
    except NotFound:
        return
    if known:
        more = f" and {len(known) - 1} more" if len(known) > 1 else ""
        folder = changer.removeprefix("vlib:").partition("?")[0]
        raise DeviceError(
            f"library {name}: there is none in {folder}, where volume {known[0].label}{more} should be: "
            "bring its folder back, or mend its name in [libraries]; `tapeloom retire` says of volumes that they "
            "are lost, and then a new one is made"
        )


def drives_of(config: Config, name: str) -> list[Drive]:
    """The drives that stand in a library."""
    return [drive for drive in config.drives.values() if drive.library == name]


def drives_by_room(config: Config, library: Library, there: Element | None) -> list[str]:
    """The drives of a library in the order in which a cartridge that is `there` would go into one: first the one that
    it is in, then the empty ones."""
    drives = [(bay_of(library, one), one.name) for one in drives_of(config, library.name)]
    here = None if there is None else there.address
    return [name for _, name in sorted(drives, key=lambda one: (one[0].address != here, one[0].full))]


def bay_of(library: Library, drive: Drive) -> Element:
    """Where a drive stands: as the file says, or where the changer says that its serial number is.

    Raises
    ------
    UsageError
        The changer does not tell, and the file does not, either.
    DeviceError
        There is no such bay, or the drive does not answer.
    """
    if drive.bay is not None:
        return library.bay(drive.bay)
    from tapeloom.library import Kind
    from tapeloom.library.smc import serial_of

    bays = [one for one in library.inventory() if one.kind is Kind.BAY]
    if all(one.serial is None for one in bays):
        raise UsageError(
            f"drive {drive.name}: library {library.name} does not tell which drive is in which bay: say `bay = 0` in "
            f"[drives.{drive.name}]"
        )
    serial = serial_of(drive.device, f"drive {drive.name}")
    found = [one for one in bays if one.serial == serial]
    if len(found) != 1:
        listed = ", ".join(one.serial or "?" for one in bays)
        raise UsageError(
            f"drive {drive.name} ({drive.device}) has the serial number {serial}, and library {library.name} has "
            f"drives with {listed}: it stands in another library, or the device is another drive"
        )
    return found[0]


def open_in_library(config: Config, drive: Drive) -> Device:
    """Opens a drive that stands in a library. Raises UsageError, HeldError, DeviceError."""
    assert drive.library is not None, "it stands alone"
    library = library_named(config, drive.library)
    magazine = library.magazine(bay_of(library, drive).address)
    try:
        if drive.device.startswith("vlib:"):
            from tapeloom.library.bay import open_bay

            return open_bay(drive.device, name=drive.name, magazine=magazine, capacity=drive.capacity)
        return open_drive(drive.device, name=drive.name, capacity=drive.capacity, magazine=magazine)
    except BaseException:
        magazine.close()
        raise


def drive_in(config: Config, library: Library, element: Element) -> Drive | None:
    """The configured drive that stands in a bay."""
    for drive in drives_of(config, library.name):
        if bay_of(library, drive).address == element.address:
            return drive
    return None


def _evict(config: Config, library: Library, element: Element) -> None:
    """Unloads the drive in a bay, so that another one can have its cartridge."""
    drive = drive_in(config, library, element)
    where = f"library {library.name}: cartridge {element.barcode} is in {element.shown}"
    if drive is None:
        raise NoMedium(f"{where}, whose drive is not in the configuration: unload it there")
    if library.is_claimed(element.address):
        raise NoMedium(f"{where}, drive {drive.name}, which this process uses for something else")
    try:
        with drive_for_moving(config, drive.name):
            return
    except HeldError as error:
        raise NoMedium(f"{where}: {error}") from None


@contextmanager
def drive_for_moving(config: Config, name: str) -> Iterator[tuple[Library, Element]]:
    """A drive that stands in a library, held and empty: whatever was in it is in a slot. What is brought into it stays
    there. Raises UsageError, HeldError, DeviceError."""
    drive = config.drives[name]
    library = library_named(config, drive.library)
    with open_in_library(config, drive) as device:
        bay = bay_of(library, drive)
        if bay.full:
            with suppress(TapeloomError):  # what cannot be read can be taken out all the same
                device.load()
            device.unload()
            library.put_away(bay.address)
        yield library, bay


def library_of_cartridge(config: Config, barcode: str) -> Library:
    """The library that a cartridge is in.

    Raises
    ------
    UsageError
        There is no library.
    NotFound
        It is in none.
    NoMedium
        It may be in one that does not answer.
    """
    if not config.libraries:
        raise UsageError(f"{config.shown}: there is no library: [libraries] names them")
    silent = []
    for name in config.libraries:
        try:
            library = library_named(config, name)
            if library.find(barcode) is not None:
                return library
        except DeviceError as error:
            silent.append(str(error))
    where = f"in no library of {config.shown}" if len(config.libraries) > 1 else f"not in library {name}"
    if silent:
        raise NoMedium(f"cartridge {barcode} is {where} ({'; '.join(silent)})")
    raise NotFound(f"cartridge {barcode} is {where}")
