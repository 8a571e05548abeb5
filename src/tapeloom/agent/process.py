"""A command of the configuration, running: in a process group of its own, stoppable, with a limit to its time."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Timer
from typing import IO

from ..errors import SourceError
from .report import reason

SAID_BYTES = 8 << 10
SAID_LINES = 10
STOP_SECONDS = 5.0
"""How long a command that was told to stop may take before it is killed."""


class Command:
    """One run of a command. A str is run by the shell, a tuple is program and arguments.

    It gets no input, and a process group of its own: a stop reaches all of its children, and a Ctrl-C meant for
    tapeloom does not. Its exit status decides: anything but 0 is a failure. `time_limit` and `stop_seconds` are in
    seconds; no limit where None.
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
        self._arguments = ("/bin/sh", "-c", command) if isinstance(command, str) else command
        self._named = (command if isinstance(command, str) else shlex.join(command)).replace("\n", "\\n")
        self._folder = folder
        self._environment = environment
        self._time_limit = time_limit
        self._stop_seconds = stop_seconds
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._expired = False

    def __str__(self) -> str:
        return f"command `{self._named}`"

    def run(self, take: Callable[[int], None] | None = None) -> str:
        """Run it to its end. `take` reads its output, a pipe, to the end; without one that is kept with what it says.

        Returns the last lines of what it said, on its standard error. Raises SourceError when it cannot be started,
        ends with another status than 0, or takes too long; what `take` raises comes through, after the command and its
        children were ended.
        """
        process = self._start(output_apart=take is not None)
        assert process.stdout is not None
        said = _Tail(process.stderr or process.stdout)
        limit = self._limited()
        try:
            if take is not None:
                with process.stdout as output:
                    take(output.fileno())
            status = self._ended(process)
        except BaseException:
            self.stop()
            self._ended(process)
            raise
        finally:
            if limit is not None:
                limit.cancel()
                limit.join()
            text = said.text()
        self._judge(status, text)
        return text

    def stop(self) -> None:
        """End the command, from any thread: ask its group, then make it. Its `run` then raises SourceError."""
        with self._guard:
            self._stopped = True
        self._end()

    def _limited(self) -> Timer | None:
        if self._time_limit is None:
            return None
        limit = Timer(self._time_limit, self._expire)
        limit.daemon = True
        limit.start()
        return limit

    def _expire(self) -> None:
        with self._guard:
            self._expired = self._process is not None and self._process.returncode is None
        self._end()

    def _end(self) -> None:
        with self._guard:
            process = self._process
            if process is None or process.returncode is not None:
                return
            exit_seen = os.pidfd_open(process.pid)
            _signal(process.pid, signal.SIGTERM)
        try:
            _wait_readable(exit_seen, self._stop_seconds)
        finally:
            os.close(exit_seen)
        with self._guard:
            # Not reaped yet, so the number is still the group's own. This reaches the children too that outlive it.
            if process.returncode is None:
                _signal(process.pid, signal.SIGKILL)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the command's end, and reap it where no `_end` is about to signal it."""
        exit_seen = os.pidfd_open(process.pid)
        try:
            _wait_readable(exit_seen, None)
        finally:
            os.close(exit_seen)
        with self._guard:
            return process.wait()

    def _judge(self, status: int, said: str) -> None:
        end = f": {said}" if said else ""
        if self._expired:
            raise SourceError(f"{self} took longer than its time limit of {self._time_limit:g} s, and was ended{end}")
        if status:
            raise SourceError(f"{self} {_ending(status)}{end}")

    def _start(self, *, output_apart: bool) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._stopped:
                raise SourceError(f"{self} was stopped before it began")
            try:
                self._process = subprocess.Popen(
                    self._arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE if output_apart else subprocess.STDOUT,
                    bufsize=0,
                    cwd=self._folder,
                    env=self._environment,
                    process_group=0,
                )
            except OSError as error:
                raise SourceError(f"{self} cannot be started: {reason(error)}") from None
            except ValueError as error:
                raise SourceError(f"{self} cannot be started: {error}") from None
            return self._process


class _Tail:
    """Reads a stream to its end in a thread of its own, and keeps the last SAID_BYTES."""

    def __init__(self, stream: IO[bytes]):
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="what a command says", daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            while data := stream.read(4096):
                self._kept = (self._kept + data)[-SAID_BYTES:]

    def text(self) -> str:
        """The last lines. A child that lives on with the stream open is not waited for."""
        self._thread.join(1.0)
        return "\n".join(self._kept.decode("utf-8", "replace").splitlines()[-SAID_LINES:]).strip()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _wait_readable(fd: int, seconds: float | None) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll(None if seconds is None else seconds * 1000)


def _ending(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with exit status {status}"
