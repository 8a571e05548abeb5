"""Many paths at once, as Arrow holds them: one run of bytes, and where each path begins."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .form import arrow
from .keys import key_of

_SLASH = ord("/")


class Paths:
    """A column of byte strings. Made from an Arrow array, or a chunked one, of any binary type."""

    def __init__(self, column: Any):
        pyarrow, _ = arrow()
        whole = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
        if isinstance(whole, pyarrow.ChunkedArray):  # older Arrows keep one chunk, or none, as a chunked array
            whole = whole.chunk(0) if whole.num_chunks else pyarrow.array([], whole.type)
        text = pyarrow.large_binary()
        self.array = whole if whole.type == text else whole.cast(text)  # casting loads more of Arrow
        _, offsets, data = self.array.buffers()
        count, skipped = len(self.array), self.array.offset
        self.starts: NDArray[np.int64] = (
            np.frombuffer(offsets, np.int64, count + 1, 8 * skipped) if count else np.zeros(1, np.int64)
        )
        """Where in `_data` each begins, and where the last one ends."""
        self._data = memoryview(data) if data is not None else memoryview(b"")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def path(self, n: int) -> bytes:
        return bytes(self._data[self.starts[n] : self.starts[n + 1]])

    def key(self, n: int) -> bytes:
        return key_of(self.path(n))

    def blob(self) -> bytes:
        """All of them, one after another."""
        return bytes(self._data[self.starts[0] : self.starts[-1]])

    def ends(self) -> NDArray[np.uint64]:
        """Where in `blob` each ends."""
        ends: NDArray[np.uint64] = (self.starts[1:] - self.starts[0]).astype(np.uint64)
        return ends

    def first_from(self, key: bytes, at: int = 0) -> int:
        """The first, from `at` on, whose key is `key` or comes behind it; `len` if there is none. They must be in
        canonical order."""
        before, behind = at, len(self)
        while before < behind:
            middle = (before + behind) // 2
            if self.key(middle) < key:
                before = middle + 1
            else:
                behind = middle
        return before

    def slice(self, first: int, stop: int) -> Paths:
        return self if (first, stop) == (0, len(self)) else Paths(self.array.slice(first, stop - first))

    def has_slash(self, rows: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of these rows has a slash at this place of it."""
        found: NDArray[np.bool_] = np.frombuffer(self._data, np.uint8)[self.starts[rows] + at] == _SLASH
        return found

    def keys(self) -> Any:
        """Their keys, as an Arrow array."""
        pyarrow, _ = arrow()
        bytes_ = np.frombuffer(self._data, np.uint8)[self.starts[0] : self.starts[-1]]
        starts = self.starts - self.starts[0]
        buffers = [None, pyarrow.py_buffer(starts), pyarrow.py_buffer(bytes_ * (bytes_ != _SLASH))]
        return pyarrow.LargeBinaryArray.from_buffers(pyarrow.large_binary(), len(self), buffers)
