"""A source that is a program in another process: it fills slots in shared memory of its own.

When it is the source's turn, a socket waits in a folder of the job, and the first program of this user that says hello
there gets the segment: a sealed memfd, over which `_segment.Bridge` carries blocks without copying them. Whatever that
program does then, killed, lying or scribbling over all it can reach, ends or spoils its own object and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from msgspec import Struct

from tapeloom import _kernel, _segment
from tapeloom._segment import BridgeEnd, Goodbye
from tapeloom.errors import NoReaders, SourceError, Stopped
from tapeloom.handshake import (
    HELLO,
    HELLO_MAGIC,
    MESSAGE_BYTES_MAX,
    REFUSED_MAGIC,
    WELCOME,
    WELCOME_MAGIC,
    address,
    printable,
    socket_path,
)
from tapeloom.limits import MIB

OPAQUE = 0
"""FORMAT.md, `content`."""

CALLERS_MAX = 16
"""Connections that have not said hello yet; one more, and the oldest is dropped."""

SO_PEERPIDFD = 77
"""Linux 6.5: the peer's pidfd, without a look at a number that may be another process's by now."""

_GOODBYE = {
    BridgeEnd.WHOLE: Goodbye.TAKEN,
    BridgeEnd.BROKEN: Goodbye.TAKEN,
    BridgeEnd.DIED: Goodbye.NONE,
    BridgeEnd.LIED: Goodbye.DISTRUST,
    BridgeEnd.STOPPED: Goodbye.STOPPED,
    BridgeEnd.NO_READERS: Goodbye.NO_READERS,
    BridgeEnd.SYSTEM: Goodbye.STOPPED,
}


class ProducerReport(Struct, frozen=True):
    """Of a sequence that came whole."""

    files: int = 0
    troubles: Sequence[object] = ()
    troubles_beyond: int = 0


class ProducerSource:
    """The source `name`, whose program attaches through the state folder `state` (see `tapeloom.attach`).

    The caller holds the state folder, so a socket that stands there and answers nobody was left behind by a crash.
    `on_waiting` is called, in the stream's thread, when the program can attach.
    """

    content = OPAQUE

    def __init__(self, name: str, state: Path, on_waiting: Callable[[], None] = lambda: None):
        self.name = name
        self.path = socket_path(state, name)
        self._on_waiting = on_waiting

    def run(self, sink: _kernel.Feeder) -> ProducerReport:
        """Waits for the program, and carries what it fills until it says that this is all.

        `sink` has begun the object, with a header of a page, on a stream that has a segment.

        Raises
        ------
        SourceError
            The program died, gave up, or wrote nonsense into its words; or there is no place or memory for it.
        Stopped, NoReaders
            As everywhere.
        """
        bridge = _segment.Bridge(sink)
        memory = _allocate(bridge.slots, bridge.payload_max)
        try:
            with Door(self.path) as door:
                self._on_waiting()
                caller = door.wait(bridge)
            with caller:
                caller.welcome(bridge, memory)
                passage = bridge.run(memory, caller.fileno(), caller.process)
                bridge.goodbye(_GOODBYE[passage.end])
        finally:
            bridge.close()
            os.close(memory)
        if passage.end is not BridgeEnd.WHOLE:
            _raise_for(passage, caller.pid)
        return ProducerReport()


def _allocate(slots: int, payload_max: int) -> int:
    """The memory of a segment, whole and sealed: neither side can make it larger or smaller any more."""
    size = _segment.segment_bytes(slots, payload_max)
    memory = -1
    try:
        memory = os.memfd_create("tapeloom-producer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.posix_fallocate(memory, 0, size)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except OSError as error:
        if memory >= 0:
            os.close(memory)
        raise SourceError(
            f"this machine cannot give a producer its {size // MIB} MiB of shared memory ({error.strerror})"
        ) from error
    return memory


def _raise_for(passage: _segment.Passage, pid: int) -> NoReturn:
    match passage.end:
        case BridgeEnd.BROKEN:
            raise SourceError(f"its program (process {pid}) gave up: {printable(passage.said) or 'it did not say why'}")
        case BridgeEnd.DIED:
            raise SourceError(f"its program (process {pid}) was gone before it had ended the sequence")
        case BridgeEnd.LIED:
            word = passage.word.name.lower()
            raise SourceError(
                f"its program (process {pid}) wrote nonsense into the memory it shares with the job: "
                f"{word} {passage.value}"
            )
        case BridgeEnd.STOPPED:
            raise Stopped("the job stops")
        case BridgeEnd.NO_READERS:
            raise NoReaders("no drive takes this object any more: every copy of it has failed or was detached")
        case _:
            raise SourceError(f"the memory shared with its program cannot be used: {os.strerror(passage.errno)}")


class Caller:
    """A connection whose program may become the producer. Closes what it holds."""

    def __init__(self, connection: socket.socket):
        self._connection = connection
        self.process = -1
        """Its pidfd, once it is `known`."""
        self.pid, uid, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self._uid: int = uid

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()
        if self.process >= 0:
            os.close(self.process)
            self.process = -1

    def fileno(self) -> int:
        return self._connection.fileno()

    def refuse(self, why: str) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(REFUSED_MAGIC + why.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        self.close()

    def known(self) -> bool:
        """Whether it has said hello, as a program of this user that understands the segment. If not, it is closed, or
        refused with a reason: not before its hello is read, for a socket closed over unread words loses the reason."""
        try:
            said = self._connection.recv(MESSAGE_BYTES_MAX, socket.MSG_DONTWAIT)
        except OSError:
            said = b""
        if len(said) != HELLO.size or said[:8] != HELLO_MAGIC:
            self.close()
            return False
        if self._uid not in (os.geteuid(), 0):
            self.refuse(f"this job belongs to user {os.geteuid()}, the program to user {self._uid}")
            return False
        _, abi = HELLO.unpack(said)
        if abi != _segment.ABI:
            self.refuse(f"this job speaks version {_segment.ABI} of the segment, the program version {abi}")
            return False
        return self._watchable()

    def _watchable(self) -> bool:
        try:
            self.process = self._connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
        except OSError as no_such_option:
            if no_such_option.errno != errno.ENOPROTOOPT:
                self.close()
                return False
            try:
                self.process = os.pidfd_open(self.pid)
            except OSError:
                self.refuse("the job cannot see the program's process: both must be in one pid namespace")
                return False
        return True

    def welcome(self, bridge: _segment.Bridge, memory: int) -> None:
        """Hands over the segment. A program that is gone already is found to be so by the bridge."""
        message = WELCOME.pack(WELCOME_MAGIC, bridge.slots, bridge.payload_max)
        with contextlib.suppress(OSError):
            socket.send_fds(self._connection, [message], [memory], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


class Door:
    """The socket at `path`: there as long as a program is waited for.

    Raises SourceError where it cannot be opened, or another job waits there.
    """

    def __init__(self, path: Path):
        self._path = path
        self._callers: dict[int, Caller] = {}
        with contextlib.ExitStack() as undone:
            try:
                kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
                self._listener = undone.enter_context(socket.socket(socket.AF_UNIX, kind))
                self._make_folder()
                with address(path) as place:
                    self._bind(place)
                    os.chmod(place, 0o600)
                self._listener.listen()
            except OSError as error:
                raise SourceError(f"no producer can be waited for at {path}: {error.strerror}") from error
            undone.pop_all()

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        self._listener.close()
        for caller in self._callers.values():
            caller.close()

    def _make_folder(self) -> None:
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise SourceError(f"{folder} must belong to the user who runs the job, and be closed to others (chmod 700)")

    def _bind(self, place: str) -> None:
        try:
            self._listener.bind(place)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            if _answers(place):
                raise SourceError(f"another job waits for a producer at {self._path} already") from None
            os.unlink(place)
            self._listener.bind(place)

    def wait(self, bridge: _segment.Bridge) -> Caller:
        """The first program that may be the producer and says hello. Raises Stopped, NoReaders."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(bridge.freed_fd, select.POLLIN)
        try:
            while True:
                bridge.watch()
                for fd, _ in poll.poll():
                    if fd == self._listener.fileno():
                        self._accept(poll)
                    elif fd in self._callers:
                        caller = self._callers.pop(fd)
                        poll.unregister(fd)
                        if caller.known():
                            return caller
        finally:
            bridge.unwatch()

    def _accept(self, poll: select.poll) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            raise SourceError(f"no producer can be waited for at {self._path}: {error.strerror}") from error
        caller = Caller(connection)
        if len(self._callers) == CALLERS_MAX:
            oldest = next(iter(self._callers))
            poll.unregister(oldest)
            self._callers.pop(oldest).close()
        self._callers[caller.fileno()] = caller
        poll.register(caller.fileno(), select.POLLIN)


def _answers(place: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(place)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True
        return True
