"""A configured source: what reads it, what its object begins from, and what is kept of it beside the catalog.

It imports little: a tree is read already while all else that a job needs is loaded.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
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
    from tapeloom.config.model import Group
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
        self._ahead: Future[TreeReading] | None = None
        """A tree that is read, or will be when it can be opened, and that nobody has taken yet."""

    def read_ahead(self) -> None:
        """Begins to read a tree while its job is made ready; the object is as of now. Not where something is to be run
        before, nor where the tree has to be looked over first for hard links. What stands in the way is told when the
        object begins."""
        since = self._start.since
        if self._hooks is not None or not isinstance(self._source, TreeSource) or (since is not None and since.linked):
            return
        self._as_of_ns = time.time_ns()
        self._id = new_id(self._as_of_ns)
        self._keeper().begin_snapshot()
        ahead: Future[TreeReading] = Future()
        self._ahead = ahead

        def begin(source: TreeSource = self._source) -> None:
            try:
                ahead.set_result(self._begun(source))
            except BaseException as error:  # for whoever takes it
                ahead.set_exception(error)

        threading.Thread(target=begin, name=f"beginning {self.name}", daemon=True).start()
        with suppress(TimeoutError):
            ahead.exception(AHEAD_SECONDS)

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
        ahead, self._ahead = self._ahead, None
        if ahead is not None:  # its object never began
            ahead.add_done_callback(self._never_taken)  # now, or when it comes, if ever
            return
        if self._keeping is not None:
            self._keeping.close()
        if self._start.since is not None:
            self._start.since.close()

    def _never_taken(self, ahead: Future[TreeReading]) -> None:
        if ahead.exception() is None:
            ahead.result().close()
        self._keeper().abandon()
        self.close()

    def _read(self, sink: Sink) -> SourceReport:
        match self._source:
            case TreeSource() as tree:
                return self._kept(partial(self._read_tree, tree, sink))
            case source if self.content == Content.OPAQUE:
                return cast("CommandSource", source).run(sink)
            case source:
                return self._kept(partial(self._read_raw, cast("RawSource", source), sink))

    def _read_tree(self, source: TreeSource, sink: Sink, keeping: Keeping) -> SourceReport:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            keeping.begin_snapshot()
        with self._begun(source) if ahead is None else ahead.result() as reading:
            keeping.begin_index()
            return reading.into(sink, keeping.rows)

    def _read_raw(self, source: RawSource, sink: Sink, keeping: Keeping) -> SourceReport:
        keeping.begin_index()
        return source.run(sink, rows=keeping.rows)

    def _begun(self, source: TreeSource) -> TreeReading:
        return source.begin(since=self._start.since, keep=self._keeper().snapshot, rows=True)

    def _kept(self, read: Callable[[Keeping], SourceReport]) -> SourceReport:
        """What `read` reads, with what is kept of it beside the catalog."""
        keeping = self._keeper()
        try:
            report = read(keeping)
        except BaseException:  # a walk that writes into the snapshot's file has ended by now
            keeping.abandon()
            raise
        keeping.finish(report.end)
        return report

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
    return tree_of(configured)


def tree_of(configured: Configured) -> TreeSource:
    """The files and folders of a source that has paths, by its rules."""
    return TreeSource(
        configured.paths,
        configured.exclude,
        configured.one_file_system,
        cachedir_tag=configured.cachedir_tag,
        nobackup=configured.nobackup,
    )


def named(config: Config, configured: Configured, catalog: Catalog, group: Group, level: Level | None) -> Source:
    """What reads a configured source, and what its object of files begins from. `level` is what that is to be; None:
    what the group says."""
    try:
        coding = coding_of(config, configured)
    except TapeloomError as error:  # its own trouble: the other sources of the job are not held up
        return _Refused(configured.name, str(error))
    reader = make_source(configured)
    start = Start()
    if isinstance(reader, TreeSource):
        wanted = Level[group.level.upper()] if level is None else level
        start = choose_start(
            catalog, configured.name, wanted, lambda since: since.fits(reader), partial(open_snapshot, config)
        )
    return Named(configured, reader, config.server.state, coding, start)
