"""What is kept beside the catalog, in the state folder: file indexes, and the snapshots that increments are made from.

Both are named by their object. Those of objects that are sealed are sealed too, and end in `.sealed`.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from ..errors import CatalogError

INDEXES = "index"
SNAPSHOTS = "snapshots"
SEALED = ".sealed"


def index_path(state: Path, id: UUID, *, sealed: bool) -> Path:
    """Where the file index of the object `id` stands, if it has one."""
    return state / INDEXES / f"{id}.parquet{SEALED if sealed else ''}"


def snapshot_path(state: Path, id: UUID, *, sealed: bool) -> Path:
    """Where the snapshot of the object `id` stands, if it has one."""
    return state / SNAPSHOTS / f"{id}.snapshot{SEALED if sealed else ''}"


def make_folder(path: Path) -> None:
    """The folder of one of these files, for its owner alone: names of files may be a secret, too."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CatalogError(f"{path.parent} cannot be made: {error.strerror}") from error
