"""The bytes of a changer: what is packed is parsed, and no answer makes the parser read what is not there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tapeloom.errors import FormatError
from tapeloom.library import layout
from tapeloom.library.contract import Element, Kind, numbered
from tapeloom.library.layout import Range

BARCODES = st.from_regex(r"[A-Z0-9]{1,32}", fullmatch=True)
SERIALS = st.from_regex(r"[A-Z0-9]{1,12}", fullmatch=True)


@st.composite
def elements(draw: st.DrawFn) -> list[Element]:
    found = []
    for address in draw(st.sets(st.integers(0, 0xFFFF), max_size=20)):
        kind = draw(st.sampled_from(Kind))
        full = draw(st.booleans())
        found.append(
            Element(
                address,
                kind,
                0,
                full=full,
                barcode=draw(st.none() | BARCODES) if full else None,
                accessible=kind is Kind.TRANSPORT or draw(st.booleans()),
                exception=draw(st.sampled_from([None, "its own code (83h/00h)"])),
                source=draw(st.none() | st.integers(0, 0xFFFF)) if full else None,
                serial=draw(st.none() | SERIALS) if kind is Kind.BAY else None,
            )
        )
    return numbered(found)


@settings(max_examples=60, deadline=None)
@given(elements())
def test_what_is_packed_is_parsed(found: list[Element]) -> None:
    parsed = layout.parse_elements(layout.pack_elements(found))
    expected = [replace(one, exception="an exception (83h/00h)" if one.exception else None) for one in found]
    assert parsed == expected


@settings(max_examples=60, deadline=None)
@given(elements(), st.data())
def test_what_is_cut_short_is_said(found: list[Element], data: st.DataObject) -> None:
    whole = layout.pack_elements(found)
    with pytest.raises(FormatError, match="cut short"):
        layout.parse_elements(whole[: data.draw(st.integers(0, len(whole) - 1))])


@settings(max_examples=60, deadline=None)
@given(elements(), st.data())
def test_damage_is_read_or_refused(found: list[Element], data: st.DataObject) -> None:
    """Lengths that lie lead to elements or to FormatError, never out of the bytes that came."""
    damaged = bytearray(layout.pack_elements(found))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        parsed = layout.parse_elements(bytes(damaged))
    except FormatError:
        return
    assert len(parsed) * 12 <= len(damaged)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_nonsense_is_read_or_refused(data: bytes) -> None:
    for parse in (layout.parse_elements, layout.parse_addresses, layout.parse_serial, layout.parse_peripheral):
        try:
            parse(data)
        except FormatError as error:
            assert str(error)  # noqa: PT017


def test_commands_as_the_standard_has_them() -> None:
    assert layout.move_medium(1, 1024, 256) == bytes.fromhex("a5 00 0001 0400 0100 0000 00 00".replace(" ", ""))
    status = layout.read_element_status(Kind.BAY, Range(256, 2), 0x10203, serials=True)
    assert status == bytes.fromhex("b8 14 0100 0002 01 010203 00 00".replace(" ", ""))
    assert layout.inquiry(0x80, 255) == bytes.fromhex("120180 00ff 00".replace(" ", ""))
    assert layout.mode_sense(0x1D, 255) == bytes.fromhex("1a08 1d00 ff00".replace(" ", ""))


def test_a_serial_number_behind_vendor_and_product() -> None:
    """Such as IBM's libraries give it."""
    bay = Element(256, Kind.BAY, 0, serial="IBM     ULTRIUM-TD9     1013000ABC")
    assert layout.parse_elements(layout.pack_elements([bay]))[0].serial == "1013000ABC"


def test_the_address_page() -> None:
    page = bytes([0x1D, 18]) + b"".join(n.to_bytes(2, "big") for n in (1, 1, 1024, 20, 2048, 2, 256, 3)) + bytes(2)
    found = layout.parse_addresses(bytes([len(page) + 3, 0, 0, 0]) + page)
    assert found[Kind.SLOT] == Range(1024, 20)
    assert found[Kind.BAY] == Range(256, 3)
