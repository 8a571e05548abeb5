"""The drives of a configuration: what each is, what is in it, and what it tells of its health. No cartridge moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from tapeloom.catalog import Catalog, iso
from tapeloom.config.devices import split_device
from tapeloom.device import UNNAMED, open_drive
from tapeloom.device.nodes import tape_node
from tapeloom.errors import CatalogError, DeviceError, DriveHangs, HeldError, NotFound, UsageError
from tapeloom.health import Health, Kept
from tapeloom.ops.asking import Asked
from tapeloom.ops.libraries import bay_of, library_named
from tapeloom.tapealert import Flag

if TYPE_CHECKING:
    from tapeloom.config import Config, Drive
    from tapeloom.device.aside import Aside

_KINDS = {
    "vtape": "virtual tape",
    "vlib": "virtual library",
    "null": "null drive, keeps nothing",
    "memory": "memory, until the process ends",
}


class DriveRow(Struct):
    """One drive. `what` names vendor, product and firmware of a real one. `held` says who has it, `trouble` why it
    cannot be used, `hung` that it does not come back. `told` is what it said last; `flags` are its own."""

    name: str
    device: str
    what: str = ""
    serial: str | None = None
    library: str | None = None
    bay: str | None = None
    cartridge: str | None = None
    volume: str | None = None
    block_bytes_max: int | None = None
    direct_bytes_max: int | None = None
    held: str | None = None
    trouble: str | None = None
    hung: bool = False
    told: Kept | None = None
    flags: list[Flag] = field(default_factory=list)

    @property
    def status(self) -> str:
        return "hung" if self.hung else "failed" if self.trouble else "held" if self.held else "free"

    def as_json(self) -> dict[str, Any]:
        return {
            "drive": self.name,
            "device": self.device,
            "what": self.what,
            "serial": self.serial,
            "library": self.library,
            "bay": self.bay,
            "cartridge": self.cartridge,
            "volume": self.volume,
            "block_bytes_max": self.block_bytes_max,
            "direct_bytes_max": self.direct_bytes_max,
            "status": self.status,
            "held": self.held,
            "trouble": self.trouble,
            "told_at": None if self.told is None else iso(self.told.at),
            "alerts": [one.as_json() for one in self.flags],
            "health": None if self.told is None else self.told.health.figures(),
        }


def drives(config: Config) -> list[DriveRow]:
    """In the order of the file. One that cannot be used, or hangs, has a sentence in its row; all are asked at the same
    time. The TapeAlert flags of drives are kept, where the catalog is nobody else's; else they are left to whoever has
    it."""
    with ExitStack() as stack:
        catalog, writes = _catalog(config.server.state, stack)
        rows = [_row(config, drive, catalog) for drive in config.drives.values()]
        asked = {row.name: _asked(config.drives[row.name], writes) for row in rows if _can_be_asked(row)}
        for row in rows:
            drive = config.drives[row.name]
            if row.name in asked:
                _look(row, asked[row.name], drive, catalog)
            row.flags = [] if row.told is None else row.told.drive_flags()
            known = None if catalog is None or row.cartridge is None else catalog.volume_in(drive.home, row.cartridge)
            row.volume = None if known is None else known.label
        return rows


def _catalog(state: Path, stack: ExitStack) -> tuple[Catalog | None, bool]:
    """And whether it may be written."""
    try:
        found = Catalog.open(state, readonly=True)
    except NotFound:
        return None, False
    try:
        found.close()
        return stack.enter_context(Catalog.open(state)), True
    except (HeldError, CatalogError):
        return stack.enter_context(Catalog.open(state, readonly=True)), False


def _row(config: Config, drive: Drive, catalog: Catalog | None) -> DriveRow:
    """What is known without opening the drive."""
    kind = split_device(drive.device).kind
    row = DriveRow(drive.name, drive.device, what=_KINDS.get(kind, ""), library=drive.library)
    row.told = None if catalog is None else catalog.drive_health().get(drive.name)
    try:
        if not kind:
            node = tape_node(drive.device, f"drive {drive.name}")
            row.what, row.serial = node.model, node.serial
        if drive.library is not None:
            bay = bay_of(library_named(config, drive.library), drive)
            row.bay, row.cartridge = bay.shown, (bay.barcode or UNNAMED) if bay.full else None
    except HeldError as error:
        row.held = str(error)
    except (DeviceError, UsageError) as error:
        row.trouble = str(error)
    return row


def _can_be_asked(row: DriveRow) -> bool:
    kind, place, _ = split_device(row.device)
    there = kind != "vlib" and (kind != "vtape" or Path(place).is_dir())  # else there is nothing to open yet
    return there and row.trouble is None and row.held is None


class _Answer(Struct, frozen=True):
    """What an open drive says. `inside`: the cartridge in one that stands alone."""

    block_bytes_max: int
    direct_bytes_max: int
    inside: str | None = None
    health: Health | None = None


def _asked(drive: Drive, alerts: bool) -> Asked[_Answer]:
    def question(on_aside: Callable[[Aside], None]) -> _Answer:
        with open_drive(drive.device, name=drive.name, on_aside=on_aside) as device:
            limits = device.block_bytes_max, device.block_bytes_direct_max
            if device.aside is None:
                return _Answer(*limits)
            inside = next(iter(device.cartridges()), None) if drive.library is None else None
            return _Answer(*limits, inside, device.health(alerts=alerts))

    return Asked(drive, question)


def _look(row: DriveRow, asked: Asked[_Answer], drive: Drive, catalog: Catalog | None) -> None:
    try:
        answer = asked.answer()
    except HeldError as error:
        row.held = str(error)
        return
    except (DeviceError, UsageError) as error:
        row.trouble, row.hung = str(error), isinstance(error, DriveHangs)
        return
    row.block_bytes_max, row.direct_bytes_max = answer.block_bytes_max, answer.direct_bytes_max
    health = answer.health
    row.cartridge = answer.inside or row.cartridge
    if health is None:
        return
    if row.cartridge == UNNAMED and health.cartridge is not None:
        row.cartridge = health.cartridge.barcode or UNNAMED
    before = row.told
    row.told = Kept(time.time_ns(), drive.name, None, None, health.behind(before.health if before else None))
    if catalog is not None and health.alerts:
        _keep(catalog, drive, row.cartridge, health)


def _keep(catalog: Catalog, drive: Drive, cartridge: str | None, health: Health) -> None:
    """New flags only: a look that found none takes nothing back that the last job was told."""
    volume = None if cartridge is None else catalog.volume_in(drive.home, cartridge)
    catalog.keep_health(health, drive=drive.name, volume=None if volume is None else volume.id)
