"""One thread a stream: its sources, one after another, into the stream's slots."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tapeloom import _kernel
from tapeloom.errors import NoReaders, SourceError, Stopped
from tapeloom.ident import new_id
from tapeloom.runtime.manners import give_way
from tapeloom.runtime.objects import JobObject, Objects, State, in_words


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
        as_of_ns = time.time_ns()
        item = self._objects.begin(
            id=new_id(as_of_ns), source=source.name, stream=self._row, as_of_ns=as_of_ns, content=source.content
        )
        feeder = open_feeder(self._arena, item, self._header_bytes)
        try:
            report = source.run(feeder)
            feeder.end()
        except SourceError as error:
            break_off(feeder, item, self._stuck or str(error))
            self._end(item, feeder, State.FAILED)
        except BaseException as bug:  # it ends the job, but first this object: what is buffered gets its receipts
            break_off(feeder, item, in_words(bug))
            self._end(item, feeder, State.FAILED)
            raise
        else:
            item.files = report.files
            item.troubles += [str(trouble) for trouble in report.troubles]
            if report.troubles_beyond:
                item.troubles.append(f"and {report.troubles_beyond} more")
            self._end(item, feeder, State.COMPLETE)

    def _end(self, item: JobObject, feeder: _kernel.Feeder, state: State) -> None:
        item.blocks, item.bytes = feeder.blocks, feeder.offset
        self._objects.end(item, state)


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


def break_off(feeder: _kernel.Feeder, item: JobObject, why: str) -> None:
    """Ends an object whose source failed: the tape says so too, where anything of it is on tape."""
    item.troubles.append(why)
    try:
        if feeder.blocks or feeder.offset:
            feeder.end(failed=True)
    except (Stopped, NoReaders):
        pass  # nobody is left to write it to; the catalog knows
    feeder.drop()
