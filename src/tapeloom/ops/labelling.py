"""Cartridges get a label by hand: blank ones beforehand, and volumes that hold nothing wanted another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import tapeloom
from tapeloom import _kernel
from tapeloom.catalog import Catalog, Volume, VolumeState
from tapeloom.catalog.ledger import JobLedger
from tapeloom.config import Config
from tapeloom.device import UNNAMED, Device, Status
from tapeloom.errors import (
    DeviceError,
    ForeignVolume,
    FormatError,
    NoMedium,
    RetentionError,
    UsageError,
    VersionTooNew,
    WriteProtected,
)
from tapeloom.ident import new_id
from tapeloom.limits import DEFAULT_POOL
from tapeloom.ops.mounts import drives_for, open_configured
from tapeloom.ops.protecting import Protection
from tapeloom.volume.choosing import Fresh, next_name
from tapeloom.volume.mounting import Where, label_fresh
from tapeloom.volume.recognizing import inside, read_label

MayOverwrite = Callable[[str, str], bool]
"""Told what was found, in a sentence, and by a name; whether it may be overwritten."""

BLANK = ""


def never(sentence: str, name: str) -> bool:
    return False


def chosen_drive(config: Config, drive: str | None, home: str | None = None) -> str:
    """The one that was named, or the only one that there is (of a home).

    Raises
    ------
    UsageError
        There is no such drive, or more than one, or it does not bring the volumes of that home.
    """
    known = list(config.drives) if home is None else drives_for(config, home)
    if drive is None and len(known) == 1:
        return known[0]
    if drive is None and home is not None and known:
        return known[0]
    if drive is None:
        raise UsageError(f"{config.shown}: --drive says which of {', '.join(config.drives)} is meant")
    if drive not in config.drives:
        from tapeloom.config.faults import nearest, quoted

        hint = nearest(drive, config.drives, "there are")
        raise UsageError(f"{config.shown}: there is no drive {quoted(drive)} for --drive{f' ({hint})' if hint else ''}")
    if drive not in known:
        raise UsageError(f"drive {drive} does not take the volumes of {home}")
    return drive


def checked_pool(config: Config, pool: str | None) -> str:
    """UsageError: no such pool."""
    name = DEFAULT_POOL if pool is None else pool
    known = {DEFAULT_POOL, *config.pools, *(agent.pool for agent in config.agents.values())}
    if name not in known:
        from tapeloom.config.faults import nearest, quoted

        hint = nearest(name, sorted(known), "there are")
        raise UsageError(f"{config.shown}: there is no pool {quoted(name)} for --pool ({hint})")
    return name


@dataclass(slots=True)
class Labelling:
    """An open drive, and the catalog held. `passed` says which cartridges were left alone, and why."""

    config: Config
    device: Device
    where: Where
    catalog: Catalog = field(repr=False)
    passed: list[str] = field(default_factory=list)
    _ledger: JobLedger = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._ledger = JobLedger(self.catalog, new_id())

    def blank(self) -> list[Volume]:
        """Labels every blank cartridge that the drive can have."""
        made = []
        for name in self.device.cartridges():
            if self.catalog.volume_in(self.where.home, name) is not None:
                continue
            self._load(name)
            found, sentence = self._found()
            if found != BLANK:
                self.passed.append(sentence)
                continue
            made.append(self._label(Fresh(self._name(name))))
        return made

    def named(self, name: str, barcode: str | None = None, may_overwrite: MayOverwrite = never) -> Volume:
        """Labels one cartridge: that of this name, or, in a drive that stands alone and cannot know names, the one that
        is in it; a drive that makes cartridges makes it.

        Raises
        ------
        UsageError
            It is a volume of this catalog, or the name is taken.
        ForeignVolume
            Something else is on it, and `may_overwrite` says no.
        NoMedium
            There is no such cartridge.
        """
        names = self.device.cartridges()
        if self.catalog.has_label(name):
            raise UsageError(
                f"there is a volume {name} already; `tapeloom relabel {name}` writes it from its beginning"
            )
        if UNNAMED in names:
            self._load(UNNAMED)
        elif name in names:
            self._load(name)
        elif self.device.makes_cartridges:
            self.device.new_cartridge(name)
            self._load(name)
        else:
            has = ", ".join(names) or "none"
            raise NoMedium(f"drive {self.device.name}: there is no cartridge {name}; it has {has}", status=18)
        found, sentence = self._found()
        if found != BLANK and not may_overwrite(sentence, found):
            raise ForeignVolume(f"{sentence}: it is left alone", found)
        return self._label(Fresh(name), barcode)

    def anew(self, volume: Volume, label: str | None, barcode: str | None) -> Volume:
        """Writes a label over a volume, whose copies stop to count where any did."""
        if self.device.loaded != volume.cartridge:
            self._load(volume.cartridge)
        start = read_label(self.device, crc=_kernel.crc32c)
        if start is not None and start.volume != volume.id:
            raise DeviceError(
                f"{inside(self.device)} is volume {start.label} ({start.volume}), where the catalog has volume "
                f"{volume.label} ({volume.id}): nothing was written"
            )
        self._refuse_protected()
        if volume.state is not VolumeState.SCRATCH:
            self.catalog.put_out_of_use(volume.id, VolumeState.SCRATCH, [], reason="it gets a new label")
        known = self._ledger.by_id(volume.id)
        return self._label(Fresh(volume.cartridge, known), barcode, label)

    def _load(self, name: str) -> None:
        if self.device.loaded is None or self.device.loaded != name:
            self.device.load(None if name == UNNAMED else name)

    def _name(self, cartridge: str) -> str:
        if cartridge != UNNAMED:
            return cartridge
        return next_name(self.where.home, self._ledger, [])

    def _found(self) -> tuple[str, str]:
        """By what name one calls what is on the cartridge, and the whole sentence."""
        here = inside(self.device)
        try:
            start = read_label(self.device, crc=_kernel.crc32c)
        except VersionTooNew:
            raise
        except ForeignVolume as foreign:
            return foreign.program or "unknown", f"{here} holds data of {foreign.program or 'an unknown program'}"
        except FormatError:
            return "tapeloom", f"{here} has a damaged label of tapeloom"
        except DeviceError as error:
            if error.status != Status.ERR_IO:
                raise
            return "unreadable", f"the first block of {here} cannot be read (damaged, or encrypted by a drive)"
        if start is None:
            return BLANK, ""
        known = self._ledger.by_id(start.volume)
        if known is not None:
            raise UsageError(
                f"{here} is volume {known.label} already; `tapeloom relabel {known.label}` writes it from its beginning"
            )
        return start.label, f"{here} is volume {start.label} ({start.volume}), which this catalog does not know"

    def _label(self, fresh: Fresh, barcode: str | None = None, label: str | None = None) -> Volume:
        self._refuse_protected()
        mounted = label_fresh(
            self.device,
            self._ledger,
            fresh,
            where=self.where,
            block_bytes=self.config.server.block,
            software=f"tapeloom {tapeloom.__version__}",
            crc=_kernel.crc32c,
            barcode=barcode,
            label=label,
        )
        return self.catalog.volume(mounted.id)

    def _refuse_protected(self) -> None:
        if self.device.write_protected:
            raise WriteProtected(f"{inside(self.device)} is write-protected: nothing was written", status=17)


@contextmanager
def open_labelling(config: Config, drive: str, pool: str) -> Iterator[Labelling]:
    """For volumes of `pool` on what `drive` can have.

    Raises
    ------
    UsageError
        The drive keeps nothing.
    HeldError
        The drive or the state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog, open_configured(config, drive) as device:
        if not device.keeps:
            raise UsageError(f"drive {drive} keeps nothing, so there is nothing to label")
        yield Labelling(config, device, Where(config.drives[drive].home, pool), catalog)


def refuse_wanted(config: Config, label: str) -> Volume:
    """The volume, where nothing on it counts any more.

    Raises
    ------
    NotFound
        There is no such volume.
    UsageError
        It is damaged, or gone.
    RetentionError
        Copies on it count.
    """
    with Catalog.open(config.server.state, readonly=True) as catalog:
        volume = catalog.volume(label)
        if volume.successor is not None:
            raise UsageError(f"volume {label} is gone: its cartridge was written anew")
        if volume.state is VolumeState.DAMAGED:
            raise UsageError(f"volume {label} is damaged: it is not written again; `tapeloom retire` takes it out")
        held = Protection(config, catalog).verdict(volume, asked_for=True).copies
        if held:
            item, _ = held[0]
            raise RetentionError(
                f"volume {label} holds {len(held)} copies that count, {item.source} {item.id} for one: "
                f"`tapeloom scratch {label}` says whether it may go"
            )
        return volume
