"""A changer that the drives of this process share, and what each of them sees of it: its magazine.

Between two processes the changer's own lock decides, between two threads a lock here. Both are held for a look at what
is where and the moves that follow from it, and no longer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tapeloom.errors import DeviceError, NoMedium
from tapeloom.library.contract import Changer, Element, Kind

Evict = Callable[[Element], None]
"""Makes the drive in a bay give up its cartridge, which is in a slot afterwards. Raises HeldError, DeviceError."""


class Library:
    """One open changer. `name` is what the configuration calls it."""

    def __init__(self, name: str, changer: Changer):
        self.name = name
        self.evict: Evict = self._cannot_evict
        """For cartridges that stand in the bay of another drive."""
        self._changer = changer
        self._lock = threading.RLock()
        self._depth = 0
        self._claimed: set[int] = set()

    @contextmanager
    def exclusive(self) -> Iterator[Changer]:
        """Nobody else who goes by this moves anything until the end of the `with` block."""
        with self._lock:
            if self._depth:
                yield self._changer
                return
            with self._changer.exclusive():
                self._depth += 1
                try:
                    yield self._changer
                finally:
                    self._depth -= 1

    def inventory(self) -> Sequence[Element]:
        with self._lock:
            return self._changer.inventory()

    def scan(self) -> None:
        with self.exclusive() as changer:
            changer.scan()

    def magazine(self, bay: int) -> LibraryMagazine:
        """That of the drive in the bay of this address. Raises DeviceError where there is no such bay."""
        self.element(bay)
        return LibraryMagazine(self, bay)

    def element(self, address: int) -> Element:
        found = next((one for one in self.inventory() if one.address == address), None)
        if found is None:
            raise DeviceError(f"library {self.name} has no element of address {address}")
        return found

    def bay(self, number: int) -> Element:
        """Raises DeviceError where there is no such bay."""
        bays = [one for one in self.inventory() if one.kind is Kind.BAY]
        if number >= len(bays):
            raise DeviceError(f"library {self.name} has no drive bay {number}: it has {len(bays)}, counted from 0")
        return bays[number]

    def find(self, barcode: str) -> Element | None:
        """Where a cartridge is."""
        return find(self.inventory(), barcode)

    def put_away(self, bay: int) -> Element | None:
        """What is in a bay goes to a slot, the one it came from where that is free. Its drive has let go of it. Gives
        where it is now; None: the bay is empty."""
        with self.exclusive() as changer:
            elements = changer.inventory()
            own = next(one for one in elements if one.address == bay)
            if not own.full:
                return None
            slot = self._slot_for(own, elements)
            changer.move(own, slot)
            return slot

    def bring(self, bay: int, barcode: str) -> None:
        """See `device.Magazine.bring`. The bay is emptied first, whatever comes of it: so two drives that want each
        other's cartridge do not wait for one another for ever, and what nobody has in use stands in a slot."""
        with self.exclusive() as changer:
            if self.element(bay).barcode == barcode:
                return
            self.put_away(bay)
            there = self._where(barcode)
            if there.kind is Kind.BAY:
                self.evict(there)
                there = self._where(barcode)
                if there.kind is Kind.BAY:
                    raise NoMedium(f"library {self.name}: cartridge {barcode} is still in {there.shown}")
            changer.move(there, self.element(bay))

    def claim(self, bay: int) -> None:
        """A drive of this process is open: what is in its bay is not for others."""
        with self._lock:
            self._claimed.add(bay)

    def release(self, bay: int) -> None:
        with self._lock:
            self._claimed.discard(bay)

    def is_claimed(self, bay: int) -> bool:
        return bay in self._claimed

    def close(self) -> None:
        with self._lock:
            self._changer.close()

    def _where(self, barcode: str) -> Element:
        elements = self.inventory()
        found = find(elements, barcode)
        if found is None:
            names = barcodes(elements)
            has = f"it has {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else "it has none"
            raise NoMedium(f"library {self.name}: there is no cartridge {barcode}; {has}")
        if found.kind is Kind.IMPORT_EXPORT:
            raise NoMedium(
                f"library {self.name}: cartridge {barcode} is in import/export slot {found.number}: "
                "`tapeloom import-export --in` brings it to a slot of the library"
            )
        if found.exception is not None:
            raise NoMedium(f"library {self.name}: cartridge {barcode} in {found.shown}: {found.exception}")
        return found

    def _slot_for(self, own: Element, elements: Sequence[Element]) -> Element:
        free = [one for one in elements if one.kind is Kind.SLOT and not one.full and one.exception is None]
        if not free:
            raise DeviceError(
                f"library {self.name}: there is no free slot for {own.barcode or 'the cartridge'} in {own.shown}: "
                "`tapeloom import-export --out` makes room"
            )
        return next((one for one in free if one.address == own.source), free[0])

    def _cannot_evict(self, element: Element) -> None:
        raise NoMedium(f"library {self.name}: cartridge {element.barcode} is in {element.shown}, in another drive")


class LibraryMagazine:
    """See `tapeloom.device.Magazine`. `close` is for when the drive is closed."""

    def __init__(self, library: Library, bay: int):
        self.library = library
        self.bay = bay
        self._seen: object = None
        library.claim(bay)

    def names(self) -> list[str]:
        """Without cleaning cartridges, what is in import/export slots, and what another drive of this process has."""
        mine = [
            one
            for one in self.library.inventory()
            if one.kind is Kind.SLOT
            or one.address == self.bay
            or (one.kind is Kind.BAY and not self.library.is_claimed(one.address))
        ]
        return barcodes(mine)

    def loaded(self) -> str | None:
        return self.library.element(self.bay).barcode

    def bring(self, name: str) -> None:
        self.library.bring(self.bay, name)

    def put_away(self) -> None:
        self.library.put_away(self.bay)

    def changes(self) -> object:
        """A library whose door is open, for somebody to put a cartridge in, does not answer: nothing has changed until
        it does again. Raises DeviceError where it has never answered."""
        try:
            self._seen = tuple((one.address, one.barcode) for one in self.library.inventory() if one.full)
        except DeviceError:
            if self._seen is None:
                raise
        return self._seen

    def close(self) -> None:
        self.library.release(self.bay)


def find(elements: Sequence[Element], barcode: str) -> Element | None:
    return next((one for one in elements if one.full and one.barcode == barcode), None)


def barcodes(elements: Sequence[Element]) -> list[str]:
    """Of the cartridges that data is written on, in order."""
    return sorted(one.barcode for one in elements if one.full and one.barcode is not None and not one.is_cleaning)
