"""Reads a real drive's health: LOG SENSE for its log pages, READ ATTRIBUTE for the memory of the cartridge.

To be asked at safe moments only: before the first write of a mount, or behind a filemark that was heard of, or where
the mount is over. What a drive does not offer is None, and nothing here is an error of the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from msgspec import Struct, field

from tapeloom.device import logpages
from tapeloom.errors import DeviceError
from tapeloom.health import Health

LOG_SENSE, READ_ATTRIBUTE = 0x4D, 0x8C
CUMULATIVE: Final = 0x40
"""Page control: what was counted until now."""
VALUES, LIST = 0x00, 0x01
"""Service actions of READ ATTRIBUTE."""

ROOM: Final = 16 << 10
T = TypeVar("T")


class Answer(Protocol):
    @property
    def good(self) -> bool: ...
    @property
    def data(self) -> bytes: ...


class HealthReader(Struct):
    """`send` takes a command and the bytes to take back. It raises DeviceError where that could not be sent, or where
    the answer may be about another cartridge."""

    send: Callable[[bytes, int], Answer]
    _pages: frozenset[int] = field(default=frozenset())

    def read(self, *, alerts: bool = True) -> Health | None:
        """`alerts`: also the TapeAlert flags, which the drive forgets when it has told them: who asks keeps them. None:
        it tells nothing."""
        try:
            return self._read(alerts)
        except DeviceError:
            return None

    def _read(self, alerts: bool) -> Health | None:
        listed = self._ask(self._log_sense(logpages.SUPPORTED), logpages.supported)
        self._pages = listed or frozenset()
        statistics, capacity = self._page(logpages.VOLUME_STATISTICS), self._page(logpages.TAPE_CAPACITY)
        memory = self._memory()
        writing, reading = self._page(logpages.WRITE_ERRORS), self._page(logpages.READ_ERRORS)
        drive = self._page(logpages.DEVICE_STATISTICS)
        raised = self._page(logpages.TAPE_ALERT) if alerts else {}  # last: once it has told them they must not be lost
        health = Health(
            alerts=logpages.alerts(raised) if raised else None,
            writing=logpages.errors(writing) if writing else None,
            reading=logpages.errors(reading) if reading else None,
            cartridge=logpages.cartridge(memory, statistics, capacity) if memory or statistics or capacity else None,
            drive=logpages.drive(drive) if drive else None,
        )
        return health if health.offered else None

    def _page(self, code: int) -> Mapping[int, bytes]:
        if code not in self._pages:
            return {}
        return self._ask(self._log_sense(code), lambda data: logpages.page(data, code)) or {}

    def _memory(self) -> Mapping[int, bytes]:
        """All that it has. Some drives refuse to begin at an attribute that they lack: their list says where."""
        found = self._ask(self._read_attribute(VALUES, 0), logpages.attributes)
        if found is None and (there := self._ask(self._read_attribute(LIST, 0), logpages.attribute_list)):
            found = self._ask(self._read_attribute(VALUES, min(there)), logpages.attributes)
        return found or {}

    def _ask(self, cdb: bytes, parse: Callable[[bytes], T]) -> T | None:
        answer = self.send(cdb, ROOM)
        if answer.good:
            with suppress(ValueError):  # a page that is damaged is a page that is not offered
                return parse(answer.data)
        return None

    def _log_sense(self, page: int) -> bytes:
        return bytes([LOG_SENSE, 0, CUMULATIVE | page, 0, 0, 0, 0, *ROOM.to_bytes(2), 0])

    def _read_attribute(self, action: int, first: int) -> bytes:
        return bytes([READ_ATTRIBUTE, action, 0, 0, 0, 0, 0, 0, *first.to_bytes(2), *ROOM.to_bytes(4), 0, 0])
