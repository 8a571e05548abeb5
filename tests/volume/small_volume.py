"""A small volume made in the open: two objects interleaved, a record at each end, as csrc/FORMAT.md lays it out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tapeloom.volume import label, records, runs
from tapeloom.volume.header import Content, Flag, Header, Level, pack

GOLDEN = Path(__file__).parents[1] / "golden"

VOLUME = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
JOB = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
FIRST = UUID("01890a5d-ac96-774b-bcce-b302099a8001")
SECOND = UUID("01890a5d-ac96-774b-bcce-b302099a8002")
AS_OF = 1_700_000_000_123_456_789
BLOCK_BYTES = 16384
FILEMARK = None


@dataclass(frozen=True)
class SmallVolume:
    """`tape` is what stands at each position: a block, or None for a filemark."""

    tape: list[bytes | None]
    sequences: dict[UUID, bytes]

    @property
    def blocks(self) -> list[bytes]:
        return [block for block in self.tape if block is not None]

    def of(self, object_id: UUID) -> list[int]:
        """Positions of an object's blocks, in seq order."""
        return [
            n for n, b in enumerate(self.tape) if b is not None and b[16:17] == b"\1" and b[32:48] == object_id.bytes
        ]


def object_blocks(
    object_id: UUID,
    sequence: bytes,
    *,
    size: int,
    name: str,
    header_bytes: int = 512,
    failed: bool = False,
    **more: object,
) -> list[bytes]:
    """`sequence` cut into payloads of `size` bytes; an empty one is a single block."""
    offsets = range(0, max(len(sequence), 1), size)
    return [
        pack(
            Header(
                object=object_id,
                seq=seq,
                offset=offset,
                as_of=AS_OF,
                name=name,
                header_bytes=header_bytes,
                flags=(Flag.END | (Flag.FAILED if failed else 0)) if offset == offsets[-1] else 0,
                content=Content.PAX,
                **more,  # type: ignore[arg-type]
            ),
            sequence[offset : offset + size],
        )
        for seq, offset in enumerate(offsets)
    ]


def make_volume() -> SmallVolume:
    sequences = {FIRST: bytes(range(256)) * 20, SECOND: b"second sequence " * 300}
    first = object_blocks(FIRST, sequences[FIRST], size=1300, name="D1")
    second = object_blocks(
        SECOND, sequences[SECOND], size=1000, name="Dß", header_bytes=4096, level=Level.INCREMENTAL, parent=FIRST
    )
    head = [
        label.text_label(label="W-0001", volume_id=VOLUME, written_at=AS_OF, drive="R1", block_bytes=BLOCK_BYTES),
        label.reader_block(),
    ]
    start = records.VolumeStart(
        volume=VOLUME,
        label="W-0001",
        sequence=1,
        previous=None,
        block_bytes=BLOCK_BYTES,
        written_at=AS_OF,
        software="test",
    )
    job_start = records.JobStart(
        job=JOB, agent="BMA124", group="nightly", kind="backup", drive="R1", started_at=AS_OF, streams=("D1", "Dß")
    )
    woven: list[bytes] = []
    rows = []
    queues = [(0, list(enumerate(first))), (1, list(enumerate(second)))]
    while any(queue for _, queue in queues):
        for index, queue in queues:
            for seq, block in queue[:2]:
                rows.append((index, seq, 1, 5 + len(woven)))
                woven.append(block)
            del queue[:2]
    objects = (records.Entry(FIRST, "D1"), records.Entry(SECOND, "Dß"))
    table = runs.merge(runs.table(rows))
    checkpoint = records.Checkpoint(job=JOB, agent="BMA124", number=0, objects=objects, runs=table)
    end = records.VolumeEnd(volume=VOLUME, label="W-0001", objects=objects, runs=table)

    def written(record: records.Record, first_seq: int) -> list[bytes]:
        return records.encode(record, volume_id=VOLUME, first_seq=first_seq, block_bytes=BLOCK_BYTES, now=AS_OF)

    tape = [
        *head,
        *written(start, 0),
        FILEMARK,
        *written(job_start, 1),
        *woven,
        *written(checkpoint, 2),
        *written(end, 3),
        FILEMARK,
    ]
    return SmallVolume(tape, sequences)


def write_cartridge(folder: Path, name: str, tape: list[bytes | None], *, index: bool = True) -> Path:
    """NAME.tape and NAME.index, as csrc/vtape.c writes them down."""
    cartridge_id, at, filemarks = 0x1122334455667788, 0, 0
    data = bytearray()
    entries = bytearray(
        struct.pack("<8sIIQQ", b"TLVTINDX", 1, 0, cartridge_id, mixed(1, 0, cartridge_id)).ljust(4096, b"\0")
    )
    for position, block in enumerate(tape):
        length = len(block or b"")
        entries += struct.pack("<QQIIQ", at, filemarks, length, 0, mixed(cartridge_id, position, at, filemarks, length))
        if block is None:
            filemarks += 1
        else:
            data += block.ljust(-(-length // 4096) * 4096, b"\0")
            at = len(data)
    path = folder / f"{name}.tape"
    path.write_bytes(data)
    if index:
        (folder / f"{name}.index").write_bytes(entries + bytes(320))
    return path


def mixed(*words: int) -> int:
    total = 1
    for word in words:
        total = (total ^ word) * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        total ^= total >> 32
    return total
