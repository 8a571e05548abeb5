"""A medium changer after SMC-3: an arm, storage slots, import/export slots, and the drives."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum

from tapeguest.target.cartridge import Cartridge
from tapeguest.target.drive import Drive
from tapeguest.target.sense import ILLEGAL_REQUEST, Check, bad_command, bad_field
from tapeguest.target.unit import IMPORT_EXPORT_ACCESSED, Unit


class Kind(IntEnum):
    """Element types."""

    ARM = 1
    SLOT = 2
    MAIL = 3
    DRIVE = 4


FIRST = {Kind.ARM: 1, Kind.DRIVE: 256, Kind.SLOT: 1024, Kind.MAIL: 2048}
"""Address of the first element of each kind."""

FULL, BY_OPERATOR, ACCESSIBLE, EXPORTS, IMPORTS = 0x01, 0x02, 0x08, 0x10, 0x20
SOURCE_VALID = 0x80


class Changer(Unit):
    device_type, product, serial = 8, "TEST CHANGER", "CHG00001"

    def __init__(self, drives: Sequence[Drive], slots: int, mail: int) -> None:
        super().__init__()
        self.drives = drives
        self.slots: list[Cartridge | None] = [None] * slots
        self.mail: list[Cartridge | None] = [None] * mail
        self.sources: dict[int, int] = {}
        self._by_operator: set[int] = set()
        self._commands: dict[int, Callable[[bytes], bytes]] = {
            0x00: lambda cdb: self._nothing(),
            0x07: lambda cdb: self._nothing(),  # INITIALIZE ELEMENT STATUS: it always knows
            0x37: lambda cdb: self._nothing(),
            0x16: lambda cdb: b"",  # RESERVE, RELEASE: nobody else is there
            0x17: lambda cdb: b"",
            0x1D: lambda cdb: b"",
            0x1E: lambda cdb: b"",
            0x1A: lambda cdb: self._mode_sense(cdb, 4)[: cdb[4]],
            0x2B: lambda cdb: self._nothing(),  # POSITION TO ELEMENT
            0x5A: lambda cdb: self._mode_sense(cdb, 8)[: int.from_bytes(cdb[7:9], "big")],
            0xA5: lambda cdb: self._move(int.from_bytes(cdb[4:6], "big"), int.from_bytes(cdb[6:8], "big")),
            0xB8: self._read_element_status,
        }

    # What an operator does

    def put_mail(self, slot: int, cartridge: Cartridge) -> None:
        with self.lock:
            self.mail[slot] = cartridge
            self._by_operator.add(FIRST[Kind.MAIL] + slot)
            self.attention(IMPORT_EXPORT_ACCESSED)

    def take_mail(self, slot: int) -> Cartridge | None:
        with self.lock:
            taken, self.mail[slot] = self.mail[slot], None
            self.attention(IMPORT_EXPORT_ACCESSED)
            return taken

    # Commands

    def command(self, cdb: bytes, sent: bytes) -> bytes:
        if cdb[0] not in self._commands:
            raise bad_command()
        return self._commands[cdb[0]](cdb)

    def _nothing(self) -> bytes:
        self.become_ready()
        return b""

    def _counts(self) -> dict[Kind, int]:
        """How many elements there are, in the order of their addresses."""
        return {Kind.ARM: 1, Kind.DRIVE: len(self.drives), Kind.SLOT: len(self.slots), Kind.MAIL: len(self.mail)}

    def _find(self, address: int) -> tuple[Kind, int]:
        for kind, count in self._counts().items():
            if FIRST[kind] <= address < FIRST[kind] + count:
                return kind, address - FIRST[kind]
        raise Check(ILLEGAL_REQUEST, 0x21, 1)

    def _at(self, address: int) -> Cartridge | None:
        kind, number = self._find(address)
        if kind is Kind.DRIVE:
            return self.drives[number].cartridge
        if kind is Kind.ARM:
            return None
        return (self.slots if kind is Kind.SLOT else self.mail)[number]

    def _mode_sense(self, cdb: bytes, header: int) -> bytes:
        if cdb[2] & 0x3F not in (0x1D, 0x3F):
            raise bad_field()
        counts = self._counts()
        areas = [number for kind in Kind for number in (FIRST[kind], counts[kind])]
        page = bytes([0x1D, 18]) + struct.pack(">8H", *areas) + bytes(2)
        head = bytes([3 + len(page), 0, 0, 0]) if header == 4 else struct.pack(">H6x", 6 + len(page))
        return head + page

    def _move(self, source: int, target: int) -> bytes:
        self.become_ready()
        (source_kind, source_number), (target_kind, target_number) = self._find(source), self._find(target)
        cartridge = self._at(source)
        if cartridge is None:
            raise Check(ILLEGAL_REQUEST, 0x3B, 0x0E)
        if target_kind is Kind.ARM or self._at(target) is not None:
            raise Check(ILLEGAL_REQUEST, 0x3B, 0x0D)
        if source_kind is Kind.DRIVE:
            drive = self.drives[source_number]
            if drive.locked:
                raise Check(ILLEGAL_REQUEST, 0x53, 2)
            drive.eject()
        else:
            (self.slots if source_kind is Kind.SLOT else self.mail)[source_number] = None
        if target_kind is Kind.DRIVE:
            self.drives[target_number].insert(cartridge)
            self.sources[target] = source
        else:
            (self.slots if target_kind is Kind.SLOT else self.mail)[target_number] = cartridge
            self._by_operator.discard(target)
        return b""

    def _read_element_status(self, cdb: bytes) -> bytes:
        self.become_ready()
        tags, wanted, identify = bool(cdb[1] & 0x10), cdb[1] & 15, bool(cdb[6] & 1)
        start, count, room = (
            int.from_bytes(cdb[2:4], "big"),
            int.from_bytes(cdb[4:6], "big"),
            int.from_bytes(cdb[7:10], "big"),
        )
        pages = b""
        found: list[int] = []
        for kind, there in self._counts().items():
            if wanted and kind != wanted:
                continue
            addresses = [a for a in range(FIRST[kind], FIRST[kind] + there) if a >= start][: count - len(found)]
            if not addresses:
                continue
            found += addresses
            elements = [self._element(kind, address, tags, identify) for address in addresses]
            size = sum(map(len, elements))
            pages += struct.pack(">BBHI", kind, 0x80 * tags, len(elements[0]), size) + b"".join(elements)
        return (struct.pack(">HHI", found[0] if found else 0, len(found), len(pages)) + pages)[:room]

    def _element(self, kind: Kind, address: int, tags: bool, identify: bool) -> bytes:
        cartridge = self._at(address)
        flags = FULL if cartridge else 0
        identifier = b""
        if kind is Kind.DRIVE:
            drive = self.drives[address - FIRST[kind]]
            flags |= 0 if cartridge and drive.threaded else ACCESSIBLE
            identifier = drive.designator() if identify else b""
        elif kind is Kind.MAIL:
            flags |= ACCESSIBLE | EXPORTS | IMPORTS | (BY_OPERATOR if address in self._by_operator and cartridge else 0)
        elif kind is Kind.SLOT:
            flags |= ACCESSIBLE
        source = self.sources.get(address) if cartridge else None
        element = struct.pack(">HB6xBH", address, flags, 0 if source is None else SOURCE_VALID, source or 0)
        if tags:
            element += (f"{cartridge.barcode:32}".encode() if cartridge else bytes(32)) + bytes(4)
        return (
            element + struct.pack(">BBBB", 2, 1, 0, len(identifier)) + identifier if identifier else element + bytes(4)
        )
