"""One session of an iSCSI initiator (RFC 7143), as far as QEMU's block driver uses it: one connection, no digests, no
error recovery, one outstanding R2T."""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import dataclass
from typing import BinaryIO

from tapeguest.target.library import Library
from tapeguest.target.sense import ILLEGAL_REQUEST, Check
from tapeguest.target.unit import INQUIRY, POWER_ON, REPORT_LUNS, Unit

NAME = "iqn.2024-01.test:tape"

NOP_OUT, COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
NOP_IN, RESPONSE, TASK_MANAGED, LOGGED_IN, TEXT_ANSWER, DATA_IN, LOGGED_OUT, READY = (
    0x20,
    0x21,
    0x22,
    0x23,
    0x24,
    0x25,
    0x26,
    0x31,
)
FINAL, READS, WRITES, IMMEDIATE = 0x80, 0x40, 0x20, 0x40
OVERFLOW, UNDERFLOW = 4, 2
RESETS = (5, 6, 7)  # logical unit, target warm, target cold
WINDOW = 64
NO_TASK = b"\xff" * 4
NO_TAG = 0xFFFFFFFF

MINE = {
    "HeaderDigest": "None",
    "DataDigest": "None",
    "ErrorRecoveryLevel": "0",
    "InitialR2T": "Yes",
    "ImmediateData": "Yes",
    "MaxConnections": "1",
    "MaxOutstandingR2T": "1",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "IFMarker": "No",
    "OFMarker": "No",
    "AuthMethod": "None",
    "MaxRecvDataSegmentLength": str(1 << 20),
}
"""What this end answers, whatever it was offered."""

NOT_NEGOTIATED = {"InitiatorName", "InitiatorAlias", "SessionType", "TargetName"}
BURST_MAX = 16 << 20


@dataclass(slots=True)
class Pdu:
    """One that came: its header of 48 bytes, and its data."""

    head: bytes
    data: bytes

    @property
    def opcode(self) -> int:
        return self.head[0] & 0x3F

    @property
    def flags(self) -> int:
        return self.head[1]

    @property
    def lun_field(self) -> bytes:
        return self.head[8:16]

    @property
    def lun(self) -> int:
        return int.from_bytes(self.head[8:10], "big") & 0x3FFF

    @property
    def task(self) -> bytes:
        return self.head[16:20]


class Session:
    """Answers one initiator until it goes. A command that hangs waits in a thread of its own, so that the initiator's
    pings are answered meanwhile."""

    def __init__(self, connection: socket.socket, library: Library) -> None:
        self._connection = connection
        self._library = library
        self._stream: BinaryIO = connection.makefile("rb", 1 << 20)
        self._sending = threading.Lock()
        self._queued: list[Pdu] = []
        self._parked: set[bytes] = set()
        self._status_number = 1
        self._expected = 0
        self._burst = 1 << 18
        self._segment = 8192

    def run(self) -> None:
        with self._connection, self._stream:
            while (pdu := self._next()) is not None:
                number = int.from_bytes(pdu.head[24:28], "big")
                if pdu.opcode == LOGIN:
                    self._expected = number
                elif not pdu.head[0] & IMMEDIATE:
                    self._expected = (number + 1) & 0xFFFFFFFF
                if not self._handle(pdu):
                    return

    def _next(self) -> Pdu | None:
        return self._queued.pop(0) if self._queued else self._receive()

    def _receive(self) -> Pdu | None:
        head = self._stream.read(48)
        if len(head) < 48:
            return None
        self._stream.read(head[4] * 4)
        length = int.from_bytes(head[5:8], "big")
        return Pdu(head, self._stream.read((length + 3) & ~3)[:length])

    def _send(self, opcode: int, flags: int, task: bytes, **rest: object) -> None:
        with self._sending:
            self._connection.sendall(self._pdu(opcode, flags, task, **rest))  # type: ignore[arg-type]

    def _pdu(
        self,
        opcode: int,
        flags: int,
        task: bytes,
        *,
        data: bytes = b"",
        status: int = 0,
        lun: bytes = bytes(8),
        tag: int = NO_TAG,
        tail: tuple[int, int, int] = (0, 0, 0),
        counts: bool = True,
    ) -> bytes:
        """The bytes of an answer. `counts`: it bears a status, and with it the next status number."""
        head = struct.pack(
            ">BBBBI8s4s7I",
            opcode,
            flags,
            0,
            status,
            len(data),
            lun,
            task,
            tag,
            self._status_number,
            self._expected,
            self._expected + WINDOW,
            *tail,
        )
        if counts:
            self._status_number = (self._status_number + 1) & 0xFFFFFFFF
        return head + data + bytes(-len(data) % 4)

    def _handle(self, pdu: Pdu) -> bool:
        """False: the session is over."""
        if pdu.opcode == LOGIN:
            self._login(pdu)
        elif pdu.opcode == TEXT:
            address = "{}:{}".format(*self._connection.getsockname())
            self._send(TEXT_ANSWER, FINAL, pdu.task, data=f"TargetName={NAME}\0TargetAddress={address},1\0".encode())
        elif pdu.opcode == NOP_OUT:
            if pdu.task != NO_TASK:
                self._send(NOP_IN, FINAL, pdu.task, data=pdu.data, lun=pdu.lun_field)
        elif pdu.opcode == TASK_MANAGEMENT:
            self._manage(pdu)
        elif pdu.opcode == COMMAND:
            self._command(pdu)
        elif pdu.opcode == LOGOUT:
            self._send(LOGGED_OUT, FINAL, pdu.task)
            return False
        else:
            raise ConnectionError(f"the initiator sent what this target does not know: {pdu.opcode:#x}")
        return True

    def _login(self, pdu: Pdu) -> None:
        offered = dict(pair.split("=", 1) for pair in pdu.data.decode().split("\0") if "=" in pair)
        self._segment = int(offered.get("MaxRecvDataSegmentLength", self._segment))
        self._burst = min(int(offered.get("MaxBurstLength", self._burst)), BURST_MAX)
        answers = {}
        for key, value in offered.items():
            if key in ("MaxBurstLength", "FirstBurstLength"):
                answers[key] = str(min(int(value), BURST_MAX))
            elif key not in NOT_NEGOTIATED:
                answers[key] = MINE.get(key, "NotUnderstood")
        if pdu.flags >> 2 & 3 == 0:
            answers["TargetPortalGroupTag"] = "1"
        data = b"".join(f"{key}={value}\0".encode() for key, value in answers.items())
        self._status_number = int.from_bytes(pdu.head[28:32], "big") or self._status_number
        session = pdu.head[8:14] + b"\0\1"
        self._send(LOGGED_IN, pdu.flags & 0xCF, pdu.task, data=data, lun=session, tag=0)

    def _manage(self, pdu: Pdu) -> None:
        """ABORT TASK and resets: what hangs is forgotten, and stays hung."""
        self._parked.clear()
        if pdu.flags & 0x7F in RESETS:
            for unit in self._library.units:
                unit.attention(POWER_ON)
        self._send(TASK_MANAGED, FINAL, pdu.task)

    # SCSI commands

    def _command(self, pdu: Pdu) -> None:
        sent = self._collect(pdu)
        units = self._library.units
        unit = units[pdu.lun] if pdu.lun < len(units) else None
        if unit is not None and unit.hangs(pdu.head[32:48]):
            self._parked.add(pdu.task)
            threading.Thread(target=self._answer_late, args=(pdu, unit, sent), daemon=True).start()
        else:
            self._answer(pdu, unit, sent)

    def _answer_late(self, pdu: Pdu, unit: Unit, sent: bytes) -> None:
        unit.wait_released()
        if pdu.task in self._parked:
            self._parked.discard(pdu.task)
            self._answer(pdu, unit, sent)

    def _collect(self, pdu: Pdu) -> bytes:
        """What a command writes: came with it, and the rest is asked for, a burst at a time."""
        parts, have = [pdu.data], len(pdu.data)
        expected = int.from_bytes(pdu.head[20:24], "big") if pdu.flags & WRITES else 0
        while have < expected:
            wanted = min(expected - have, self._burst)
            self._send(READY, FINAL, pdu.task, lun=pdu.lun_field, tag=7, tail=(0, have, wanted), counts=False)
            end = have + wanted
            while have < end:
                piece = self._receive()
                if piece is None:
                    raise ConnectionError("the initiator is gone in the middle of a write")
                if piece.opcode == DATA_OUT and piece.task == pdu.task:
                    parts.append(piece.data)
                    have += len(piece.data)
                else:
                    self._queued.append(piece)
        return b"".join(parts)

    def _answer(self, pdu: Pdu, unit: Unit | None, sent: bytes) -> None:
        data, sense = b"", b""
        try:
            cdb = pdu.head[32:48]
            data = unit.execute(self, cdb, sent) if unit else self._no_unit(cdb)
        except Check as check:
            data, sense = check.data, check.sense()
        expected = int.from_bytes(pdu.head[20:24], "big")
        flags, residue = FINAL, 0
        if pdu.flags & READS:
            residue = abs(len(data) - expected)
            flags |= OVERFLOW if len(data) > expected else UNDERFLOW if len(data) < expected else 0
        with self._sending:
            pieces = self._data_in(pdu, data[:expected]) if pdu.flags & READS else []
            autosense = struct.pack(">H", len(sense)) + sense if sense else b""
            tail = (len(pieces), 0, residue)
            response = self._pdu(RESPONSE, flags, pdu.task, data=autosense, status=2 if sense else 0, tag=0, tail=tail)
            self._connection.sendall(b"".join([*pieces, response]))

    def _data_in(self, pdu: Pdu, data: bytes) -> list[bytes]:
        pieces = []
        for number, at in enumerate(range(0, len(data), self._segment)):
            piece = data[at : at + self._segment]
            last = FINAL if at + len(piece) == len(data) else 0
            tail = (number, at, 0)
            pieces.append(self._pdu(DATA_IN, last, pdu.task, data=piece, lun=pdu.lun_field, tail=tail, counts=False))
        return pieces

    def _no_unit(self, cdb: bytes) -> bytes:
        if cdb[0] == INQUIRY:
            return (bytes([0x7F, 0, 5, 2, 31]) + bytes(31))[: cdb[4]]
        if cdb[0] == REPORT_LUNS:
            return self._library.units[0].execute(self, cdb, b"")
        raise Check(ILLEGAL_REQUEST, 0x25)
