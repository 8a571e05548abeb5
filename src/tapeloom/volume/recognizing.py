"""Whose the cartridge in a drive is: by what stands at its beginning."""

from __future__ import annotations

from tapeloom.device import UNNAMED, Device, Status
from tapeloom.errors import DeviceError, EndOfData, ForeignVolume, FormatError, VersionTooNew
from tapeloom.limits import MIB
from tapeloom.volume.header import Crc32c, Kind, crc32c, parse
from tapeloom.volume.label import holds, identify
from tapeloom.volume.records import RecordAssembler, VolumeStart

LABEL_BLOCKS_MAX = 16
"""Where to stop looking for volume-start: it stands right behind the text label and the reader."""
FIRST_BLOCK_BYTES_MAX = 8 * MIB


def inside(device: Device) -> str:
    """The cartridge in a drive, in words."""
    if device.loaded in (None, UNNAMED):
        return f"the cartridge in drive {device.name}"
    return f"cartridge {device.loaded} in drive {device.name}"


def found_to_be(start: VolumeStart | None) -> str:
    """What `read_label` found, for a sentence that begins with the cartridge."""
    return "is blank" if start is None else f"is volume {start.label} ({start.volume})"


def read_label(device: Device, *, crc: Crc32c = crc32c) -> VolumeStart | None:
    """Rewinds and reads volume-start. None: the tape is blank, which only a drive can say that finds the end of data at
    its beginning; one that cannot be read there is not.

    Raises
    ------
    ForeignVolume
        Something else is on it.
    FormatError
        The label is damaged.
    DeviceError
        The first block cannot be read: it is damaged, or the drive would need a key.
    """
    device.rewind()
    buffer = bytearray(min(device.block_bytes_max, FIRST_BLOCK_BYTES_MAX))
    try:
        length = device.read_into(buffer)
    except EndOfData:
        _refuse_beheaded(device)
        return None
    who = identify(memoryview(buffer)[:length])
    if who != "tapeloom":
        raise ForeignVolume(
            f"{inside(device)} {holds(who)}: it is left alone; put in a blank one",
            program=who,
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
        f"{inside(device)} has tapeloom's text label but no sound volume-start record behind it: its objects can still "
        "be read, but nothing is appended to it"
    )


def _refuse_beheaded(device: Device) -> None:
    """A virtual tape ends before the first damaged entry of its index. Where that is the very first one, it seems
    blank, and all of its blocks are still there."""
    damaged = getattr(device, "damaged_entries", 0)  # of a drive whose tapes have an index
    if damaged:
        raise DeviceError(
            f"{inside(device)}: the index of the virtual tape is damaged from its beginning, with {damaged} entries "
            "behind it: it is not blank",
            status=Status.ERR_IO,
        )
