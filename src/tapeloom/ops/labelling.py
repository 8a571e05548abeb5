"""Cartridges get a label by hand: blank ones beforehand, and volumes that hold nothing wanted another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

import tapeloom
from tapeloom import _kernel
from tapeloom.catalog import Catalog, Volume, VolumeState
from tapeloom.catalog.ledger import JobLedger
from tapeloom.config import Config
from tapeloom.device import UNNAMED, Device, Status
from tapeloom.device.tape import CARTRIDGE_NAME
from tapeloom.errors import (
    CatalogOlderThanTape,
    DeviceError,
    ForeignVolume,
    FormatError,
    NoMedium,
    NotFound,
    RetentionError,
    UsageError,
    VersionTooNew,
    WriteProtected,
)
from tapeloom.ident import new_id
from tapeloom.limits import DEFAULT_POOL
from tapeloom.ops.freeing import refuse_lost
from tapeloom.ops.mounts import drives_for, open_first_free
from tapeloom.ops.protecting import Protection
from tapeloom.volume.appending import REMEDY, refuse_more_than_known, refuse_write_once
from tapeloom.volume.choosing import Fresh, next_name
from tapeloom.volume.label import holds
from tapeloom.volume.mounting import Where, label_fresh
from tapeloom.volume.recognizing import found_to_be, inside, read_label
from tapeloom.volume.records import VolumeStart

MayOverwrite = Callable[[str, str, bool], bool]
"""Told what was found, in a sentence, and by a name, and whether it is a sound volume of tapeloom, which may be wanted;
whether it may be overwritten."""

BLANK = ""


def never(sentence: str, name: str, ours: bool) -> bool:
    return False


def checked_label(name: str) -> str:
    """UsageError: no label and no barcode is like that; messages, tables and command lines have to take it."""
    if not CARTRIDGE_NAME.fullmatch(name):
        raise UsageError(
            f"{name[:40]!r} cannot be a label or a barcode: take 1 to 32 of the characters A-Z a-z 0-9 . _ - and no "
            "dot in front"
        )
    return name


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


def labelling_drives(config: Config, drive: str | None, names: Sequence[str]) -> list[str]:
    """The drives that may label these cartridges: the one that was named, or the only one that there is; else those of
    the library that the cartridges are in, or that all drives stand in, the one with room first.

    Raises
    ------
    UsageError
        There is no such drive, or more than one that do not stand in for one another.
    DeviceError
        A changer cannot be used.
    """
    if drive is not None or len(config.drives) == 1 or not config.libraries:
        return [chosen_drive(config, drive)]
    from tapeloom.ops.libraries import drives_by_room, library_named

    homes = {one.home for one in config.drives.values()}
    libraries = [library_named(config, name) for name in config.libraries]
    with_all = [one for one in libraries if len(homes) == 1 or (names and all(map(one.find, names)))]
    if len(with_all) != 1:
        return [chosen_drive(config, drive)]
    return drives_by_room(config, with_all[0], with_all[0].find(names[0]) if names else None)


def checked_pool(config: Config, pool: str | None) -> str:
    """UsageError: no such pool."""
    name = DEFAULT_POOL if pool is None else pool
    known = {DEFAULT_POOL, *config.pools, *(agent.pool for agent in config.agents.values())}
    if name not in known:
        from tapeloom.config.faults import nearest, quoted

        hint = nearest(name, sorted(known), "there are")
        raise UsageError(f"{config.shown}: there is no pool {quoted(name)} for --pool ({hint})")
    return name


class Found(Struct, frozen=True):
    """What is on a cartridge: by what name one calls it, and the whole sentence. `ours`: tapeloom wrote it, so that it
    may be wanted; `known`: the catalog has it."""

    name: str
    sentence: str
    ours: bool = False
    known: bool = False


class Labelling:
    """An open drive, and the catalog held. `passed` says which cartridges were left alone, and why."""

    def __init__(self, config: Config, device: Device, where: Where, catalog: Catalog):
        self.config = config
        self.device = device
        self.where = where
        self.catalog = catalog
        self.passed: list[str] = []
        self._ledger = JobLedger(catalog, new_id())

    def blank(self, may_label: Callable[[Sequence[str]], None]) -> list[Volume]:
        """Labels every blank cartridge that the drive can have. `may_label` is told which cartridges it has that no
        volume is known of, and raises where none is to be touched."""
        strange = [name for name in self.device.cartridges() if self.catalog.volume_in(self.where.home, name) is None]
        may_label(strange)
        made = []
        for name in strange:
            self._load(name)
            found = self._found()
            if found.name != BLANK:
                self.passed.append(found.sentence)
                continue
            made.append(self._label(Fresh(self._name(name))))
        return made

    def named(self, name: str, barcode: str | None = None, may_overwrite: MayOverwrite = never) -> Volume:
        """Labels one cartridge: that of this name, or, in a drive that stands alone and cannot know names, the one that
        is in it; a drive that makes cartridges makes it.

        Raises
        ------
        UsageError
            It is a volume of this catalog, or the name is taken, or is none.
        CatalogOlderThanTape
            It is a volume of tapeloom that this catalog does not know, and `may_overwrite` says no.
        ForeignVolume
            Something else is on it, and `may_overwrite` says no.
        NotFound
            There is no such cartridge. NoMedium: somebody has to put one in.
        """
        names = self.device.cartridges()
        for text in (name if name not in names else None, barcode):
            if text is not None:
                checked_label(text)
        begun = self._begun(name)
        if UNNAMED in names:
            self._load(UNNAMED)
        elif name in names:
            self._load(name)
        elif self.device.makes_cartridges:
            self.device.new_cartridge(name)
            self._load(name)
        else:
            has = ", ".join(names) or "none"
            what = f"drive {self.device.name}: there is no cartridge {name}; it has {has}"
            raise NoMedium(what, status=18) if self.device.fed_by_hand else NotFound(what)
        found = self._found()
        if found.known:
            raise UsageError(f"{found.sentence}; `tapeloom relabel {found.name}` writes it from its beginning")
        if found.name != BLANK:
            if not may_overwrite(found.sentence, found.name, found.ours):
                if found.ours:
                    raise CatalogOlderThanTape(f"{found.sentence}: it is left alone; {REMEDY}")
                raise ForeignVolume(f"{found.sentence}: it is left alone", found.name)
            self._refuse_swapped(found)
        if begun is not None:
            self.catalog.put_out_of_use(begun.id, VolumeState.SCRATCH, [], reason="its label was never written")
            return self._label(Fresh(begun.cartridge, self._ledger.by_id(begun.id)), barcode, name)
        return self._label(Fresh(name), barcode, name)

    def _begun(self, name: str) -> Volume | None:
        """The volume of this name, where something went wrong before the first byte of its label was written. Raises
        UsageError where there is a volume of this name with a label."""
        if not self.catalog.has_label(name):
            return None
        volume = self.catalog.volume(name)
        here = (volume.home, volume.cartridge) == (self.where.home, name)
        if volume.end_position > 0 or not here or volume.state is not VolumeState.APPENDABLE:
            raise UsageError(
                f"there is a volume {name} already; `tapeloom relabel {name}` writes it from its beginning"
            )
        return volume

    def _refuse_swapped(self, found: Found) -> None:
        """Whoever was asked may have taken his time, and the cartridge out."""
        if self._found() != found:
            raise DeviceError(f"{inside(self.device)} is another one than before the question: nothing was written")

    def anew(self, volume: Volume, label: str | None, barcode: str | None) -> Volume:
        """Writes a label over a volume, whose copies stop to count where any did. `volume` is as it was when somebody
        was asked: jobs may have written to it since.

        Raises
        ------
        UsageError, RetentionError
            See `refuse_wanted`.
        CatalogOlderThanTape
            There is more on the tape than the catalog knows.
        """
        for text, as_before in ((label, volume.label), (barcode, volume.barcode)):
            if text is not None and text != as_before:
                checked_label(text)
        if _unwanted(self.config, self.catalog, volume.label).id != volume.id:
            raise UsageError(f"volume {volume.label} was written anew in between: nothing was done")
        start = self._put_in(volume)
        self._refuse_protected()
        known = self._ledger.by_id(volume.id)
        if known is not None and start is not None:
            refuse_more_than_known(self.device, self._ledger, known, _kernel.crc32c)
        if label not in (None, volume.label) and self.catalog.has_label(label):
            raise UsageError(f"there is a volume {label} already: choose another label")
        if volume.state is not VolumeState.SCRATCH:
            self.catalog.put_out_of_use(volume.id, VolumeState.SCRATCH, [], reason="it gets a new label")
        return self._label(Fresh(volume.cartridge, known), barcode, label)

    def _put_in(self, volume: Volume) -> VolumeStart | None:
        """What its cartridge's label says; None: the label was begun and never written. DeviceError: another volume is
        in there."""
        self._load(UNNAMED if self.device.fed_by_hand else volume.cartridge)
        start = read_label(self.device, crc=_kernel.crc32c)
        another = self.device.loaded not in (UNNAMED, volume.cartridge) if start is None else start.volume != volume.id
        if another:
            raise DeviceError(
                f"{inside(self.device)} {found_to_be(start)}, where the catalog has volume {volume.label} "
                f"({volume.id}): nothing was written"
            )
        if self.device.fed_by_hand:
            self.device.call_it(volume.cartridge)
        return start

    def _load(self, name: str) -> None:
        if self.device.loaded is None or self.device.loaded != name:
            self.device.load(None if name == UNNAMED else name)

    def _name(self, cartridge: str) -> str:
        if cartridge != UNNAMED:
            return cartridge
        return next_name(self.where.home, self._ledger, [])

    def _found(self) -> Found:
        """What is on the cartridge in the drive."""
        here = inside(self.device)
        try:
            start = read_label(self.device, crc=_kernel.crc32c)
        except VersionTooNew:
            raise
        except ForeignVolume as foreign:
            return Found(foreign.program or "unknown", f"{here} {holds(foreign.program)}")
        except FormatError:
            return Found("tapeloom", f"{here} has a damaged label of tapeloom", ours=True)
        except DeviceError as error:
            if error.status != Status.ERR_IO:
                raise
            return Found("unreadable", f"the first block of {here} cannot be read (damaged, or encrypted by a drive)")
        if start is None:
            return Found(BLANK, "")
        known = self._ledger.by_id(start.volume)
        if known is not None:
            return Found(known.label, f"{here} {found_to_be(start)} already", ours=True, known=True)
        return Found(start.label, f"{here} {found_to_be(start)}, which this catalog does not know", ours=True)

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
        refuse_write_once(self.device)


@contextmanager
def open_labelling(config: Config, drives: Sequence[str], pool: str) -> Iterator[Labelling]:
    """For volumes of `pool` on what the first of `drives` can have that is free.

    Raises
    ------
    UsageError
        The drive keeps nothing.
    HeldError
        The drives or the state folder are in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog, open_first_free(config, drives) as device:
        if not device.keeps:
            raise UsageError(f"drive {device.name} keeps nothing, so there is nothing to label")
        yield Labelling(config, device, Where(config.drives[device.name].home, pool), catalog)


def refuse_wanted(config: Config, label: str) -> Volume:
    """The volume, where nothing on it counts any more.

    Raises
    ------
    NotFound
        There is no such volume.
    UsageError
        It is damaged, or gone, or nobody knows what is on it.
    RetentionError
        Copies on it count.
    """
    with Catalog.open(config.server.state, readonly=True) as catalog:
        return _unwanted(config, catalog, label)


def _unwanted(config: Config, catalog: Catalog, label: str) -> Volume:
    volume = catalog.volume(label)
    refuse_lost(catalog, volume)
    held = Protection(config, catalog).verdict(volume, asked_for=True).copies
    if held:
        item, _ = held[0]
        raise RetentionError(
            f"volume {label} holds {len(held)} copies that count, {item.source} {item.id} for one: "
            f"`tapeloom scratch --dry-run {label}` says whether it may go"
        )
    return volume
