"""A real library: a SCSI medium changer behind `/dev/sgN` or `/dev/tape/by-id/...-changer`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tapeloom.errors import DeviceError, FormatError
from tapeloom.library import layout
from tapeloom.library.contract import Element, Kind, numbered
from tapeloom.library.layout import Range
from tapeloom.library.scsi import Scsi, open_node, sender

MEDIUM_CHANGER: Final = 8

ASK_SECONDS: Final = 60.0
"""What it answers from memory; but it may first have to come back from a reset."""
STATUS_SECONDS: Final = 300.0
"""READ ELEMENT STATUS: after a door was open some changers look at all elements first."""
MOVE_SECONDS: Final = 900.0
"""MOVE MEDIUM: an arm crosses a large library in a minute, hands over to another arm in some, and a drive may take
minutes to let go of its cartridge."""
SCAN_SECONDS: Final = 7200.0
"""INITIALIZE ELEMENT STATUS: a barcode a second, and there are libraries of thousands of slots."""

ELEMENTS_AT_ONCE: Final = 400
_ELEMENT_BYTES: Final = 160
"""Of a descriptor: 12, two tags of 36, and an identifier that is not longer than the rest."""


class ScsiChanger:
    """See `tapeloom.library.contract.Changer`."""

    def __init__(self, scsi: Scsi, fd: int | None = None):
        """`fd`: of the device node, which is locked and in the end closed."""
        self.shown = scsi.shown
        self._scsi = scsi
        self._fd = fd
        self._serials = True
        kind, self.model = layout.parse_peripheral(
            scsi.command(layout.inquiry(None, 96), room=96, seconds=ASK_SECONDS, what="asking what it is")
        )
        if kind != MEDIUM_CHANGER:
            raise DeviceError(
                f"{self.shown}: this is {self.model or 'a device'} of type {kind}, and no medium changer: look for "
                'the node that `lsscsi -g` calls "mediumx"'
            )
        scsi.command(layout.TEST_UNIT_READY, seconds=STATUS_SECONDS, what="asking whether it is ready")
        page = scsi.command(
            layout.mode_sense(layout.ADDRESSES_PAGE, 255), room=255, seconds=ASK_SECONDS, what="asking for its elements"
        )
        with self._readable():
            self._ranges = layout.parse_addresses(page)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self._fd is None:
            yield
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def inventory(self) -> Sequence[Element]:
        found: list[Element] = []
        for kind, whole in self._ranges.items():
            for first in range(whole.first, whole.first + whole.count, ELEMENTS_AT_ONCE):
                part = Range(first, min(ELEMENTS_AT_ONCE, whole.first + whole.count - first))
                found += self._status(kind, part)
        return numbered(found)

    def move(self, origin: Element, target: Element) -> None:
        transport = self._ranges[Kind.TRANSPORT].first
        what = f"moving {origin.barcode or 'a cartridge'} from {origin.shown} to {target.shown}"
        cdb = layout.move_medium(transport, origin.address, target.address)
        self._scsi.command(cdb, seconds=MOVE_SECONDS, what=what)

    def scan(self) -> None:
        self._scsi.command(layout.INITIALIZE_ELEMENT_STATUS, seconds=SCAN_SECONDS, what="looking at all elements")

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _status(self, kind: Kind, part: Range) -> list[Element]:
        """Bays with the serial numbers of their drives, if the changer knows how to say them."""
        if kind is Kind.BAY and self._serials:
            try:
                return self._asked(kind, part, serials=True)
            except DeviceError:  # an old changer refuses the bit that asks for them
                found = self._asked(kind, part, serials=False)
                self._serials = False
                return found
        return self._asked(kind, part, serials=False)

    def _asked(self, kind: Kind, part: Range, *, serials: bool) -> list[Element]:
        room = 16 + part.count * _ELEMENT_BYTES
        while True:
            cdb = layout.read_element_status(kind, part, room, serials=serials)
            data = self._scsi.command(cdb, room=room, seconds=STATUS_SECONDS, what="asking what is where")
            with self._readable():
                whole = layout.status_bytes(data)
                if whole <= room:
                    return [one for one in layout.parse_elements(data) if one.kind is kind]
            room = whole

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except FormatError as error:
            raise DeviceError(f"{self.shown}: its answer makes no sense: {error}") from None


def open_scsi_changer(path: str, shown: str) -> ScsiChanger:
    fd = open_node(path, shown)
    try:
        return ScsiChanger(Scsi(sender(fd), shown), fd)
    except BaseException:
        os.close(fd)
        raise


def serial_of(path: str, shown: str) -> str:
    """The unit serial number of the device behind a node (VPD page 80h). Raises DeviceError.

    The kernel has asked for that page when it found the device, and shows it in sysfs: so a drive that somebody else
    holds can be told, too. What does not say it there is asked itself.
    """
    try:
        device = os.stat(path).st_rdev
        kept = Path(f"/sys/dev/char/{os.major(device)}:{os.minor(device)}/device/vpd_pg80").read_bytes()
    except OSError:
        kept = _asked_serial(path, shown)
    try:
        return layout.parse_serial(kept)
    except FormatError as error:
        raise DeviceError(f"{shown}: its serial number cannot be read: {error}") from None


def _asked_serial(path: str, shown: str) -> bytes:
    fd = open_node(path, shown)
    try:
        cdb = layout.inquiry(layout.SERIAL_PAGE, 255)
        return Scsi(sender(fd), shown).command(cdb, room=255, seconds=ASK_SECONDS, what="asking for its serial number")
    finally:
        os.close(fd)
