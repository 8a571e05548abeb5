"""Going over a tape to look at it: block by block, past what cannot be read, and from filemark to filemark."""

from __future__ import annotations

from contextlib import suppress

from msgspec import Struct

from tapeloom.device import Device
from tapeloom.errors import BlockDamaged, BlockSizeError, DeviceError, EndOfData, FormatError
from tapeloom.volume.header import Crc32c, Header, parse, parse_header

FAILURES_MAX = 8
"""So many places one after another that cannot be read, and the tape is left."""


class Block(Struct, frozen=True):
    """What stands at a position. `header` None: a damaged block, or none of ours. `payload` None: it is damaged."""

    position: int
    header: Header | None
    payload: memoryview | None
    bytes: int
    raw: memoryview


class Going:
    """Reads a tape. `position` is where it stands; a Block's memory is good until the next call."""

    def __init__(self, device: Device, crc: Crc32c):
        self._device = device
        self._crc = crc
        self._buffer = memoryview(bytearray(device.block_bytes_max))
        self._failures = 0
        self.unreadable: list[int] = []
        device.to_end_of_data()
        self.end = device.position().position
        device.rewind()
        self.position = 0

    def to(self, position: int) -> None:
        if self.position != position:
            self._device.locate(position)
            self.position = position

    def next(self) -> Block | None:
        """The next block; None: a filemark was passed. EndOfData. DeviceError: too much of it cannot be read."""
        at = self.position
        try:
            length = self._device.read_into(self._buffer)
        except EndOfData:
            raise
        except BlockSizeError:
            length = -1
        except DeviceError:
            self._pass(at)
            return Block(at, None, None, 0, self._buffer[:0])
        self.position += 1
        self._failures = 0
        if length == 0:
            return None
        if length < 0:
            return Block(at, None, None, 0, self._buffer[:0])
        raw = self._buffer[:length]
        try:
            header, payload = parse(raw, crc32c=self._crc)
        except FormatError as error:
            sound = None
            if isinstance(error, BlockDamaged):
                with suppress(FormatError):
                    sound = parse_header(raw, crc32c=self._crc)
            return Block(at, sound, None, length, raw)
        return Block(at, header, payload, length, raw)

    def behind_filemark(self) -> bool:
        """Goes behind the next filemark. False: there is none, it stands at the end of data."""
        try:
            self._device.space_filemarks(1)
        except EndOfData:
            self.position = self.end
            return False
        self.position = self._device.position().position
        return True

    def _pass(self, at: int) -> None:
        """The mount is over after a failure: from the beginning to the place behind it."""
        self.unreadable.append(at)
        self._failures += 1
        if self._failures > FAILURES_MAX or at + 1 >= self.end:
            raise DeviceError(f"drive {self._device.name}: {self._failures} places before {at + 1} cannot be read")
        self._device.rewind()
        self._device.locate(at + 1)
        self.position = at + 1
