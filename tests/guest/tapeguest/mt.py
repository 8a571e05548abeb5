"""The driver's own calls, with nothing between: what tests ask it directly."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import NamedTuple

MTIOCTOP, MTIOCGET, MTIOCPOS = 0x40086D01, 0x80306D02, 0x80086D03


class Op(IntEnum):
    """MTIOCTOP's operations that tests need."""

    FSF = 1
    BSF = 2
    FSR = 3
    BSR = 4
    WEOF = 5
    REW = 6
    OFFL = 7
    NOP = 8
    BSFM = 10
    FSFM = 11
    EOM = 12
    SETBLK = 20
    SEEK = 22
    SETDRVBUFFER = 24
    LOCK = 28
    UNLOCK = 29
    LOAD = 30
    WEOFI = 35


class State(IntFlag):
    """Bits of mt_gstat."""

    EOF = 0x80000000
    BOT = 0x40000000
    EOT = 0x20000000
    EOD = 0x08000000
    WR_PROT = 0x04000000
    ONLINE = 0x01000000
    DR_OPEN = 0x00040000
    IM_REP_EN = 0x00010000
    CLN = 0x00008000


class Place(NamedTuple):
    """What MTIOCGET says, but for IM_REP_EN, which is always there."""

    file: int
    block: int
    state: State


def operate(tape: int, op: Op, count: int = 1) -> None:
    fcntl.ioctl(tape, MTIOCTOP, struct.pack("hi", op, count))


def place(tape: int) -> Place:
    _, _, _, state, _, file, block = struct.unpack("5l2i", fcntl.ioctl(tape, MTIOCGET, bytes(48)))
    return Place(file, block, State(state & 0xFFFFFFFF) & ~State.IM_REP_EN)


def position(tape: int) -> int:
    """MTIOCPOS: blocks and filemarks from the beginning."""
    return struct.unpack("l", fcntl.ioctl(tape, MTIOCPOS, bytes(8)))[0]


def refusal(call: Callable[..., object], *arguments: object) -> str:
    """The name of the errno that a call fails with, "" where it does not fail; what it opens is closed."""
    try:
        result = call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if call is os.open:
        os.close(result)  # type: ignore[arg-type]
    return ""
