"""How far the reading of blocks is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tapeloom.cli.endings import begun

Progress = Callable[[int, int], None]
"""Told of blocks read and blocks in all."""


@contextmanager
def bar() -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere. It counts blocks."""
    if not sys.stderr.isatty():
        yield lambda done, total: begun()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def on_progress(done: int, total: int) -> None:
            begun()
            bars.update(task, completed=done, total=total)

        yield on_progress
