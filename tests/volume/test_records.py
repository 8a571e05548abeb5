from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from small_volume import AS_OF, FIRST, JOB, SECOND, VOLUME, SmallVolume

from tapeloom.errors import FormatError
from tapeloom.volume import runs
from tapeloom.volume.header import Codec, Kind, parse
from tapeloom.volume.records import (
    Checkpoint,
    Ended,
    Entry,
    JobEnd,
    JobStart,
    Record,
    RecordAssembler,
    VolumeEnd,
    VolumeStart,
    encode,
)

ENTRIES = (Entry(FIRST, "D1"), Entry(SECOND, "/päth"))
TABLE = runs.table([(0, 0, 16, 5), (1, 0, 3, 21), (0, 16, 16, 24)])
ALL: list[Record] = [
    VolumeStart(VOLUME, "W-0001", 2, FIRST, 524288, AS_OF, "tapeloom 0"),
    VolumeStart(VOLUME, "W-0001", 1, None, 524288, AS_OF, "tapeloom 0"),
    JobStart(JOB, "BMA124", "nightly", "backup", "R1", AS_OF, ("D1", "D2")),
    Checkpoint(job=JOB, agent="BMA124", number=3, objects=ENTRIES, runs=TABLE),
    Checkpoint(job=JOB, agent="BMA124", number=0),
    VolumeEnd(volume=VOLUME, label="W-0001", objects=ENTRIES, runs=TABLE),
    JobEnd(JOB, "BMA124", "partial", (Ended(FIRST, "D1", AS_OF, 1, SECOND, 7, 3000, "complete"),)),
]


def large(rows: int) -> VolumeEnd:
    """A table that does not fit one block of 16 KiB, nor deflate into it."""
    random = np.random.default_rng(5)
    table = np.zeros((rows, 4), dtype=np.int64)
    table[:, runs.OBJECT] = random.integers(0, 2, rows)
    table[:, runs.SEQ :] = random.integers(0, 2**62, (rows, 3))
    return VolumeEnd(volume=VOLUME, label="W-0001", objects=ENTRIES, runs=table)


def blocks_of(record: Record, block_bytes: int = 16384) -> list[bytes]:
    return encode(record, volume_id=VOLUME, first_seq=10, block_bytes=block_bytes, now=AS_OF)


def assembled(assembler: RecordAssembler, blocks: list[bytes]) -> list[Record]:
    found = [assembler.feed(*parse(block)) for block in blocks]
    return [record for record in found if record is not None]


@pytest.mark.parametrize("record", ALL, ids=lambda record: type(record).__name__)
def test_every_record_comes_back(record: Record) -> None:
    (block,) = blocks_of(record)
    header, _ = parse(block)
    assert (header.kind, header.codec, header.object, header.seq, header.is_end) == (
        Kind.RECORD,
        Codec.NONE,
        VOLUME,
        10,
        True,
    )
    assembler = RecordAssembler()
    assert assembled(assembler, [block]) == [record]
    assert assembler.losses == []


def test_a_large_record_is_deflated_over_several_blocks() -> None:
    record = large(9000)
    blocks = blocks_of(record)
    headers = [parse(block)[0] for block in blocks]
    assert len(blocks) > 3
    assert all(len(block) <= 16384 for block in blocks)
    assert {header.codec for header in headers} == {Codec.ZLIB}
    assert [header.seq for header in headers] == list(range(10, 10 + len(blocks)))
    assert [header.is_end for header in headers] == [False] * (len(blocks) - 1) + [True]
    assert len({header.sequence_bytes for header in headers}) == 1
    assert assembled(RecordAssembler(), blocks) == [record]


def test_equality_looks_at_the_runs() -> None:
    one, other = large(3), large(3)
    assert one == other
    other.runs[1, 1] += 1
    assert one != other


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_missing_pieces_cost_their_record_alone(data: st.DataObject) -> None:
    """Whatever is dropped from a row of records: each one that is whole comes back, no other, and a loss is told."""
    records = [large(2500), ALL[2], large(2600), ALL[3]]
    sequence, pieces = 0, []
    for number, record in enumerate(records):
        for block in encode(record, volume_id=VOLUME, first_seq=sequence, block_bytes=16384, now=AS_OF):
            pieces.append((number, block))
            sequence += 1
    dropped = data.draw(st.sets(st.integers(0, len(pieces) - 1), max_size=4))
    kept = [piece for index, piece in enumerate(pieces) if index not in dropped]
    hit = {pieces[index][0] for index in dropped}
    assembler = RecordAssembler()
    found = assembled(assembler, [block for _, block in kept])
    assembler.broken()
    assert found == [record for number, record in enumerate(records) if number not in hit]
    partly = {number for number in hit if any(number == kept_number for kept_number, _ in kept)}
    assert bool(assembler.losses) == bool(partly)


def test_the_end_of_the_volume_in_a_record_is_told() -> None:
    assembler = RecordAssembler()
    assert assembled(assembler, blocks_of(large(9000))[:-1]) == []
    assembler.broken()
    (loss,) = assembler.losses
    assert loss == f"tape record volume-end, block 10 of the records of {VOLUME}: a piece of it is missing"


@pytest.mark.parametrize(
    "text",
    [
        b"not JSON",
        b"[]",
        b"{}",
        b'{"job":"x","agent":"a","number":0,"objects":[],"runs":[]}',
        f'{{"job":"{JOB}","agent":"a","number":0,"objects":[],"runs":[[0,0,1,5]]}}'.encode(),
        f'{{"job":"{JOB}","agent":"a","number":0,"objects":[],"runs":[[0,0,1]]}}'.encode(),
    ],
)
def test_a_record_that_is_none_is_a_loss(text: bytes) -> None:
    header, _ = parse(blocks_of(ALL[4])[0])
    assembler = RecordAssembler()
    assert assembler.feed(header, text) is None
    assert "its text is not what FORMAT.md says" in assembler.losses[0]


def test_a_bomb_is_not_inflated() -> None:
    header, _ = parse(blocks_of(ALL[4])[0])
    assembler = RecordAssembler()
    bomb = zlib.compress(bytes(50_000_000), 9)
    assert assembler.feed(replace(header, codec=Codec.ZLIB, sequence_bytes=1000), bomb) is None
    assert assembler.losses


def test_unknown_types_and_fields_are_ignored() -> None:
    header, payload = parse(blocks_of(ALL[2])[0])
    assembler = RecordAssembler()
    assert assembler.feed(replace(header, name="weather"), payload) is None
    assert assembler.feed(header, bytes(payload).replace(b"{", b'{"colour":"red",', 1)) == ALL[2]
    assert assembler.losses == []


def test_blocks_of_objects_are_refused(volume: SmallVolume) -> None:
    with pytest.raises(FormatError):
        RecordAssembler().feed(*parse(volume.tape[volume.of(FIRST)[0]] or b""))
