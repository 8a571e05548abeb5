"""A source that is a command's standard output."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import SourceError
from .process import SAID_BYTES, STOP_SECONDS, Command
from .report import SourceReport
from .sink import Sink

__all__ = ["SAID_BYTES", "CommandSource"]

_PIPE_BYTES = 1 << 20


class CommandSource:
    """A command whose output is the sequence, opaque: see `process.Command`.

    `time_limit`, in seconds, counts what drives keep the command waiting, too. After it the command is ended, and the
    object fails.
    """

    def __init__(
        self,
        command: str | tuple[str, ...],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        time_limit: float | None = None,
        stop_seconds: float = STOP_SECONDS,
    ):
        self._command = Command(
            command, folder=folder, environment=environment, time_limit=time_limit, stop_seconds=stop_seconds
        )

    def run(self, sink: Sink) -> SourceReport:
        """Run the command and pump its output into *sink*.

        Raises SourceError when it cannot be started, ends with another status than 0, takes too long, or its output
        cannot be read; errors.Stopped comes through from *sink*, after the command and its children were ended.
        """
        got = 0

        def pump(output: int) -> None:
            nonlocal got
            _widen(output)
            got, failed = sink.pump_pipe(output)
            if failed:
                raise SourceError(f"the output of {self._command} cannot be read: {os.strerror(failed)}")

        said = self._command.run(pump)
        return SourceReport(bytes=got, said=said)

    def stop(self) -> None:
        """End the command, from any thread: ask its group, then make it. Its `run` then raises SourceError."""
        self._command.stop()


def _widen(pipe: int) -> None:
    """A wide pipe saves wake-ups; the system may refuse it to a user who has many."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
