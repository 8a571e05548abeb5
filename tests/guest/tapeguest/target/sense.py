"""How a SCSI command fails: CHECK CONDITION with fixed-format sense data."""

from __future__ import annotations

import struct

RECOVERED, NOT_READY, MEDIUM_ERROR, HARDWARE_ERROR, ILLEGAL_REQUEST = 1, 2, 3, 4, 5
UNIT_ATTENTION, DATA_PROTECT, BLANK_CHECK, VOLUME_OVERFLOW = 6, 7, 8, 13

FILEMARK, END_OF_MEDIUM, WRONG_LENGTH = 0x80, 0x40, 0x20
"""Flags beside the sense key."""


class Check(Exception):
    """A command ends with CHECK CONDITION.

    Parameters
    ----------
    key, asc, ascq : sense key and its additional code.
    information : the residue, None where it is not valid.
    flags : FILEMARK, END_OF_MEDIUM, WRONG_LENGTH.
    data : what the command had read before.
    """

    def __init__(
        self,
        key: int,
        asc: int = 0,
        ascq: int = 0,
        *,
        information: int | None = None,
        flags: int = 0,
        data: bytes = b"",
    ) -> None:
        super().__init__(f"sense {key:x}/{asc:02x}/{ascq:02x}")
        self.key, self.asc, self.ascq = key, asc, ascq
        self.information, self.flags, self.data = information, flags, data

    def sense(self) -> bytes:
        valid = self.information is not None
        information = (self.information or 0) & 0xFFFFFFFF
        head = struct.pack(">BBBIB", 0xF0 if valid else 0x70, 0, self.key | self.flags, information, 10)
        return head + bytes(4) + bytes([self.asc, self.ascq]) + bytes(4)


def bad_field() -> Check:
    """INVALID FIELD IN CDB."""
    return Check(ILLEGAL_REQUEST, 0x24)


def bad_command() -> Check:
    """INVALID COMMAND OPERATION CODE."""
    return Check(ILLEGAL_REQUEST, 0x20)
