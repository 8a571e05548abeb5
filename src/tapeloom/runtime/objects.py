"""The objects of a job, numbered in the order they began. The number is what slots and run tables carry."""

from __future__ import annotations

import threading
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from msgspec import Struct, field

from tapeloom.errors import TapeloomError
from tapeloom.volume.header import Content, Level


class State(StrEnum):
    READING = "reading"
    COMPLETE = "complete"
    FAILED = "failed"
    """Its source broke off; what is on tape of it ends with FAILED, if anything is."""


class JobObject(Struct):
    """One version of one source's sequence, as this job makes it. Written by its stream's thread only."""

    number: int
    id: UUID
    source: str
    stream: int
    as_of_ns: int
    content: int
    level: int = 0
    parent: UUID | None = None
    state: State = State.READING
    blocks: int = 0
    bytes: int = 0
    files: int | None = None
    codec: str | None = None
    key: str | None = None
    digest_kind: str = "none"
    """What its stream's digest, if there is one, makes of it."""
    step: int | None = None
    digest: str | None = None
    troubles: list[str] = field(default_factory=list)

    @property
    def stands_for(self) -> UUID | None:
        """The parent of a full one is the object that it stands for (FORMAT.md), but for that of a file index."""
        return self.parent if self.level == Level.FULL and self.content != Content.INDEX else None


def in_words(error: BaseException) -> str:
    """An error as a trouble: the sentence of one that was raised on purpose; any other is a bug, and is called so."""
    return str(error) if isinstance(error, TapeloomError) else f"a bug in tapeloom: {type(error).__name__}: {error}"


class Listener(Protocol):
    """Who wants to know what becomes of objects: the catalog. Called from the streams' threads, one call at a time."""

    def object_begun(self, item: JobObject) -> None: ...

    def object_ended(self, item: JobObject) -> None: ...

    def object_digest(self, item: JobObject) -> None: ...


class Objects:
    """The table of them. Safe to use from any thread."""

    def __init__(self, listener: Listener):
        self._listener = listener
        self._lock = threading.Lock()
        self._items: list[JobObject] = []

    def begin(
        self,
        *,
        id: UUID,
        source: str,
        stream: int,
        as_of_ns: int,
        content: int,
        level: int = 0,
        parent: UUID | None = None,
        codec: str | None = None,
        key: str | None = None,
        digest_kind: str = "none",
    ) -> JobObject:
        with self._lock:
            item = JobObject(
                len(self._items),
                id,
                source,
                stream,
                as_of_ns,
                content,
                level=level,
                parent=parent,
                codec=codec,
                key=key,
                digest_kind=digest_kind,
            )
            self._listener.object_begun(item)
            self._items.append(item)
            return item

    def known(
        self,
        *,
        id: UUID,
        source: str,
        stream: int,
        as_of_ns: int,
        content: int,
        level: int,
        parent: UUID | None,
        blocks: int,
        bytes: int,
    ) -> JobObject:
        """An object that an earlier job made, on its way to further copies. Nobody is told: nothing becomes of it."""
        with self._lock:
            number, state = len(self._items), State.COMPLETE
            item = JobObject(number, id, source, stream, as_of_ns, content, level, parent, state, blocks, bytes)
            self._items.append(item)
            return item

    def end(self, item: JobObject, state: State) -> None:
        with self._lock:
            item.state = state
            try:
                self._listener.object_ended(item)
            except BaseException as error:  # what the catalog does not know to be whole is not
                item.state = State.FAILED
                item.troubles.append(in_words(error))
                raise

    def digest(self, item: JobObject, digest: str) -> None:
        with self._lock:
            item.digest = digest
            self._listener.object_digest(item)

    def __getitem__(self, number: int) -> JobObject:
        return self._items[number]

    def all(self) -> list[JobObject]:
        with self._lock:
            return list(self._items)

    def by_id(self, id: UUID) -> JobObject:
        with self._lock:
            return next(item for item in self._items if item.id == id)
