"""What an index stores of an archive: one row per entry, as columns, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = 0
FOLDER = 1
SYMLINK = 2
HARDLINK = 3
FIFO = 4
CHAR = 5
BLOCK = 6
GONE = 7
"""Kinds of rows. GONE, only in an increment: a name that its parent chain has and this object no longer, and with it
everything below."""


class RowBatch(Struct, frozen=True):
    """Rows in canonical order: path components compared as bytes, a folder before its content.

    Row n's path is `paths[path_ends[n - 1]:path_ends[n]]`, from 0 for the first: no "./" before it, no slash behind it,
    b"" for the root; its bytes are the file system's. `links` with `link_ends` likewise: the target of a hard or
    symbolic link as it stands in the archive, else empty. `mode` has the permission bits alone, `size` is the length of
    a file (0 of anything else), `mtime` counts ns since 1970, `offset` is where the entry's first header begins in the
    data sequence; of a GONE row, where the next entry's does.
    """

    paths: bytes
    path_ends: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    mode: NDArray[np.uint32]
    uid: NDArray[np.uint32]
    gid: NDArray[np.uint32]
    size: NDArray[np.uint64]
    mtime: NDArray[np.int64]
    offset: NDArray[np.uint64]
    links: bytes
    link_ends: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.path_ends)


class Rows(Protocol):
    """Takes the rows of one object while it is written."""

    def add(self, batch: RowBatch) -> None:
        """Append `batch`, whose first row comes after the last one of the batch before. The arrays are the taker's from
        now on."""
