"""What a person wants in a drive, its label looked at, or out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeloom import _kernel
from tapeloom.catalog import Catalog, Volume
from tapeloom.device import UNNAMED
from tapeloom.errors import NotFound
from tapeloom.ops.labelling import chosen_drive
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.shelves import NAMELESS, unmount
from tapeloom.volume.recognizing import found_to_be, inside, read_label

if TYPE_CHECKING:
    from tapeloom.config import Config


def load(config: Config, name: str | None, drive: str | None = None) -> str:
    """Puts a volume or a cartridge into a drive, or what is there. Gives a sentence on what its label says. A drive
    that is fed by hand keeps it; a stack and a library have it back afterwards.

    Raises
    ------
    UsageError
        There is no such drive, or more than one and none is named, or it does not bring this volume.
    NoMedium
        The volume's cartridge is not there.
    NotFound
        Nobody knows such a volume or cartridge, or another volume is on it than the one that was asked for.
    ForeignVolume, FormatError
        It has no sound label of tapeloom.
    """
    known = None if name is None else _known(config, name)
    if name is not None and known is None and drive is None and len(config.drives) > 1:
        raise NotFound(f"no volume is called {name}; where a cartridge is called so, say with --drive in which drive")
    with open_configured(config, chosen_drive(config, drive, known.home if known else None)) as device:
        if known is None:
            if not (name is None or device.fed_by_hand or name in (here := device.cartridges())):
                raise NotFound(f"drive {device.name}: there is no cartridge {name}; it has {', '.join(here) or 'none'}")
            device.load(name)
        else:
            device.load(None if device.fed_by_hand else known.cartridge)
        start = read_label(device, crc=_kernel.crc32c)
        found = f"{inside(device)} {found_to_be(start)}"
    if known is not None and (start is None or start.volume != known.id):
        raise NotFound(f"{found}, and not volume {known.label} ({known.id})")
    return found


def unload(config: Config, drive: str | None = None) -> tuple[str, str | None]:
    """Takes out what is in a drive; in a library it goes to its slot. Gives the drive and the cartridge; None: the
    drive was empty. Raises UsageError, HeldError, DeviceError."""
    name = chosen_drive(config, drive)
    if config.drives[name].library is not None:
        return name, unmount(config, name)
    with open_configured(config, name) as device:
        if device.fed_by_hand and device.cartridges():
            device.load()  # only what it has looked at is its to take out
        cartridge = device.loaded
        device.unload()
    return name, NAMELESS if cartridge == UNNAMED else cartridge


def _known(config: Config, name: str) -> Volume | None:
    try:
        with Catalog.open(config.server.state, readonly=True) as catalog:
            return catalog.volume(name)
    except NotFound:
        return None
