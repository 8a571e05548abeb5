"""Where the data of a file lie, and where only holes are."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


def pieces(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each piece of the file *fd*, up to *size*, that holds data, in order.

    Raises OSError where the file system tells nothing of holes.
    """
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # which says: only a hole is left
                raise
            return
        if start >= size:
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        yield start, end - start
