"""From a configured source to something that writes its sequence."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import UUID

from msgspec import Struct

from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SourceError, TapeloomError
from tapeloom.ops.codings import coding_of, open_snapshot
from tapeloom.ops.levels import Start, choose_start
from tapeloom.runtime.stream import Described, Facts, Stoppable
from tapeloom.schedule import Kind
from tapeloom.volume.header import Content, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tapeloom.agent.command import CommandSource
    from tapeloom.agent.hooks import Hooks
    from tapeloom.agent.raw import RawSource
    from tapeloom.agent.report import SourceReport
    from tapeloom.agent.sink import Sink
    from tapeloom.catalog import Catalog
    from tapeloom.config import Config
    from tapeloom.config import Source as Configured
    from tapeloom.ops.keeping import Keeping
    from tapeloom.runtime.coding import Coding
    from tapeloom.runtime.stream import Report, Source
    from tapeloom.schedule import Schedule

    Reader = TreeSource | RawSource | CommandSource


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
        self._id = object_id
        start = self._start
        return Facts(int(start.level), start.parent, self._coding, self._configured.digest)

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
        if self._hooks is not None:
            self._hooks.stop()
        if isinstance(self._source, Stoppable):
            self._source.stop()

    def close(self) -> None:
        """The job is over: nobody asks for the index any more."""
        if self._keeping is not None:
            self._keeping.close()
        if self._start.since is not None:
            self._start.since.close()

    def _read(self, sink: Sink) -> SourceReport:
        assert self._id is not None
        if self.content == Content.OPAQUE:
            return cast("CommandSource", self._source).run(sink)
        from tapeloom.ops.keeping import Keeping

        increments = isinstance(self._source, TreeSource)
        self._keeping = keeping = Keeping(self._state, self.name, self._id, self._coding, with_snapshot=increments)
        try:
            if isinstance(self._source, TreeSource):
                report = self._source.run(sink, since=self._start.since, keep=keeping.snapshot, rows=keeping.rows)
            else:
                report = cast("RawSource", self._source).run(sink, rows=keeping.rows)
        except BaseException:
            keeping.abandon()
            raise
        keeping.finish(report.end)
        return report


class _Refused:
    """A source that cannot be begun. Its object fails, and says why."""

    content = int(Content.OPAQUE)

    def __init__(self, name: str, why: str):
        self.name = name
        self._why = why

    def run(self, sink: Sink) -> Report:
        raise SourceError(self._why)


class _Produced:
    """A source that a program writes, with what the configuration says of it."""

    index = None

    def __init__(self, source: Source, digest: str):
        self.name, self.content, self.run = source.name, source.content, source.run
        self.stop = source.stop if isinstance(source, Stoppable) else lambda: None
        self._digest = digest

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        return Facts(digest=self._digest)


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


def job_sources(
    config: Config,
    schedule: Schedule,
    catalog: Catalog,
    level: Level | None,
    producers: Mapping[str, Source],
    on_waiting: Callable[[str], None],
) -> Iterator[Source]:
    """What writes each row of the schedule's sources: a producer that is given, or what the configuration says.

    `level` is what objects of files are to be; None: what the group of each says.
    """
    groups = {
        int(cursor["stream"]): str(schedule.group_names[schedule.agents[cursor["agent"]]["group"]])
        for cursor in schedule.cursors
        if schedule.agents[cursor["agent"]]["kind"] == Kind.BACKUP
    }
    for row, name in zip(schedule.sources, map(str, schedule.source_names), strict=True):
        configured = config.sources[name]
        if name in producers:
            given = producers[name]
            yield given if isinstance(given, Described) else _Produced(given, configured.digest)
        elif configured.producer:
            from tapeloom.runtime.producer import ProducerSource

            source = ProducerSource(name, config.server.state, partial(on_waiting, name))
            yield _Produced(source, configured.digest)
        else:
            group = config.groups["backup", groups[int(row["stream"])]]
            yield _named(config, configured, catalog, Level[group.level.upper()] if level is None else level)


def _named(config: Config, configured: Configured, catalog: Catalog, level: Level) -> Source:
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
