"""SCSI commands to one device through SG_IO, with the patience that a library needs."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tapeloom._devio import ffi, lib
from tapeloom.errors import DeviceError
from tapeloom.library.sense import NOT_READY, UNIT_ATTENTION, words

ATTENTIONS_MAX: Final = 16
"""A device tells one initiator of so many things in a row at most: reset, settings, import/export, each once a node."""
POLL_SECONDS: Final = 1.0
"""Between two questions whether it is ready."""
_BECOMING_READY: Final = ((0x04, 0x01), (0x04, 0x07))


class Answer(Struct, frozen=True):
    """What a device said to one command."""

    data: bytes = b""
    status: int = 0
    """0: done."""
    key: int = 0
    asc: int = 0
    ascq: int = 0
    host: int = 0


Send = Callable[[bytes, int, int], Answer]
"""Command, room for the answer, seconds. Raises OSError where the command cannot even be sent."""


class Scsi:
    """One open device. `shown` begins every sentence about it."""

    def __init__(self, send: Send, shown: str, wait: Callable[[float], None] = time.sleep):
        self._send = send
        self._wait = wait
        self.shown = shown

    def command(self, cdb: bytes, *, room: int = 0, seconds: float, what: str) -> bytes:
        """One command, again as long as the device only wants to tell what happened before, and, within `seconds`, as
        long as it is becoming ready. Raises DeviceError."""
        attentions = 0
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self._send(cdb, room, round(seconds * 1000))
            except OSError as error:
                raise DeviceError(
                    f"{self.shown}: {what}: the system refused ({error.strerror})", errno=error.errno or 0
                ) from error
            if answer.status == 0 and answer.host == 0:
                return answer.data
            if answer.key == UNIT_ATTENTION and attentions < ATTENTIONS_MAX:
                attentions += 1
                continue
            if _is_becoming_ready(answer) and time.monotonic() < deadline:
                self._wait(POLL_SECONDS)
                continue
            raise DeviceError(f"{self.shown}: {what}: {_why(answer, seconds)}")


def _is_becoming_ready(answer: Answer) -> bool:
    return answer.status == _BUSY or (answer.key == NOT_READY and (answer.asc, answer.ascq) in _BECOMING_READY)


_CHECK_CONDITION: Final = 0x02
_BUSY: Final = 0x08
_RESERVED: Final = 0x18
_HOST_TIME_OUT: Final = 3


def _why(answer: Answer, seconds: float) -> str:
    if answer.host == _HOST_TIME_OUT:
        return f"no answer within {seconds:.0f} seconds"
    if answer.host:
        return f"the host adapter could not bring the command through (host status {answer.host})"
    if answer.status == _CHECK_CONDITION:
        return words(answer.key, answer.asc, answer.ascq)
    if answer.status == _RESERVED:
        return "it is reserved by another host"
    if answer.status == _BUSY:
        return f"it was busy for {seconds:.0f} seconds"
    return f"SCSI status {answer.status:02X}h"


def open_node(path: str, what: str) -> int:
    """Opens a device node for SG_IO. Raises DeviceError."""
    hints = {
        errno.ENOENT: "there is no such file; `ls -l /dev/tape/by-id /dev/sg*` shows what there is",
        errno.EACCES: "permission denied: run as root, or as a member of the group that the node belongs to",
        errno.ENXIO: "no device is behind it",
    }
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = hints.get(error.errno or 0, error.strerror)
        raise DeviceError(f"{what}: {path} cannot be opened ({why})", errno=error.errno or 0) from error
    if not stat.S_ISCHR(os.fstat(fd).st_mode):
        os.close(fd)
        raise DeviceError(f"{what}: {path} is not a device node", errno=errno.ENOTTY)
    return fd


def sender(fd: int) -> Send:
    """Sends through SG_IO; the descriptor stays the caller's."""

    def send(cdb: bytes, room: int, milliseconds: int) -> Answer:
        result = ffi.new("struct tl_sg_result *")
        data = ffi.new("uint8_t[]", room) if room else ffi.NULL
        error = lib.tl_sg_io(fd, cdb, len(cdb), 2 if room else 0, data, room, milliseconds, result)
        if error:
            raise OSError(error, os.strerror(error))
        came = room - min(room, result.residue)
        return Answer(
            bytes(ffi.buffer(data, came)) if room else b"",
            0 if lib.tl_sg_good(result) else result.scsi_status or 0xFF,
            result.key,
            result.asc,
            result.ascq,
            result.host_status,
        )

    return send
