"""The small volume as it is written since records tell what the catalog has: the same two objects, whole, and the job's
end."""

from __future__ import annotations

from typing import Any

from small_volume import AS_OF, BLOCK_BYTES, FILEMARK, FIRST, JOB, SECOND, VOLUME, SmallVolume, make_volume

from tapeloom.volume import records
from tapeloom.volume.header import parse

JOBS = [{"id": str(JOB), "kind": "backup", "groups": ["nightly"], "status": "running", "started_at": AS_OF}]
VOLUMES = [
    {
        "id": str(VOLUME),
        "label": "W-0001",
        "drive": "R1",
        "cartridge": "W-0001",
        "state": "appendable",
        "sequence": 1,
        "block_bytes": BLOCK_BYTES,
        "made_at": AS_OF,
        "end_position": 4,
        "pool": "default",
    }
]


def told_object(id: object, source: str, **more: Any) -> dict[str, Any]:
    copy = {"job": str(JOB), "writer": str(JOB), "agent": "BMA124", "agent_group": "nightly", "drive": "R1"}
    return (
        {"id": str(id), "source": source, "job": str(JOB), "content": 1, "level": 0, "as_of": AS_OF}
        | more
        | {"copies": [copy]}
    )


def reading() -> list[dict[str, Any]]:
    return [
        told_object(FIRST, "D1", outcome="reading"),
        told_object(SECOND, "Dß", level=1, parent=str(FIRST), outcome="reading"),
    ]


def ended() -> list[dict[str, Any]]:
    return [
        told_object(
            FIRST, "D1", outcome="whole", blocks=4, bytes=5120, files=3, step=1300, digest="sha256:" + "0" * 64
        ),
        told_object(
            SECOND,
            "Dß",
            level=1,
            parent=str(FIRST),
            outcome="whole",
            blocks=5,
            bytes=4800,
            files=1,
            step=1000,
            troubles=["a file was not read"],
        ),
    ]


def make_told_volume() -> SmallVolume:
    small = make_volume()
    start, end = small.tape.index(None) + 1, len(small.tape) - 3
    checkpoint = record_in(small, end)
    assert isinstance(checkpoint, records.Checkpoint)
    said = {"at": AS_OF, "jobs": JOBS}

    def written(record: records.Record, first_seq: int) -> list[bytes]:
        return records.encode(record, volume_id=VOLUME, first_seq=first_seq, block_bytes=BLOCK_BYTES, now=AS_OF)

    job_start = records.JobStart(
        JOB, "BMA124", "nightly", "backup", "R1", AS_OF, ("D1", "Dß"), said | {"objects": [], "volumes": VOLUMES}
    )
    told = records.Checkpoint(
        job=JOB,
        agent="BMA124",
        number=0,
        objects=checkpoint.objects,
        runs=checkpoint.runs,
        catalog=said | {"objects": reading()},
    )
    whole = (
        records.Ended(FIRST, "D1", AS_OF, 0, None, 4, 5120, "complete"),
        records.Ended(SECOND, "Dß", AS_OF, 1, FIRST, 5, 4800, "complete"),
    )
    job_end = records.JobEnd(JOB, "BMA124", "complete", whole, said | {"objects": ended()})
    tape = [
        *small.tape[:start],
        *written(job_start, 1),
        *small.tape[start + 1 : end],
        *written(told, 2),
        *written(job_end, 3),
        FILEMARK,
    ]
    return SmallVolume(tape, small.sequences)


def record_in(volume: SmallVolume, position: int) -> records.Record | None:
    return records.RecordAssembler().feed(*parse(volume.tape[position] or b""))
