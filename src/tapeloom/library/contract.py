"""What a changer is: places for cartridges, and an arm that moves them.

Every call may raise `DeviceError`, one sentence that says what the changer was asked for and what it said to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Final, Protocol

from msgspec import Struct

CLEANING: Final = "CLN"
"""What the barcodes of cleaning cartridges begin with, as drives and libraries have it."""


class Kind(StrEnum):
    """What an element is."""

    TRANSPORT = "transport"
    SLOT = "slot"
    IMPORT_EXPORT = "import/export slot"
    """What goes in or out goes through it."""
    BAY = "bay"
    """Where a drive is."""


class Element(Struct, frozen=True):
    """One place for a cartridge.

    Attributes
    ----------
    address : what the changer calls it.
    number : which of its kind, counted from 0 for bays and from 1 for all others.
    full : whether a cartridge is in it.
    barcode : of that cartridge; None where it has none, or it could not be read.
    accessible : whether the arm reaches what is in it. A drive that has loaded its cartridge holds it.
    exception : what is wrong with it, in words.
    source : the address of the slot that the cartridge came from, where the changer remembers it.
    serial : of the drive that is in this bay, where the changer tells.
    """

    address: int
    kind: Kind
    number: int
    full: bool = False
    barcode: str | None = None
    accessible: bool = True
    exception: str | None = None
    source: int | None = None
    serial: str | None = None

    @property
    def shown(self) -> str:
        return f"{self.kind.value} {self.number}"

    @property
    def is_cleaning(self) -> bool:
        return self.barcode is not None and self.barcode.startswith(CLEANING)

    def as_json(self) -> dict[str, Any]:
        return {
            "element": self.shown,
            "address": self.address,
            "kind": self.kind.value,
            "full": self.full,
            "barcode": self.barcode,
            "accessible": self.accessible,
            "exception": self.exception,
            "source": self.source,
            "serial": self.serial,
        }


class Changer(Protocol):
    """One thread at a time calls a changer, and what it looks at and then does stands between `exclusive()`."""

    shown: str
    """As messages name it."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Until the end of the `with` block no other process that goes by this moves a cartridge. Waits for them."""

    def inventory(self) -> Sequence[Element]:
        """Every element, in the order bays, slots, import/export slots, transports, each by address."""

    def move(self, origin: Element, target: Element) -> None:
        """Takes the cartridge out of `origin` and puts it into `target`. When it returns, it is there."""

    def scan(self) -> None:
        """The changer looks at all its elements anew: barcodes, too. In a large library that takes minutes."""

    def close(self) -> None:
        """May be called again."""


ORDER: Final = (Kind.BAY, Kind.SLOT, Kind.IMPORT_EXPORT, Kind.TRANSPORT)


def numbered(elements: Sequence[Element]) -> list[Element]:
    """In their order, each with its number."""
    from msgspec.structs import replace

    ordered = sorted(elements, key=lambda one: (ORDER.index(one.kind), one.address))
    counts = dict.fromkeys(Kind, 0)
    found = []
    for one in ordered:
        number = counts[one.kind] + (one.kind is not Kind.BAY)
        counts[one.kind] += 1
        found.append(replace(one, number=number))
    return found
