"""Which cartridge a drive writes to next, and whether it may: the label and the end of data are looked at before
anything is appended."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

from tapeloom.device import Device
from tapeloom.errors import (
    CatalogOlderThanTape,
    DeviceError,
    EndOfData,
    ForeignVolume,
    FormatError,
    NoMedium,
    VersionTooNew,
)
from tapeloom.ident import new_id
from tapeloom.volume.header import Crc32c, Kind, crc32c, parse
from tapeloom.volume.label import LABEL_BYTES, identify, reader_block, text_label
from tapeloom.volume.looking import Look, look
from tapeloom.volume.records import RecordAssembler, VolumeStart, encode

STEM_CHARACTERS = 19
"""Of a drive's name in a cartridge's, which has 32 at most: a hyphen and a number follow, or twelve letters of an
id."""
VOLUME_START_POSITION = 2
LABEL_BLOCKS_MAX = 16
"""Where to stop looking for volume-start: it stands right behind the text label and the reader."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog knows of a volume.

    `end_position` is the place behind its last filemark with a receipt; `unfinished` says that a job of this very
    catalog went on writing behind it and did not come to an end, so that what stands there is nobody's.
    """

    id: UUID
    label: str
    cartridge: str
    sequence: int
    previous: UUID | None
    block_bytes: int
    end_position: int
    unfinished: bool


class Shelf(Protocol):
    """The catalog, as far as volumes go."""

    def appendable(self, drive: str) -> Known | None:
        """The volume that this drive's jobs go on with."""

    def by_cartridge(self, drive: str, cartridge: str) -> Known | None: ...

    def drive_of(self, volume: UUID) -> str | None:
        """Where a volume belongs; None: it is not known."""

    def make_volume(
        self,
        *,
        id: UUID,
        cartridge: str,
        drive: str,
        sequence: int,
        previous: UUID | None,
        block_bytes: int,
    ) -> str:
        """Before the first byte of its label is written. Gives the label: the cartridge's name, or one that begins so
        where a volume of another drive has it."""

    def labelled(self, id: UUID, end_position: int) -> None: ...

    def append_at(self, id: UUID, end_of_data: int, tail: Look | None) -> int:
        """Where the next block may go on a volume whose data ends at `end_of_data`; `tail` is what stands behind the
        last receipt, where a job of this catalog may have left it. Raises CatalogOlderThanTape, CatalogError."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume ready for appending at `position`."""

    id: UUID
    label: str
    sequence: int
    position: int


def mount_for_append(
    device: Device,
    shelf: Shelf,
    *,
    block_bytes: int,
    software: str,
    previous: Mounted | None = None,
    crc: Crc32c = crc32c,
) -> Mounted:
    """Puts in the volume to go on with, or a blank one, labelled, and stands at its end.

    A volume whose label promises shorter blocks is not gone on with: who reads it would have too little room.

    Raises
    ------
    ForeignVolume
        The cartridge holds somebody else's data.
    CatalogOlderThanTape
        There is more on the tape than the catalog knows.
    DeviceError
    """
    known = shelf.appendable(device.name) if device.keeps else None
    if known is not None and known.block_bytes >= block_bytes:
        if device.loaded != known.cartridge:
            _load_known(device, known)
        return _append(device, shelf, known, software, crc)
    volume_id = new_id()
    cartridge = _blank(device, shelf, crc) if device.keeps else _named_after(device, volume_id)
    sequence = previous.sequence + 1 if previous else 1
    label = shelf.make_volume(
        id=volume_id,
        cartridge=cartridge,
        drive=device.name,
        sequence=sequence,
        previous=previous.id if previous else None,
        block_bytes=block_bytes,
    )
    volume = Mounted(volume_id, label, sequence, 0)
    return _label(device, shelf, volume, previous.id if previous else None, block_bytes, software, crc)


def read_label(device: Device, *, crc: Crc32c = crc32c) -> VolumeStart | None:
    """Rewinds and reads volume-start. None: the tape is blank.

    Raises
    ------
    ForeignVolume
        Something else is on it.
    FormatError
        The label is damaged.
    """
    device.rewind()
    buffer = bytearray(min(device.block_bytes_max, 8 * 1024 * 1024))
    try:
        length = device.read_into(buffer)
    except EndOfData:
        return None
    who = identify(memoryview(buffer)[:length])
    if who != "tapeloom":
        raise ForeignVolume(
            f"cartridge {device.loaded} in drive {device.name} holds data of {who or 'an unknown program'}: it is left "
            "alone; "
            "put in a blank one"
        )
    assembler = RecordAssembler()
    for _ in range(LABEL_BLOCKS_MAX):
        try:
            length = device.read_into(buffer)
        except EndOfData:
            break
        if length == 0:
            break
        try:
            header, payload = parse(memoryview(buffer)[:length], crc32c=crc)
        except VersionTooNew:
            raise
        except FormatError:
            continue
        if header.kind is Kind.RECORD:
            record = assembler.feed(header, payload)
            if isinstance(record, VolumeStart):
                return record
    raise FormatError(
        f"cartridge {device.loaded} in drive {device.name} has tapeloom's text label but no sound volume-start record "
        "behind it: "
        "its objects can still be read, but nothing is appended to it"
    )


def _load_known(device: Device, known: Known) -> None:
    try:
        device.load(known.cartridge)
    except NoMedium as error:
        raise NoMedium(
            f"drive {device.name}: volume {known.label}, which its jobs go on with, is not there (cartridge "
            f"{known.cartridge}): put it back, or say that it is lost with `tapeloom volumes --retire {known.label}`",
            status=error.status,
        ) from None


def _append(device: Device, shelf: Shelf, known: Known, software: str, crc: Crc32c) -> Mounted:
    volume = Mounted(known.id, known.label, known.sequence, known.end_position)
    if known.end_position == 0:  # a job ended while it was writing the label: nothing else can be on it
        _refuse_unless_ours_or_blank(device, known, crc)
        return _label(device, shelf, volume, known.previous, known.block_bytes, software, crc)
    start = read_label(device, crc=crc)
    if start is None or start.volume != known.id:
        found = "is blank" if start is None else f"is volume {start.label} ({start.volume})"
        raise DeviceError(
            f"drive {device.name}: cartridge {device.loaded} {found}, where the catalog has volume {known.label} "
            f"({known.id}): "
            "put that one in, or find out what happened to it"
        )
    device.to_end_of_data()
    end = device.position().position
    tail = look(device, known.end_position, crc=crc) if end > known.end_position and known.unfinished else None
    position = shelf.append_at(known.id, end, tail)
    if device.position().position != position:
        device.locate(position)
    return replace(volume, position=position)


def _refuse_unless_ours_or_blank(device: Device, known: Known, crc: Crc32c) -> None:
    try:
        start = read_label(device, crc=crc)
    except (ForeignVolume, VersionTooNew):
        raise
    except FormatError:
        _refuse_unless_cut_off(device, known)
        return
    if start is not None and start.volume != known.id:
        raise CatalogOlderThanTape(
            f"cartridge {device.loaded} in drive {device.name} is volume {start.label} ({start.volume}), which the "
            "catalog does not know"
        )
    if start is not None:
        # A state folder copied while the label was written knows no more than this either, but the tape may have gone
        # on.
        label_end = device.position().position + 1
        device.to_end_of_data()
        end = device.position().position
        if end > label_end:
            raise CatalogOlderThanTape(
                f"volume {known.label} goes on to position {end}, but the catalog knows only of its label: the catalog "
                "is older than "
                "the tape; bring back the newest state folder, or put in a blank cartridge"
            )


def _refuse_unless_cut_off(device: Device, known: Known) -> None:
    """A label that a job broke off in has the text and the reader at most, and the filemark of a drive whose writer is
    gone. With anything more, volume-start was there and is damaged."""
    buffer = bytearray(device.block_bytes_max)
    with suppress(EndOfData):
        device.locate(VOLUME_START_POSITION)
        if device.read_into(buffer) != 0 or device.read_into(buffer) >= 0:
            raise CatalogOlderThanTape(
                f"volume {known.label} has a damaged label and data behind it, but the catalog knows only of its "
                "label: the catalog may be older than the tape; bring back the newest state folder, or put in a blank "
                "cartridge"
            )


def _blank(device: Device, shelf: Shelf, crc: Crc32c) -> str:
    """Loads a cartridge that nothing was ever written to and gives its name."""
    names = device.cartridges()
    for name in names:
        if shelf.by_cartridge(device.name, name) is not None:
            continue
        if device.loaded != name:
            device.load(name)
        start = read_label(device, crc=crc)
        if start is None:
            return name
        home = shelf.drive_of(start.volume)
        if home is not None:
            raise DeviceError(
                f"cartridge {name} in drive {device.name} is volume {start.label} ({start.volume}), which the catalog "
                f"has in drive {home}: put it back there, or call this drive {home} in the configuration"
            )
        raise CatalogOlderThanTape(
            f"cartridge {name} in drive {device.name} is volume {start.label} ({start.volume}), which this catalog "
            "does not know: the catalog "
            "is older than the tape, or another one's; bring back the newest state folder, or take "
            "the "
            "cartridge out"
        )
    name = _next_name(device, shelf, names)
    device.new_cartridge(name)
    device.load(name)
    return name


def _named_after(device: Device, volume: UUID) -> str:
    """A drive that keeps nothing has a new volume each time; no two of them may have one name in the catalog."""
    device.load()
    return label_of_its_own(_stem(device), volume)


def label_of_its_own(name: str, volume: UUID) -> str:
    """A label that begins as `name` does, and that no other volume has."""
    return f"{name[:STEM_CHARACTERS]}-{str(volume)[-12:]}"


def _stem(device: Device) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", device.name)[:STEM_CHARACTERS]


def _next_name(device: Device, shelf: Shelf, names: list[str]) -> str:
    stem = _stem(device)
    number = 1
    while f"{stem}-{number:04d}" in names or shelf.by_cartridge(device.name, f"{stem}-{number:04d}"):
        number += 1
    return f"{stem}-{number:04d}"


def _label(
    device: Device, shelf: Shelf, volume: Mounted, previous: UUID | None, block_bytes: int, software: str, crc: Crc32c
) -> Mounted:
    device.rewind()
    now = time.time_ns()
    start = VolumeStart(
        volume=volume.id,
        label=volume.label,
        sequence=volume.sequence,
        previous=previous,
        block_bytes=block_bytes,
        written_at=now,
        software=software,
    )
    blocks = [
        text_label(
            label=volume.label,
            volume_id=volume.id,
            written_at=now,
            drive=device.name,
            block_bytes=block_bytes,
            software=software,
        ),
        reader_block(),
        *encode(
            start,
            volume_id=volume.id,
            first_seq=VOLUME_START_POSITION,
            block_bytes=block_bytes,
            now=now,
            crc32c=crc,
        ),
    ]
    assert len(blocks[0]) == LABEL_BYTES
    for block in blocks:
        device.write(block)
    device.write_filemarks()
    end = len(blocks) + 1
    shelf.labelled(volume.id, end)
    return Mounted(volume.id, volume.label, volume.sequence, end)
