"""Digests over whole sequences. A stream's digest reads along: a thread of its own with a cursor of its own, so that no
drive waits for it in its loop.

In the catalog a digest is "ALGORITHM:hexadecimal digits". Coded objects are not for a stream's digest: their sequence
is no more to be seen in their blocks, and their sink makes their digest (see tapeloom.runtime.coding).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from tapeloom import _kernel
from tapeloom.errors import BlockDamaged, Stopped
from tapeloom.runtime.manners import give_way
from tapeloom.runtime.objects import JobObject, Objects, in_words
from tapeloom.runtime.workers import one_thread
from tapeloom.seal.library import library

if TYPE_CHECKING:
    from concurrent.futures import Future

Bytes = bytes | bytearray | memoryview


class Hash(Protocol):
    def update(self, data: Bytes, /) -> object: ...

    def hexdigest(self) -> str: ...


def new_hash(kind: str) -> Hash:
    """A digest of nothing yet, "sha256" or "blake3". Raises LibraryMissing where BLAKE3 is not installed."""
    if kind == "blake3":
        state: Hash = library("blake3").blake3()
        return state
    if kind != "sha256":
        raise ValueError(f"no digest is called {kind!r}")
    return hashlib.sha256()


class Hashing:
    """A digest in a thread of its own. `add` does not wait; what it was given stays as it is until its future is done.

    Raises LibraryMissing when it is made.
    """

    def __init__(self, kind: str, name: str):
        self._kind = kind
        self._state = new_hash(kind)
        self._thread = one_thread(f"digest of {name}")

    def add(self, data: Bytes) -> Future[object]:
        return self._thread.submit(self._state.update, data)

    def finish(self) -> str:
        """The digest of all that was added, as the catalog has it."""
        self.close()
        return f"{self._kind}:{self._state.hexdigest()}"

    def close(self) -> None:
        """Waits for what was added. May come more than once."""
        self._thread.shutdown()


class Digest:
    """The digests of the objects of one stream, each as its `digest_kind` says. `run` is a thread's body."""

    def __init__(self, arena: _kernel.Arena, cursor: int, objects: Objects):
        self._drain = _kernel.Drain(arena, cursor)
        self._objects = objects

    def run(self) -> None:
        give_way()
        try:
            while (id := self._drain.next_object()) is not None:
                self._one(self._objects.by_id(UUID(bytes=id)))
        except (Stopped, BlockDamaged):
            pass  # the job stops, or the source broke off without a last block: such an object has no digest
        finally:
            self._drain.close()

    def _one(self, item: JobObject) -> None:
        try:
            if item.digest_kind == "none":
                while self._drain.payload() is not None:
                    pass
                return
            state = new_hash(item.digest_kind)
            while (payload := self._drain.payload()) is not None:
                state.update(payload)
            if not self._drain.failed:
                self._objects.digest(item, f"{item.digest_kind}:{state.hexdigest()}")
        except (Stopped, BlockDamaged):
            raise
        except BaseException as bug:  # it ends the job
            item.troubles.append(f"its digest: {in_words(bug)}")
            raise
