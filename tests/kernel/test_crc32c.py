from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom import _kernel
from tapeloom.volume import header

NAMES = _kernel.crc32c_names()
NOISE = random.Random(3720).randbytes(3 * 4096 + 3 * 256 + 700)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # from here on: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (
            bytes.fromhex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018")
            + bytes.fromhex("28000000 00000000 02000000 00000000"),
            0xD9963A56,
        ),
    ],
)
def test_vectors(name: str, data: bytes, expected: int) -> None:
    assert _kernel.crc32c(data, name=name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_short_length_at_every_alignment(name: str) -> None:
    view = memoryview(NOISE)
    for length in range(301):
        for at in range(9):
            data = view[at : at + length]
            assert _kernel.crc32c(data, name=name) == _kernel.crc32c(data, name="table"), (length, at)


def test_the_reference_equals_that_of_plain_python() -> None:
    assert _kernel.crc32c(NOISE, name="table") == header.crc32c(NOISE)


@pytest.mark.parametrize("name", NAMES)
@given(
    start=st.integers(0, 16),
    length=st.integers(0, len(NOISE) - 16),
    cuts=st.lists(st.integers(0, len(NOISE)), max_size=4),
)
def test_any_split_gives_the_same(name: str, start: int, length: int, cuts: list[int]) -> None:
    data = memoryview(NOISE)[start : start + length]
    crc, at = 0, 0
    for cut in [*sorted(min(cut, length) for cut in cuts), length]:
        crc = _kernel.crc32c(data[at:cut], crc, name)
        at = cut
    assert crc == _kernel.crc32c(data, name="table")


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="table"):
        _kernel.crc32c(b"", name="crc31")
