"""From a configured source to something that writes its sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeloom.agent.command import CommandSource
from tapeloom.agent.tree import TreeSource
from tapeloom.volume.header import Content

if TYPE_CHECKING:
    from tapeloom.agent.sink import Sink
    from tapeloom.config import Source as Configured
    from tapeloom.runtime.stream import Report


class Named:
    """A source under its configured name."""

    def __init__(self, name: str, content: Content, source: TreeSource | CommandSource):
        self.name = name
        self.content = int(content)
        self.remark: str | None = None
        """What it has to say beside its troubles, when it has run: what was left out on purpose."""
        self._source = source

    def run(self, sink: Sink) -> Report:
        report = self._source.run(sink)
        if report.remarks:
            more = len(report.remarks) - 1 + report.remarks_beyond
            self.remark = f"{self.name}: {report.remarks[0]}" + (f" (and {more:,} more)" if more else "")
        return report

    def stop(self) -> None:
        if isinstance(self._source, CommandSource):
            self._source.stop()


def make_source(configured: Configured) -> Named:
    """For a source that reads files or runs a command; producers are the caller's."""
    if configured.command is not None:
        return Named(configured.name, Content.OPAQUE, CommandSource(configured.command))
    tree = TreeSource(configured.paths, configured.exclude, one_file_system=configured.one_file_system)
    return Named(configured.name, Content.PAX, tree)
