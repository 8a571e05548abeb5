"""What a drive tells of itself and of the cartridge in it. None everywhere: it does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from tapeloom.tapealert import About, Flag, Severity, flags


class Errors(Struct, frozen=True):
    """Of writing, or of reading, as the drive counts: since the cartridge was loaded, or since it was switched on.

    `repeated` were written or read again, `uncorrected` could not be written or read at all.
    """

    corrected: int | None = None
    repeated: int | None = None
    uncorrected: int | None = None
    bytes: int | None = None


class CartridgeHealth(Struct, frozen=True):
    """`alerts`: TapeAlert flags of the mount before, whichever drive that was in; the other numbers are those of the
    cartridge's whole life. `kind` is "data", "cleaning" or "WORM"; sizes are in bytes."""

    remaining: int | None = None
    capacity: int | None = None
    alerts: tuple[int, ...] | None = None
    loads: int | None = None
    memory_left: int | None = None
    written: int | None = None
    read: int | None = None
    write_errors: int | None = None
    read_errors: int | None = None
    manufacturer: str | None = None
    serial: str | None = None
    barcode: str | None = None
    kind: str | None = None

    @property
    def errors(self) -> int | None:
        """Blocks that could not be written or read, ever."""
        known = [count for count in (self.write_errors, self.read_errors) if count is not None]
        return sum(known) if known else None


class DriveHealth(Struct, frozen=True):
    """Of the drive's whole life."""

    loads: int | None = None
    cleanings: int | None = None
    power_on_hours: int | None = None
    motion_hours: int | None = None
    meters: int | None = None


class Health(Struct, frozen=True):
    """One reading. `alerts`: TapeAlert flags that were set; the drive has forgotten them by now."""

    alerts: tuple[int, ...] | None = None
    writing: Errors | None = None
    reading: Errors | None = None
    cartridge: CartridgeHealth | None = None
    drive: DriveHealth | None = None

    @property
    def offered(self) -> bool:
        return any(getattr(self, name) is not None for name in self.__struct_fields__)

    def figures(self) -> dict[str, Any]:
        """All but the flags, without what the drive does not tell; `Health.of` takes it."""
        found = to_builtins(self)
        del found["alerts"]
        return {
            part: {name: value for name, value in numbers.items() if value is not None}
            for part, numbers in found.items()
            if numbers is not None
        }

    @classmethod
    def of(cls, alerts: tuple[int, ...] | None, figures: Mapping[str, Mapping[str, Any]]) -> Health:
        """What `figures` gave; what a newer tapeloom has added to it is passed over."""

        def part(kind: type[Any], name: str) -> Any:
            known = kind.__struct_fields__
            values = figures.get(name)
            if values is None:
                return None
            return kind(
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in values.items()
                    if key in known
                }
            )

        return cls(
            alerts,
            part(Errors, "writing"),
            part(Errors, "reading"),
            part(CartridgeHealth, "cartridge"),
            part(DriveHealth, "drive"),
        )

    def behind(self, before: Health | None) -> Health:
        """This one, with the flags that an earlier reading of the same mount has taken out of the drive."""
        if before is None or before.alerts is None:
            return self
        return replace(self, alerts=tuple(sorted({*before.alerts, *(self.alerts or ())})))


class Kept(Struct, frozen=True):
    """A reading that the catalog has: when (ns since 1970), of which drive, and which volume (its id) was in it."""

    at: int
    drive: str
    volume: str | None
    job: str | None
    health: Health

    def drive_flags(self) -> list[Flag]:
        return flags(self.health.alerts or (), About.DRIVE)

    def volume_flags(self) -> list[Flag]:
        return flags(self.health.alerts or (), About.CARTRIDGE)


class Doubt(Struct, frozen=True):
    """Why a volume is not to be trusted. `unfit`: what is written to it from now on is at risk."""

    why: str
    unfit: bool


def doubt(alerts: tuple[int, ...] | None, when: str) -> Doubt | None:
    """What these flags make of the cartridge that they were raised with; `when` as in "at its last mount"."""
    grave = [
        one
        for one in flags(alerts or (), About.CARTRIDGE)
        if one.unfit or (one.severity is Severity.CRITICAL and one.about is About.CARTRIDGE)
    ]
    if not grave:
        return None
    return Doubt(f"{when}: {'; '.join(one.sentence for one in grave)}", any(one.unfit for one in grave))
