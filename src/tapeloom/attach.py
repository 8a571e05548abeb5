"""Writing an object from another process: `attach` finds the job that waits for this program.

The program fills slots in memory that it shares with the job, so its data is never copied on the way to the drives::

    from tapeloom.attach import attach

    with attach("state", "simulation") as producer:
        producer.write(header)
        room = producer.reserve()          # a numpy array of bytes: the free room of a slot
        n = simulate_into(room)
        producer.commit(n)

The object is whole when the with-block is left in order, and marked as failed when it is left by an exception. Both
are about reaching the job; what is on which tape, the job's catalog says.
"""

from __future__ import annotations

import mmap
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tapeloom import _segment
from tapeloom.errors import JobGone, NoReaders, NotWaiting, SourceError, Stopped, UsageError
from tapeloom.handshake import (
    HELLO,
    HELLO_MAGIC,
    MESSAGE_BYTES_MAX,
    REFUSED_MAGIC,
    WELCOME,
    WELCOME_MAGIC,
    address,
    printable,
    socket_path,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["JobGone", "NoReaders", "NotWaiting", "Producer", "SourceError", "Stopped", "attach"]


RETRY_SECONDS = 0.05


def attach(where: str | os.PathLike[str], source: str | None = None, *, patience_seconds: float = 0.0) -> Producer:
    """Attaches this program to the running job that waits for it.

    Parameters
    ----------
    where
        The job's state folder, as in its configuration; or, without `source`, the path of the socket itself.
    source
        The name of the source in the job's configuration, one that says `producer = true`.
    patience_seconds
        How long to try again where no job waits yet.

    Raises
    ------
    NotWaiting
        No job runs there that waits for this source now: it has not come to it yet, has its producer already, has
        ended, or refuses this program.
    """
    path = Path(where) if source is None else socket_path(where, source)
    named = f"source {source!r}" if source is not None else str(path)
    give_up = time.monotonic() + patience_seconds
    while True:
        try:
            return _attach_now(path, named)
        except NotWaiting:
            if time.monotonic() >= give_up:
                raise
        time.sleep(RETRY_SECONDS)


def _attach_now(path: Path, named: str) -> Producer:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        return Producer(connection, *_ask(connection, path, named))
    except BaseException:
        connection.close()
        raise


def _ask(connection: socket.socket, path: Path, named: str) -> tuple[int, int, int]:
    """The segment that the job gives: descriptor, slots, bytes of payload in a slot."""
    try:
        with address(path) as place:
            connection.connect(place)
        connection.send(HELLO.pack(HELLO_MAGIC, _segment.ABI))
        said, memories, _, _ = socket.recv_fds(connection, MESSAGE_BYTES_MAX, 1)
    except (FileNotFoundError, NotADirectoryError, ConnectionError) as error:
        raise NotWaiting(f"no job waits for a producer of {named} now ({path}: {error.strerror})") from None
    except OSError as error:
        raise NotWaiting(f"{named} cannot be attached to ({path}: {error.strerror})") from None
    if said.startswith(REFUSED_MAGIC):
        raise NotWaiting(f"the job refuses this program for {named}: {printable(said[len(REFUSED_MAGIC) :])}")
    if not memories or len(said) != WELCOME.size or said[:8] != WELCOME_MAGIC:
        for memory in memories:
            os.close(memory)
        raise NotWaiting(f"the job that waited for a producer of {named} has got another one, or has ended")
    _, slots, payload_max = WELCOME.unpack(said)
    return memories[0], slots, payload_max


class Producer:
    """One object being written. For one thread at a time; not to be used across fork()."""

    def __init__(self, connection: socket.socket, memory: int, slots: int, payload_max: int):
        try:
            shared = np.frombuffer(mmap.mmap(memory, 0), np.uint8)
        finally:
            os.close(memory)
        self._filler: _segment.Filler | None = _segment.Filler(shared, slots, payload_max, connection.fileno())
        self._connection = connection
        self._reserved = 0
        self.bytes = 0
        """Bytes of the sequence so far."""

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._filler is None:
            return
        if error is None:
            self.end()
        else:
            self.fail(f"{type(error).__name__}: {error}")

    def write(self, data: Buffer) -> None:
        """Appends *data*, anything with contiguous bytes. Waits while the drives have not got on.

        Raises
        ------
        Stopped
            The job stops. `NoReaders`: because no drive takes this object any more; `JobGone`: its process has ended.
        """
        view = memoryview(data)
        self._open().write(view)
        self._reserved = 0
        self.bytes += view.nbytes

    def reserve(self) -> np.ndarray:
        """The free room of a slot, at least one byte, as an array of bytes that lies in the shared memory.

        Fill its beginning, then `commit`. What is not committed does not count, and is the same room again next time.
        Waits and raises as `write`.
        """
        filler = self._open()
        at, self._reserved = filler.room()
        return filler.memory[at : at + self._reserved]

    def commit(self, bytes: int) -> None:
        """The first *bytes* bytes of what was reserved are filled.

        From then on they are the job's. Who writes to them all the same changes what goes to tape behind its checksum:
        the job cannot see that without copying every block, `tapeloom verify` and every restore do.
        """
        if not 0 <= bytes <= self._reserved:
            raise UsageError(f"{bytes} bytes cannot be committed: {self._reserved} are reserved")
        self._open().filled(bytes)
        self._reserved = 0
        self.bytes += bytes

    def flush(self) -> None:
        """Hands over what there is now, as a short block. Without it, blocks go when they are full, and at the end."""
        self._open().flush()
        self._reserved = 0

    def end(self) -> None:
        """Ends the object and waits until the job has taken it all. Raises as `write`; then the object has failed."""
        filler = self._open()
        try:
            filler.end()
        finally:
            self._close()

    def fail(self, why: str) -> None:
        """Ends the object as one that has failed; *why* stands in the job's report."""
        self._open().fail(why.encode("utf-8", "replace"))
        self._close()

    def _open(self) -> _segment.Filler:
        if self._filler is None:
            raise UsageError("this producer has ended its object already")
        return self._filler

    def _close(self) -> None:
        """The memory itself goes with the last array over it."""
        self._filler = None
        self._connection.close()
