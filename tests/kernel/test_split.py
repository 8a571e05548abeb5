from __future__ import annotations

import random
from collections.abc import Callable
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_world import (
    SLOT_BYTES,
    FakeDrive,
    Threads,
    all_objects,
    feed_blocks,
    make_arena,
    object_id,
    split,
    turn,
    until,
)

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, Stop, TurnReason, Verdict
from tapeloom.device.contract import Status
from tapeloom.device.spec import open_drive
from tapeloom.errors import BlockDamaged
from tapeloom.volume import header
from tapeloom.volume.header import Flag, Header

MakeDrive = Callable[..., FakeDrive]
POOL = 0


def crc32c(data: header.Buffer, crc: int) -> int:
    return int(_kernel.crc32c(data, crc))


def blocks_of(number: int, pieces: list[bytes]) -> list[bytes]:
    """The blocks of one whole object."""
    blocks, offset = [], 0
    for seq, piece in enumerate(pieces):
        told = Header(
            object=UUID(bytes=object_id(number)),
            seq=seq,
            offset=offset,
            as_of=0,
            name=f"D{number}",
            flags=Flag.END if seq == len(pieces) - 1 else 0,
        )
        blocks.append(header.pack(told, piece, crc32c=crc32c))
        offset += len(piece)
    return blocks


def record(payload: bytes) -> bytes:
    told = Header(object=UUID(int=1), seq=0, offset=0, as_of=0, name="checkpoint", kind=header.Kind.RECORD, flags=1)
    return header.pack(told, payload, crc32c=crc32c)


def wants(*numbers: int) -> np.ndarray:
    """Object `number` goes to stream 1 + its place in the list."""
    rows = [(object_id(number), 1 + i, number) for i, number in enumerate(numbers)]
    return np.array(rows, _kernel.WANT)


def restore_arena(objects: int, slots: int, *, common: bool = False) -> _kernel.Arena:
    """A pool with so many slots, of its own or common, and a drain over each object's stream."""
    pool = (0, slots) if common else (slots, slots)
    return make_arena([pool, *[(0, 0)] * objects], [[1 + i] for i in range(objects)], common=slots if common else 0)


def pieces_of(number: int, count: int) -> list[bytes]:
    return [f"{number}/{seq};".encode() * (1 + seq % 5) for seq in range(count)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    batch_max=st.integers(1, 10),
    common=st.booleans(),
)
def test_interleaved_objects_come_back_whole(
    fake_drive: MakeDrive, seed: int, sizes: list[int], batch_max: int, common: bool
) -> None:
    chance = random.Random(seed)
    tape = {number: blocks_of(number, pieces_of(number, count)) for number, count in enumerate(sizes)}
    drive = fake_drive(batch_max)
    order = [number for number, blocks in tape.items() for _ in blocks]
    chance.shuffle(order)
    left = {number: iter(blocks) for number, blocks in tape.items()}
    for number in order:
        drive.put(next(left[number]))
    wanted = sorted(chance.sample(range(len(sizes)), chance.randint(1, len(sizes))))
    arena = restore_arena(len(wanted), len(order) + 8, common=common)
    done = split(_kernel.Splitter(arena, POOL, wants(*wanted)), drive, 5)
    assert done.reason is SplitReason.END_OF_DATA
    assert (done.blocks, done.position) == (len(order), 5 + len(order))
    assert done.blocks_wanted == sum(sizes[number] for number in wanted)
    assert done.bytes == sum(len(block) for blocks in tape.values() for block in blocks)
    assert len(done.faults) == 0
    for row, number in enumerate(wanted):
        arena.end_stream(1 + row)
        expected = b"".join(pieces_of(number, sizes[number]))
        assert list(all_objects(arena, row)) == [(object_id(number), expected)]
    assert [arena.stream_statistics(i).held for i in range(1 + len(wanted))] == [0] * (1 + len(wanted))


@pytest.mark.parametrize("common", [False, True])
def test_the_pools_slots_come_back_to_the_pool(fake_drive: MakeDrive, common: bool) -> None:
    """Many times more blocks than slots: whatever stream a slot went to, it goes home to the pool and wakes it."""
    drive = fake_drive()
    tape = [blocks_of(number, pieces_of(number, 100)) for number in range(2)]
    for pair in zip(*tape, strict=True):
        for block in pair:
            drive.put(block)
    arena = restore_arena(2, 3, common=common)
    threads = Threads()

    def read(cursor: int) -> None:
        assert list(all_objects(arena, cursor)) == [(object_id(cursor), b"".join(pieces_of(cursor, 100)))]

    def run() -> None:
        done = split(_kernel.Splitter(arena, POOL, wants(0, 1)), drive)
        assert (done.reason, done.blocks_wanted) == (SplitReason.END_OF_DATA, 200)
        arena.end_stream(1)
        arena.end_stream(2)

    threads.start(run)
    threads.start(read, 0)
    threads.start(read, 1)
    threads.join()
    assert arena.stream_statistics(POOL).stalls > 0
    assert [arena.stream_statistics(i).held for i in range(3)] == [0] * 3


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        (lambda block: b"X" + block[1:], Verdict.FOREIGN),
        (lambda block: block[:40] + b"\xff" + block[41:], Verdict.HEADER),
        (lambda block: block[:-1] + b"\xff", Verdict.PAYLOAD),
        (lambda block: block[:-1], Verdict.PAYLOAD),
        (lambda block: block[:100], Verdict.HEADER),
    ],
)
def test_a_damaged_block_is_a_fault_and_the_others_come_through(
    fake_drive: MakeDrive, damage: Callable[[bytes], bytes], verdict: Verdict
) -> None:
    drive = fake_drive()
    blocks = blocks_of(0, pieces_of(0, 6))
    blocks[3] = damage(blocks[3])
    for block in blocks:
        drive.put(block)
    arena = restore_arena(1, 10)
    done = split(_kernel.Splitter(arena, POOL, wants(0)), drive, 20)
    assert (done.reason, done.blocks, done.blocks_wanted) == (SplitReason.END_OF_DATA, 6, 5)
    [found] = done.faults
    assert (found["position"], found["verdict"], found["bytes"]) == (23, verdict, len(blocks[3]))
    if verdict is Verdict.PAYLOAD:
        assert (found["seq"], bytes(found["object"])) == (3, object_id(0))
    arena.end_stream(1)
    drain = _kernel.Drain(arena, 0)
    drain.next_object()
    with pytest.raises(BlockDamaged, match="missing"):
        drain.read(2**63)


def test_unwanted_blocks_are_passed_over(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    for number in (3, 4):
        for block in blocks_of(number, pieces_of(number, 20)):
            drive.put(block)
    arena = restore_arena(1, 2)
    done = split(_kernel.Splitter(arena, POOL, wants(9)), drive)
    assert (done.reason, done.blocks, done.blocks_wanted) == (SplitReason.END_OF_DATA, 40, 0)
    assert arena.stream_statistics(POOL).held == 0


def test_a_record_is_handed_out_where_it_is_asked_for(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    told = record(b'{"job": 1}')
    drive.put(blocks_of(0, [b"x"])[0])
    drive.put(told)
    drive.put(blocks_of(1, [b"y"])[0])
    arena = restore_arena(2, 4)
    splitter = _kernel.Splitter(arena, POOL, wants(0, 1))
    done = split(splitter, drive, stop_at_records=True)
    assert (done.reason, done.position, done.record) == (SplitReason.RECORD, 2, told)
    done = split(splitter, drive, done.position, stop_at_records=True)
    assert (done.reason, done.position, done.blocks_wanted) == (SplitReason.END_OF_DATA, 3, 1)
    assert arena.stream_statistics(POOL).held == 0


def test_a_record_is_passed_over_where_it_is_not(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    drive.put(record(b"{}"))
    done = split(_kernel.Splitter(restore_arena(1, 4), POOL, wants(0)), drive)
    assert (done.reason, done.blocks, done.blocks_wanted, len(done.faults)) == (SplitReason.END_OF_DATA, 1, 0, 0)


def test_filemarks_and_the_limit_of_blocks(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    blocks = blocks_of(0, pieces_of(0, 5))
    for block in blocks[:3]:
        drive.put(block)
    drive.put_filemark()
    for block in blocks[3:]:
        drive.put(block)
    arena = restore_arena(1, 10)
    splitter = _kernel.Splitter(arena, POOL, wants(0))
    steps = []
    position = 10
    for blocks_max in (2, 9, 9):
        done = split(splitter, drive, position, blocks_max=blocks_max)
        position = done.position
        steps.append((done.reason, done.blocks, position))
    assert steps == [
        (SplitReason.DONE, 2, 12),
        (SplitReason.FILEMARK, 1, 14),
        (SplitReason.END_OF_DATA, 2, 16),
    ]


def test_a_read_that_fails_says_where(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    for block in blocks_of(0, pieces_of(0, 5)):
        drive.put(block)
    drive.read_trouble(3, Status.ERR_IO)
    arena = restore_arena(1, 10)
    done = split(_kernel.Splitter(arena, POOL, wants(0)), drive)
    assert (done.reason, done.status, done.position) == (SplitReason.FAILED, Status.ERR_IO, 3)
    assert done.blocks_wanted == 3


def test_when_faults_are_full_it_goes_on_behind_them(fake_drive: MakeDrive) -> None:
    drive = fake_drive(batch_max=1)
    for _ in range(5):
        drive.put(b"not ours at all")
    splitter = _kernel.Splitter(restore_arena(1, 4), POOL, wants(0), faults_max=2)
    done = split(splitter, drive)
    assert (done.reason, done.position, len(done.faults)) == (SplitReason.FAULTS_FULL, 2, 2)
    done = split(splitter, drive, done.position)
    assert (done.reason, done.position) == (SplitReason.FAULTS_FULL, 4)
    done = split(splitter, drive, done.position)
    assert (done.reason, done.position, len(done.faults)) == (SplitReason.END_OF_DATA, 5, 1)


def test_another_block_than_the_expected_is_a_fault(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    first, second = blocks_of(0, pieces_of(0, 4)), blocks_of(1, [b"other"])
    for block in (first[0], second[0], first[2], first[2]):
        drive.put(block)
    arena = restore_arena(2, 8)
    done = split(_kernel.Splitter(arena, POOL, wants(0, 1)), drive, expect=object_id(0), expect_seq=0)
    found = [(int(fault["position"]), int(fault["verdict"]), int(fault["seq"])) for fault in done.faults]
    assert found == [(1, Verdict.MISPLACED, 0), (3, Verdict.MISPLACED, 2)]
    assert done.blocks_wanted == 2


def test_it_ends_when_nobody_reads_any_more(fake_drive: MakeDrive) -> None:
    drive = fake_drive()
    for block in blocks_of(0, pieces_of(0, 5)):
        drive.put(block)
    arena = restore_arena(1, 2)
    arena.detach(0)
    done = split(_kernel.Splitter(arena, POOL, wants(0)), drive)
    assert (done.reason, done.blocks) == (SplitReason.NO_READERS, 0)


@pytest.mark.parametrize("how", [Stop.IN_ORDER, Stop.NOW])
def test_a_stop_wakes_it_while_it_waits_for_a_slot(fake_drive: MakeDrive, how: Stop) -> None:
    drive = fake_drive()
    for block in blocks_of(0, pieces_of(0, 9)):
        drive.put(block)
    arena = restore_arena(1, 2)
    threads = Threads()
    reasons: list[SplitReason] = []
    threads.start(lambda: reasons.append(split(_kernel.Splitter(arena, POOL, wants(0)), drive).reason))
    until(lambda: arena.stream_statistics(POOL).waiting_since_ns)
    arena.stop(how)
    threads.join()
    assert reasons == [SplitReason.STOPPED]


def test_through_a_tape_and_back() -> None:
    """The memory drive in place of the one made for tests."""
    streams = 3
    arena = make_arena([(4, 4)] * streams, [range(streams)], run_blocks=3)
    threads = Threads()
    for stream in range(streams):
        threads.start(feed_blocks, arena, stream, 20)
    with open_drive("memory:", name="M1") as drive:
        drive.new_cartridge("A")
        drive.load("A")
        written = turn(_kernel.Interleaver(arena, 0), drive)
        assert (written.reason, written.blocks) == (TurnReason.ENDED, 60)
        threads.join()
        drive.write_filemarks()
        drive.rewind()
        back = restore_arena(streams, 61)  # one more, for the filemark to be met with
        done = split(_kernel.Splitter(back, POOL, wants(*range(streams))), drive)
        assert (done.reason, done.blocks_wanted, done.position) == (SplitReason.FILEMARK, 60, 61)
    for stream in range(streams):
        back.end_stream(1 + stream)
        expected = b"".join(f"{stream}/{block}".encode() for block in range(20))
        assert list(all_objects(back, stream)) == [(object_id(stream), expected)]


def test_rows_that_are_none() -> None:
    arena = restore_arena(1, 2)
    with pytest.raises(IndexError):
        _kernel.Splitter(arena, 7, wants(0))
    with pytest.raises(IndexError):
        _kernel.Splitter(arena, POOL, wants(0, 1, 2))
    assert arena.slot_bytes == SLOT_BYTES


def test_blocks_of_another_object_behind_a_hole_are_not_taken_for_its_own(fake_drive: MakeDrive) -> None:
    drive = fake_drive(4)
    ours, others = blocks_of(0, [b"a" * 100] * 4), blocks_of(1, [b"b" * 100] * 4)
    for block in ours[:2] + others[2:]:
        drive.put(block)
    arena = make_arena([(20, 20), (0, 0)], [[1]])
    both_into_one = np.array([(object_id(0), 1, 0), (object_id(1), 1, 1)], _kernel.WANT)
    split(_kernel.Splitter(arena, 0, both_into_one), drive)
    arena.end_stream(1)
    drain = _kernel.Drain(arena, 0)
    assert drain.next_object() == object_id(0)
    with pytest.raises(BlockDamaged, match="breaks off"):
        drain.read(1000)
    assert drain.read(1) == b""
    drain.close()
