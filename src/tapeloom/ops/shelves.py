"""What stands where in a library, and what a person wants moved: cartridges into drives and out, and through the
import/export slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tapeloom.catalog import Catalog, Volume
from tapeloom.errors import CatalogError, DeviceError, HeldError, NoMedium, NotFound, UsageError
from tapeloom.library import Element, Kind, Library
from tapeloom.ops.libraries import (
    bay_of,
    drive_for_moving,
    drives_of,
    library_named,
    library_of_cartridge,
)

if TYPE_CHECKING:
    from tapeloom.config import Config, Drive


@dataclass(frozen=True, slots=True)
class Shelved:
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


def mount(config: Config, name: str, drive: str | None = None) -> tuple[str, str, str]:
    """Brings a volume or a cartridge into a drive of its library: the one that is named, or one that is free. Gives
    cartridge, drive and library.

    Raises
    ------
    UsageError
        That drive is in another library, or in none.
    NoMedium
        No library has the cartridge.
    HeldError
        The drive, or all of them, are in another process's hands.
    """
    barcode = cartridge_of(config, name)
    library = library_of_cartridge(config, barcode)
    there = library.find(barcode)
    names = _candidates(config, library, drive, there)
    held: HeldError | None = None
    for candidate in names:
        try:
            with drive_for_moving(config, candidate) as (_, bay):
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
        return (inside.barcode or "a cartridge without a barcode") if inside.full else None


def cartridge_of(config: Config, name: str) -> str:
    """The cartridge of a volume, by its label; a name that is no volume's is a barcode."""
    try:
        with Catalog.open(config.server.state, readonly=True) as catalog:
            return catalog.volume(name).cartridge
    except (NotFound, CatalogError):
        return name


def put_blank(library: Library, names: Sequence[str]) -> None:
    """Blank cartridges into the import/export slots of a virtual library. Raises UsageError."""
    from tapeloom.library.virtual import VirtualChanger

    with library.exclusive() as changer:
        if not isinstance(changer, VirtualChanger):
            raise UsageError(
                f"library {library.name} is a real one: --put makes cartridges of virtual ones; here you put them in"
            )
        changer.put(names)


def take_in(library: Library) -> list[tuple[Element, Element]]:
    """Everything in the import/export slots goes to free slots. Gives from where to where. Raises DeviceError."""
    moved: list[tuple[Element, Element]] = []
    with library.exclusive() as changer:
        while True:
            elements = changer.inventory()
            waiting = [one for one in elements if one.kind is Kind.MAIL and one.full]
            if not waiting:
                return moved
            free = [one for one in elements if one.kind is Kind.SLOT and not one.full and one.exception is None]
            if not free:
                raise DeviceError(
                    f"library {library.name}: there is no free slot for what is in import/export slot "
                    f"{waiting[0].number}; {len(moved)} cartridges went in before"
                )
            changer.move(waiting[0], free[0])
            moved.append((waiting[0], free[0]))


def take_out(
    library: Library, barcodes: Sequence[str], moved: Callable[[Element, Element], None] = lambda origin, target: None
) -> None:
    """These cartridges go to import/export slots, for somebody to take them out; `moved` is told of each.

    Raises
    ------
    NoMedium
        One is not there, or in a drive. Nothing was moved.
    UsageError
        There are not so many free import/export slots. Nothing was moved.
    """
    with library.exclusive() as changer:
        elements = changer.inventory()
        wanted = []
        for barcode in dict.fromkeys(barcodes):
            there = library.find(barcode)
            if there is None:
                raise NoMedium(f"library {library.name}: there is no cartridge {barcode}")
            if there.kind is Kind.BAY:
                raise NoMedium(f"library {library.name}: cartridge {barcode} is in {there.shown}: unmount it first")
            if there.kind is not Kind.MAIL:
                wanted.append(there)
        free = [one for one in elements if one.kind is Kind.MAIL and not one.full and one.exception is None]
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
    """The drives to try: the one that is asked for, or the empty ones first, and before them the one it is in."""
    if drive is not None:
        found = _drive(config, drive)
        if found.library != library.name:
            raise UsageError(
                f"drive {drive} is in {found.library or 'no library'}, and the cartridge in library {library.name}"
            )
        return [drive]
    drives = [(bay_of(library, one), one.name) for one in drives_of(config, library.name)]
    here = None if there is None else there.address
    return [name for _, name in sorted(drives, key=lambda one: (one[0].address != here, one[0].full))]


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
