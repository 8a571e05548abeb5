"""A source that is a command's standard output."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shlex
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from ..errors import SourceError
from .report import SourceReport, reason
from .sink import Sink

SAID_BYTES = 8 << 10
SAID_LINES = 10
STOP_SECONDS = 5.0
"""How long a command that was told to stop may take before it is killed."""

_PIPE_BYTES = 1 << 20


class CommandSource:
    """A command whose output is the sequence, opaque. A str is run by the shell, a tuple is program and arguments.

    The command gets no input, and a process group of its own: a stop reaches all of its children, and a Ctrl-C meant
    for tapeloom does not. Its exit status decides: anything but 0 fails the object.
    """

    def __init__(
        self,
        command: str | tuple[str, ...],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        stop_seconds: float = STOP_SECONDS,
    ):
        self._arguments = ("/bin/sh", "-c", command) if isinstance(command, str) else command
        self._named = (command if isinstance(command, str) else shlex.join(command)).replace("\n", "\\n")
        self._folder = folder
        self._environment = environment
        self._stop_seconds = stop_seconds
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, sink: Sink) -> SourceReport:
        """Run the command and pump its output into *sink*.

        Raises SourceError when it cannot be started, ends with another status than 0, or its output cannot be read;
        errors.Stopped comes through from *sink*, after the command and its children were ended.
        """
        process = self._start()
        assert process.stdout is not None
        assert process.stderr is not None
        said = _Tail(process.stderr)
        try:
            with process.stdout as output:
                _widen(output.fileno())
                got, failed = sink.pump_pipe(output.fileno())
            if failed:
                raise SourceError(f"the output of command `{self._named}` cannot be read: {os.strerror(failed)}")
            status = self._ended(process)
        except BaseException:
            self.stop()
            self._ended(process)
            raise
        finally:
            text = said.text()
        if status:
            raise SourceError(f"command `{self._named}` {_ending(status)}" + (f": {text}" if text else ""))
        return SourceReport(bytes=got, said=text)

    def stop(self) -> None:
        """End the command, from any thread: ask its group, then make it. Its `run` then raises SourceError."""
        with self._guard:
            self._stopped = True
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
        """Wait for the command's end, and reap it where no `stop` is about to signal it."""
        exit_seen = os.pidfd_open(process.pid)
        try:
            _wait_readable(exit_seen, None)
        finally:
            os.close(exit_seen)
        with self._guard:
            return process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._guard:
            if self._stopped:
                raise SourceError(f"command `{self._named}` was stopped before it began")
            try:
                self._process = subprocess.Popen(
                    self._arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    cwd=self._folder,
                    env=self._environment,
                    process_group=0,
                )
            except OSError as error:
                raise SourceError(f"command `{self._named}` cannot be started: {reason(error)}") from None
            except ValueError as error:
                raise SourceError(f"command `{self._named}` cannot be started: {error}") from None
            return self._process


class _Tail:
    """Reads a stream to its end in a thread of its own, and keeps the last SAID_BYTES."""

    def __init__(self, stream: IO[bytes]):
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="command-stderr", daemon=True)
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


def _widen(pipe: int) -> None:
    """A wide pipe saves wake-ups; the system may refuse it to a user who has many."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _ending(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with exit status {status}"
