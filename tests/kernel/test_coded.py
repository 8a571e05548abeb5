"""Coded blocks through feeder and drain: the kernel carries them, and knows no codec."""

from __future__ import annotations

import gc
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_world import PAYLOAD_MAX, begin, feeder_on, make_arena, object_id

from tapeloom import _kernel
from tapeloom._kernel import Stop, Verdict
from tapeloom.errors import BlockDamaged, NoReaders, Stopped
from tapeloom.volume import header
from tapeloom.volume.header import Codec, Flag, Header

KEY_ID, WRAPPED_KEY = bytes(range(16)), bytes(range(40))


def crc(data: bytes, so_far: int) -> int:
    return _kernel.crc32c(data, so_far)


@settings(max_examples=60)
@given(
    payload=st.binary(max_size=300),
    sequence_bytes=st.integers(0, 2**20),
    codec=st.sampled_from([Codec.NONE, Codec.ZSTD]),
    sealed=st.booleans(),
    end=st.sampled_from([0, Flag.END, Flag.END | Flag.FAILED]),
    header_bytes=st.sampled_from([512, 4096]),
    before=st.lists(st.integers(0, 1000), max_size=3),
)
def test_kernel_and_plain_python_make_the_same_bytes(
    payload: bytes, sequence_bytes: int, codec: Codec, sealed: bool, end: int, header_bytes: int, before: list[int]
) -> None:
    arena = make_arena([(8, 8)], [[0]])
    keys = {"key_id": KEY_ID, "wrapped_key": WRAPPED_KEY} if sealed else {}
    feeder = feeder_on(arena, 0, header_bytes=header_bytes, **keys)
    for count in before:
        feeder.put_coded(b"", sequence_bytes=count, codec=Codec.ZSTD, flags=0)
    flags = end | (Flag.SEALED if sealed else 0)
    if codec is Codec.NONE:
        sequence_bytes = max(0, len(payload) - header.SEAL_BYTES) if sealed else len(payload)
    told = Header(
        object=UUID(bytes=object_id(0)),
        seq=len(before),
        offset=sum(before),
        as_of=0,
        name="D0",
        codec=codec,
        flags=flags,
        payload_bytes=len(payload),
        sequence_bytes=sequence_bytes,
        header_bytes=header_bytes,
        **keys,
    )
    facts = {"sequence_bytes": sequence_bytes, "codec": codec, "flags": flags}
    assert feeder.coded_header(
        seq=told.seq, offset=told.offset, payload_bytes=len(payload), **facts
    ) == header.authenticated(told)
    feeder.put_coded(payload, **facts)
    assert (feeder.blocks, feeder.offset) == (len(before) + 1, sum(before) + sequence_bytes)
    drain = _kernel.Drain(arena, 0)
    assert drain.next_object() == object_id(0)
    for _ in before:
        assert drain.take() is not None
    block = drain.take()
    assert block is not None
    whole = bytes(block.header) + bytes(block.payload)
    assert whole == header.pack(told, payload, crc32c=crc)
    assert _kernel.check_block(whole) is Verdict.OK
    assert (block.codec, block.flags, block.seq, block.offset) == (codec, flags, told.seq, told.offset)
    assert block.sequence_bytes == sequence_bytes
    assert drain.failed == bool(end & Flag.FAILED)


def test_a_coded_block_is_whole_or_nothing() -> None:
    arena = make_arena([(8, 8)], [[0]])
    feeder = feeder_on(arena, 0)
    facts = {"sequence_bytes": 5, "codec": Codec.ZSTD, "flags": 0}
    assert feeder.payload_bytes_max == PAYLOAD_MAX
    with pytest.raises(ValueError, match="do not fit"):
        feeder.put_coded(bytes(PAYLOAD_MAX + 1), **facts)
    feeder.put_coded(bytes(PAYLOAD_MAX), **facts)
    feeder.write(b"x")
    with pytest.raises(ValueError, match="either coded or filled in place"):
        feeder.put_coded(b"", **facts)
    feeder.drop()
    with pytest.raises(ValueError, match="no object has been begun"):
        feeder.put_coded(b"", **facts)
    begin(feeder, 1)
    feeder.put_coded(b"abc", sequence_bytes=5, codec=Codec.ZSTD, flags=Flag.END)
    with pytest.raises(ValueError, match="has ended"):
        feeder.put_coded(b"", **facts)


@pytest.mark.parametrize("keys", [{"key_id": b"short"}, {"wrapped_key": bytes(41)}])
def test_keys_have_their_lengths(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="a key's id has 16 bytes"):
        feeder_on(make_arena([(8, 8)], [[0]]), 0, **keys)


def test_a_stop_in_order_lets_only_an_end_pass() -> None:
    arena = make_arena([(8, 8)], [[0]])
    feeder = feeder_on(arena, 0)
    arena.stop(Stop.IN_ORDER)
    facts = {"sequence_bytes": 5, "codec": Codec.ZSTD}
    with pytest.raises(Stopped):
        feeder.put_coded(b"a", **facts, flags=0)
    assert feeder.blocks == 0
    feeder.put_coded(b"a", **facts, flags=0, ending=True)
    feeder.put_coded(b"b", **facts, flags=Flag.END, ending=True)
    assert feeder.blocks == 2
    arena.detach(0)
    begin(feeder, 1)
    with pytest.raises(NoReaders):
        feeder.put_coded(b"a", **facts, flags=0, ending=True)
    assert arena.stream_statistics(0).held == 0


def small_blocks(count: int) -> _kernel.Arena:
    """Two objects of so many blocks, of 10 bytes each."""
    arena = make_arena([(32, 32)], [[0]])
    feeder = _kernel.Feeder(arena, 0)
    for number in range(2):
        begin(feeder, number)
        for seq in range(count):
            feeder.put_coded(
                b"%d" % seq, sequence_bytes=10, codec=Codec.ZSTD, flags=Flag.END if seq == count - 1 else 0
            )
    return arena


def test_take_ends_where_the_object_does() -> None:
    arena = small_blocks(3)
    drain = _kernel.Drain(arena, 0)
    for number in range(2):
        assert drain.next_object() == object_id(number)
        for seq in range(3):
            block = drain.take()
            assert block is not None
            assert (block.seq, bytes(block.payload)) == (seq, b"%d" % seq)
            assert (drain.seq, drain.offset) == (seq + 1, 10 * seq + 10)
        assert drain.take(wait=False) is None
        assert drain.take() is None
    assert arena.stream_statistics(0).held == 0


def test_take_without_waiting_says_that_there_is_none_yet() -> None:
    arena = make_arena([(8, 8)], [[0]])
    feeder = feeder_on(arena, 0)
    drain = _kernel.Drain(arena, 0)
    facts = {"sequence_bytes": 5, "codec": Codec.ZSTD}
    feeder.put_coded(b"a", **facts, flags=0)
    assert drain.next_object() is not None
    assert drain.take(wait=False) is not None
    assert drain.take(wait=False) is None
    feeder.put_coded(b"b", **facts, flags=Flag.END)
    block = drain.take(wait=False)
    assert block is not None
    assert bytes(block.payload) == b"b"


def test_an_object_may_begin_anywhere_only_where_it_is_said() -> None:
    arena = small_blocks(4)
    drain = _kernel.Drain(arena, 0)
    assert drain.next_object() == object_id(0)
    drain.close()  # before the others of this object have been taken
    with pytest.raises(BlockDamaged, match="bytes 0 to 10 are missing"):
        drain.next_object()
    drain.close()
    assert drain.next_object(anywhere=True) == object_id(0)
    block = drain.take()
    assert block is not None
    assert (block.seq, block.offset) == (2, 20)


def test_a_drain_that_the_garbage_collector_finds_lets_go_of_its_block() -> None:
    """In a circle, as tracebacks make them: the arena is still there when the drain goes."""
    arena = small_blocks(2)

    class Circle:
        pass

    for _ in range(2):
        circle = Circle()
        circle.drain = _kernel.Drain(arena, 0)  # type: ignore[attr-defined]
        circle.drain.next_object(anywhere=True)  # type: ignore[attr-defined]
        circle.itself = circle  # type: ignore[attr-defined]
        del circle
        gc.collect()
    assert arena.cursor_statistics(0).released == 2
