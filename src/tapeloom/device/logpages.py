"""Log pages and attributes of a cartridge's memory, as bytes.

Sources: SPC-4 (LOG SENSE, READ ATTRIBUTE, error counter pages), SSC-4 (TapeAlert, device statistics, tape capacity,
volume statistics pages; attributes of a medium). Every function takes whatever a drive may have sent: a ValueError says
in one sentence what is wrong, and nothing outside of the bytes is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from tapeloom.health import CartridgeHealth, DriveHealth, Errors
from tapeloom.tapealert import FLAGS_MAX

SUPPORTED, WRITE_ERRORS, READ_ERRORS, DEVICE_STATISTICS = 0x00, 0x02, 0x03, 0x14
VOLUME_STATISTICS, TAPE_ALERT, TAPE_CAPACITY = 0x17, 0x2E, 0x31

T = TypeVar("T")

MIB: Final = 1 << 20
_UNKNOWN_BYTES: Final = 8
"""All ones in so many bytes, or in fewer, stand for a number that is not known."""

_KINDS: Final = {0x00: "data", 0x01: "cleaning", 0x80: "WORM"}


def page(data: bytes, code: int) -> dict[int, bytes]:
    """The parameters of a log page, by code. ValueError: it is another page, or cut off."""
    if len(data) < 4:
        raise ValueError(f"log page {code:02x}h has {len(data)} bytes, which is less than its head")
    if data[0] & 0x3F != code:
        raise ValueError(f"log page {code:02x}h was asked for, and page {data[0] & 0x3F:02x}h came")
    return dict(_items(_body(data, 2, 4, f"log page {code:02x}h"), 3, 4, f"log page {code:02x}h"))


def supported(data: bytes) -> frozenset[int]:
    """The codes on the page of all pages."""
    if len(data) < 4 or data[0] & 0x3F != SUPPORTED:
        raise ValueError(f"{len(data)} bytes came that are no list of log pages")
    return frozenset(code & 0x3F for code in _body(data, 2, 4, "the list of log pages"))


def attributes(data: bytes) -> dict[int, bytes]:
    """The values of READ ATTRIBUTE, by identifier."""
    what = "the cartridge's memory"
    if len(data) < 4:
        raise ValueError(f"{what}: {len(data)} bytes came, which is less than the head")
    return dict(_items(_body(data, 0, 4, what), 3, 5, what))


def attribute_list(data: bytes) -> list[int]:
    """What READ ATTRIBUTE has values of."""
    what = "the list of the cartridge's memory"
    if len(data) < 4:
        raise ValueError(f"{what}: {len(data)} bytes came, which is less than the head")
    body = _body(data, 0, 4, what)
    if len(body) % 2:
        raise ValueError(f"{what}: its {len(body)} bytes are no whole number of identifiers")
    return [int.from_bytes(body[at : at + 2]) for at in range(0, len(body), 2)]


def _body(data: bytes, length_at: int, head: int, what: str) -> bytes:
    length = int.from_bytes(data[length_at:head])
    if len(data) < head + length:
        raise ValueError(f"{what} is {head + length} bytes long by its head, and {len(data)} came")
    return data[head : head + length]


def _items(body: bytes, length_at: int, head: int, what: str) -> Iterator[tuple[int, bytes]]:
    """Both kinds of list: an identifier of two bytes, a byte of flags, a length, a value."""
    at = 0
    while at < len(body):
        end = at + head + int.from_bytes(body[at + length_at : at + head])
        if at + head > len(body) or end > len(body):
            raise ValueError(f"{what} is cut off at its byte {at}")
        yield int.from_bytes(body[at : at + 2]), body[at + head : end]
        at = end


def number(values: Mapping[int, bytes], code: int) -> int | None:
    """None: it is not there, too long for a number, or all ones, by which a drive says that it does not know."""
    value = values.get(code, b"")
    if not 1 <= len(value) <= _UNKNOWN_BYTES or value == b"\xff" * len(value):
        return None
    return int.from_bytes(value)


def text(values: Mapping[int, bytes], code: int) -> str | None:
    """Printable ASCII only: it goes to terminals."""
    found = values.get(code, b"").decode("ascii", errors="replace").strip("\0 ")
    return "".join(one if one.isprintable() else "?" for one in found) or None


def alerts(values: Mapping[int, bytes]) -> tuple[int, ...]:
    """The flags that are set on page 2Eh, by number."""
    return tuple(code for code in range(1, FLAGS_MAX + 1) if values.get(code, b"\0")[-1:] not in (b"", b"\0"))


def alert_bits(value: bytes) -> tuple[int, ...] | None:
    """Attribute 0002h: one bit a flag, the first one is the highest."""
    if len(value) * 8 != FLAGS_MAX:
        return None
    bits = int.from_bytes(value)
    return tuple(code for code in range(1, FLAGS_MAX + 1) if bits >> FLAGS_MAX - code & 1)


def errors(values: Mapping[int, bytes]) -> Errors:
    """Pages 02h and 03h."""
    return Errors(
        corrected=number(values, 0x0003),
        repeated=number(values, 0x0002),
        uncorrected=number(values, 0x0006),
        bytes=number(values, 0x0005),
    )


def drive(values: Mapping[int, bytes]) -> DriveHealth:
    """Page 14h."""
    return DriveHealth(
        loads=number(values, 0x0000),
        cleanings=number(values, 0x0001),
        power_on_hours=number(values, 0x0002),
        motion_hours=number(values, 0x0003),
        meters=number(values, 0x0004),
    )


def cartridge(
    memory: Mapping[int, bytes], statistics: Mapping[int, bytes], capacity: Mapping[int, bytes]
) -> CartridgeHealth:
    """From the cartridge's memory, and where that is silent from pages 17h and 31h."""
    kind = number(memory, 0x0408)
    return CartridgeHealth(
        remaining=_mib(_first(number(memory, 0x0000), number(capacity, 0x0001))),
        capacity=_mib(_first(number(memory, 0x0001), number(capacity, 0x0003))),
        alerts=alert_bits(memory.get(0x0002, b"")),
        loads=_first(number(memory, 0x0003), number(statistics, 0x0001)),
        memory_left=number(memory, 0x0004),
        written=_mib(number(memory, 0x0220)),
        read=_mib(number(memory, 0x0221)),
        write_errors=number(statistics, 0x0004),
        read_errors=number(statistics, 0x0009),
        manufacturer=text(memory, 0x0400),
        serial=_first(text(memory, 0x0401), text(statistics, 0x0040)),
        barcode=_first(text(memory, 0x0806), text(statistics, 0x0042)),
        kind=None if kind is None else _KINDS.get(kind, f"{kind:02x}h"),
    )


def _mib(count: int | None) -> int | None:
    return None if count is None else count * MIB


def _first(one: T | None, other: T | None) -> T | None:
    return other if one is None else one
