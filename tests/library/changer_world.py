"""A changer in software, behind the SCSI commands that a real one gets."""

from __future__ import annotations

from msgspec.structs import replace

from tapeloom.library import layout
from tapeloom.library.contract import Element, Kind
from tapeloom.library.scsi import Answer

ADDRESSES = {Kind.TRANSPORT: (1, 1), Kind.SLOT: (1024, 500), Kind.IMPORT_EXPORT: (2048, 2), Kind.BAY: (256, 2)}
CHECK = 2


def sense(key: int, asc: int, ascq: int) -> Answer:
    return Answer(status=CHECK, key=key, asc=asc, ascq=ascq)


class Robot:
    """`first` are answers that come before any command is looked at; `serials`: whether it knows DVCID."""

    def __init__(self, *cartridges: str, serials: bool = True):
        self.first: list[Answer | OSError] = []
        self.serials = serials
        self.kind = 8
        self.asked: list[int] = []
        self.elements = {
            first + n: Element(first + n, kind, 0, serial=f"SN{n}" if kind is Kind.BAY else None)
            for kind, (first, count) in ADDRESSES.items()
            for n in range(count)
        }
        for n, name in enumerate(cartridges):
            self.elements[1024 + n] = replace(self.elements[1024 + n], full=True, barcode=name)

    def __call__(self, cdb: bytes, room: int, milliseconds: int) -> Answer:
        assert milliseconds >= 1000
        self.asked.append(cdb[0])
        if self.first:
            answer = self.first.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer
        match cdb[0]:
            case 0x12:
                return Answer(bytes([self.kind, 0x80, 5, 2, 31, 0, 0, 2]) + b"ACME    ROBOT           0001")
            case 0x1A:
                order = (Kind.TRANSPORT, Kind.SLOT, Kind.IMPORT_EXPORT, Kind.BAY)
                numbers = b"".join(n.to_bytes(2, "big") for kind in order for n in ADDRESSES[kind])
                return Answer(bytes([23, 0, 0, 0, 0x1D, 18]) + numbers + bytes(2))
            case 0xB8:
                return self._status(cdb, room)
            case 0xA5:
                return self._move(int.from_bytes(cdb[4:6], "big"), int.from_bytes(cdb[6:8], "big"))
        return Answer()

    def _status(self, cdb: bytes, room: int) -> Answer:
        if cdb[6] & 1 and not self.serials:
            return sense(5, 0x24, 0x00)
        first, count = int.from_bytes(cdb[2:4], "big"), int.from_bytes(cdb[4:6], "big")
        kind = {1: Kind.TRANSPORT, 2: Kind.SLOT, 3: Kind.IMPORT_EXPORT, 4: Kind.BAY}[cdb[1] & 0x0F]
        mine = [one for at, one in self.elements.items() if first <= at < first + count and one.kind is kind]
        if not cdb[6] & 1:
            mine = [replace(one, serial=None) for one in mine]
        return Answer(layout.pack_elements(mine)[:room])

    def _move(self, origin: int, target: int) -> Answer:
        if not self.elements[origin].full:
            return sense(5, 0x3B, 0x0E)
        if self.elements[target].full:
            return sense(5, 0x3B, 0x0D)
        moved = self.elements[origin]
        self.elements[target] = replace(self.elements[target], full=True, barcode=moved.barcode, source=origin)
        self.elements[origin] = replace(moved, full=False, barcode=None, source=None)
        return Answer()
