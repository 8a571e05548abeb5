"""What stands where in a library, and what a person wants moved: cartridges into drives and out, and through the
import/export slots."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tapeloom.catalog import Catalog, Volume
from tapeloom.errors import CatalogError, DeviceError, HeldError, NoMedium, NotFound, UsageError
from tapeloom.library import Element, Kind, Library
from tapeloom.ops.libraries import (
    bay_of,
    drive_for_moving,
    drives_by_room,
    drives_of,
    library_named,
    library_of_cartridge,
)

if TYPE_CHECKING:
    from tapeloom.config import Config, Drive

NAMELESS = "a cartridge without a barcode"

Moved = Callable[[Element, Element], None]
"""Told of a cartridge that was moved: from where, to where."""


class Shelved(Struct, frozen=True):
    """An element of a library, the drive that stands in it, and the volume that the catalog has of its cartridge."""

    library: str
    element: Element
    drive: str | None
    volume: Volume | None

    @property
    def shown(self) -> str:
        return self.element.shown + (f" ({self.drive})" if self.drive else "")

    def as_json(self) -> dict[str, Any]:
        volume = self.volume
        return {
            "library": self.library,
            **self.element.as_json(),
            "drive": self.drive,
            "volume": None if volume is None else volume.label,
            "state": None if volume is None else volume.state.value,
            "pool": None if volume is None else volume.pool,
        }


def shelved(config: Config, name: str | None, *, scan: bool = False) -> list[Shelved]:
    """What is where in a library, or in all of them. With `scan` they look again first.

    Raises
    ------
    UsageError
        There is no such library.
    DeviceError
        A changer cannot be used.
    """
    names = [name] if name is not None or not config.libraries else list(config.libraries)
    found = []
    for one in names:
        library = library_named(config, one)
        if scan:
            library.scan()
        known = _known(config, library.name)
        drives = {}
        for drive in drives_of(config, library.name):
            drives[bay_of(library, drive).address] = drive.name
        found += [
            Shelved(
                library.name,
                element,
                drives.get(element.address),
                None if element.barcode is None else known.get(element.barcode),
            )
            for element in library.inventory()
            if element.kind is not Kind.TRANSPORT or element.full
        ]
    return found


def mount(
    config: Config, name: str, drive: str | None = None, *, away: Callable[[str], None] = lambda sentence: None
) -> tuple[str, str, str]:
    """Brings a volume or a cartridge into a drive of its library: the one that is named, or one that is free. Gives
    cartridge, drive and library. `away` is told what had to leave that drive.

    Raises
    ------
    UsageError
        That drive is in another library, or in none.
    NotFound
        Nobody knows a volume or a cartridge of that name.
    NoMedium
        No library has the cartridge.
    HeldError
        The drive, or all of them, are in another process's hands.
    """
    barcode, known = cartridge_of(config, name)
    try:
        library = library_of_cartridge(config, barcode)
    except NotFound as error:
        raise _absent(str(error), known) from None
    there = library.find(barcode)
    names = _candidates(config, library, drive, there)
    held: HeldError | None = None
    for candidate in names:
        try:
            with drive_for_moving(config, candidate) as (_, bay):
                if bay.full and bay.barcode != barcode:
                    away(f"{bay.barcode or NAMELESS} went from drive {candidate} to {_place(library, bay)}")
                library.bring(bay.address, barcode)
        except HeldError as error:
            held = held or error
        else:
            return barcode, candidate, library.name
    assert held is not None, "there is a drive at least"
    raise held


def unmount(config: Config, drive: str) -> str | None:
    """What is in a drive goes to its slot. Gives the cartridge; None: the drive was empty. Raises UsageError where no
    library has such a drive, HeldError where another process has it."""
    found = _drive(config, drive)
    library = library_named(config, _library_of(config, found))
    inside = bay_of(library, found)
    with drive_for_moving(config, drive):
        return (inside.barcode or NAMELESS) if inside.full else None


def cartridge_of(config: Config, name: str) -> tuple[str, bool]:
    """The cartridge of a volume, by its label, and True; a name that is no volume's is a barcode."""
    try:
        with Catalog.open(config.server.state, readonly=True) as catalog:
            return catalog.volume(name).cartridge, True
    except (NotFound, CatalogError):
        return name, False


def _absent(sentence: str, known: bool) -> NoMedium | NotFound:
    """A cartridge that is not there: of a volume that is known it is missing, any other name is a wrong one."""
    return NoMedium(sentence) if known else NotFound(sentence)


def _place(library: Library, bay: Element) -> str:
    """Where what was in a bay is now."""
    there = None if bay.barcode is None else library.find(bay.barcode)
    return "its slot" if there is None else there.shown


def put_blank(library: Library, names: Sequence[str]) -> None:
    """Blank cartridges into the import/export slots of a virtual library. Raises UsageError."""
    from tapeloom.library.virtual import VirtualChanger

    with library.exclusive() as changer:
        if not isinstance(changer, VirtualChanger):
            raise UsageError(
                f"library {library.name} is a real one: --put makes cartridges of virtual ones; here you put them in"
            )
        changer.put(names)


def take_in(library: Library, moved: Moved = lambda origin, target: None) -> None:
    """Everything in the import/export slots goes to free slots; `moved` is told of each. Raises DeviceError."""
    with library.exclusive() as changer:
        for count in itertools.count():
            elements = changer.inventory()
            waiting = [one for one in elements if one.kind is Kind.IMPORT_EXPORT and one.full]
            if not waiting:
                return
            free = [one for one in elements if one.kind is Kind.SLOT and not one.full and one.exception is None]
            if not free:
                raise DeviceError(
                    f"library {library.name}: there is no free slot for what is in import/export slot "
                    f"{waiting[0].number}; {count} cartridges went in before"
                )
            changer.move(waiting[0], free[0])
            moved(waiting[0], free[0])


def take_out(
    config: Config, library: Library, names: Sequence[str], moved: Moved = lambda origin, target: None
) -> None:
    """The cartridges of these volumes, or with these barcodes, go to import/export slots, for somebody to take them
    out; `moved` is told of each.

    Raises
    ------
    NotFound
        Nobody knows a volume or a cartridge of that name. Nothing was moved.
    NoMedium
        One is not there, or in a drive. Nothing was moved.
    UsageError
        There are not so many free import/export slots. Nothing was moved.
    """
    with library.exclusive() as changer:
        elements = changer.inventory()
        wanted: list[Element] = []
        for barcode, known in dict.fromkeys(cartridge_of(config, name) for name in names):
            there = library.find(barcode)
            if there is None:
                raise _absent(f"library {library.name}: there is no cartridge {barcode}", known)
            if there.kind is Kind.BAY:
                raise NoMedium(f"library {library.name}: cartridge {barcode} is in {there.shown}: unmount it first")
            if there.kind is not Kind.IMPORT_EXPORT and there not in wanted:  # named by its barcode and by its label
                wanted.append(there)
        free = [one for one in elements if one.kind is Kind.IMPORT_EXPORT and not one.full and one.exception is None]
        if len(wanted) > len(free):
            raise UsageError(
                f"library {library.name}: {len(wanted)} cartridges do not go into {len(free)} free import/export "
                "slots: take out what is in them, or `import-export --in`"
            )
        for origin, target in zip(wanted, free, strict=False):
            changer.move(origin, target)
            moved(origin, target)


def _known(config: Config, home: str) -> dict[str, Volume]:
    """What the catalog has of a library, by cartridge; nothing where there is no catalog yet."""
    try:
        with Catalog.open(config.server.state, readonly=True) as catalog:
            return {one.cartridge: one for one in catalog.volumes(home, current=True)}
    except NotFound:
        return {}


def _candidates(config: Config, library: Library, drive: str | None, there: Element | None) -> list[str]:
    """The drives to try: the one that is asked for, or all of the library."""
    if drive is not None:
        found = _drive(config, drive)
        if found.library != library.name:
            raise UsageError(
                f"drive {drive} is in {found.library or 'no library'}, and the cartridge in library {library.name}"
            )
        return [drive]
    return drives_by_room(config, library, there)


def _drive(config: Config, name: str) -> Drive:
    if name not in config.drives:
        from tapeloom.config.faults import nearest, quoted

        hint = nearest(name, config.drives, "there are")
        raise UsageError(f"{config.shown}: there is no drive {quoted(name)}{f' ({hint})' if hint else ''}")
    return config.drives[name]


def _library_of(config: Config, drive: Drive) -> str:
    if drive.library is None:
        raise UsageError(f"drive {drive.name} stands in no library: `unload` takes its cartridge out")
    return drive.library
