"""An archive that waits in a file, and is read as it comes off a tape."""

from __future__ import annotations

import os

WINDOW_BYTES = 256 << 10


class Filing:
    """Fills the open file *fd*, which stays the caller's."""

    def __init__(self, fd: int):
        self._fd = fd
        self._size = 0

    def add(self, piece: bytes) -> None:
        """What follows; each piece but the last has WINDOW_BYTES. Raises OSError."""
        left = memoryview(piece)
        while left:
            written = os.pwrite(self._fd, left, self._size)
            self._size += written
            left = left[written:]

    def archive(self) -> FiledArchive:
        """All of it, to be read."""
        return FiledArchive(self._fd, self._size)


class FiledArchive:
    """The first *size* bytes of the open file *fd*, which stays the caller's (see `tapeloom.agent.entries.Archive`).

    No more than a window of it is in memory. Raises OSError where it cannot be read.
    """

    def __init__(self, fd: int, size: int):
        self._fd = fd
        self._size = size
        self._next = 0  # behind the window
        self._window = memoryview(b"")

    def peek(self) -> memoryview:
        if not self._window and self._next < self._size:
            window = self._load(self._next, self._size - self._next)
            if not window:
                raise OSError(f"it ends at byte {self._next}, where it had {self._size}")
            self._window = memoryview(window)
            self._next += len(window)
        return self._window

    def consume(self, bytes: int) -> None:
        if not 0 <= bytes <= len(self._window):
            raise ValueError(f"{bytes} bytes are more than what was looked at")
        self._window = self._window[bytes:]

    def read(self, bytes: int) -> bytes:
        pieces = []
        while bytes and (view := self.peek()[:bytes]):
            pieces.append(view.tobytes())
            self.consume(len(view))
            bytes -= len(view)
        return b"".join(pieces)

    def pump_to(self, fd: int, offset: int, bytes: int) -> int:
        done = 0
        while done < bytes and (view := self.peek()[: bytes - done]):
            written = os.pwrite(fd, view, offset + done)
            self.consume(written)
            done += written
        return done

    def _load(self, at: int, bytes_max: int) -> bytes:
        """What stands from byte *at* on, at least one byte of it."""
        return os.pread(self._fd, min(WINDOW_BYTES, bytes_max), at)

    def skip(self, bytes: int) -> int:
        here = min(bytes, len(self._window))
        self.consume(here)
        beyond = min(bytes - here, self._size - self._next)
        self._next += beyond
        return here + beyond
