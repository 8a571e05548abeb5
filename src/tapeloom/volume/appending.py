"""Before anything is appended: is it the volume that the catalog means, and does it end where the catalog says?"""

from __future__ import annotations

from contextlib import suppress

from tapeloom.device import Device, Status
from tapeloom.errors import (
    CatalogOlderThanTape,
    DeviceError,
    EndOfData,
    ForeignVolume,
    FormatError,
    VersionTooNew,
    WriteProtected,
)
from tapeloom.volume.header import Crc32c
from tapeloom.volume.labelling import VOLUME_START_POSITION
from tapeloom.volume.looking import look
from tapeloom.volume.recognizing import found_to_be, inside, read_label
from tapeloom.volume.shelf import Known, Shelf

REMEDY = "`tapeloom import` brings the catalog up to the tape; or bring back the newest state folder"


def go_to_end(device: Device, shelf: Shelf, known: Known, crc: Crc32c) -> int:
    """Stands where the next block goes, and gives that position. `known` has a label.

    Raises
    ------
    DeviceError
        It is another volume than that.
    CatalogOlderThanTape
        There is more on the tape than the catalog knows.
    """
    start = read_label(device, crc=crc)
    if start is None or start.volume != known.id:
        raise DeviceError(
            f"drive {device.name}: cartridge {device.loaded} {found_to_be(start)}, where the catalog has volume "
            f"{known.label} ({known.id}): put that one in, or find out what happened to it"
        )
    device.to_end_of_data()
    end = device.position().position
    tail = look(device, known.end_position, crc=crc) if end > known.end_position and known.unfinished else None
    position = shelf.append_at(known.id, end, tail)
    if device.write_once:
        position = end  # nobody's tail stays where it is
    if device.position().position != position:
        device.locate(position)
    return position


def refuse_more_than_known(device: Device, shelf: Shelf, known: Known, crc: Crc32c) -> None:
    """`known`, whose label was just read, is to be written from its beginning. A catalog that is older than the tape
    may not know what stands behind its last receipt, and that was asked by nobody whether it is wanted.

    Raises
    ------
    CatalogOlderThanTape
        There is more on the tape than the catalog knows.
    DeviceError
        The drive does not find the end.
    """
    if known.end_position == 0:
        refuse_unless_unwritten(device, known, crc)
        return
    device.to_end_of_data()
    end = device.position().position
    if end > known.end_position:
        tail = look(device, known.end_position, crc=crc) if known.unfinished else None
        shelf.append_at(known.id, end, tail)


def refuse_unless_unwritten(device: Device, known: Known, crc: Crc32c) -> None:
    """A job ended while it was writing the label of `known`: nothing else can be on the cartridge, but what was there
    before.

    Raises
    ------
    CatalogOlderThanTape, ForeignVolume, VersionTooNew
        There is.
    """
    try:
        start = read_label(device, crc=crc)
    except (ForeignVolume, VersionTooNew):
        raise
    except FormatError:
        _refuse_unless_cut_off(device, known)
        return
    if start is None or start.volume == known.replaces:
        return
    if start.volume != known.id:
        raise CatalogOlderThanTape(f"{inside(device)} {found_to_be(start)}, which the catalog does not know: {REMEDY}")
    # A state folder copied while the label was written knows no more than this either, but the tape may have gone on.
    label_end = device.position().position + 1
    device.to_end_of_data()
    end = device.position().position
    if end > label_end:
        raise CatalogOlderThanTape(
            f"volume {known.label} goes on to position {end}, but the catalog knows only of its label: the catalog is "
            f"older than the tape; {REMEDY}, or put in a blank cartridge"
        )


def refuse_write_once(device: Device) -> None:
    """WriteProtected: the cartridge in the drive is to be written from its beginning, has something on it, and is one
    that is written once."""
    if not device.write_once:
        return
    device.to_end_of_data()
    if device.position().position > 0:
        raise WriteProtected(
            f"{inside(device)} can be written only once, and something is on it: take another one, and "
            "`tapeloom retire` its volume where the catalog has one",
            status=Status.ERR_WRITE_PROTECTED,
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
                f"label: the catalog may be older than the tape; {REMEDY}, or put in a blank cartridge"
            )
