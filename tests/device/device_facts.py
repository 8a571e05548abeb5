"""What tests of drives share: blocks that can be told apart, and a tape's content read back through the contract."""

from __future__ import annotations

import mmap
from pathlib import Path

from tapeloom._devio import ffi, lib
from tapeloom.device import Device, Status, open_drive
from tapeloom.errors import EndOfData

BLOCK = 64 * 1024
_ROOM = bytearray(8 * 1024 * 1024)


def open_vtape(folder: Path, **options: object) -> Device:
    return open_drive(f"vtape:{folder}", name="R1", **options)  # type: ignore[arg-type]


def open_modelled(folder: Path, **options: object) -> Device:
    return open_drive("memory:?model=lto9&time=simulated", name="R1", **options)  # type: ignore[arg-type]


def open_memory(folder: Path, **options: object) -> Device:
    return open_drive("memory:", name="R1", **options)  # type: ignore[arg-type]


def open_aside(folder: Path, **options: object) -> Device:
    return open_drive("memory:", name="R1", aside=True, **options)  # type: ignore[arg-type]


def new_cartridge(drive: Device, name: str) -> None:
    """A blank one for this drive. Drives that cannot make them are real ones, in the guest of tests/guest."""
    if drive.makes_cartridges:
        drive.new_cartridge(name)
    else:
        from guest_drive import add_cartridge

        add_cartridge(name)


def block(number: int, size: int = 5000) -> bytes:
    """`size` bytes that no other number has."""
    seed = number.to_bytes(4, "little")
    return (seed * (size // 4 + 1))[:size]


def write_layout(drive: Device, layout: str) -> None:
    """Writes "b" as the block numbered by its position, "|" as a filemark. Stands behind it."""
    for position, letter in enumerate(layout):
        if letter == "b":
            assert drive.write(block(position)) is False
        else:
            drive.write_filemarks()


def read_one(drive: Device) -> bytes | None:
    """The next block; None for a filemark."""
    size = drive.read_into(_ROOM)
    return bytes(_ROOM[:size]) if size else None


def read_all(drive: Device) -> list[bytes | None]:
    """Rewinds and reads to the end of data."""
    drive.rewind()
    found: list[bytes | None] = []
    while True:
        try:
            found.append(read_one(drive))
        except EndOfData:
            return found


def place(drive: Device) -> tuple[int, int | None]:
    """Position and file."""
    here = drive.position()
    return here.position, here.file


def end_of(drive: Device) -> int:
    """Goes to the end of data, which writes nothing; returns its position, which a drive may have told before."""
    told = drive.position().end_of_data
    drive.to_end_of_data()
    end = drive.position().position
    assert told in (None, end)
    return end


class Kernel:
    """Calls a drive as C does."""

    def __init__(self, drive: Device) -> None:
        self.ops = ffi.cast("const struct tl_device_ops *", drive.ops_address)
        self.handle = ffi.cast("void *", drive.handle_address)
        self.slots = mmap.mmap(-1, 64 * BLOCK)
        self.base = ffi.cast("char *", ffi.from_buffer(self.slots))
        self.done = ffi.new("uint32_t *")

    def vecs(self, sizes: list[int]) -> object:
        vecs = ffi.new("struct tl_vec[]", len(sizes))
        for number, size in enumerate(sizes):
            vecs[number].data, vecs[number].bytes, vecs[number].room = self.base + number * BLOCK, size, BLOCK
        return vecs

    def write(self, blocks: list[bytes]) -> tuple[Status, int]:
        for number, data in enumerate(blocks):
            self.slots[number * BLOCK : number * BLOCK + len(data)] = data
        vecs = self.vecs([len(data) for data in blocks])
        return Status(lib.tl_write(self.ops, self.handle, vecs, len(blocks), self.done)), self.done[0]

    def read(self, count: int, room: int = BLOCK) -> tuple[Status, list[bytes]]:
        vecs = self.vecs([room] * count)
        status = Status(lib.tl_read(self.ops, self.handle, vecs, count, self.done))
        came = [vecs[number] for number in range(self.done[0])]  # type: ignore[index]
        return status, [bytes(ffi.buffer(vec.data, vec.bytes)) for vec in came]
