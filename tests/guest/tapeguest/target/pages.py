"""What a drive tells about itself and its cartridge: mode pages, log pages, the cartridge's memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tapeguest.target.cartridge import Cartridge
from tapeguest.target.sense import NOT_READY, Check, bad_field
from tapeguest.target.unit import VENDOR

if TYPE_CHECKING:
    from tapeguest.target.drive import Drive

COMPRESSION, DEVICE_CONFIGURATION, INFORMATIONAL_EXCEPTIONS, MEDIUM_CONFIGURATION = 0x0F, 0x10, 0x1C, 0x1D
WRITE_ERRORS, READ_ERRORS, DEVICE_STATISTICS, VOLUME_STATISTICS, TAPE_ALERT, TAPE_CAPACITY = (
    0x02,
    0x03,
    0x14,
    0x17,
    0x2E,
    0x31,
)

MIB = 1 << 20


@dataclass(slots=True)
class Health:
    """What tests make a drive report: blocks corrected, rewritten, not written, not read; hours switched on, meters of
    tape; TapeAlert flags, 1 to 64."""

    corrected: int = 0
    rewritten: int = 0
    unwritten: int = 0
    unread: int = 0
    hours: int = 0
    meters: int = 0
    alerts: set[int] = field(default_factory=set)


# Mode pages


def _mode_pages(drive: Drive, wanted: int) -> bytes:
    tape = drive.cartridge
    there = {
        COMPRESSION: bytes([COMPRESSION, 14, 0x80 * drive.compression | 0x40, 0x80]) + bytes(12),
        DEVICE_CONFIGURATION: bytes([DEVICE_CONFIGURATION, 14]) + bytes(14),
        INFORMATIONAL_EXCEPTIONS: bytes([INFORMATIONAL_EXCEPTIONS, 10]) + bytes(10),
        MEDIUM_CONFIGURATION: bytes([MEDIUM_CONFIGURATION, 30, bool(tape and tape.worm)]) + bytes(29),
    }
    if wanted == 0x3F:
        return b"".join(there.values())
    if wanted and wanted not in there:
        raise bad_field()
    return there.get(wanted, b"")


def _mode_parts(drive: Drive, cdb: bytes) -> tuple[int, bytes, bytes]:
    """Device-specific byte, block descriptor, pages."""
    tape = drive.cartridge
    medium = bytes([drive.density if tape else 0, 0, 0, 0, 0])
    descriptor = b"" if cdb[1] & 8 else medium + drive.block.to_bytes(3, "big")
    return 0x10 | 0x80 * bool(tape and tape.protected), descriptor, _mode_pages(drive, cdb[2] & 0x3F)


def mode_sense_6(drive: Drive, cdb: bytes) -> bytes:
    specific, descriptor, page = _mode_parts(drive, cdb)
    return (bytes([3 + len(descriptor) + len(page), 0, specific, len(descriptor)]) + descriptor + page)[: cdb[4]]


def mode_sense_10(drive: Drive, cdb: bytes) -> bytes:
    specific, descriptor, page = _mode_parts(drive, cdb)
    head = struct.pack(">HBBHH", 6 + len(descriptor) + len(page), 0, specific, 0, len(descriptor))
    return (head + descriptor + page)[: int.from_bytes(cdb[7:9], "big")]


# Log pages


def log_sense(drive: Drive, cdb: bytes) -> bytes:
    page = cdb[2] & 0x3F
    makers = {
        WRITE_ERRORS: lambda: _error_counters(drive, drive.health.unwritten, "written"),
        READ_ERRORS: lambda: _error_counters(drive, drive.health.unread, "read"),
        DEVICE_STATISTICS: lambda: _device_statistics(drive),
        VOLUME_STATISTICS: lambda: _volume_statistics(drive),
        TAPE_ALERT: lambda: _tape_alert(drive),
        TAPE_CAPACITY: lambda: _tape_capacity(drive),
    }
    if page and page not in makers:
        raise bad_field()
    body = makers[page]() if page else bytes([0, *sorted(makers)])
    return (struct.pack(">BBH", page, 0, len(body)) + body)[: int.from_bytes(cdb[7:9], "big")]


def _parameters(values: Iterable[tuple[int, bytes]], control: int = 0x03) -> bytes:
    return b"".join(struct.pack(">HBB", code, control, len(value)) + value for code, value in values)


def _error_counters(drive: Drive, uncorrected: int, moved: str) -> bytes:
    tape, health = drive.cartridge, drive.health
    numbers = {
        0x0000: health.corrected,
        0x0001: 0,
        0x0002: health.rewritten,
        0x0003: health.corrected,
        0x0004: 0,
        0x0005: getattr(tape, moved, 0),
        0x0006: uncorrected,
    }
    return _parameters((code, struct.pack(">Q", number)) for code, number in numbers.items())


def _tape_alert(drive: Drive) -> bytes:
    """Reading the flags clears them, as the standard has it."""
    flags = [(code, bytes([code in drive.health.alerts])) for code in range(1, 65)]
    drive.health.alerts.clear()
    return _parameters(flags)


def _tape_capacity(drive: Drive) -> bytes:
    tape = drive.cartridge
    whole, used = (tape.capacity, tape.used) if tape else (0, 0)
    sizes = {1: (whole - used) // MIB, 2: 0, 3: whole // MIB, 4: 0}
    return _parameters((code, struct.pack(">I", size)) for code, size in sizes.items())


def _device_statistics(drive: Drive) -> bytes:
    numbers = {0x0002: drive.health.hours, 0x0004: drive.health.meters}
    return _parameters((code, struct.pack(">Q", number)) for code, number in numbers.items())


def _volume_statistics(drive: Drive) -> bytes:
    tape = drive.cartridge
    if tape is None:
        return _parameters([(0x0000, bytes([0]))])
    values = [
        (0x0000, bytes([1])),
        (0x0001, struct.pack(">I", tape.loads)),
        (0x0004, struct.pack(">H", drive.health.unwritten)),
        (0x0009, struct.pack(">H", drive.health.unread)),
        (0x0010, struct.pack(">Q", tape.written // MIB)),
        (0x0011, struct.pack(">Q", tape.read // MIB)),
        (0x0016, struct.pack(">I", tape.capacity // MIB)),
        (0x0017, struct.pack(">I", tape.used // MIB)),
        (0x0040, f"{tape.serial:32}".encode()),
        (0x0042, f"{tape.barcode:32}".encode()),
        (0x0080, bytes([tape.protected])),
        (0x0081, bytes([tape.worm])),
    ]
    return _parameters(values)


# The cartridge's memory

BINARY, ASCII = 0x80, 0x81
"""Formats of an attribute, read-only."""


def _attributes(tape: Cartridge) -> dict[int, tuple[int, bytes]]:
    return {
        0x0000: (BINARY, struct.pack(">Q", (tape.capacity - tape.used) // MIB)),
        0x0001: (BINARY, struct.pack(">Q", tape.capacity // MIB)),
        0x0003: (BINARY, struct.pack(">Q", tape.loads)),
        0x0220: (BINARY, struct.pack(">Q", tape.written // MIB)),
        0x0221: (BINARY, struct.pack(">Q", tape.read // MIB)),
        0x0400: (ASCII, f"{VENDOR:8}".encode()),
        0x0401: (ASCII, f"{tape.serial:32}".encode()),
        0x0408: (BINARY, bytes([0x80 if tape.worm else 0])),
        0x0806: (ASCII & 0x7F, f"{tape.barcode:32}".encode()),
    }


def read_attribute(drive: Drive, cdb: bytes) -> bytes:
    """Values (service action 0) or their list (1), from the first one asked for."""
    if drive.cartridge is None:
        raise Check(NOT_READY, 0x3A)
    first, room = int.from_bytes(cdb[8:10], "big"), int.from_bytes(cdb[10:14], "big")
    there = {code: value for code, value in _attributes(drive.cartridge).items() if code >= first}
    if cdb[1] & 31 == 0:
        if first not in there:
            raise bad_field()
        body = b"".join(struct.pack(">HBH", code, kind, len(value)) + value for code, (kind, value) in there.items())
    elif cdb[1] & 31 == 1:
        body = b"".join(struct.pack(">H", code) for code in there)
    else:
        raise bad_field()
    return (struct.pack(">I", len(body)) + body)[:room]
