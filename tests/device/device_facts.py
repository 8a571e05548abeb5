"""What tests of drives share: blocks that can be told apart, and a tape's content read back through the contract."""

from __future__ import annotations

from pathlib import Path

from tapeloom.device import Device, open_drive
from tapeloom.errors import EndOfData

ROOM = 8 * 1024 * 1024


def open_vtape(folder: Path, **options: object) -> Device:
    return open_drive(f"vtape:{folder}", name="R1", **options)  # type: ignore[arg-type]


def open_memory(folder: Path, **options: object) -> Device:
    return open_drive("memory:", name="R1", **options)  # type: ignore[arg-type]


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
    room = bytearray(ROOM)
    size = drive.read_into(room)
    return bytes(room[:size]) if size else None


def read_all(drive: Device) -> list[bytes | None]:
    """Rewinds and reads to the end of data."""
    drive.rewind()
    found: list[bytes | None] = []
    while True:
        try:
            found.append(read_one(drive))
        except EndOfData:
            return found


def place(drive: Device) -> tuple[int, int]:
    """Position and file."""
    here = drive.position()
    return here.position, here.file
