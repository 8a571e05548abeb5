"""One thread a stream: its sources, one after another, into the stream's slots."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from uuid import UUID

from msgspec import Struct

from tapeloom import _kernel
from tapeloom.errors import NoReaders, SourceError, Stopped
from tapeloom.ident import new_id
from tapeloom.runtime.manners import give_way
from tapeloom.runtime.objects import JobObject, Objects, State, in_words

if TYPE_CHECKING:
    from tapeloom.runtime.coding import Coding, CodingSink

PAX, INDEX = 1, 3
"""FORMAT.md, `content`. Blocks of both are full but for the last."""


class Report(Protocol):
    """What a source says when it has given everything. Read only."""

    @property
    def files(self) -> int: ...

    @property
    def troubles(self) -> Sequence[object]: ...

    @property
    def troubles_beyond(self) -> int:
        """How many more there were than are named."""


class Source(Protocol):
    """Something that writes one data sequence into a sink (see tapeloom.agent.sink.Sink)."""

    @property
    def name(self) -> str: ...

    @property
    def content(self) -> int:
        """What the sequence is (FORMAT.md, `content`)."""

    def run(self, sink: _kernel.Feeder) -> Report:
        """Write the whole sequence. Raises SourceError where it breaks off, passes on `Stopped`."""


class Facts(Struct, frozen=True):
    """What the header and the catalog say of an object, beside its source's name.

    `level` and `parent` as in FORMAT.md. `coding`: how its blocks are compressed and sealed, None: they are not.
    `digest` names the algorithm of the digest over its sequence, or is "none". `as_of_ns`: of a full one that stands
    for its parent, the parent's; of one whose source is read already, when that began, and `id` is its id since then.
    """

    level: int = 0
    parent: UUID | None = None
    coding: Coding | None = None
    digest: str = "none"
    as_of_ns: int | None = None
    id: UUID | None = None


@runtime_checkable
class Described(Protocol):
    """A source that has more to say of its objects than its name."""

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        """Called once, right before `run`. Raises nothing but bugs."""

    @property
    def index(self) -> Path | None:
        """After `run`: the file index of what it wrote, to go on tape behind it."""


@runtime_checkable
class Stoppable(Protocol):
    """A source that may sleep where no slot wakes it: in a pipe, say."""

    def stop(self) -> None:
        """Called by another thread; `run` then comes back soon. May come before `run`, and more than once."""


class Stream:
    """Runs the sources of one stream. `run` is a thread's body and raises nothing but bugs."""

    def __init__(self, arena: _kernel.Arena, row: int, header_bytes: int, sources: Sequence[Source], objects: Objects):
        self._arena = arena
        self._row = row
        self._header_bytes = header_bytes
        self._sources = sources
        self._objects = objects
        self._stopped = False
        self._stuck: str | None = None
        self.source = sources[0].name if sources else ""
        """Whose blocks come, or will come next."""

    def stop(self) -> None:
        """Nobody wants more of this stream. Its source sleeps in a slot's futex and is woken there, or is Stoppable."""
        self._stopped = True
        for source in self._sources:
            if isinstance(source, Stoppable):
                # It may take its time to end a command, and the caller may be a signal handler.
                threading.Thread(target=source.stop, name=f"stopping {source.name}", daemon=True).start()

    def give_up(self, why: str) -> None:
        """No slot will come free for this stream: its readers end with what they have. Its thread comes back when the
        job is stopped, or a slot comes after all."""
        if self._stuck is None:
            self._stuck = why
            self.stop()
            self._arena.end_stream(self._row)

    @property
    def stuck(self) -> bool:
        return self._stuck is not None

    def run(self) -> None:
        give_way()
        try:
            for source in self._sources:
                if self._stopped or self._arena.stopping:
                    break
                self._one(source)
        finally:
            self._arena.end_stream(self._row)

    def _one(self, source: Source) -> None:
        self.source = source.name
        as_of_ns = time.time_ns()
        id = new_id(as_of_ns)
        facts = source.begins(id, as_of_ns) if isinstance(source, Described) else Facts()
        if facts.as_of_ns is not None:
            as_of_ns = facts.as_of_ns
        item = self._begin(facts.id or id, source.name, as_of_ns, source.content, facts)
        sink = self._open(item, facts)
        try:
            report = source.run(sink)  # type: ignore[arg-type]  # a source of files takes either sink
            sink.end()
        except SourceError as error:
            break_off(sink, item, self._stuck or str(error))
            self._end(item, sink, State.FAILED)
        except BaseException as bug:  # it ends the job, but first this object: what is buffered gets its receipts
            break_off(sink, item, in_words(bug))
            self._end(item, sink, State.FAILED)
            raise
        else:
            item.files = report.files
            item.troubles += [str(trouble) for trouble in report.troubles]
            if report.troubles_beyond:
                item.troubles.append(f"and {report.troubles_beyond} more")
            self._end(item, sink, State.COMPLETE)
            if isinstance(source, Described) and source.index is not None:
                self._index(source.name, source.index, item, facts)

    def _index(self, name: str, path: Path, of: JobObject, facts: Facts) -> None:
        """The file index of the object *of*, as an object of its own."""
        as_of_ns = time.time_ns()
        about = Facts(parent=of.id, coding=facts.coding and facts.coding.without_digest())
        item = self._begin(new_id(as_of_ns), name, as_of_ns, INDEX, about)
        sink = self._open(item, about)
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                got, failed = sink.pump(file.fileno(), 0, size)
            if failed or got != size:
                raise SourceError(f"the file index {path} cannot be read: {os.strerror(failed)}")
            sink.end()
        except (OSError, SourceError) as error:
            break_off(sink, item, str(error))
            self._end(item, sink, State.FAILED)
        except BaseException as bug:
            break_off(sink, item, in_words(bug))
            self._end(item, sink, State.FAILED)
            raise
        else:
            self._end(item, sink, State.COMPLETE)

    def _begin(self, id: UUID, name: str, as_of_ns: int, content: int, facts: Facts) -> JobObject:
        coding = facts.coding
        return self._objects.begin(
            id=id,
            source=name,
            stream=self._row,
            as_of_ns=as_of_ns,
            content=content,
            level=facts.level,
            parent=facts.parent,
            codec=coding.codec_name if coding else None,
            key=coding.key_id if coding else None,
            digest_kind="none" if coding else facts.digest,
        )

    def _open(self, item: JobObject, facts: Facts) -> _kernel.Feeder | CodingSink:
        if facts.coding is None:
            if item.content in (PAX, INDEX):
                item.step = self._arena.slot_bytes - self._header_bytes
            return open_feeder(self._arena, item, self._header_bytes)
        from tapeloom.runtime.coding import open_sink  # with libraries that only few jobs need

        sink = open_sink(self._arena, item, self._header_bytes, facts.coding)
        item.step = sink.step
        return sink

    def _end(self, item: JobObject, sink: _kernel.Feeder | CodingSink, state: State) -> None:
        item.blocks, item.bytes = sink.blocks, sink.offset
        self._objects.end(item, state)
        if state is State.COMPLETE and not isinstance(sink, _kernel.Feeder) and sink.digest is not None:
            self._objects.digest(item, sink.digest)


def open_feeder(arena: _kernel.Arena, item: JobObject, header_bytes: int) -> _kernel.Feeder:
    """A feeder that is about to write the first block of `item`."""
    feeder = _kernel.Feeder(arena, item.stream)
    feeder.begin(
        object_id=item.id.bytes,
        number=item.number,
        name=item.source.encode(),
        as_of_ns=item.as_of_ns,
        parent=item.parent.bytes if item.parent else bytes(16),
        level=item.level,
        content=item.content,
        header_bytes=header_bytes,
    )
    return feeder


def break_off(sink: _kernel.Feeder | CodingSink, item: JobObject, why: str) -> None:
    """Ends an object whose source failed: the tape says so too, where anything of it is on tape."""
    item.troubles.append(why)
    try:
        if sink.blocks or sink.offset:
            sink.end(failed=True)
    except (Stopped, NoReaders):
        pass  # nobody is left to write it to; the catalog knows
    sink.drop()
