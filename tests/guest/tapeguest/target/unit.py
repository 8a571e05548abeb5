"""What drives and changer have in common: unit attentions, faults, commands that hang, and who they are."""

from __future__ import annotations

import struct
import threading
from collections import deque
from dataclasses import dataclass

from tapeguest.target.sense import NOT_READY, UNIT_ATTENTION, Check, bad_field

VENDOR = "TAPELOOM"
REVISION = "0001"

INQUIRY, REPORT_LUNS, REQUEST_SENSE, TEST_UNIT_READY = 0x12, 0xA0, 0x03, 0x00

POWER_ON = (0x29, 0)
CARTRIDGE_CHANGED = (0x28, 0)
IMPORT_EXPORT_ACCESSED = (0x28, 1)


@dataclass(slots=True)
class Fault:
    """After `after` good ones, `times` commands of this opcode fail; with `carry_out`, they do their work first."""

    opcode: int
    key: int
    asc: int = 0
    ascq: int = 0
    after: int = 0
    times: int = 1
    carry_out: bool = False


class Unit:
    """A logical unit. `lock` is held by whoever changes it: a session, or an operator's request."""

    device_type: int
    product: str
    serial: str
    extra_pages: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.luns = 1
        self._attentions: dict[object, deque[tuple[int, int]]] = {}
        self._log: deque[str] = deque(maxlen=4000)
        self._released = threading.Event()
        self.heal()

    def heal(self) -> None:
        """Ends every fault, hanging commands included."""
        self.faults: list[Fault] = []
        self.becoming = 0
        self._hang: tuple[int | None, int] | None = None
        self.hanging = 0
        self._released.set()

    def attention(self, code: tuple[int, int]) -> None:
        """Each initiator's next command fails with this UNIT ATTENTION."""
        for waiting in self._attentions.values():
            if code not in waiting:
                waiting.append(code)

    def seen(self) -> list[str]:
        """The commands, in hexadecimal, since this was asked last."""
        found = list(self._log)
        self._log.clear()
        return found

    def hang(self, opcode: int | None, after: int) -> None:
        """After `after` further commands of this opcode (None: of any), no command is answered until `heal`."""
        self._released.clear()
        self._hang = (opcode, after)

    def hangs(self, cdb: bytes) -> bool:
        """Whether this command is not to be answered yet: whoever brought it calls `wait_released` then."""
        with self.lock:
            if self._hang is None:
                return False
            opcode, after = self._hang
            if opcode is not None and cdb[0] != opcode:
                return False
            if after:
                self._hang = (opcode, after - 1)
                return False
            self._hang = (None, 0)
            self.hanging += 1
            return True

    def wait_released(self) -> None:
        self._released.wait()

    def execute(self, initiator: object, cdb: bytes, sent: bytes) -> bytes:
        """Carries a command out; returns what it reads. Raises Check."""
        with self.lock:
            self._log.append(cdb.hex())
            attentions = self._attentions.setdefault(initiator, deque([POWER_ON]))
            if cdb[0] == REPORT_LUNS:
                return self._report_luns()
            if cdb[0] == INQUIRY:
                return self._inquiry(cdb)
            if cdb[0] == REQUEST_SENSE:
                return Check(0).sense()[: cdb[4]]
            if attentions:
                raise Check(UNIT_ATTENTION, *attentions.popleft())
            self._fail(cdb, sent)
            return self.command(cdb, sent)

    def command(self, cdb: bytes, sent: bytes) -> bytes:
        raise NotImplementedError

    def become_ready(self) -> None:
        """Raises BECOMING READY as often as was asked for."""
        if self.becoming:
            self.becoming -= 1
            raise Check(NOT_READY, 4, 1)

    def _fail(self, cdb: bytes, sent: bytes) -> None:
        for fault in self.faults:
            if fault.opcode != cdb[0]:
                continue
            if fault.after:
                fault.after -= 1
                return
            fault.times -= 1
            if fault.times <= 0:
                self.faults.remove(fault)
            if fault.carry_out:
                self.command(cdb, sent)
            raise Check(fault.key, fault.asc, fault.ascq)

    def _report_luns(self) -> bytes:
        return struct.pack(">II", 8 * self.luns, 0) + b"".join(
            struct.pack(">HHI", lun, 0, 0) for lun in range(self.luns)
        )

    def designator(self) -> bytes:
        """T10 vendor identification: vendor, product, serial number, as drives give it to hosts and libraries."""
        return f"{VENDOR:8}{self.product:16}{self.serial}".encode()

    def _inquiry(self, cdb: bytes) -> bytes:
        room = int.from_bytes(cdb[3:5], "big")
        if not cdb[1] & 1:
            if cdb[2]:
                raise bad_field()
            names = f"{VENDOR:8}{self.product:16}{REVISION}".encode()
            return (bytes([self.device_type, 0x80, 5, 2, 31, 0, 0, 2]) + names)[:room]
        page = self.vital_page(cdb[2])
        return (struct.pack(">BBH", self.device_type, cdb[2], len(page)) + page)[:room]

    def vital_page(self, page: int) -> bytes:
        if page == 0:
            return bytes([0, 0x80, 0x83, *self.extra_pages])
        if page == 0x80:
            return self.serial.encode()
        if page == 0x83:
            return struct.pack(">BBBB", 2, 1, 0, len(self.designator())) + self.designator()
        raise bad_field()
