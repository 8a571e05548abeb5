"""What is where: sources, jobs, objects, copies with their receipts, volumes. The one user of the database library.

`ledger` is not imported here: it knows the volume writer, which listing objects has no need of.
"""

from .catalog import Catalog
from .damage import Finding
from .model import (
    Append,
    Copy,
    CopyRuns,
    CopyStatus,
    Damage,
    Job,
    JobRow,
    JobStatus,
    Object,
    Outcome,
    Place,
    Receipt,
    Tail,
    Volume,
    VolumeState,
    iso,
)
from .tail import Seen, SeenCheckpoint, append_position

__all__ = [
    "Append",
    "Catalog",
    "Copy",
    "CopyRuns",
    "CopyStatus",
    "Damage",
    "Finding",
    "Job",
    "JobRow",
    "JobStatus",
    "Object",
    "Outcome",
    "Place",
    "Receipt",
    "Seen",
    "SeenCheckpoint",
    "Tail",
    "Volume",
    "VolumeState",
    "append_position",
    "iso",
]
