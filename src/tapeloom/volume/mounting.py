"""A volume to write to, chosen, checked or labelled, with the tape where the next block goes."""

from __future__ import annotations

from tapeloom.device import UNNAMED, Device
from tapeloom.ident import new_id
from tapeloom.volume.appending import go_to_end, refuse_unless_unwritten, refuse_write_once
from tapeloom.volume.choosing import Chooser, Fresh, label_of_its_own, named_after
from tapeloom.volume.header import Crc32c, crc32c
from tapeloom.volume.labelling import write_label
from tapeloom.volume.recognizing import read_label
from tapeloom.volume.shelf import Known, Mounted, Shelf, Where

__all__ = ["Known", "Mounted", "Shelf", "Where", "label_fresh", "label_of_its_own", "mount_for_append", "read_label"]


def mount_for_append(
    device: Device,
    shelf: Shelf,
    *,
    where: Where,
    block_bytes: int,
    software: str,
    previous: Mounted | None = None,
    crc: Crc32c = crc32c,
    passed: list[str] | None = None,
) -> Mounted:
    """Puts in the volume to go on with, or a blank or scratch one, labelled, and stands at its end. `passed` is told
    why cartridges were left alone that are none of the catalog's.

    Raises
    ------
    VolumeWanted
        There is none: somebody has to put one in.
    CatalogOlderThanTape
        There is more on the tape than the catalog knows.
    DeviceError
    """
    if not device.keeps:
        device.load()
        fresh = Fresh(UNNAMED)
        return label_fresh(device, shelf, fresh, where=where, block_bytes=block_bytes, software=software, crc=crc)
    chooser = Chooser(device, shelf, where, crc, [] if passed is None else passed)
    chosen = chooser.choose(block_bytes)
    if isinstance(chosen, Known):
        return _append(device, shelf, chosen, software, crc)
    return label_fresh(
        device, shelf, chosen, where=where, block_bytes=block_bytes, software=software, previous=previous, crc=crc
    )


def label_fresh(
    device: Device,
    shelf: Shelf,
    fresh: Fresh,
    *,
    where: Where,
    block_bytes: int,
    software: str,
    previous: Mounted | None = None,
    crc: Crc32c = crc32c,
    barcode: str | None = None,
    label: str | None = None,
) -> Mounted:
    """Makes a new volume of the cartridge in the drive, which may be written from its beginning. `label` and `barcode`
    where somebody has said them."""
    id = new_id()
    cartridge = fresh.cartridge if device.keeps else named_after(device.name, id)
    if device.keeps and device.loaded is not None and device.loaded != UNNAMED:
        cartridge = device.loaded  # as its barcode has it, whatever it is to be called
    if barcode is None and device.keeps:
        inherited = fresh.replaces.barcode if fresh.replaces else None
        barcode = inherited or (cartridge if where.home != device.name else None)
    sequence = previous.sequence + 1 if previous else 1
    label = shelf.make_volume(
        label=label,
        id=id,
        cartridge=cartridge,
        where=where,
        sequence=sequence,
        previous=previous.id if previous else None,
        block_bytes=block_bytes,
        barcode=barcode,
        replaces=fresh.replaces.id if fresh.replaces else None,
    )
    mounted = write_label(
        device,
        shelf,
        Mounted(id, label, sequence, 0),
        previous=previous.id if previous else None,
        block_bytes=block_bytes,
        pool=where.pool,
        barcode=barcode,
        software=software,
        crc=crc,
    )
    if device.loaded == UNNAMED:
        device.call_it(cartridge)
    return mounted


def _append(device: Device, shelf: Shelf, known: Known, software: str, crc: Crc32c) -> Mounted:
    if known.end_position > 0:
        return Mounted(known.id, known.label, known.sequence, go_to_end(device, shelf, known, crc))
    refuse_unless_unwritten(device, known, crc)
    refuse_write_once(device)
    return write_label(
        device,
        shelf,
        Mounted(known.id, known.label, known.sequence, 0),
        previous=known.previous,
        block_bytes=known.block_bytes,
        pool=known.pool,
        barcode=known.barcode,
        software=software,
        crc=crc,
    )
