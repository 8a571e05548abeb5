"""Objects that are compressed and sealed: what comes out is what went in, and the blocks are as FORMAT.md has them."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import blake3
import pytest
from coded_world import (
    BLOCK,
    CODINGS,
    KEY,
    OBJECT,
    OTHER_KEY,
    SLOTS,
    Reader,
    arena_of,
    coded,
    mixed,
    noise,
    published,
    resealed,
    ring,
    sink_on,
    text,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeloom import _kernel
from tapeloom._kernel import Stop, Verdict
from tapeloom.errors import BlockDamaged, DigestWrong, FormatError, LibraryMissing, NoReaders, SealError, Stopped
from tapeloom.limits import MIB
from tapeloom.runtime.coding import Coding, CodingSink, memory_bytes_max
from tapeloom.runtime.reading import STREAM
from tapeloom.runtime.workers import depth
from tapeloom.seal.block import Squeezer
from tapeloom.volume.header import Codec, Flag, parse

codings = pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
STEP = BLOCK - 512 - 16
EDGES = [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP, 10 * STEP + 1]


@codings
@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("header_bytes", [512, 4096])
def test_what_comes_out_went_in(coding: Coding, size: int, header_bytes: int) -> None:
    sequence = mixed(size)
    blocks = coded(sequence, coding, header_bytes=header_bytes)
    assert Reader(blocks, keys=ring(KEY)).all() == sequence


@codings
def test_the_blocks_are_as_the_format_has_them(coding: Coding) -> None:
    sequence = mixed(20 * STEP + 5)
    blocks = coded(sequence, coding)
    headers = [parse(block, crc32c=lambda data, crc: _kernel.crc32c(data, crc))[0] for block in blocks]
    assert all(_kernel.check_block(block) is Verdict.OK for block in blocks)
    step = headers[0].sequence_bytes
    assert [header.seq for header in headers] == list(range(len(headers)))
    assert [header.offset for header in headers] == [seq * step for seq in range(len(headers))]
    assert all(header.sequence_bytes == step for header in headers[:-1])
    assert headers[-1].offset + headers[-1].sequence_bytes == len(sequence)
    assert [header.is_end for header in headers] == [False] * (len(headers) - 1) + [True]
    sealed = coding.key is not None
    assert {header.is_sealed for header in headers} == {sealed}
    assert {header.key_id for header in headers} == {KEY.id if sealed else bytes(16)}
    assert len({header.wrapped_key for header in headers}) == 1
    codecs = {header.codec for header in headers}
    assert codecs == ({Codec.NONE} if coding.zstd_level is None else {Codec.NONE, Codec.ZSTD})


def test_two_objects_have_two_data_keys() -> None:
    one, other = (coded(bytes(100), CODINGS["sealed"])[0] for _ in range(2))
    assert one[368:408] != other[368:408]
    assert one[512:] != other[512:]


def test_what_does_not_become_shorter_goes_as_it_is() -> None:
    blocks = coded(noise(10 * STEP), CODINGS["zstd"])
    assert {block[17] for block in blocks} == {Codec.NONE}
    assert sum(map(len, blocks)) == 10 * STEP + 512 * len(blocks)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["write", "zeros", "pump", "pump_pipe", "reserve"]),
            st.sampled_from([0, 1, 100, STEP - 1, STEP, STEP + 1, 2 * STEP + 7]),
        ),
        max_size=6,
    ),
    coding=st.sampled_from(list(CODINGS.values())),
)
def test_however_it_is_written_the_sequence_is_the_same(steps: list[tuple[str, int]], coding: Coding) -> None:
    arena = arena_of()
    sink = sink_on(arena, coding)
    file = os.memfd_create("file")
    expected = b""
    for number, (how, size) in enumerate(steps):
        if how == "reserve" and not size:
            continue  # room that is asked for and not used makes a full block go, and the end one of its own
        data = bytes(size) if how == "zeros" else (text if number % 2 else noise)(size, number)
        if how == "write":
            sink.write(data)
        elif how == "zeros":
            sink.zeros(size)
        elif how == "reserve":
            room = sink.reserve()
            data = data[: len(room)]
            room[: len(data)] = data
            sink.commit(len(data))
        else:
            os.ftruncate(file, 0)
            os.pwrite(file, b"before" + data, 0)
            os.lseek(file, 6, os.SEEK_SET)
            done = sink.pump(file, 6, size) if how == "pump" else sink.pump_pipe(file)
            assert done == (size, 0)
        expected += data
        assert sink.offset == len(expected)
    sink.end()
    os.close(file)
    arena.end_stream(STREAM)
    assert arena.stream_statistics(STREAM).blocks == sink.blocks == max(1, -(-len(expected) // sink.step))
    assert Reader(published(arena), keys=ring(KEY)).all() == expected


def test_pump_says_what_the_system_said(tmp_path: Path) -> None:
    arena = arena_of()
    sink = sink_on(arena, CODINGS["both"])
    folder = os.open(tmp_path, os.O_RDONLY)
    assert sink.pump(folder, 0, 10) == (0, errno.EISDIR)
    assert sink.pump_pipe(folder) == (0, errno.EISDIR)
    os.close(folder)
    short = os.memfd_create("short")
    os.write(short, b"abc")
    assert sink.pump(short, 1, 100) == (2, 0)
    os.close(short)
    sink.end()
    arena.end_stream(STREAM)
    assert Reader(published(arena), keys=ring(KEY)).all() == b"bc"


def test_commit_of_more_than_was_reserved_is_refused() -> None:
    sink = sink_on(arena_of(), CODINGS["both"])
    with pytest.raises(ValueError, match="do not fit"):
        sink.commit(1)
    room = len(sink.reserve())
    sink.write(b"x")
    with pytest.raises(ValueError, match="do not fit"):
        sink.commit(room)


@pytest.mark.parametrize("kind", ["sha256", "blake3"])
@pytest.mark.parametrize("name", CODINGS)
def test_the_digest_is_that_of_the_clear_sequence(kind: str, name: str) -> None:
    sequence = mixed(12 * STEP)
    hash = {"sha256": hashlib.sha256, "blake3": blake3.blake3}[kind]
    arena = arena_of()
    plain = CODINGS[name]
    sink = sink_on(arena, Coding(plain.zstd_level, plain.key, kind))  # type: ignore[arg-type]
    sink.write(sequence)
    assert sink.digest is None
    sink.end()
    arena.end_stream(STREAM)
    assert sink.digest == f"{kind}:{hash(sequence).hexdigest()}"
    blocks = published(arena)
    proved = Reader(blocks, keys=ring(KEY), digest=sink.digest)
    assert proved.all() == sequence
    assert proved.sequence.proof()
    proved.sequence.close()


@pytest.mark.parametrize("name", CODINGS)
def test_a_wrong_digest_is_told(name: str) -> None:
    wrong = f"sha256:{bytes(32).hex()}"
    reader = Reader(coded(mixed(5 * STEP), CODINGS[name]), keys=ring(KEY), digest=wrong)
    with pytest.raises(DigestWrong, match="what was read is not what was written"):
        reader.sequence.proof()


def test_there_is_no_proof_of_parts_and_of_what_broke_off() -> None:
    blocks = coded(mixed(5 * STEP), CODINGS["both"])
    some = f"sha256:{bytes(32).hex()}"
    assert not Reader(blocks, keys=ring(KEY)).sequence.proof()
    parts = Reader([blocks[0], *blocks[3:]], keys=ring(KEY), digest=some).sequence
    parts.go_to(3 * STEP)
    assert not parts.proof()
    parts.close()
    arena = arena_of()
    sink = sink_on(arena, Coding(digest="sha256"))
    sink.write(b"half")
    sink.end(failed=True)
    arena.end_stream(STREAM)
    assert sink.digest is None
    assert not Reader(published(arena), digest=some, partial=True).sequence.proof()


def test_a_digest_of_a_kind_that_is_not_here_is_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "blake3", None)
    reader = Reader(coded(b"abc", CODINGS["neither"]), digest="blake3:00")
    assert not reader.sequence.proof()
    assert "tapeloom[blake3]" in (reader.sequence.unproven or "")


@pytest.mark.parametrize(
    ("module", "extra", "make"),
    [
        ("zstandard", "zstd", lambda: Coding(zstd_level=3)),
        ("cryptography", "seal", lambda: Coding(key=KEY)),
        ("blake3", "blake3", lambda: Coding(digest="blake3")),
    ],
)
def test_a_missing_library_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str, make: Callable[[], Coding]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(LibraryMissing, match=rf"pip install 'tapeloom\[{extra}\]'"):
        make()


def test_facts_of_a_coding() -> None:
    coding = Coding(zstd_level=3, key=KEY, digest="sha256")
    assert (coding.codec_name, coding.key_id, coding.without_digest().digest) == ("zstd", KEY.id.hex(), "none")
    assert (Coding().codec_name, Coding().key_id) == (None, None)
    assert KEY.secret.hex() not in repr(coding)
    assert str(KEY.secret) not in repr(coding)


@codings
def test_a_source_that_broke_off_says_so(coding: Coding) -> None:
    arena = arena_of()
    sink = sink_on(arena, coding)
    sink.write(mixed(3 * STEP + 1))
    sink.end(failed=True)
    arena.end_stream(STREAM)
    blocks = published(arena)
    with pytest.raises(FormatError, match="ends where its source broke off"):
        Reader(blocks, keys=ring(KEY)).all()
    partial = Reader(blocks, keys=ring(KEY), partial=True)
    assert partial.all() == mixed(3 * STEP + 1)
    assert partial.sequence.broken_off


@codings
def test_a_stop_in_order_lets_an_object_end(coding: Coding) -> None:
    arena = arena_of()
    sink = sink_on(arena, coding)
    sink.write(mixed(STEP // 2))
    arena.stop(Stop.IN_ORDER)
    assert sink.stopping
    with pytest.raises(Stopped):
        sink.write(mixed(SLOTS * STEP))
    sink.end(failed=True)
    sink.drop()
    arena.end_stream(STREAM)
    found = Reader(published(arena), keys=ring(KEY), partial=True).all()
    assert found == (mixed(STEP // 2) + mixed(SLOTS * STEP))[: len(found)]
    assert len(found) == sink.offset


def test_a_stop_at_once_does_not() -> None:
    arena = arena_of()
    sink = sink_on(arena, CODINGS["both"])
    sink.write(mixed(3 * STEP))
    arena.stop(Stop.NOW)
    with pytest.raises(Stopped):
        sink.end(failed=True)
    sink.drop()
    assert arena.stream_statistics(STREAM).held <= sink.blocks


def test_nobody_reads_it() -> None:
    arena = arena_of()
    sink = sink_on(arena, CODINGS["both"])
    arena.detach(0)
    with pytest.raises(NoReaders):
        sink.write(mixed(SLOTS * STEP))
    with pytest.raises(NoReaders):
        sink.end(failed=True)
    sink.drop()
    assert arena.stream_statistics(STREAM).held == 0


def test_a_sink_never_has_more_on_its_way_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With workers that do nothing until they are let: the source waits, and the buffers are counted."""
    arena = arena_of()
    sink = sink_on(arena, CODINGS["zstd"])
    let, begun = threading.Event(), threading.Semaphore(0)
    squeeze = Squeezer.squeeze

    def held(self: Squeezer, data: memoryview) -> bytes | None:
        begun.release()
        let.wait()
        return squeeze(self, data)

    monkeypatch.setattr(Squeezer, "squeeze", held)
    sequence = text(40 * STEP)
    source = threading.Thread(target=sink.write, args=(sequence,))
    source.start()
    begun.acquire()
    while sink.offset < (depth(sink.step) + 1) * sink.step:  # the source comes so far without any help
        os.sched_yield()
    assert source.is_alive()
    assert len(sink._ahead) == depth(sink.step)
    let.set()
    source.join()
    sink.end()
    arena.end_stream(STREAM)
    assert Reader(published(arena)).all() == sequence
    assert len(sink._free) <= depth(sink.step) + 1


@pytest.mark.parametrize("block_bytes", [16 * 1024, 512 * 1024, 8 * MIB])
def test_memory_is_bounded(block_bytes: int) -> None:
    assert depth(block_bytes) >= 2
    assert memory_bytes_max(block_bytes) <= max(2 * 16 * MIB + block_bytes, 5 * block_bytes)


def test_a_bug_in_a_worker_comes_out_where_the_source_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Squeezer, data: memoryview) -> bytes | None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Squeezer, "squeeze", broken)
    sink: CodingSink = sink_on(arena_of(), CODINGS["zstd"])
    sink.write(b"abc")
    with pytest.raises(RuntimeError, match="a bug"):
        sink.end()
    sink.drop()


def test_a_missing_key_is_named() -> None:
    blocks = coded(b"abc", CODINGS["both"])
    for keys in (None, ring(OTHER_KEY)):
        sequence = Reader(blocks, keys=keys).sequence
        for _ in range(2):
            with pytest.raises(SealError, match=f"sealed with the key {KEY.id.hex()}, which is not here"):
                sequence.read(1)


def test_who_opens_an_object_names_the_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = coded(text(100_000), CODINGS["zstd"])
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(LibraryMissing, match=r"tapeloom\[zstd\]"):
        Reader(blocks).all()


def test_a_frame_that_wants_more_than_its_header_says_gets_no_room() -> None:
    """A bomb: checksums right, a frame of a few bytes that says it stands for 4 GiB, or for more than is said."""
    import zstandard

    frame = zstandard.ZstdCompressor(level=19).compress(bytes(64 * MIB))
    liar = bytearray(zstandard.ZstdCompressor(level=19, write_content_size=False).compress(bytes(64 * MIB)))
    for bomb in (frame, bytes(liar)):
        block = bytearray(coded(text(1000), CODINGS["zstd"])[0])
        assert block[17] == Codec.ZSTD
        with pytest.raises(BlockDamaged, match="not as long as its header says"):
            Reader([resealed(block[:512] + bomb)]).all()
    block[28:32] = (64 * MIB).to_bytes(4, "little")  # more than any block stands for
    with pytest.raises(BlockDamaged, match="not as long as its header says"):
        Reader([resealed(block[:512] + frame)]).all()


@codings
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_only_go_to_leads_over_gaps(coding: Coding, data: st.DataObject) -> None:
    sequence = mixed(20 * STEP + 100)
    blocks = coded(sequence, coding)
    step = parse(blocks[0], crc32c=lambda data, crc: _kernel.crc32c(data, crc))[0].sequence_bytes
    wanted = sorted(data.draw(st.lists(st.integers(0, len(sequence) - 1), min_size=1, max_size=5)))
    parts = [(at, min(at + data.draw(st.integers(0, 2 * step)), len(sequence))) for at in wanted]
    needed = {seq for at, end in parts for seq in range(at // step, max(at, end - 1) // step + 1)}
    extra = data.draw(st.sets(st.integers(0, len(blocks) - 1), max_size=3))
    reader = Reader([blocks[seq] for seq in sorted(needed | extra)], keys=ring(KEY), anywhere=True)
    at = 0
    for begin, end in parts:
        if begin < at:
            with pytest.raises(ValueError, match="never back"):
                reader.sequence.go_to(begin)
            continue
        reader.sequence.go_to(begin)
        assert reader.sequence.read(end - begin) == sequence[begin:end]
        at = end


@codings
def test_a_gap_that_nobody_asked_for_is_damage_until_somebody_goes_over_it(coding: Coding) -> None:
    sequence = mixed(10 * STEP)
    blocks = coded(sequence, coding)
    reader = Reader([*blocks[:2], *blocks[4:]], keys=ring(KEY))
    step = parse(blocks[0], crc32c=lambda data, crc: _kernel.crc32c(data, crc))[0].sequence_bytes
    assert reader.sequence.read(2 * step) == sequence[: 2 * step]
    for _ in range(2):
        with pytest.raises(BlockDamaged, match=f"bytes {2 * step} to {4 * step} are missing \\(blocks 2 to 4"):
            reader.sequence.read(1)
    with pytest.raises(BlockDamaged, match="are missing"):
        reader.sequence.go_to(3 * step)
    reader.sequence.go_to(4 * step + 5)
    assert reader.all() == sequence[4 * step + 5 :]
    with pytest.raises(BlockDamaged, match="behind what there is"):
        reader.sequence.go_to(len(sequence) + 1)


@codings
@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["read", "skip", "pump_to", "payload", "peek"]), st.integers(0, 2 * STEP)),
        max_size=20,
    )
)
def test_whatever_the_steps_the_bytes_come_in_order(coding: Coding, steps: list[tuple[str, int]]) -> None:
    sequence = mixed(6 * STEP + 9)
    stream = Reader(coded(sequence, coding), keys=ring(KEY)).sequence
    file = os.memfd_create("out")
    at = 0
    for how, count in steps:
        expected = sequence[at : at + count]
        if how == "read":
            assert stream.read(count) == expected
        elif how == "skip":
            assert stream.skip(count) == len(expected)
        elif how == "pump_to":
            assert stream.pump_to(file, 3, count) == len(expected)
            assert os.pread(file, len(expected), 3) == expected
        elif how == "payload":
            piece = stream.payload()
            expected = b"" if piece is None else bytes(piece)
            assert sequence[at : at + len(expected)] == expected
        else:
            piece = stream.peek()
            assert bytes(piece) == sequence[at : at + len(piece)]
            assert bool(len(piece)) == (at < len(sequence))
            with pytest.raises(ValueError, match="more than what was looked at"):
                stream.consume(len(piece) + 1)
            expected = bytes(piece[: min(count, len(piece))])
            stream.consume(len(expected))
        at += len(expected)
    assert stream.read(1 << 40) == sequence[at:]
    assert (stream.read(1), stream.payload(), bytes(stream.peek())) == (b"", None, b"")
    assert stream.offset == len(sequence)
    os.close(file)


def test_a_missing_tail_is_damage() -> None:
    for name, coding in CODINGS.items():
        blocks = coded(mixed(4 * STEP), coding)
        with pytest.raises(BlockDamaged, match="breaks off"):
            Reader(blocks[:-1], keys=ring(KEY)).all()
        assert name


def test_flags_of_the_two_sides_agree() -> None:
    from tapeloom.volume import header

    assert (Flag.SEALED, Codec.ZSTD, header.FLAGS_MUST_KNOW) == (0x100, 2, 0xFE00)
    assert OBJECT.version == 7
