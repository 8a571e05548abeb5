"""The label of a volume, written at the beginning of the tape."""

from __future__ import annotations

import time
from uuid import UUID

from tapeloom.device import Device
from tapeloom.errors import PositionLost
from tapeloom.volume.header import Crc32c
from tapeloom.volume.label import LABEL_BYTES, reader_block, text_label
from tapeloom.volume.records import VolumeStart, encode
from tapeloom.volume.shelf import Mounted, Shelf

VOLUME_START_POSITION = 2


def write_label(
    device: Device,
    shelf: Shelf,
    volume: Mounted,
    *,
    previous: UUID | None,
    block_bytes: int,
    pool: str | None,
    barcode: str | None,
    software: str,
    crc: Crc32c,
) -> Mounted:
    """Writes it over whatever is in the drive, which the caller has made sure that it may, and tells the catalog."""
    device.rewind()
    stands_at(device, 0)
    now = time.time_ns()
    start = VolumeStart(
        volume=volume.id,
        label=volume.label,
        sequence=volume.sequence,
        previous=previous,
        block_bytes=block_bytes,
        written_at=now,
        software=software,
        pool=pool,
        barcode=barcode,
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


def stands_at(device: Device, position: int) -> None:
    """To be asked before the first write: somebody else may have moved the tape.

    Raises
    ------
    PositionLost
        It stands elsewhere, and nothing was written.
    """
    at = device.position().position
    if at != position:
        raise PositionLost(
            f"drive {device.name}, cartridge {device.loaded}: the tape stands at {at} and not at {position}, so "
            "somebody else has moved it; nothing was written",
            status=23,
        )
