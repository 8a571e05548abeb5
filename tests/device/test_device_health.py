"""Log pages and a cartridge's memory: what was packed is what is parsed, and damage is one sentence."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.device import logpages, open_drive
from tapeloom.device.health import LIST, LOG_SENSE, READ_ATTRIBUTE, ROOM, HealthReader
from tapeloom.errors import DeviceError
from tapeloom.health import CartridgeHealth, DriveHealth, Errors, Health

VALUES = st.dictionaries(st.integers(0, 0xFFFF), st.binary(max_size=64), max_size=12)
PARSERS = (
    lambda data: logpages.page(data, logpages.TAPE_ALERT),
    logpages.supported,
    logpages.attributes,
    logpages.attribute_list,
)
MIB = 1 << 20


def packed_page(code: int, values: Mapping[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">HBB", key, 3, len(value)) + value for key, value in values.items())
    return struct.pack(">BBH", code, 0, len(body)) + body


def packed_memory(values: Mapping[int, bytes]) -> bytes:
    body = b"".join(struct.pack(">HBH", key, 0x80, len(value)) + value for key, value in values.items())
    return struct.pack(">I", len(body)) + body


@given(st.integers(0, 0x3F), VALUES, st.binary(max_size=8))
def test_a_page_is_parsed_as_it_was_packed(code: int, values: dict[int, bytes], behind: bytes) -> None:
    """What a drive sends behind the length it tells is none of it."""
    assert logpages.page(packed_page(code, values) + behind, code) == values


@given(VALUES, st.binary(max_size=8))
def test_a_memory_is_parsed_as_it_was_packed(values: dict[int, bytes], behind: bytes) -> None:
    assert logpages.attributes(packed_memory(values) + behind) == values


@given(st.sets(st.integers(0, 0x3F)), st.lists(st.integers(0, 0xFFFF), max_size=20))
def test_lists_are_parsed_as_they_were_packed(pages: set[int], attributes: list[int]) -> None:
    assert logpages.supported(struct.pack(">BBH", 0, 0, len(pages)) + bytes(pages)) == pages
    body = b"".join(code.to_bytes(2) for code in attributes)
    assert logpages.attribute_list(struct.pack(">I", len(body)) + body) == attributes


@given(st.binary(max_size=200))
def test_whatever_comes_it_is_parsed_or_one_sentence(data: bytes) -> None:
    for parse in PARSERS:
        said = "parsed, and so there is nothing to say"
        try:
            parse(data)
        except ValueError as error:
            said = str(error)
        assert re.fullmatch(r"[^\n]{20,}[^.]", said)


@given(VALUES.filter(bool), st.data())
def test_a_page_that_is_cut_off_says_so(values: dict[int, bytes], data: st.DataObject) -> None:
    whole = packed_page(logpages.TAPE_ALERT, values)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match="log page 2eh"):
        logpages.page(whole[:cut], logpages.TAPE_ALERT)


@given(st.sets(st.integers(1, 64)))
def test_flags_of_the_page_and_of_the_memory(raised: set[int]) -> None:
    page = {code: bytes([code in raised]) for code in range(1, 65)}
    assert set(logpages.alerts(page)) == raised
    bits = sum(1 << 64 - code for code in raised)
    assert set(logpages.alert_bits(bits.to_bytes(8)) or ()) == raised


def test_a_number_that_is_all_ones_is_none() -> None:
    values = {1: b"\xff" * 8, 2: b"\0\0\1", 3: b"", 4: bytes(9)}
    assert [logpages.number(values, code) for code in (1, 2, 3, 4, 5)] == [None, 1, None, None, None]


def test_a_serial_number_cannot_write_to_a_terminal() -> None:
    assert logpages.text({0x0401: b"\x1b[2JSN1 \0"}, 0x0401) == "?[2JSN1"


@dataclass(frozen=True)
class Answer:
    good: bool
    data: bytes = b""


class FakeDrive:
    """Answers from pages and a memory; without any of them it refuses."""

    def __init__(self, pages: Mapping[int, bytes], memory: Mapping[int, bytes] | None = None, *, first: int = 0):
        self.pages = pages
        self.memory = memory
        self.first = first
        self.asked: list[int] = []

    def send(self, cdb: bytes, take: int) -> Answer:
        assert take == ROOM
        if cdb[0] == LOG_SENSE:
            code = cdb[2] & 0x3F
            self.asked.append(code)
            if code == 0 and self.pages:
                return Answer(True, struct.pack(">BBH", 0, 0, len(self.pages) + 1) + bytes([0, *self.pages]))
            return Answer(code in self.pages, self.pages.get(code, b""))
        assert cdb[0] == READ_ATTRIBUTE
        if self.memory is None:
            return Answer(False)
        if cdb[1] == LIST:
            body = b"".join(code.to_bytes(2) for code in self.memory)
            return Answer(True, struct.pack(">I", len(body)) + body)
        begin = int.from_bytes(cdb[8:10])
        return Answer(begin >= self.first, packed_memory(self.memory))


def test_a_drive_that_offers_everything() -> None:
    eight = struct.Struct(">Q").pack
    pages = {
        0x02: packed_page(0x02, {3: eight(5), 2: eight(6), 5: eight(4096), 6: eight(1)}),
        0x14: packed_page(0x14, {0: eight(9), 1: eight(2), 2: eight(1000), 3: eight(300), 4: eight(7)}),
        0x17: packed_page(0x17, {1: b"\0\0\0\4", 4: b"\0\2", 9: b"\0\1"}),
        0x2E: packed_page(0x2E, {20: b"\1", 21: b"\0"}),
    }
    memory = {
        0x0000: eight(100),
        0x0001: eight(200),
        0x0002: eight(1 << 60),
        0x0003: eight(12),
        0x0220: eight(50),
        0x0400: b"ACME    ",
        0x0401: b"SN1",
        0x0408: b"\x80",
        0x0806: b"A00001L8".ljust(32),
    }
    assert HealthReader(FakeDrive(pages, memory).send).read() == Health(
        alerts=(20,),
        writing=Errors(corrected=5, repeated=6, uncorrected=1, bytes=4096),
        cartridge=CartridgeHealth(
            remaining=100 * MIB,
            capacity=200 * MIB,
            alerts=(4,),
            loads=12,
            written=50 * MIB,
            write_errors=2,
            read_errors=1,
            manufacturer="ACME",
            serial="SN1",
            barcode="A00001L8",
            kind="WORM",
        ),
        drive=DriveHealth(loads=9, cleanings=2, power_on_hours=1000, motion_hours=300, meters=7),
    )


def test_a_drive_that_offers_nothing() -> None:
    drive = FakeDrive({})
    assert HealthReader(drive.send).read() is None
    assert drive.asked == [0]


def test_a_damaged_page_is_one_that_is_not_offered() -> None:
    whole = packed_page(0x2E, {20: b"\1"})
    found = HealthReader(FakeDrive({0x02: b"\x02\0\xff\xff\0", 0x2E: whole}).send).read()
    assert found == Health(alerts=(20,))


def test_a_memory_that_begins_later_is_read_from_there() -> None:
    found = HealthReader(FakeDrive({}, {0x0003: b"\7"}, first=3).send).read()
    assert found is not None
    assert found.cartridge is not None
    assert found.cartridge.loads == 7


def test_flags_are_left_in_the_drive_where_nobody_keeps_them() -> None:
    drive = FakeDrive({0x2E: packed_page(0x2E, {20: b"\1"})}, {0x0003: b"\7"})
    found = HealthReader(drive.send).read(alerts=False)
    assert found is not None
    assert found.alerts is None
    assert 0x2E not in drive.asked


def test_a_command_that_cannot_be_sent_ends_it() -> None:
    def refuse(cdb: bytes, take: int) -> Answer:
        raise DeviceError("no")

    assert HealthReader(refuse).read() is None


def test_drives_in_memory_tell_nothing() -> None:
    with open_drive("memory:", name="R1") as drive:
        assert drive.health() is None


@given(
    st.builds(
        Health,
        st.none() | st.lists(st.integers(1, 64), unique=True).map(tuple),
        st.none() | st.builds(Errors, corrected=st.none() | st.integers(0)),
        st.none(),
        st.none() | st.builds(CartridgeHealth, alerts=st.none() | st.just((1, 2)), barcode=st.none() | st.text()),
        st.none() | st.builds(DriveHealth, meters=st.none() | st.integers(0)),
    )
)
def test_figures_are_taken_back(health: Health) -> None:
    assert Health.of(health.alerts, health.figures()) == health
    assert Health.of(health.alerts, health.figures() | {"of a newer one": {}}) == health
