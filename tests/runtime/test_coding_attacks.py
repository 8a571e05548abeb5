"""Somebody with the tapes, who knows the format and has no key: checksums always fit again, and nothing gets
through."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import pytest
from coded_world import (
    CODINGS,
    KEY,
    OBJECT,
    OTHER,
    OTHER_KEY,
    Reader,
    coded,
    mixed,
    patched,
    resealed,
    ring,
    text,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom import _kernel
from tapeloom._kernel import Verdict
from tapeloom.errors import BlockDamaged, SealBroken, SealError
from tapeloom.seal import Key
from tapeloom.volume.header import Flag

SEQUENCE = mixed(120_000)
SEALED = [CODINGS["sealed"], CODINGS["both"]]
BLOCKS = {coding: coded(SEQUENCE, coding) for coding in SEALED}
THE_OTHERS = {coding: coded(SEQUENCE, coding, OTHER) for coding in SEALED}

FLAGS, SEQ, OFFSET, ID, KEY_ID, WRAPPED = 18, 48, 56, 32, 352, 368

codings = pytest.mark.parametrize("coding", SEALED, ids=["sealed", "both"])
Blocks = list[bytes]


def place(block: bytes, seq: int, offset: int) -> bytes:
    """The block as if it were another one."""
    return patched(block, SEQ, struct.pack("<QQ", seq, offset))


def facts(block: bytes) -> tuple[int, int]:
    seq, offset = struct.unpack_from("<QQ", block, SEQ)
    return seq, offset


def swapped(blocks: Blocks) -> Blocks:
    """Blocks 2 and 3 in each other's place, with the numbers that belong there."""
    return [*blocks[:2], place(blocks[3], *facts(blocks[2])), place(blocks[2], *facts(blocks[3])), *blocks[4:]]


def dropped(blocks: Blocks) -> Blocks:
    """Block 2 left out, and those behind it numbered as if there had been none."""
    moved = [place(block, *facts(before)) for before, block in pairwise(blocks[2:])]
    return [*blocks[:2], *moved]


def dropped_in_the_open(blocks: Blocks) -> Blocks:
    return [*blocks[:2], *blocks[3:]]


def truncated(blocks: Blocks) -> Blocks:
    return blocks[:4]


def truncated_with_an_end(blocks: Blocks) -> Blocks:
    return [*blocks[:3], patched(blocks[3], FLAGS, struct.pack("<H", Flag.SEALED | Flag.END))]


def broken_off(blocks: Blocks) -> Blocks:
    """The last block says that the source broke off."""
    return [*blocks[:-1], patched(blocks[-1], FLAGS, struct.pack("<H", Flag.SEALED | Flag.END | Flag.FAILED))]


def no_end(blocks: Blocks) -> Blocks:
    return [*blocks[:-1], patched(blocks[-1], FLAGS, struct.pack("<H", Flag.SEALED))]


def payload_cut(blocks: Blocks) -> Blocks:
    return [*blocks[:2], resealed(blocks[2][:-1]), *blocks[3:]]


def payload_empty(blocks: Blocks) -> Blocks:
    return [*blocks[:2], resealed(blocks[2][:512]), *blocks[3:]]


def unsealed_between(blocks: Blocks) -> Blocks:
    """A block of somebody's own, in the clear, among the sealed ones."""
    clear = coded(SEQUENCE, CODINGS["neither"])[2]
    length = struct.unpack_from("<I", blocks[2], 28)[0]
    own = place(resealed(clear[: 512 + length]), *facts(blocks[2]))
    return [*blocks[:2], patched(own, 28, struct.pack("<I", length)), *blocks[3:]]


def flag_taken_off(blocks: Blocks) -> Blocks:
    """The sealed bytes given out as if they were clear."""
    return [*blocks[:2], patched(blocks[2], FLAGS, b"\0\0"), *blocks[3:]]


@codings
@pytest.mark.parametrize(
    "attack",
    [
        swapped,
        dropped,
        dropped_in_the_open,
        truncated,
        truncated_with_an_end,
        broken_off,
        no_end,
        payload_cut,
        payload_empty,
        unsealed_between,
        flag_taken_off,
    ],
)
def test_what_was_changed_never_comes_out(coding: object, attack: Callable[[Blocks], Blocks]) -> None:
    blocks = attack(BLOCKS[coding])  # type: ignore[index]
    assert all(_kernel.check_block(block) is Verdict.OK for block in blocks)
    sequence = Reader(blocks, keys=ring(KEY), partial=True).sequence
    came = b""
    with pytest.raises(BlockDamaged):
        while True:
            came += sequence.read(1)
    assert came == SEQUENCE[: len(came)]
    assert came != SEQUENCE


@codings
def test_blocks_of_another_object_do_not_fit(coding: object) -> None:
    """Sealed with the same key, of the same source, for the same place: as if an older version came back."""
    mine, other = BLOCKS[coding], THE_OTHERS[coding]  # type: ignore[index]
    replayed = patched(other[2], ID, OBJECT.bytes)
    with pytest.raises(SealBroken, match="sealed otherwise than those before it"):
        Reader([*mine[:2], replayed, *mine[3:]], keys=ring(KEY)).all()
    with_our_key = patched(replayed, WRAPPED, mine[0][WRAPPED : WRAPPED + 40])
    with pytest.raises(SealBroken, match=r"block 2 of object .* does not open"):
        Reader([*mine[:2], with_our_key, *mine[3:]], keys=ring(KEY)).all()
    all_of_it = [patched(block, ID, OBJECT.bytes) for block in other]
    with pytest.raises(SealBroken, match=r"block 0 of object .* does not open"):
        Reader(all_of_it, keys=ring(KEY)).all()


@codings
def test_a_wrapped_key_that_was_changed_opens_nothing(coding: object) -> None:
    blocks = [patched(block, WRAPPED + 7, b"\x55") for block in BLOCKS[coding]]  # type: ignore[index]
    with pytest.raises(SealBroken, match=f"names the key {KEY.id.hex()} \\(K1\\), but that does not open"):
        Reader(blocks, keys=ring(KEY)).all()


@codings
def test_another_key_under_the_id_of_the_right_one_gives_no_bytes(coding: object) -> None:
    impostor = Key(KEY.id, OTHER_KEY.secret, "K1")
    with pytest.raises(SealBroken):
        Reader(BLOCKS[coding], keys=ring(impostor)).sequence.read(1)  # type: ignore[index]


@codings
def test_a_key_id_that_was_changed_names_the_one_it_asks_for(coding: object) -> None:
    blocks = [patched(block, KEY_ID, OTHER_KEY.id) for block in BLOCKS[coding]]  # type: ignore[index]
    with pytest.raises(SealError, match=OTHER_KEY.id.hex()):
        Reader(blocks, keys=ring(KEY)).all()
    with pytest.raises(SealBroken):
        Reader(blocks, keys=ring(KEY, OTHER_KEY)).all()


@pytest.mark.parametrize("name", ["zstd", "neither", "both"])
def test_an_object_that_was_replaced_whole_is_known_from_the_catalog(name: str) -> None:
    """Unsealed, or sealed with a key of the attacker's that is in the ring too: without the catalog's word both are
    fine."""
    theirs = coded(text(50_000), CODINGS[name])
    wanted = {"neither": KEY, "zstd": KEY, "both": OTHER_KEY}[name].id.hex()
    assert Reader(theirs, keys=ring(KEY, OTHER_KEY)).all() == text(50_000)
    with pytest.raises(SealBroken, match=f"is sealed with the key {wanted}, but a block of it"):
        Reader(theirs, keys=ring(KEY, OTHER_KEY), sealed=wanted).all()


@settings(max_examples=150, deadline=None)
@given(coding=st.sampled_from(SEALED), data=st.data())
def test_no_flipped_bit_comes_out(coding: object, data: st.DataObject) -> None:
    """Anywhere in a block, checksums right again: either its bytes do not come, or the bit says nothing about them."""
    blocks = BLOCKS[coding]  # type: ignore[index]
    which = data.draw(st.integers(0, len(blocks) - 1))
    at = data.draw(st.integers(0, 511) | st.integers(512, len(blocks[which]) - 1))
    changed = bytearray(blocks[which])
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    block = resealed(changed) if at >= 28 or 16 <= at < 20 else bytes(changed)
    if block == blocks[which] or _kernel.check_block(block) is not Verdict.OK or not readable(block):
        return  # refused before anybody looks for a seal
    with pytest.raises((BlockDamaged, SealError)):
        Reader([*blocks[:which], block, *blocks[which + 1 :]], keys=ring(KEY)).all()


def readable(block: bytes) -> bool:
    """Whether it still claims to be a block of the object."""
    return block[16] == 1 and block[ID : ID + 16] == OBJECT.bytes


@codings
def test_what_follows_a_forged_block_can_still_be_had(coding: object) -> None:
    blocks = BLOCKS[coding]  # type: ignore[index]
    step = facts(blocks[1])[1]
    changed = bytearray(blocks[2])
    changed[600] ^= 1
    sequence = Reader([*blocks[:2], resealed(changed), *blocks[3:]], keys=ring(KEY)).sequence
    assert sequence.read(2 * step) == SEQUENCE[: 2 * step]
    for _ in range(2):
        with pytest.raises(SealBroken, match="block 2"):
            sequence.read(1)
    sequence.go_to(3 * step)
    assert sequence.read(1 << 40) == SEQUENCE[3 * step :]
