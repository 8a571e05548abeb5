from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_world import SLOT_BYTES, FakeDrive, make_arena, turn

from tapeloom import _kernel
from tapeloom._kernel import Verdict
from tapeloom.volume import header
from tapeloom.volume.header import Flag, Header

GOLDEN = Path(__file__).parent.parent / "golden"
MakeDrive = Callable[..., FakeDrive]


def block_of(payload: bytes = b"payload" * 30, **more: object) -> bytes:
    fields = {"object": UUID(int=7), "seq": 3, "offset": 900, "as_of": -5, "name": "Größe", **more}
    return header.pack(Header(**fields), payload)


def resealed(block: bytes, at: int, field: bytes) -> bytes:
    """The block with some header bytes changed and the header's checksum right again."""
    changed = bytearray(block)
    changed[at : at + len(field)] = field
    changed[12:16] = bytes(4)
    (header_bytes,) = struct.unpack_from("<H", changed, 10)
    struct.pack_into("<I", changed, 12, header.crc32c(changed[:header_bytes]))
    return bytes(changed)


def test_the_feeder_makes_the_golden_block(fake_drive: MakeDrive) -> None:
    golden = (GOLDEN / "volume_block_512.bin").read_bytes()
    told, payload = header.parse(golden)
    arena = make_arena([(16, 16)], [[0]])
    feeder = _kernel.Feeder(arena, 0)
    feeder.begin(
        object_id=told.object.bytes, number=0, name=told.name.encode(), as_of_ns=told.as_of, content=int(told.content)
    )
    for _ in range(told.seq):
        feeder.write(bytes(told.offset // told.seq))
        feeder.flush()
    feeder.write(payload)
    feeder.flush()
    arena.end_stream(0)
    drive = fake_drive()
    turn(_kernel.Interleaver(arena, 0), drive)
    assert drive.written[-1].data == golden


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    object_id=st.binary(min_size=16, max_size=16),
    parent=st.binary(min_size=16, max_size=16),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=64),
    as_of=st.integers(-(2**63), 2**63 - 1),
    level=st.sampled_from(header.Level),
    content=st.sampled_from(header.Content),
    header_bytes=st.sampled_from([512, 4096]),
    payloads=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    failed=st.booleans(),
)
def test_kernel_and_plain_python_make_the_same_bytes(
    fake_drive: MakeDrive,
    object_id: bytes,
    parent: bytes,
    name: str,
    as_of: int,
    level: header.Level,
    content: header.Content,
    header_bytes: int,
    payloads: list[bytes],
    failed: bool,
) -> None:
    arena = make_arena([(8, 8)], [[0]])
    feeder = _kernel.Feeder(arena, 0)
    feeder.begin(
        object_id=object_id,
        number=0,
        name=name.encode(),
        as_of_ns=as_of,
        parent=parent,
        level=level,
        content=content,
        header_bytes=header_bytes,
    )
    for payload in payloads[:-1]:
        feeder.write(payload)
        feeder.flush()
    feeder.write(payloads[-1])
    feeder.end(failed=failed)
    arena.end_stream(0)
    drive = fake_drive()
    turn(_kernel.Interleaver(arena, 0), drive)

    expected, offset = [], 0
    flushed = [payload for payload in payloads[:-1] if payload]  # nothing to flush, no block
    for seq, payload in enumerate([*flushed, payloads[-1]]):
        last = seq == len(flushed)
        told = Header(
            object=UUID(bytes=object_id),
            seq=seq,
            offset=offset,
            as_of=as_of,
            name=name,
            flags=(Flag.END | (Flag.FAILED if failed else 0)) if last else 0,
            parent=UUID(bytes=parent) if any(parent) else None,
            level=level,
            content=content,
            header_bytes=header_bytes,
        )
        expected.append(header.pack(told, payload))
        offset += len(payload)
    assert [block.data for block in drive.written] == expected
    assert all(_kernel.check_block(block) is Verdict.OK for block in expected)


@pytest.mark.parametrize("header_bytes", [512, 4096])
def test_no_flipped_bit_passes(header_bytes: int) -> None:
    block = bytearray(block_of(header_bytes=header_bytes))
    assert _kernel.check_block(block) is Verdict.OK
    for at in range(len(block)):
        for bit in range(8) if at < 512 else (at % 8,):
            block[at] ^= 1 << bit
            expected = Verdict.FOREIGN if at < 8 else Verdict.HEADER if at < header_bytes else Verdict.PAYLOAD
            assert _kernel.check_block(block) is expected, (at, bit)
            block[at] ^= 1 << bit


def test_no_other_length_passes() -> None:
    block = block_of()
    for length in range(len(block)):
        expected = Verdict.FOREIGN if length < 8 else Verdict.HEADER if length < 512 else Verdict.PAYLOAD
        assert _kernel.check_block(block[:length]) is expected, length
    assert _kernel.check_block(block + b"\0") is Verdict.PAYLOAD


@pytest.mark.parametrize(
    ("at", "field", "expected"),
    [
        (8, b"\2\0", Verdict.VERSION_NEW),
        (18, b"\0\2", Verdict.VERSION_NEW),  # the lowest flag that it does not know and must
        (18, b"\0\1", Verdict.OK),  # sealed
        (17, b"\3", Verdict.VERSION_NEW),  # the lowest codec that it does not know
        (17, b"\2", Verdict.OK),
        (18, b"\x80\0", Verdict.OK),  # the highest that it need not
        (10, b"\0\0", Verdict.HEADER),
        (10, b"\0\4", Verdict.HEADER),
        (10, b"\0\x10", Verdict.HEADER),  # a header longer than the block
        (20, b"\xff\xff\xff\xff", Verdict.PAYLOAD),
        (20, b"\0\0\0\0", Verdict.PAYLOAD),
        (352, b"later", Verdict.OK),
    ],
)
def test_valid_checksum_does_not_make_a_block(at: int, field: bytes, expected: Verdict) -> None:
    assert _kernel.check_block(resealed(block_of(), at, field)) is expected


@given(st.binary(max_size=SLOT_BYTES))
def test_noise_is_foreign(noise: bytes) -> None:
    assert _kernel.check_block(noise) is (Verdict.HEADER if noise.startswith(header.MAGIC) else Verdict.FOREIGN)
