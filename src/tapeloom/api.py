"""tapeloom for programs: back up, write objects from a program, read them again.

>>> import tapeloom
>>> with tapeloom.open_job("tapeloom.toml") as job:          # doctest: +SKIP
...     with job.producer("simulation") as out:
...         out.write(b"step 1")
...         room = out.reserve()                             # numpy uint8: the free room of a slot, no copy
...         room[:6] = list(b"step 2")
...         out.commit(6)
>>> job.result.status                                        # doctest: +SKIP
<JobStatus.COMPLETE: 'complete'>
>>> with tapeloom.open_object("tapeloom.toml", "simulation") as sequence:    # doctest: +SKIP
...     b"".join(sequence)
b'step 1step 2'

`tests/test_api.py` runs these lines. Errors are those of `tapeloom.errors`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from tapeloom import _kernel, config
from tapeloom._kernel import Stop
from tapeloom.catalog import Catalog, Object
from tapeloom.errors import SourceError, Stopped, UsageError
from tapeloom.ops import backup as backups
from tapeloom.ops import restore as restores
from tapeloom.ops import verify as verifies
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import RestoreResult
from tapeloom.ops.verify import VerifyResult
from tapeloom.runtime.sequence import ObjectBytes
from tapeloom.volume.header import Content, Level

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from tapeloom.agent.extract import Existing

Configuration = str | os.PathLike[str] | config.Config
STOP_LOOK_SECONDS = 0.25
STOPPED = "the job was stopped"


def _loaded(configuration: Configuration) -> config.Config:
    return configuration if isinstance(configuration, config.Config) else config.load(configuration)


class _Written(Struct, frozen=True):
    """What a producer says when it has given everything."""

    files: int = 0
    troubles: tuple[object, ...] = ()
    troubles_beyond: int = 0


class Producer:
    """Writes one object from a thread of this process. Made by `Job.producer`; a context manager.

    Leaving the `with` block in order ends the object, an exception fails it: it is on tape as far as it came, marked
    so. An object that has not ended when the block of `open_job` is left fails, too.
    """

    content = int(Content.OPAQUE)

    def __init__(self, name: str):
        self.name = name
        self._sink: _kernel.Feeder | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._state = threading.Lock()
        self._in_use = threading.Lock()
        self._failure: str | None = None

    def run(self, sink: _kernel.Feeder) -> _Written:
        """The stream's side: waits until the program has written everything."""
        with self._state:
            self._sink = sink
            self._ready.set()
        while not self._ended.wait(STOP_LOOK_SECONDS):
            if sink.stopping:
                self._close(STOPPED)
        with self._in_use:  # a call of the program's may be under way; none comes after it
            self._sink = None
        if self._failure is not None:
            raise SourceError(self._failure)
        return _Written()

    def stop(self) -> None:
        """The stream's side: nobody wants the object any more. Where it has begun, the sink says so to the program."""
        with self._state:
            if self._sink is None:
                self._end(STOPPED)

    def _close(self, failure: str | None) -> None:
        """Ends the object, unless it has ended. Waits for nothing."""
        with self._state:
            self._end(failure)

    def _end(self, failure: str | None) -> None:
        if not self._ended.is_set():
            self._failure = failure
            self._ended.set()
            self._ready.set()

    @contextmanager
    def _feeder(self) -> Iterator[_kernel.Feeder]:
        self._ready.wait()
        with self._in_use:
            if self._sink is None or self._ended.is_set():
                raise Stopped(f"source {self.name}: its object has ended ({self._failure or 'it was closed'})")
            yield self._sink

    def write(self, data: Buffer) -> None:
        """Appends all of `data`; waits for free slots. Raises `Stopped`, and `NoReaders` when no drive is left."""
        with self._feeder() as sink:
            sink.write(data)

    def reserve(self) -> NDArray[np.uint8]:
        """The free room of the slot being filled, at least one byte: fill its beginning, then `commit`.

        The array is void after the next call, and when the job stops: the slot is another block's by then. It can
        still be touched, but who writes to it spoils that block.
        """
        with self._feeder() as sink:
            return np.asarray(sink.reserve())

    def commit(self, bytes: int) -> None:
        """The first `bytes` bytes of what `reserve` gave are written. ValueError: there is not so much room."""
        with self._feeder() as sink:
            sink.commit(bytes)

    def flush(self) -> None:
        """Sends what is there on its way as a block, however short."""
        with self._feeder() as sink:
            sink.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(None if error is None else f"its program gave up: {error or type(error).__name__}")


class Job:
    """A running backup job. Made by `open_job`."""

    def __init__(self, backup: backups.Backup, producers: dict[str, Producer]):
        self._backup = backup
        self._producers = producers
        self._unopened = set(producers)
        self._result: BackupResult | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="tapeloom job").start()

    @property
    def id(self) -> str:
        return str(self._backup.id)

    @property
    def result(self) -> BackupResult:
        """How it ended. UsageError while it still runs."""
        if self._result is None:
            raise UsageError("the job has not ended yet: leave the with block of open_job first")
        return self._result

    def producer(self, source: str) -> Producer:
        """The producer of a source that says `producer = true`. UsageError: there is none, or it was opened before."""
        if source not in self._producers:
            known = ", ".join(self._producers) or "none"
            raise UsageError(f"this job has no source {source} with producer = true; it has {known}")
        if source not in self._unopened:
            raise UsageError(f"the producer of source {source} has been opened before: an object is written once")
        self._unopened.discard(source)
        return self._producers[source]

    def stop(self) -> None:
        """Ends the job in order: what is buffered is written, objects that have not ended are marked as failed."""
        self._backup.job.stop(Stop.IN_ORDER)

    def _run(self) -> None:
        try:
            self._result = self._backup.run()
        except BaseException as error:
            self._error = error
        finally:
            for producer in self._producers.values():
                producer._close("the job has ended")
            self._ended.set()

    def _finish(self) -> None:
        """Waits for the job's end whatever comes. An interrupt stops it in order, or at once where it stops already,
        and is raised when the job has ended: its threads use what the caller is about to close."""
        interrupt: BaseException | None = None
        how = Stop.RUN
        # An event, for Python 3.11 takes a thread for dead after an interrupted join().
        while not self._ended.is_set():
            try:
                if how is not Stop.RUN:
                    self._backup.job.stop(how)
                self._close_producers()
                self._ended.wait()
            except BaseException as error:
                interrupt = interrupt or error
                how = Stop.NOW if self._stopping else Stop.IN_ORDER
        if interrupt is not None:
            raise interrupt
        if self._error is not None:
            raise self._error

    def _close_producers(self) -> None:
        for source, producer in self._producers.items():
            if source in self._unopened:
                producer._close("its program never opened it")
            else:
                producer._close(STOPPED if self._stopping else "its producer was never closed")

    @property
    def _stopping(self) -> bool:
        return self._backup.job.arena.stopping is not Stop.RUN


@contextmanager
def open_job(
    configuration: Configuration, groups: Sequence[str] | None = None, *, level: str | None = None
) -> Iterator[Job]:
    """Starts a backup and waits for its end when the `with` block is left; an exception in the block stops it in order,
    an interrupt while it waits too, and a second one at once.

    Sources with `producer = true` are written through `Job.producer`, all others by themselves. A producer that is not
    closed when the block is left is closed then, and its object fails. `level` is what the objects of files are to be,
    instead of what their groups say.
    """
    loaded = _loaded(configuration)
    producers = {name: Producer(name) for name, source in loaded.sources.items() if source.producer}
    with backups.open_backup(loaded, groups, producers, level=_level(level)) as backup:
        used = {str(name) for name in backup.schedule.source_names}
        job = Job(backup, {name: producer for name, producer in producers.items() if name in used})
        try:
            yield job
        except BaseException:
            job.stop()
            raise
        finally:
            job._finish()


def backup(
    configuration: Configuration, groups: Sequence[str] | None = None, *, level: str | None = None
) -> BackupResult:
    """Runs backup groups, all of them where `groups` is None, to their end. `level` as in `open_job`."""
    with backups.open_backup(_loaded(configuration), groups, level=_level(level)) as opened:
        return opened.run()


def _level(name: str | None) -> Level | None:
    if name is None:
        return None
    try:
        return Level[name.upper()]
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise UsageError(f"a level {name!r} is not known; there are {known}") from None


def objects(configuration: Configuration, source: str | None = None) -> list[Object]:
    """The objects that the catalog knows, oldest first."""
    with Catalog.open(_loaded(configuration).server.state, readonly=True) as catalog:
        return catalog.objects(source)


class ObjectSequence:
    """An object's bytes: iterate for them as they lie in the slots, or `read` a number of them."""

    def __init__(self, object: Object, sequence: ObjectBytes):
        self.object = object
        self._sequence = sequence

    def __iter__(self) -> Iterator[memoryview]:
        """Pieces of the sequence in order, each valid until the next one is asked for. Raises as `read`."""
        while (payload := self._sequence.payload()) is not None:
            yield payload

    def read(self, bytes: int) -> bytes:
        """The next bytes; fewer only at the end.

        Raises FormatError at an end where the source broke off, unless the object was opened as `partial`, and
        BlockDamaged where no copy gives the bytes.
        """
        return self._sequence.read(bytes)


@contextmanager
def open_object(
    configuration: Configuration,
    name: str,
    *,
    copy: str | None = None,
    volume: str | None = None,
    partial: bool = False,
) -> Iterator[ObjectSequence]:
    """Reads an object by id, or a source's newest one, checked block by block; a damaged block is taken from another
    copy where `copy` and `volume` do not forbid it. `partial`: also one that is not whole, as much as there is."""
    opened = restores.open_object(_loaded(configuration), name, copy=copy, volume=volume, partial=partial)
    with opened as (item, reading):
        yield ObjectSequence(item, reading.sequence)


def restore(
    configuration: Configuration,
    name: str,
    to: str | os.PathLike[str],
    *,
    paths: Sequence[str] = (),
    at: datetime | None = None,
    copy: str | None = None,
    volume: str | None = None,
    partial: bool = False,
    existing: Existing = "fail",
    in_place: bool = False,
) -> RestoreResult:
    """Restores a state into the folder `to`: a source's newest, or that of the time `at`, with all that an increment
    builds on; with `paths` only what they name. See `tapeloom.ops.restore.restore_as_asked`."""
    at_ns = None if at is None else round(at.timestamp() * 1e9)
    return restores.restore_as_asked(
        _loaded(configuration),
        Request(name, tuple(paths), at_ns, copy=copy, volume=volume, partial=partial),
        Path(to),
        existing=existing,
        in_place=in_place,
    )


def verify(configuration: Configuration, name: str | None = None, *, volume: str | None = None) -> VerifyResult:
    """Reads copies back and checks every block; all complete ones where nothing is named."""
    return verifies.verify(_loaded(configuration), name, volume=volume)
