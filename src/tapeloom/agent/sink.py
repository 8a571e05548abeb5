"""What the client side needs from the engine: where a source writes its sequence to, and what a restore reads it from.

The engine's slots stand behind both; nothing here knows of blocks. File data goes between descriptor and slot by
`pump` and `pump_to`, without the GIL and without becoming a Python object.
"""

from __future__ import annotations

from typing import Protocol

BytesLike = bytes | bytearray | memoryview


class Sink(Protocol):
    """The end of a stream that its source writes to.

    Every call may wait for a free slot, and raises `errors.Stopped` when the job has told the source to stop.
    """

    def write(self, data: BytesLike) -> None:
        """Append all of *data*."""

    def pump(self, fd: int, offset: int, bytes: int) -> tuple[int, int]:
        """Append up to *bytes* bytes of the file *fd* from *offset* on.

        Returns how many were appended and an errno. Fewer than asked with errno 0: the file ends there. With another
        errno: reading failed there; what was appended before stays.
        """

    def pump_pipe(self, fd: int) -> tuple[int, int]:
        """Append what comes out of the descriptor *fd*, a pipe or a socket, until it ends.

        Returns as `pump` does.
        """

    def zeros(self, bytes: int) -> None:
        """Append *bytes* zero bytes."""


class Sequence(Protocol):
    """The bytes of one object, in order, verified: every call may raise `errors.FormatError` for what is damaged."""

    def read(self, bytes: int) -> BytesLike:
        """The next *bytes* bytes; fewer only where the sequence ends. Valid until the next call."""

    def pump_to(self, fd: int, offset: int, bytes: int) -> int:
        """Write the next *bytes* bytes into the file *fd* at *offset*.

        Returns how many were written, fewer only where the sequence ends. Raises OSError when writing fails; the place
        in the sequence is then unknown.
        """

    def skip(self, bytes: int) -> int:
        """Pass over the next *bytes* bytes. Returns how many there were, fewer only where the sequence ends."""
