"""The bytes of one object as a reader gets them: an end that is not the end is an error."""

from __future__ import annotations

from uuid import UUID

from tapeloom import _kernel
from tapeloom.errors import FormatError


class ObjectBytes:
    """What a drain gives of the object it has begun (see tapeloom.agent.sink.Sequence).

    Where the source broke off, the call that meets the end raises FormatError, however often it is asked; with
    `partial` it ends as any other.
    """

    def __init__(self, drain: _kernel.Drain, object_id: UUID, *, partial: bool):
        self._drain = drain
        self._id = object_id
        self._partial = partial

    @property
    def seq(self) -> int:
        """Blocks that have been taken so far."""
        return self._drain.seq

    @property
    def offset(self) -> int:
        """Bytes of the sequence to the end of the block in hand."""
        return self._drain.offset

    @property
    def broken_off(self) -> bool:
        """Whether the last block says that the source broke off; True no earlier than that block has come."""
        return self._drain.failed

    def payload(self) -> memoryview | None:
        """The next unread bytes that lie together in a slot, or None at the end. Void after the next call."""
        payload = self._drain.payload()
        if payload is None:
            self._at_the_end()
        return payload

    def read(self, bytes: int) -> bytes:
        """The next *bytes* bytes; fewer only at the end."""
        data = self._drain.read(bytes)
        if len(data) < bytes:
            self._at_the_end()
        return data

    def skip(self, bytes: int) -> int:
        """Passes over the next *bytes* bytes. Returns how many there were, fewer only at the end."""
        return self._counted(self._drain.skip(bytes), bytes)

    def pump_to(self, fd: int, offset: int, bytes: int) -> int:
        """Writes the next *bytes* bytes into the file *fd* at *offset*. Returns how many there were, fewer only at the
        end."""
        return self._counted(self._drain.pump_to(fd, offset, bytes), bytes)

    def _counted(self, done: int, asked: int) -> int:
        if done < asked:
            self._at_the_end()
        return done

    def _at_the_end(self) -> None:
        if self._drain.failed and not self._partial:
            raise FormatError(
                f"object {self._id} ends where its source broke off; --partial (partial=True) gives what there is"
            )
