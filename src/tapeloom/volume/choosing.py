"""Which cartridge a drive writes to next: the volume to go on with, or a blank or scratch one, or one that it makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

from msgspec import Struct, field

from tapeloom.device import UNNAMED, Device, Status
from tapeloom.errors import CatalogOlderThanTape, DeviceError, FormatError, NoMedium, VersionTooNew, VolumeWanted
from tapeloom.volume.appending import REMEDY, refuse_more_than_known
from tapeloom.volume.header import Crc32c
from tapeloom.volume.recognizing import found_to_be, inside, read_label
from tapeloom.volume.records import VolumeStart
from tapeloom.volume.shelf import Known, Shelf, Where

STEM_CHARACTERS = 19
"""Of a drive's name in a cartridge's, which has 32 at most: a hyphen and a number follow, or twelve letters of an
id."""


class Fresh(Struct, frozen=True):
    """A cartridge in the drive that is written from its beginning: it is blank, or holds the scratch volume that is
    replaced."""

    cartridge: str
    replaces: Known | None = None


class Chooser(Struct):
    """One look at what a drive can have; what it chooses is in the drive afterwards. `passed` says why cartridges that
    are there were left alone."""

    device: Device
    shelf: Shelf
    where: Where
    crc: Crc32c
    passed: list[str] = field(default_factory=list)
    _why_not: list[str] = field(default_factory=list)

    def choose(self, block_bytes: int) -> Known | Fresh:
        """A volume whose label promises shorter blocks is not gone on with: who reads it would have too little room.

        Raises
        ------
        VolumeWanted
            There is nothing; the sentence says what it waits for.
        NoMedium
            The volume to go on with is not there, in a drive whose cartridges nobody else puts in.
        CatalogOlderThanTape
            A volume of tapeloom that the catalog does not know.
        DeviceError
        """
        wanted = [one for one in self.shelf.appendable(self.where, self.device.name) if one.block_bytes >= block_bytes]
        scratch = self.shelf.scratch(self.where)
        unfit = [one for one in (*wanted, *scratch) if one.unfit]
        names = self._names()
        chosen = (
            self._known([one for one in wanted if not one.unfit], names)
            or next(self._blank(names), None)
            or next(self._scratch([one for one in scratch if not one.unfit], names), None)
            or self._new(names)
            or self._known([one for one in wanted if one.unfit], names)
            or next(self._scratch([one for one in scratch if one.unfit], names), None)
            or self._nothing(wanted, names, block_bytes)
        )
        self._say_doubts(chosen, [one for one in unfit if one.cartridge in names])
        return chosen

    def _say_doubts(self, chosen: Known | Fresh, unfit: list[Known]) -> None:
        """Of the volume that is written to, and of those that were left alone."""
        taken = chosen if isinstance(chosen, Known) else chosen.replaces
        if taken is not None and taken.doubt is not None:
            for_want = " is written to for want of another one, though" if taken.unfit else ""
            self.passed.append(f"volume {taken.label}{for_want}: {taken.doubt.why}")
        if taken is None or not taken.unfit:
            self.passed += [f"volume {one.label} is left alone: {one.doubt.why}" for one in unfit if one.doubt]

    def _names(self) -> list[str]:
        """What can be had. What is in a drive that is fed by hand may be named by a memory that could not be read when
        it was labelled: it is called as the catalog calls the volume that its label names."""
        names = self.device.cartridges()
        if not (self.device.fed_by_hand and names):
            return names
        if self.device.loaded is None:
            self.device.load()
        called = self.device.loaded or UNNAMED
        if called != UNNAMED and self.shelf.by_cartridge(self.where.home, called) is not None:
            return [called]
        start = self._label()
        if not isinstance(start, VolumeStart):
            return [called] if start is None or called != UNNAMED else []
        known = self.shelf.by_id(start.volume)
        self.device.call_it(known.cartridge if known else start.label)
        if known is None:
            raise self._unknown(start)
        return [known.cartridge]

    def _known(self, wanted: list[Known], names: list[str]) -> Known | None:
        device = self.device
        for one in wanted:
            if one.cartridge in names and self._taken(one.cartridge):
                return one
            if device.makes_cartridges:
                raise NoMedium(
                    f"drive {device.name}: volume {one.label}, which its jobs go on with, is not there (cartridge "
                    f"{one.cartridge}): put it back, or say that it is lost with `tapeloom retire {one.label} "
                    "--reason lost`",
                    status=Status.ERR_NO_MEDIUM,
                )
        return None

    def _blank(self, names: list[str]) -> Iterator[Fresh]:
        for name in names:
            known = self.shelf.by_cartridge(self.where.home, name)
            if known is not None:
                if len(names) == 1:
                    pool = "" if known.pool in (None, self.where.pool) else f" of pool {known.pool}"
                    self._why_not.append(f"{inside(self.device)} is volume {known.label}{pool}, which is {known.state}")
                continue
            if name != UNNAMED and not self._taken(name):
                continue
            start = self._label()
            if start is None and self.device.write_protected:
                self.passed.append(f"{inside(self.device)} is write-protected")
            elif start is None:
                yield Fresh(name if name != UNNAMED else next_name(self.where.home, self.shelf, names))
            elif isinstance(start, VolumeStart):
                home = self.shelf.home_of(start.volume)
                if home is None or self.where.home == self.device.name:
                    raise self._unknown(start)
                self.passed.append(
                    f"{inside(self.device)} {found_to_be(start)}, which the catalog has in {home}, and not in library "
                    f"{self.where.home}"
                )

    def _scratch(self, scratch: list[Known], names: list[str]) -> Iterator[Fresh]:
        for known in scratch:
            if known.cartridge not in names or not self._taken(known.cartridge):
                continue
            start = self._label()
            if start is None or (isinstance(start, VolumeStart) and start.volume == known.id):
                if self._may_be_written(known, blank=start is None):
                    yield Fresh(known.cartridge, known)
            elif isinstance(start, VolumeStart):
                if self.shelf.home_of(start.volume) is None:
                    raise self._unknown(start)
                self.passed.append(
                    f"{inside(self.device)} {found_to_be(start)}, where the catalog has the scratch volume "
                    f"{known.label} ({known.id})"
                )

    def _may_be_written(self, known: Known, *, blank: bool) -> bool:
        """Whether the scratch volume in the drive may be written over. Raises CatalogOlderThanTape."""
        if self.device.write_protected or (self.device.write_once and not blank):
            why = "is write-protected" if self.device.write_protected else "can be written only once"
            self.passed.append(f"{inside(self.device)} {why}")
            return False
        try:
            if not blank:
                refuse_more_than_known(self.device, self.shelf, known, self.crc)
        except DeviceError as error:
            if error.status != Status.ERR_IO:
                raise
            self.passed.append(f"the end of scratch volume {known.label} is not found: {error}")
            return False
        return True

    def _new(self, names: list[str]) -> Fresh | None:
        if not self.device.makes_cartridges:
            return None
        name = next_name(self.where.home, self.shelf, names)
        self.device.new_cartridge(name)
        self.device.load(name)
        self.shelf.take(self.where.home, name, self.device.name)
        return Fresh(name)

    def _nothing(self, wanted: list[Known], names: list[str], block_bytes: int) -> Known | Fresh:
        """What is in there goes out, so that another one can be put in. What came into a library while its cartridges
        were looked at, which takes minutes, is looked at too: nobody would say again that it is there."""
        blank = f"a blank cartridge of pool {self.where.pool}"
        scratch = [f"scratch volume {one.label}" for one in self.shelf.scratch(self.where)[:3]]
        named = [*(f"volume {one.label}" for one in wanted[:1]), *scratch]
        waits = f"{self.device.name} waits for {', '.join(named)}{', or ' if named else ''}{blank}"
        self.device.unload()
        if not {UNNAMED, *names}.issuperset(self.device.cartridges()):
            return self.choose(block_bytes)
        absent = f"there is no {' and no '.join([*named, blank.removeprefix('a ')])} for drive {self.device.name}"
        why = [*self._why_not, *dict.fromkeys(self.passed)]
        raise VolumeWanted("; ".join([waits, *why]), status=Status.ERR_NO_MEDIUM, absent="; ".join([absent, *why]))

    def _taken(self, name: str) -> bool:
        """Whether it is in the drive now, and this one's to write."""
        if not self.shelf.take(self.where.home, name, self.device.name):
            return False
        if self.device.loaded != name:
            try:
                self.device.load(name)
            except NoMedium:
                if self.device.makes_cartridges:
                    raise
                return False  # somebody was quicker
        return True

    def _label(self) -> VolumeStart | FormatError | DeviceError | None:
        """What the cartridge in the drive is; an error where it is to be left alone."""
        try:
            return read_label(self.device, crc=self.crc)
        except VersionTooNew:
            raise
        except FormatError as error:
            self.passed.append(str(error))
            return error
        except DeviceError as error:
            if error.status != Status.ERR_IO:
                raise
            self.passed.append(
                f"the first block of {inside(self.device)} cannot be read (damaged, or encrypted by a drive), so it is "
                f"not taken for blank: {error}"
            )
            return error

    def _unknown(self, start: VolumeStart) -> DeviceError | CatalogOlderThanTape:
        home = self.shelf.home_of(start.volume)
        found = f"{inside(self.device)} {found_to_be(start)}, which"
        if home is not None:
            return DeviceError(
                f"{found} the catalog has in drive {home}: put it back there, or call this drive {home} in the "
                "configuration"
            )
        return CatalogOlderThanTape(
            f"{found} this catalog does not know: the catalog is older than the tape, or another one's; {REMEDY}, or "
            "take the cartridge out"
        )


def label_of_its_own(name: str, volume: UUID) -> str:
    """A label that begins as `name` does, and that no other volume has."""
    return f"{name[:STEM_CHARACTERS]}-{str(volume)[-12:]}"


def named_after(drive: str, volume: UUID) -> str:
    """A drive that keeps nothing has a new volume each time; no two of them may have one name in the catalog."""
    return label_of_its_own(_stem(drive), volume)


def next_name(home: str, shelf: Shelf, names: list[str]) -> str:
    """For a cartridge that nobody has named."""
    stem = _stem(home)
    number = 1
    while f"{stem}-{number:04d}" in names or shelf.by_cartridge(home, f"{stem}-{number:04d}"):
        number += 1
    return f"{stem}-{number:04d}"


def _stem(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:STEM_CHARACTERS]
