"""The commands around a source: `before` it is read, a snapshot say, and `after` it, whatever happened."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from msgspec.structs import replace

from ..errors import SourceError, Stopped
from .process import STOP_SECONDS, Command
from .report import SourceReport, Trouble


class Hooks:
    """The commands of one source. Where both are None, nothing runs. `time_limit`, in seconds, is for each of them.

    A command is told by its environment what it is for: TAPELOOM_SOURCE, TAPELOOM_OBJECT (its id), TAPELOOM_LEVEL,
    and for `after` TAPELOOM_STATUS, which is "complete" or "failed".
    """

    def __init__(
        self,
        before: str | tuple[str, ...] | None,
        after: str | tuple[str, ...] | None,
        *,
        folder: Path | None = None,
        time_limit: float | None = None,
        stop_seconds: float = STOP_SECONDS,
    ):
        self._before = before
        self._after = after
        self._folder = folder
        self._time_limit = time_limit
        self._stop_seconds = stop_seconds
        self._guard = threading.Lock()
        self._stopped = False
        self._running: Command | None = None  # `before`, as long as it runs

    def around(
        self, read: Callable[[], SourceReport], *, source: str, object_id: UUID, level: str = "full"
    ) -> SourceReport:
        """Run `before`, then *read*, then `after`: also when `before` failed, *read* raised, or the job stops.

        Returns what *read* returned. A failing `after` is a trouble in it: what was read stays. Raises SourceError when
        `before` fails, and nothing is read then; Stopped when the job stopped it. What *read* raises comes through.
        """
        about = {"TAPELOOM_SOURCE": source, "TAPELOOM_OBJECT": str(object_id), "TAPELOOM_LEVEL": level}
        try:
            self._run_before(about)
            report = read()
        except BaseException as error:
            wrong = self._run_after({**about, "TAPELOOM_STATUS": "failed"})
            if wrong is not None and isinstance(error, SourceError):
                error.args = (f"{error}; after: {wrong}",)
            elif wrong is not None:
                error.add_note(f"after: {wrong}")
            raise
        wrong = self._run_after({**about, "TAPELOOM_STATUS": "complete"})
        return report if wrong is None else replace(report, troubles=(*report.troubles, Trouble(b"after", wrong)))

    def stop(self) -> None:
        """End `before` where it runs, from any thread, and keep it from beginning. `after` still runs: it is what takes
        a snapshot away again."""
        with self._guard:
            self._stopped = True
            running = self._running
        if running is not None:
            running.stop()

    def _run_before(self, about: dict[str, str]) -> None:
        if self._before is None:
            return
        command = self._command(self._before, about)
        with self._guard:
            if self._stopped:
                raise Stopped("the job was stopped before the source was read")
            self._running = command
        try:
            command.run()
        except SourceError as error:
            if self._stopped:
                raise Stopped(f"before: {command} was ended, since the job is stopping") from None
            raise SourceError(f"before: {error}") from None
        finally:
            with self._guard:
                self._running = None

    def _run_after(self, about: dict[str, str]) -> str | None:
        """What went wrong, if anything did."""
        if self._after is None:
            return None
        try:
            self._command(self._after, about).run()
        except SourceError as error:
            return str(error)
        return None

    def _command(self, command: str | tuple[str, ...], about: dict[str, str]) -> Command:
        return Command(
            command,
            folder=self._folder,
            environment={**os.environ, **about},
            time_limit=self._time_limit,
            stop_seconds=self._stop_seconds,
        )
