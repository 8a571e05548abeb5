"""A drive's own process: started, asked, and abandoned where it hangs. See csrc/aside.h.

A system call that hangs in a driver cannot be taken back, and a process that is in one cannot end. In a process of its
own it holds up nobody: this one goes on, and ends, without it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tapeloom import errors
from tapeloom._devio import ffi, lib
from tapeloom.device.contract import Status
from tapeloom.errors import DeviceError, DriveHangs, TapeloomError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

MESSAGE_BYTES_MAX = 128 * 1024
"""Of what is said over the socket: a name, a list of cartridges. Blocks do not go that way."""
CALL_SECONDS_MAX = 20 * 60.0
"""How long a write, a read or a filemark may take before its drive counts as hanging, though nobody else waits for it.
The st driver gives such a command 15 minutes (its device time-out) and never repeats it; five more are for the SCSI
layer, which then aborts it and resets what it hangs on."""
LONG_CALL_SECONDS_MAX = 4.25 * 60 * 60.0
"""The same for all other calls, which move the tape or load it: st's long time-out is 14,000 seconds."""
_GOODBYE_SECONDS = 5.0
_DEATH_SECONDS = 1.0

_NAMES = {
    lib.TL_ASIDE_WRITE: "write",
    lib.TL_ASIDE_WRITE_FILEMARKS: "filemark",
    lib.TL_ASIDE_READ: "read",
    lib.TL_ASIDE_REWIND: "rewind",
    lib.TL_ASIDE_LOCATE: "locate",
    lib.TL_ASIDE_TO_END_OF_DATA: "move to the end of data",
    lib.TL_ASIDE_SPACE_FILEMARKS: "move over filemarks",
    lib.TL_ASIDE_SPACE_BLOCKS: "move over blocks",
    lib.TL_ASIDE_POSITION: "question for its position",
    lib.TL_ASIDE_CONTROL: "command",
}
_SHORT = {"write", "filemark", "read"}
OPEN_SECONDS_MAX = 3 * 60.0
"""How long a drive may take to be opened. No tape moves then; each SCSI command has 60 s (`device.st`), and the kernel
aborts what does not come back."""

_BOOT = "import sys; sys.path[:0] = sys.argv[3:]; from tapeloom.device import asideserver as it; it.main(sys.argv[2])"


class Call(Struct, frozen=True):
    """What a drive is doing: `what`, a noun, and since when (of the monotonic clock)."""

    what: str
    since_ns: int

    @property
    def seconds(self) -> float:
        return (time.monotonic_ns() - self.since_ns) / 1e9

    @property
    def is_short(self) -> bool:
        """A write, a read or a filemark: nothing is loaded, and the tape is not moved elsewhere."""
        return self.what in _SHORT

    @property
    def hangs(self) -> bool:
        """It takes longer than any driver lets it."""
        return self.seconds >= (CALL_SECONDS_MAX if self.is_short else LONG_CALL_SECONDS_MAX)


class Aside:
    """A process that serves one drive, from construction until `close`.

    `ops` and `handle` are a table of csrc/device.h, whose calls that process makes; `facts` is what it said when it had
    opened the drive; `pid` is its number.

    Parameters
    ----------
    name : of the drive, as messages call it.
    serves : what the process shall open: see `tapeloom.device.asideserver`.
    on_start : is given this as soon as the process runs, before that opens anything: `call` and `abandon` may be used
        from then on, and nothing else before the constructor comes back.

    Raises
    ------
    TapeloomError : what opening the drive raised there.
    DeviceError : the process could not be started, or was abandoned.
    DriveHangs : it was killed, since it did not come back from opening the drive within `OPEN_SECONDS_MAX`.
    """

    def __init__(self, name: str, serves: dict[str, Any], *, on_start: Callable[[Aside], None] | None = None):
        self.name = name
        self._made: Any = None
        self._pidfd = -1
        self._asking = threading.Lock()
        self._abandoning = threading.Lock()
        self._asking_since: tuple[str, int] | None = None
        self.facts: dict[str, Any] = {}
        self._regions: dict[int, object] = {}
        self._given_up: str | None = None
        self._told = self._closed = False
        with ExitStack() as undo:
            memory = _shared_memory()
            undo.callback(os.close, memory)
            with ExitStack() as broken:
                fds = [os.eventfd(0, os.EFD_CLOEXEC) for _ in range(2)]
                for fd in fds:
                    broken.callback(os.close, fd)
                self._process, self._socket = _start(name)
                broken.callback(self._break_off)
                self.pid = self._process.pid
                self._pidfd = os.pidfd_open(self.pid)
                fds.append(self._pidfd)
                if on_start is not None:
                    on_start(self)
                self._hello(serves, [memory, *fds[:2]])
                longest = self.facts.get("block_bytes_max", lib.TL_ASIDE_BOUNCE_BYTES)
                made = lib.tl_aside_new(memory, *fds, self.facts["batch_max"], longest)
                if not made:
                    raise DeviceError(f"drive {name}: {os.strerror(ffi.errno)}", errno=ffi.errno)
                with self._abandoning:
                    self._made = ffi.gc(made, lambda it: _free(it, fds))
                    broken.pop_all()
                    if self._given_up is not None:
                        lib.tl_aside_abandon(self._made)
        self.ops = lib.tl_aside_ops(self._made)
        self.handle = ffi.cast("void *", self._made)

    def ask(self, what: str, *arguments: object, fd: int | None = None) -> Any:
        """Has the process do what the table has no word for, and gives its value. Raises what that raises there;
        DeviceError where the process is gone."""
        with self._asking:
            self._asking_since = what, time.monotonic_ns()
            try:
                self._send({"do": what, "with": arguments}, [] if fd is None else [fd])
                return self._receive()["value"]
            finally:
                self._asking_since = None

    @property
    def can_share(self) -> bool:
        """`share` has a place left."""
        return len(self._regions) < int(lib.TL_ASIDE_REGIONS)

    def share(self, fd: int, address: int, bytes: int, owner: object) -> int:
        """From now on blocks in this memory, `bytes` of `fd` that are mapped at `address`, are not copied. The number
        that comes back is for `forget`; `owner`, which keeps the mapping, is held until then. No call may be running.
        """
        region = int(self.ask("map", bytes, fd=fd))
        lib.tl_aside_map(self._made, region, ffi.cast("void *", address), bytes)
        self._regions[region] = owner
        return region

    def forget(self, region: int) -> None:
        """Ends `share`. A process that is gone needs not be told."""
        lib.tl_aside_forget(self._made, region)
        if self.ended is None:
            with suppress(DeviceError):  # it ends just now, and its mappings with it
                self.ask("unmap", region)
        self._regions.pop(region, None)

    @property
    def call(self) -> Call | None:
        """What it is doing for whoever asked it. None: nothing."""
        since = ffi.new("int64_t *")
        number = lib.TL_ASIDE_NOTHING if self._made is None else lib.tl_aside_in_call(self._made, since)
        if number != lib.TL_ASIDE_NOTHING:
            return Call(_NAMES[number], since[0])
        asking = self._asking_since
        return Call(asking[0].replace("_", " "), asking[1]) if asking else None

    def abandon(self) -> None:
        """Kills the process, and makes whoever waits for it come back with a failure: at once, but from a call with
        blocks in shared memory only when the process is gone. From any thread."""
        with self._abandoning:
            if self._closed:
                return
            call = self.call
            if self._given_up is None:
                self._given_up = (
                    f"drive {self.name} has not come back from a {call.what} for {call.seconds:.0f} s: its process "
                    f"{self.pid} was killed"
                    if call
                    else f"the process of drive {self.name} (pid {self.pid}) was killed"
                )
            self._kill()
            if self._made is not None:
                lib.tl_aside_abandon(self._made)
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def gone(self, seconds: float = 0.0) -> bool:
        """Waits so long for the process to be gone. False: it is not, and after `abandon` that means that it is stuck
        in the kernel: its drive stays reserved, and what it may still read or write must not be used again."""
        if self._made is None:
            return self._has_ended(seconds)
        return bool(lib.tl_aside_gone(self._made, round(seconds * 1000)))

    @property
    def ended(self) -> str | None:
        """A sentence where the process has ended, or was abandoned, before it was closed."""
        if self._given_up is not None:
            stuck = "" if self.gone() else ", but is stuck in the kernel, and keeps the drive until it comes out"
            return f"{self._given_up}{stuck}"
        if self._closed or not self.gone():
            return None
        status = self._process.poll()
        how = f"signal {-status}" if status is not None and status < 0 else f"itself, with status {status}"
        return f"the process of drive {self.name} (pid {self.pid}) was ended by {how}"

    def failure(self, what: str) -> DeviceError | None:
        """The failure of a call where `ended` is why it failed."""
        if self._given_up is not None:
            self.gone(_DEATH_SECONDS)  # a call may come back before what was killed is gone
        ended = self.ended
        if ended is None:
            return None
        self._told = True
        return DeviceError(f"{what}: {ended}", status=Status.ERR_IO, errno=errno.EIO)

    def counts(self) -> tuple[int, int]:
        """Calls made, and bytes that had to be copied."""
        calls, bounced = ffi.new("uint64_t *"), ffi.new("uint64_t *")
        lib.tl_aside_counts(self._made, calls, bounced)
        return int(calls[0]), int(bounced[0])

    def close(self) -> None:
        """Ends the process, whose drive has been closed. One that is stuck is left behind. Raises DeviceError where the
        process had ended before, and nobody has been told."""
        if self._closed:
            return
        untold = None if self._told or self._given_up else self.failure(f"drive {self.name}: close")
        self._closed = True
        self._socket.close()  # it hears that, and ends
        if not self.gone(_GOODBYE_SECONDS if self._given_up is None else 0.0):
            self._kill()
            self.gone(_DEATH_SECONDS)  # it holds its drive until then
        self._process.poll()
        if untold is not None:
            raise untold

    def _hello(self, serves: dict[str, Any], fds: Sequence[int]) -> None:
        self._asking_since = "call to open it", time.monotonic_ns()
        self._socket.settimeout(OPEN_SECONDS_MAX)
        try:
            self._send({"serve": serves, "as": sys.orig_argv, "drive": self.name}, fds)
            self._receive()
        except TimeoutError:
            self.abandon()
            self.gone(_DEATH_SECONDS)
            raise DriveHangs(f"{self.ended}") from None
        except _SilenceError:
            if self._given_up is not None:
                self.gone(_DEATH_SECONDS)
                raise DeviceError(f"{self.ended}", status=Status.ERR_IO, errno=errno.EIO) from None
            status = self._process.wait(_GOODBYE_SECONDS)
            raise DeviceError(
                f"drive {self.name}: the process that was to drive it ended at once, with status {status}: "
                f"{sys.executable} cannot run tapeloom"
            ) from None
        finally:
            self._asking_since = None
            self._socket.settimeout(None)

    def _break_off(self) -> None:
        """The constructor fails: the process ends, and nobody can abandon it any more. One that is stuck is left
        behind."""
        with self._abandoning:
            self._closed = True
        self._socket.close()
        self._process.kill()
        self._has_ended(_DEATH_SECONDS)
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _has_ended(self, seconds: float) -> bool:
        """What `gone` says, before there is a table to ask."""
        from subprocess import TimeoutExpired

        try:
            self._process.wait(seconds)
        except TimeoutExpired:
            return False
        return True

    def _send(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        try:
            socket.send_fds(self._socket, [json.dumps(message).encode()], fds)
        except OSError:
            raise self._silent() from None

    def _receive(self) -> dict[str, Any]:
        try:
            told = self._socket.recv(MESSAGE_BYTES_MAX)
        except TimeoutError:
            raise
        except OSError:
            told = b""
        if not told:
            raise self._silent()
        answer: dict[str, Any] = json.loads(told)
        self.facts.update(answer.get("facts", {}))
        if "error" in answer:
            raise _raised(**answer["error"])
        return answer

    def _silent(self) -> DeviceError:
        if self._made is None:
            return _SilenceError()
        self.gone(_DEATH_SECONDS)  # its socket ends a little sooner than the process itself
        what = f"drive {self.name}"
        return self.failure(what) or DeviceError(f"{what}: its process {self.pid} does not answer any more")

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


class _SilenceError(DeviceError):
    """The process ended before it had said anything."""

    def __init__(self) -> None:
        super().__init__("silence")


def _raised(kind: str, text: str, numbers: dict[str, int]) -> TapeloomError:
    """An error of the other process, as it was raised there."""
    error: TapeloomError = getattr(errors, kind)(text, **numbers)
    return error


def _shared_memory() -> int:
    fd = os.memfd_create("tapeloom-aside", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, lib.TL_ASIDE_BYTES)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return fd


def _start(name: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A new interpreter, not a fork: it holds no lock and no thread of this process, and none of its memory. In a
    session of its own, so that a Ctrl-C at the terminal ends the job in order and not its drives. It ends with this
    process by its socket: a signal at the parent's death would come when the thread ends that started it. It finds
    modules where this one does, and nowhere that the environment says."""
    import subprocess

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        path = [str(Path(__file__).parents[2]), *(place for place in sys.path if place)]
        command = [sys.executable, "-I", "-S", "-c", _BOOT, name, str(theirs.fileno()), *path]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise DeviceError(
                f"drive {name}: no process can be started for it ({error.strerror})", errno=error.errno or 0
            ) from error
    return process, ours


def _free(made: Any, fds: Sequence[int]) -> None:
    lib.tl_aside_free(made)
    for fd in fds:
        os.close(fd)
