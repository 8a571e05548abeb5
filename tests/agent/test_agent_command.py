"""Commands as sources: their output is the sequence, their exit status decides."""

from __future__ import annotations

import errno
import os
import select
import threading

import pytest
from agent_world import MemorySink

from tapeloom.agent.command import SAID_BYTES, CommandSource
from tapeloom.errors import SourceError, Stopped


def test_the_output_is_the_sequence():
    sink = MemorySink()
    report = CommandSource("printf 'a\\0b'; echo said >&2").run(sink)
    assert sink.data == b"a\0b"
    assert (report.bytes, report.said) == (3, "said")


def test_a_tuple_is_run_without_a_shell():
    sink = MemorySink()
    CommandSource(("printf", "%s", "$HOME; *")).run(sink)
    assert sink.data == b"$HOME; *"


def test_the_exit_status_decides():
    with pytest.raises(
        SourceError, match=r"command `echo x; echo no such base >&2; exit 7` ended with exit status 7: no"
    ):
        CommandSource("echo x; echo no such base >&2; exit 7").run(MemorySink())


def test_a_signal_is_named():
    with pytest.raises(SourceError, match="was ended by SIGUSR1"):
        CommandSource("kill -USR1 $$").run(MemorySink())


@pytest.mark.parametrize("command", [("/no/such/program",), ("a\0b",)])
def test_what_cannot_be_started(command):
    with pytest.raises(SourceError, match="cannot be started"):
        CommandSource(command).run(MemorySink())


def test_output_that_cannot_be_read():
    class Failing(MemorySink):
        def pump_pipe(self, fd: int) -> tuple[int, int]:
            return 0, errno.EIO

    with pytest.raises(SourceError, match="the output of command `sleep 1000` cannot be read: Input/output error"):
        CommandSource("sleep 1000").run(Failing())


def test_folder_and_environment(tmp_path):
    sink = MemorySink()
    CommandSource("pwd; echo $WORD", folder=tmp_path, environment={"WORD": "x"}).run(sink)
    assert sink.data.decode() == f"{tmp_path}\nx\n"


def test_of_what_it_says_the_end_is_kept():
    report = CommandSource("seq 100000 >&2; echo end >&2").run(MemorySink())
    assert report.said.endswith("99999\n100000\nend")
    assert len(report.said) < SAID_BYTES


class StoppingSink(MemorySink):
    """Stops the job at the first line, which is the number of a child process."""

    def pump_pipe(self, fd: int) -> tuple[int, int]:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(fd, 1)
        self.child = int(line)
        raise Stopped("the job is stopping")


def ends(pid: int) -> bool:
    """Whether that process is gone, or goes within the moment that the system may take to bury it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 10)[0])
    finally:
        os.close(fd)


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_a_stop_ends_the_command_and_its_children(stubborn):
    sink = StoppingSink()
    source = CommandSource(f"{stubborn}sleep 1000 & echo $!; wait; wait", stop_seconds=0.05)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(Stopped):
        source.run(sink)
    assert ends(sink.child)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_stop_from_another_thread():
    started = threading.Event()

    class Sink(MemorySink):
        def pump_pipe(self, fd: int) -> tuple[int, int]:
            started.set()
            return super().pump_pipe(fd)

    source = CommandSource("echo x; exec sleep 1000")
    errors = []

    def run():
        try:
            source.run(Sink())
        except SourceError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    source.stop()
    thread.join()
    assert errors == ["command `echo x; exec sleep 1000` was ended by SIGTERM"]
    with pytest.raises(SourceError, match="stopped before it began"):
        source.run(Sink())
