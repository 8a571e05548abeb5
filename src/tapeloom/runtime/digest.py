"""A digest reads along: a thread of its own with a cursor of its own, so that no drive waits for it in its loop."""

from __future__ import annotations

import hashlib
from uuid import UUID

from tapeloom import _kernel
from tapeloom.errors import BlockDamaged, Stopped
from tapeloom.runtime.manners import give_way
from tapeloom.runtime.objects import JobObject, Objects, in_words


class Digest:
    """SHA-256 of every object of one stream. `run` is a thread's body."""

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
        state = hashlib.sha256()
        try:
            while (payload := self._drain.payload()) is not None:
                state.update(payload)
            if not self._drain.failed:
                self._objects.digest(item, f"sha256:{state.hexdigest()}")
        except (Stopped, BlockDamaged):
            raise
        except BaseException as bug:  # it ends the job
            item.troubles.append(f"its digest: {in_words(bug)}")
            raise
