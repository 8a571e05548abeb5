"""The commands of a medium changer as bytes, and its answers: SMC-3 and, for what every SCSI device has, SPC-4.

Numbers of more than one byte have the most significant one first. Nothing here talks to a device. What an answer says
of its own lengths is not believed: all that is read lies within the bytes that came, or FormatError is raised.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from tapeloom.errors import FormatError
from tapeloom.library.contract import Element, Kind, numbered
from tapeloom.library.sense import exception

TEST_UNIT_READY: Final = bytes(6)
"""SPC-4 6.37: six bytes, all of them 0."""

INITIALIZE_ELEMENT_STATUS: Final = bytes((0x07, 0, 0, 0, 0, 0))
"""SMC-3 6.2: the changer looks at every element."""

STATUS_HEADER_BYTES: Final = 8
PAGE_HEADER_BYTES: Final = 8
ADDRESSES_PAGE: Final = 0x1D
SERIAL_PAGE: Final = 0x80
TAG_BYTES: Final = 36
_ADDRESSES_BYTES: Final = 18
_KINDS: Final = {1: Kind.TRANSPORT, 2: Kind.SLOT, 3: Kind.IMPORT_EXPORT, 4: Kind.BAY}
_CODES: Final = {kind: code for code, kind in _KINDS.items()}
_DESCRIPTOR_BYTES_MIN: Final = 12

_FULL, _EXCEPT, _ACCESS = 0x01, 0x04, 0x08
_PRIMARY_TAG, _ALTERNATE_TAG = 0x80, 0x40
_SOURCE_VALID = 0x80
_INDIRECT_MASK = 0x0F
_SERIAL_DESIGNATORS: Final = (0x0, 0x1)
"""Vendor specific, and T10 vendor id: those that hold text with the serial number at its end (SPC-4 7.8.5)."""


class Range(Struct, frozen=True):
    """So many elements of a kind, from an address on."""

    first: int
    count: int


def inquiry(page: int | None, room: int) -> bytes:
    """SPC-4 6.4: what kind of device this is, or one page of its vital product data."""
    return struct.pack(">BBBHB", 0x12, page is not None, page or 0, room, 0)


def mode_sense(page: int, room: int) -> bytes:
    """SPC-4 6.11, the short form (1Ah), without block descriptors."""
    return struct.pack(">BBBBBB", 0x1A, 0x08, page, 0, room, 0)


def read_element_status(kind: Kind, elements: Range, room: int, *, serials: bool) -> bytes:
    """SMC-3 6.11: with volume tags (VOLTAG, byte 1 bit 4), and with device identifiers (DVCID, byte 6 bit 0) where
    `serials`. CURDATA (byte 6 bit 1) is left out: some changers do not know it."""
    tagged = 0x10 | _CODES[kind]
    return struct.pack(">BBHHB", 0xB8, tagged, elements.first, elements.count, serials) + _u24(room) + bytes(2)


def move_medium(transport: int, origin: int, target: int) -> bytes:
    """SMC-3 6.6."""
    return struct.pack(">BBHHHHBB", 0xA5, 0, transport, origin, target, 0, 0, 0)


def parse_peripheral(data: bytes) -> tuple[int, str]:
    """Of INQUIRY's standard answer: the device type (8: a medium changer, 1: a tape drive), and vendor, product and
    revision as text."""
    _need(data, 36, "the answer to INQUIRY")
    return data[0] & 0x1F, " ".join(_text(part) for part in (data[8:16], data[16:32], data[32:36])).strip()


def parse_serial(data: bytes) -> str:
    """Of the vital product data page 80h (SPC-4 7.8.14)."""
    _need(data, 4, "the unit serial number page")
    if data[1] != SERIAL_PAGE:
        raise FormatError(f"page {data[1]:02X}h came in the place of the unit serial number page")
    end = 4 + int.from_bytes(data[2:4], "big")
    _need(data, end, "the unit serial number page")
    return _text(data[4:end])


def parse_addresses(data: bytes) -> dict[Kind, Range]:
    """Of MODE SENSE(6) with page 1Dh, the element address assignment (SMC-3 7.2.2)."""
    _need(data, 4, "the answer to MODE SENSE")
    start = 4 + data[3]  # behind the header and the block descriptors that nobody asked for
    _need(data, start + 2 + _ADDRESSES_BYTES - 2, "the element address page")
    page = data[start:]
    if page[0] & 0x3F != ADDRESSES_PAGE:
        raise FormatError(f"page {page[0] & 0x3F:02X}h came in the place of the element address page")
    if page[1] < _ADDRESSES_BYTES - 2:
        raise FormatError(f"the element address page claims {page[1]} bytes: too few")
    numbers = struct.unpack_from(">8H", page, 2)
    kinds = (Kind.TRANSPORT, Kind.SLOT, Kind.IMPORT_EXPORT, Kind.BAY)
    return {kind: Range(numbers[2 * n], numbers[2 * n + 1]) for n, kind in enumerate(kinds)}


def status_bytes(data: bytes) -> int:
    """How long the whole answer to READ ELEMENT STATUS is, by its header; `data` may be the beginning of it."""
    _need(data, STATUS_HEADER_BYTES, "the element status")
    return STATUS_HEADER_BYTES + int.from_bytes(data[5:8], "big")


def parse_elements(data: bytes) -> list[Element]:
    """Of READ ELEMENT STATUS (SMC-3 6.11): a header of 8 bytes, then pages of elements of one kind, each with a header
    of 8 bytes and descriptors of one length."""
    end = status_bytes(data)
    _need(data, end, "the element status")
    found: list[Element] = []
    at = STATUS_HEADER_BYTES
    while at < end:
        _need(data[:end], at + PAGE_HEADER_BYTES, "an element status page")
        code, flags, length, page_bytes = struct.unpack_from(">BBHI", data, at)
        page_bytes &= 0xFFFFFF
        at += PAGE_HEADER_BYTES
        _need(data[:end], at + page_bytes, "an element status page")
        if code not in _KINDS:
            raise FormatError(f"the element status has elements of a kind {code} that nobody knows")
        least = _DESCRIPTOR_BYTES_MIN + _tag_bytes(flags)
        if page_bytes and length < least:
            raise FormatError(f"an element status page has descriptors of {length} bytes: {least} is the least")
        if page_bytes and page_bytes % length:
            raise FormatError(f"an element status page of {page_bytes} bytes has descriptors of {length}")
        for start in range(at, at + page_bytes, length or 1):
            found.append(_element(data[start : start + length], _KINDS[code], flags))
        at += page_bytes
    return numbered(found)


def pack_elements(elements: list[Element], *, tags: bool = True) -> bytes:
    """The answer of a changer that has these: the reverse of `parse_elements`, for what plays a changer."""
    pages = []
    for kind, code in _CODES.items():
        mine = [_packed(one, tags) for one in elements if one.kind is kind]
        if mine:
            length = max(map(len, mine))
            body = b"".join(one.ljust(length, b"\0") for one in mine)
            pages.append(struct.pack(">BBHI", code, _PRIMARY_TAG if tags else 0, length, len(body)) + body)
    whole = b"".join(pages)
    first = min((one.address for one in elements), default=0)
    return struct.pack(">HHI", first, len(elements), len(whole)) + whole


# ----- one descriptor -------------------------------------------------------------------------------------------------


def _element(data: bytes, kind: Kind, flags: int) -> Element:
    """Twelve bytes, volume tags of 36 bytes each as the page's header says, then the identifier of the device in it, if
    any: its code set, its type, a reserved byte, its length, and so many bytes."""
    address, state, _, asc, ascq = struct.unpack_from(">HBBBB", data)
    full = bool(state & _FULL)
    tag = data[12 : 12 + TAG_BYTES] if flags & _PRIMARY_TAG else b""
    source = int.from_bytes(data[10:12], "big") if data[9] & _SOURCE_VALID else None
    return Element(
        address=address,
        kind=kind,
        number=0,
        full=full,
        barcode=(_text(tag[:32]) or None) if full else None,
        accessible=bool(state & _ACCESS) or kind is Kind.TRANSPORT,
        exception=exception(asc, ascq) if state & _EXCEPT else None,
        source=source if full else None,
        serial=_serial(data[12 + _tag_bytes(flags) :]) if kind is Kind.BAY else None,
    )


def _serial(identifier: bytes) -> str | None:
    """The last word of the identifier: some changers give the serial number alone, some vendor and product before it.
    None: there is no identifier, or none that is text."""
    if len(identifier) < 4 or identifier[1] & _INDIRECT_MASK not in _SERIAL_DESIGNATORS:
        return None
    text = _text(identifier[4 : 4 + identifier[3]])
    return text.split()[-1] if text else None


def _packed(one: Element, tags: bool) -> bytes:
    state = (_FULL if one.full else 0) | (_ACCESS if one.accessible else 0) | (_EXCEPT if one.exception else 0)
    sense = (0x83, 0x00) if one.exception else (0, 0)
    valid = _SOURCE_VALID if one.source is not None else 0
    head = struct.pack(">HBBBBBBBBH", one.address, state, 0, *sense, 0, 0, 0, valid, one.source or 0)
    tag = (one.barcode or "").encode("ascii").ljust(32) + bytes(4) if tags else b""
    serial = (one.serial or "").encode("ascii")
    return head + tag + (struct.pack(">BBBB", 2, 0, 0, len(serial)) + serial)


def _tag_bytes(flags: int) -> int:
    return TAG_BYTES * (bool(flags & _PRIMARY_TAG) + bool(flags & _ALTERNATE_TAG))


def _text(field: bytes) -> str:
    """ASCII filled up with blanks or zeros; what cannot be printed is left out."""
    return "".join(_printed(field)).strip()


def _printed(field: bytes) -> Iterator[str]:
    for byte in field:
        if byte == 0:
            return
        if 0x20 <= byte < 0x7F:
            yield chr(byte)


def _u24(value: int) -> bytes:
    return value.to_bytes(3, "big")


def _need(data: bytes, count: int, what: str) -> None:
    if len(data) < count:
        raise FormatError(f"{what} is cut short: {len(data)} bytes came where {count} are needed")
