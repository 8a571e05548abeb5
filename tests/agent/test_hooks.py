"""Commands around a source, and limits to the time of commands."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from agent_world import MemorySink

from tapeloom.agent import process
from tapeloom.agent.command import CommandSource
from tapeloom.agent.hooks import Hooks
from tapeloom.agent.report import SourceReport, Trouble
from tapeloom.errors import NoReaders, SourceError, Stopped

OBJECT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
WHOLE = SourceReport(files=3, troubles=(Trouble(b"x", "odd"),))


class Log:
    """A file that commands and the reading append a line to."""

    def __init__(self, path: Path):
        self._path = path
        path.touch()

    def line(self, text: str) -> str:
        """The command that appends a line; the shell expands it."""
        return f'echo "{text}" >> {self._path}'

    def read(self) -> SourceReport:
        with self._path.open("a") as file:
            file.write("read\n")
        return WHOLE

    @property
    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def around(hooks: Hooks, read, level: str = "full") -> SourceReport:
    return hooks.around(read, source="mail", object_id=OBJECT, level=level)


ABOUT = "$TAPELOOM_SOURCE $TAPELOOM_OBJECT $TAPELOOM_LEVEL"


def test_before_then_the_source_then_after(log: Log) -> None:
    hooks = Hooks(log.line(f"before {ABOUT} ${{TAPELOOM_STATUS-unset}}"), log.line(f"after {ABOUT} $TAPELOOM_STATUS"))
    assert around(hooks, log.read, "incremental") == WHOLE
    about = f"mail {OBJECT} incremental"
    assert log.lines == [f"before {about} unset", "read", f"after {about} complete"]


def test_each_alone_and_neither(log: Log) -> None:
    assert around(Hooks(log.line("before"), None), log.read) == WHOLE
    assert around(Hooks(None, log.line("after")), log.read) == WHOLE
    assert around(Hooks(None, None), log.read) == WHOLE
    assert log.lines == ["before", "read", "read", "after", "read"]


def test_without_a_shell_and_in_a_folder(log: Log, tmp_path: Path) -> None:
    around(Hooks(("touch", "a; b"), "pwd > here", folder=tmp_path), log.read)
    assert (tmp_path / "a; b").exists()
    assert (tmp_path / "here").read_text() == f"{tmp_path}\n"


def test_a_failing_before_and_nothing_is_read(log: Log) -> None:
    hooks = Hooks("echo trying; echo no such volume >&2; exit 5", log.line("after $TAPELOOM_STATUS"))
    with pytest.raises(SourceError, match=r"^before: command `.*` ended with exit status 5: trying\nno such volume$"):
        around(hooks, log.read)
    assert log.lines == ["after failed"]


def test_a_before_that_cannot_be_started(log: Log) -> None:
    hooks = Hooks(("/no/such/program",), log.line("after $TAPELOOM_STATUS"))
    with pytest.raises(SourceError, match=r"^before: command `/no/such/program` cannot be started: No such file"):
        around(hooks, log.read)
    assert log.lines == ["after failed"]


def test_a_failing_after_leaves_what_was_read(log: Log) -> None:
    report = around(Hooks(None, "echo busy >&2; exit 3"), log.read)
    assert [str(trouble) for trouble in report.troubles] == [
        "x: odd",
        "after: command `echo busy >&2; exit 3` ended with exit status 3: busy",
    ]
    assert report.files == 3


@pytest.mark.parametrize("error", [SourceError("gone"), Stopped("gone"), NoReaders("gone"), OSError(5, "gone")])
def test_after_follows_whatever_was_raised(log: Log, error: Exception) -> None:
    def read() -> SourceReport:
        raise error

    with pytest.raises(type(error), match="gone") as caught:
        around(Hooks(log.line("before"), log.line("after $TAPELOOM_STATUS")), read)
    assert caught.value is error
    assert log.lines == ["before", "after failed"]


def test_both_failures_are_told(log: Log) -> None:
    def fails() -> SourceReport:
        raise NoReaders("nobody reads")

    def breaks() -> SourceReport:
        raise OSError(5, "broken")

    with pytest.raises(NoReaders, match=r"^nobody reads; after: command `exit 3` ended with exit status 3$"):
        around(Hooks(None, "exit 3"), fails)
    with pytest.raises(OSError, match="broken") as caught:
        around(Hooks(None, "exit 3"), breaks)
    assert caught.value.__notes__ == ["after: command `exit 3` ended with exit status 3"]


def test_a_stop_ends_before_and_after_still_runs(log: Log, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    hooks = Hooks(f"echo >{started}; sleep 1000", log.line("after $TAPELOOM_STATUS"))
    errors: list[str] = []

    def run() -> None:
        try:
            around(hooks, log.read)
        except Stopped as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    started.read_text()  # waits for the command
    hooks.stop()
    thread.join()
    assert len(errors) == 1
    assert errors[0].startswith("before: command `echo >")
    assert errors[0].endswith("was ended, since the job is stopping")
    assert log.lines == ["after failed"]


def test_stopped_before_it_began(log: Log) -> None:
    hooks = Hooks(log.line("before"), log.line("after $TAPELOOM_STATUS"))
    hooks.stop()
    hooks.stop()
    with pytest.raises(Stopped, match="was stopped before the source was read"):
        around(hooks, log.read)
    assert log.lines == ["after failed"]


def test_a_stop_while_reading_is_the_sources(log: Log) -> None:
    hooks = Hooks(log.line("before"), log.line("after $TAPELOOM_STATUS"))

    def read() -> SourceReport:
        hooks.stop()
        return log.read()

    assert around(hooks, read) == WHOLE
    assert log.lines == ["before", "read", "after complete"]


class Limit:
    """Stands in for the clock: the limit of the one command that runs is reached when `reach` is called."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, seconds: float, reached: Callable[[], None]) -> Limit:
        self._reached = reached
        return self

    def start(self) -> None:
        self._started.set()

    def reach(self) -> None:
        """May come before the command's own thread has got as far as to start the clock."""
        self._started.wait()
        self._thread = threading.Thread(target=self._reached)
        self._thread.start()

    def cancel(self) -> None:
        pass

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join()


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    limit = Limit()
    monkeypatch.setattr(process, "Timer", limit)
    return limit


def test_before_has_a_limit(log: Log, limit: Limit, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    hooks = Hooks(f"echo waiting; echo >{started}; sleep 1000", log.line("after"), time_limit=7200)
    errors: list[SourceError] = []

    def run() -> None:
        try:
            around(hooks, log.read)
        except SourceError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    started.read_text()
    limit.reach()
    thread.join()
    assert "took longer than its time limit of 7200 s, and was ended: waiting" in str(errors[0])
    assert type(errors[0]) is SourceError
    assert log.lines == ["after"]


def test_after_has_a_limit(log: Log) -> None:
    [_, trouble] = around(Hooks(None, ("sleep", "1000"), time_limit=0.05), log.read).troubles
    assert str(trouble) == "after: command `sleep 1000` took longer than its time limit of 0.05 s, and was ended"


def test_a_limit_that_is_kept(log: Log) -> None:
    threads = threading.active_count()
    assert around(Hooks(log.line("before"), log.line("after"), time_limit=1000), log.read) == WHOLE
    assert threading.active_count() <= threads


class LineSink(MemorySink):
    """Reads the first line, which is the number of a child process, then lets the limit be reached and reads on."""

    def __init__(self, limit: Limit):
        super().__init__()
        self._limit = limit

    def pump_pipe(self, fd: int) -> tuple[int, int]:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(fd, 1)
        self.child = int(line)
        self._limit.reach()
        return super().pump_pipe(fd)


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


@pytest.mark.parametrize("how", ["", "trap '' TERM; ", "trap 'exit 0' TERM; "], ids=["asked", "killed", "pretending"])
def test_a_source_with_a_limit(how: str, limit: Limit) -> None:
    """Its whole group is ended; and an exit status of 0 makes no whole object of what broke off."""
    sink = LineSink(limit)
    source = CommandSource(f"{how}sleep 1000 & echo $!; wait; wait", time_limit=60, stop_seconds=0.05)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(SourceError, match=r"took longer than its time limit of 60 s, and was ended"):
        source.run(sink)
    assert ends(sink.child)
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_child_that_keeps_the_output_open_falls_under_the_limit(limit: Limit) -> None:
    sink = LineSink(limit)
    with pytest.raises(SourceError, match="time limit"):
        CommandSource("sleep 1000 & echo $!", time_limit=60, stop_seconds=0.05).run(sink)
    assert ends(sink.child)


def test_a_source_within_its_limit() -> None:
    sink = MemorySink()
    assert CommandSource("echo x", time_limit=1000).run(sink).bytes == 2
    assert sink.data == b"x\n"
