"""A configured source: what reads it, what its object begins from, and what is kept of it beside the catalog.

It imports little: a tree is read already while all else that a job needs is loaded.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from msgspec import Struct

from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SourceError, TapeloomError
from tapeloom.ident import new_id
from tapeloom.ops.codings import coding_of, open_snapshot
from tapeloom.ops.levels import Start, choose_start
from tapeloom.volume.header import Content, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tapeloom.agent.command import CommandSource
    from tapeloom.agent.hooks import Hooks
    from tapeloom.agent.raw import RawSource
    from tapeloom.agent.report import SourceReport
    from tapeloom.agent.sink import Sink
    from tapeloom.agent.tree import TreeReading
    from tapeloom.catalog import Catalog
    from tapeloom.config import Config
    from tapeloom.config import Source as Configured
    from tapeloom.index import IndexWriter
    from tapeloom.ops.keeping import Keeping
    from tapeloom.runtime.coding import Coding
    from tapeloom.runtime.stream import Facts, Report, Source

    Reader = TreeSource | RawSource | CommandSource


AHEAD_SECONDS = 0.05
"""So long a job waits for a tree that is to be read ahead: to open it takes a moment, or for ever where its server does
not answer. Then it is not waited for until its object begins, which holds up nobody else."""


class _Told(Struct, frozen=True):
    """What the job hears of a source that has given everything."""

    files: int
    troubles: Sequence[object]
    troubles_beyond: int


class Named:
    """A source under its configured name.

    Parameters
    ----------
    source
        What `make_source` made of it.
    state
        The state folder, where the index and the snapshot of a tree are kept.
    start
        What a tree's object begins from.
    """

    def __init__(self, configured: Configured, source: Reader, state: Path, coding: Coding | None, start: Start):
        self.name = configured.name
        self.remarks: list[str] = [start.remark] if start.remark else []
        """What it has to say beside its troubles: why it is full, what was left out on purpose."""
        self._source = source
        self._hooks = _hooks_of(configured)
        self.content = int(Content.PAX if configured.command is None else Content.OPAQUE)
        self._configured = configured
        self._state = state
        self._coding = coding
        self._start = start
        self._keeping: Keeping | None = None
        self._id: UUID | None = None
        self._as_of_ns: int | None = None
        """Since when it is read, where that is longer than its object is there."""
        self._reading: TreeReading | None = None
        """A tree that is read, and that nobody has taken yet."""
        self._ahead: threading.Thread | None = None
        self._turn = threading.Lock()  # for the two that follow
        self._beginning = False
        self._closed = False

    def read_ahead(self) -> None:
        """Begins to read a tree while its job is made ready; the object is as of now. Not where something is to be run
        before, nor where the tree has to be looked over first for hard links. What stands in the way is told when the
        object begins."""
        since = self._start.since
        if self._hooks is not None or not isinstance(self._source, TreeSource) or (since is not None and since.linked):
            return
        now = time.time_ns()
        self._id = new_id(now)
        self._beginning = True
        self._ahead = threading.Thread(
            target=self._begin_ahead, args=(self._source, now), name=f"beginning {self.name}", daemon=True
        )
        self._ahead.start()
        self._ahead.join(AHEAD_SECONDS)

    def _begin_ahead(self, source: TreeSource, now: int) -> None:
        with suppress(Exception):  # it comes again when the object begins, where there is somebody to tell
            self._begin_tree(source)
            self._as_of_ns = now
        with self._turn:
            self._beginning = False
            closed = self._closed
        if closed:
            self._let_go()

    @property
    def level(self) -> Level:
        """What its object is going to be."""
        return self._start.level

    @property
    def index(self) -> Path | None:
        """See `tapeloom.runtime.stream.Described`."""
        return self._keeping.index if self._keeping else None

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        """See `tapeloom.runtime.stream.Described`."""
        from tapeloom.runtime.stream import Facts

        if self._ahead is not None:
            self._ahead.join()
        if self._as_of_ns is None:
            self._id = object_id
        start = self._start
        return Facts(
            int(start.level), start.parent, self._coding, self._configured.digest, as_of_ns=self._as_of_ns, id=self._id
        )

    def run(self, sink: Sink) -> Report:
        assert self._id is not None, "a source runs after its object has begun"
        if self._hooks is None:
            report = self._read(sink)
        else:
            level = self._start.level.name.lower()
            report = self._hooks.around(lambda: self._read(sink), source=self.name, object_id=self._id, level=level)
        if report.remarks:
            more = len(report.remarks) - 1 + report.remarks_beyond
            self.remarks.append(f"{self.name}: {report.remarks[0]}" + (f" (and {more:,} more)" if more else ""))
        kept = self._keeping.troubles if self._keeping else []
        return _Told(report.files, [*report.troubles, *kept], report.troubles_beyond)

    def stop(self) -> None:
        from tapeloom.runtime.stream import Stoppable

        if self._hooks is not None:
            self._hooks.stop()
        if isinstance(self._source, Stoppable):
            self._source.stop()

    def close(self) -> None:
        """The job is over: nobody asks for the index any more."""
        if self._ahead is not None:
            self._ahead.join(AHEAD_SECONDS)
        with self._turn:
            self._closed = True
            if self._beginning:  # it lets go of everything itself, if ever
                return
        self._let_go()

    def _let_go(self) -> None:
        if self._reading is not None:  # its object never began
            self._abandon()
        if self._keeping is not None:
            self._keeping.close()
        if self._start.since is not None:
            self._start.since.close()

    def _read(self, sink: Sink) -> SourceReport:
        if self.content == Content.OPAQUE:
            return cast("CommandSource", self._source).run(sink)
        if not isinstance(self._source, TreeSource):
            return self._kept(partial(cast("RawSource", self._source).run, sink))
        if self._reading is None:
            self._begin_tree(self._source)
        return self._kept(partial(self._taken, sink))

    def _taken(self, sink: Sink, rows: IndexWriter | None) -> SourceReport:
        assert self._reading is not None
        with self._reading as reading:
            self._reading = None
            return reading.into(sink, rows)

    def _begin_tree(self, source: TreeSource) -> None:
        keeping = self._keeper()
        keeping.begin_snapshot()
        try:
            self._reading = source.begin(since=self._start.since, keep=keeping.snapshot, rows=True)
        except BaseException:
            keeping.abandon()
            self._keeping = None
            raise

    def _kept(self, run: Callable[..., SourceReport]) -> SourceReport:
        """What `run` reads, with its file index, and its snapshot where that has been begun."""
        keeping = self._keeper()
        try:
            keeping.begin_index()
            report = run(rows=keeping.rows)
        except BaseException:
            self._abandon()
            raise
        keeping.finish(report.end)
        return report

    def _abandon(self) -> None:
        """Nothing is kept. The walk ends first: until then it writes into the snapshot's file."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._keeper().abandon()

    def _keeper(self) -> Keeping:
        if self._keeping is None:
            from tapeloom.ops.keeping import Keeping

            assert self._id is not None, "a source is read for an object"
            self._keeping = Keeping(self._state, self.name, self._id, self._coding)
        return self._keeping


class _Refused:
    """A source that cannot be begun. Its object fails, and says why."""

    content = int(Content.OPAQUE)

    def __init__(self, name: str, why: str):
        self.name = name
        self._why = why

    def run(self, sink: Sink) -> Report:
        raise SourceError(self._why)


def _hooks_of(configured: Configured) -> Hooks | None:
    if configured.before is None and configured.after is None:
        return None
    from tapeloom.agent.hooks import Hooks

    return Hooks(configured.before, configured.after, time_limit=configured.time_limit)


def make_source(configured: Configured) -> Reader:
    """What reads files or a device, or runs a command; producers are the caller's. Only what it takes is loaded."""
    if configured.command is not None:
        from tapeloom.agent.command import CommandSource

        return CommandSource(configured.command, time_limit=configured.time_limit)
    if configured.raw is not None:
        from tapeloom.agent.raw import RawSource

        return RawSource(configured.raw)
    return TreeSource(
        configured.paths,
        configured.exclude,
        configured.one_file_system,
        cachedir_tag=configured.cachedir_tag,
        nobackup=configured.nobackup,
    )


def named(config: Config, configured: Configured, catalog: Catalog, level: Level) -> Source:
    """What reads a configured source, and what its object of files begins from."""
    try:
        coding = coding_of(config, configured)
    except TapeloomError as error:  # its own trouble: the other sources of the job are not held up
        return _Refused(configured.name, str(error))
    reader = make_source(configured)
    start = Start()
    if isinstance(reader, TreeSource):
        start = choose_start(
            catalog, configured.name, level, lambda since: since.fits(reader), partial(open_snapshot, config)
        )
    return Named(configured, reader, config.server.state, coding, start)
