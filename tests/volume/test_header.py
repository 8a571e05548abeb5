from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_volume import AS_OF, FIRST, GOLDEN, SECOND

from tapeloom.errors import BlockDamaged, FormatError, VersionTooNew
from tapeloom.volume.header import (
    Codec,
    Content,
    Flag,
    Header,
    Kind,
    Level,
    crc32c,
    pack,
    parse,
    parse_header,
)

SMALL = Header(object=FIRST, seq=7, offset=7 * 100, as_of=AS_OF, name="D1", content=Content.PAX)
LARGE = Header(
    object=SECOND,
    seq=2**64 - 1,
    offset=2**63,
    as_of=-1,
    name="Größe",
    flags=Flag.END | Flag.FAILED,
    parent=FIRST,
    level=Level.DIFFERENTIAL,
    content=Content.OPAQUE,
    header_bytes=4096,
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # from here on: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_crc32c_vectors(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected
    assert crc32c(data[3:], crc32c(data[:3])) == expected


@pytest.mark.parametrize(("name", "header", "payload"), [("512", SMALL, b"payload" * 14), ("4096", LARGE, b"")])
def test_golden_block(name: str, header: Header, payload: bytes) -> None:
    golden = (GOLDEN / f"volume_block_{name}.bin").read_bytes()
    assert pack(header, payload) == golden
    parsed, data = parse(golden)
    assert bytes(data) == payload
    assert pack(parsed, data) == golden


@given(
    object_id=st.uuids(),
    seq=st.integers(0, 2**64 - 1),
    as_of=st.integers(-(2**63), 2**63 - 1),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=64).filter(lambda name: "\0" not in name),
    flags=st.sampled_from([0, 1, 3]),
    parent=st.none() | st.uuids().filter(lambda one: one.int != 0),
    header_bytes=st.sampled_from([512, 4096]),
    payload=st.binary(max_size=300),
)
def test_every_header_comes_back(
    object_id: UUID, seq: int, as_of: int, name: str, flags: int, parent: UUID | None, header_bytes: int, payload: bytes
) -> None:
    header = Header(
        object=object_id,
        seq=seq,
        offset=seq,
        as_of=as_of,
        name=name,
        flags=flags,
        parent=parent,
        header_bytes=header_bytes,
        payload_bytes=len(payload),
        sequence_bytes=len(payload),
    )
    parsed, data = parse(pack(header, payload))
    assert (parsed, bytes(data)) == (header, payload)


@given(st.integers(0, 512 + 98 - 1), st.integers(0, 7))
def test_any_flipped_bit_is_found(at: int, bit: int) -> None:
    block = bytearray(pack(SMALL, b"payload" * 14))
    block[at] ^= 1 << bit
    expected = FormatError if at < 8 else BlockDamaged
    with pytest.raises(expected):
        parse(block)


def test_a_damaged_payload_names_its_bytes() -> None:
    block = bytearray(pack(SMALL, b"payload" * 14))
    block[-1] ^= 1
    with pytest.raises(BlockDamaged, match=f"bytes 700 to 798 of {FIRST} \\(D1\\), block 7"):
        parse(block)


@pytest.mark.parametrize("cut", [8, 511, 513, 609])
def test_a_short_block_is_damaged(cut: int) -> None:
    with pytest.raises(BlockDamaged):
        parse(pack(SMALL, b"payload" * 14)[:cut])


def resealed(at: int, value: int) -> bytes:
    block = bytearray(pack(SMALL, b"x"))
    block[at] = value
    block[12:16] = bytes(4)
    block[12:16] = crc32c(block[:512]).to_bytes(4, "little")
    return bytes(block)


@pytest.mark.parametrize("at", [8, 16, 17, 19, 88])
def test_what_a_newer_version_may_bring_is_refused(at: int) -> None:
    with pytest.raises(VersionTooNew):
        parse(resealed(at, 0x77))


def test_both_versions_are_named() -> None:
    with pytest.raises(VersionTooNew, match="format version 2; this tapeloom reads up to version 1"):
        parse_header(resealed(8, 2))


def test_unknown_low_flags_and_contents_are_read() -> None:
    assert parse(resealed(18, 0xF0))[0].flags == 0xF0
    assert parse(resealed(89, 9))[0].content == 9


def test_foreign_bytes_are_no_block() -> None:
    with pytest.raises(FormatError, match="not a block of tapeloom"):
        parse(b"VOL1" + bytes(508))


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        (Header(object=FIRST, seq=0, offset=0, as_of=0, name="n" * 257), b""),
        (Header(object=FIRST, seq=0, offset=0, as_of=0, name="n", header_bytes=1024), b""),
        (Header(object=FIRST, seq=0, offset=0, as_of=0, name="n"), bytes(8 << 20)),
    ],
)
def test_what_no_block_can_hold_is_refused(header: Header, payload: bytes) -> None:
    with pytest.raises(FormatError):
        pack(header, payload, crc32c=lambda data, crc: 0)


def test_another_crc_can_be_given() -> None:
    header = Header(
        object=FIRST, seq=0, offset=0, as_of=0, name="n", kind=Kind.RECORD, codec=Codec.ZLIB, sequence_bytes=9
    )
    block = pack(header, b"abc", crc32c=lambda data, crc: 5)
    assert parse(block, crc32c=lambda data, crc: 5)[0].sequence_bytes == 9
