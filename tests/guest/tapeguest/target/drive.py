"""A tape drive: a sequential-access device after SSC-3, in variable and fixed block mode."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tapeguest.target import pages
from tapeguest.target.cartridge import MARK, Cartridge
from tapeguest.target.sense import (
    BLANK_CHECK,
    END_OF_MEDIUM,
    FILEMARK,
    ILLEGAL_REQUEST,
    MEDIUM_ERROR,
    NOT_READY,
    VOLUME_OVERFLOW,
    WRONG_LENGTH,
    Check,
    bad_command,
    bad_field,
)
from tapeguest.target.unit import CARTRIDGE_CHANGED, Unit

DENSITY = 0x58


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


class Drive(Unit):
    device_type, product = 1, "TEST DRIVE"
    extra_pages = (0xB0,)

    def __init__(self, number: int, block_bytes_max: int) -> None:
        super().__init__()
        self.serial = f"DRV{number + 1:05d}"
        self.block_bytes_max = block_bytes_max
        self.cartridge: Cartridge | None = None
        self.threaded = False
        self.locked = False
        self.position = 0
        self.block = 0
        self.density = DENSITY
        self.compression = True
        self.health = pages.Health()
        self._commands: dict[int, Callable[[bytes, bytes], bytes]] = {
            0x00: lambda cdb, sent: self._nothing(),
            0x01: lambda cdb, sent: self._rewind(),
            0x05: lambda cdb, sent: bytes([0]) + self.block_bytes_max.to_bytes(3, "big") + bytes([0, 1]),
            0x08: lambda cdb, sent: self._read(bool(cdb[1] & 1), bool(cdb[1] & 2), int.from_bytes(cdb[2:5], "big")),
            0x0A: lambda cdb, sent: self._write(bool(cdb[1] & 1), int.from_bytes(cdb[2:5], "big"), sent),
            0x10: lambda cdb, sent: self._write_filemarks(int.from_bytes(cdb[2:5], "big")),
            0x11: lambda cdb, sent: self._space(cdb[1] & 15, _signed(cdb[2:5])),
            0x15: lambda cdb, sent: self._mode_select(sent, 4),
            0x16: lambda cdb, sent: b"",  # RESERVE, RELEASE: nobody else is there
            0x17: lambda cdb, sent: b"",
            0x19: lambda cdb, sent: self._erase(),
            0x1A: lambda cdb, sent: pages.mode_sense_6(self, cdb),
            0x1B: lambda cdb, sent: self._load_unload(bool(cdb[4] & 1)),
            0x1D: lambda cdb, sent: b"",  # SEND DIAGNOSTIC
            0x1E: lambda cdb, sent: self._lock(bool(cdb[4] & 1)),
            0x2B: lambda cdb, sent: self._locate(int.from_bytes(cdb[3:7], "big")),
            0x34: lambda cdb, sent: self._read_position(cdb[1] & 31),
            0x44: lambda cdb, sent: self._density_support(),
            0x4D: lambda cdb, sent: pages.log_sense(self, cdb),
            0x55: lambda cdb, sent: self._mode_select(sent, 8),
            0x5A: lambda cdb, sent: pages.mode_sense_10(self, cdb),
            0x8C: lambda cdb, sent: pages.read_attribute(self, cdb),
            0x91: lambda cdb, sent: self._space(cdb[1] & 15, _signed(cdb[4:12])),
            0x92: lambda cdb, sent: self._locate(int.from_bytes(cdb[4:12], "big")),
        }

    # What hands do, an operator's or a changer's

    def insert(self, cartridge: Cartridge) -> None:
        with self.lock:
            self.cartridge, self.threaded, self.position = cartridge, True, 0
            cartridge.loads += 1
            self.attention(CARTRIDGE_CHANGED)

    def eject(self) -> Cartridge | None:
        with self.lock:
            cartridge, self.cartridge, self.threaded = self.cartridge, None, False
            return cartridge

    # Commands

    def command(self, cdb: bytes, sent: bytes) -> bytes:
        if cdb[0] not in self._commands:
            raise bad_command()
        return self._commands[cdb[0]](cdb, sent)

    def ready(self) -> Cartridge:
        """The cartridge that is threaded. Raises NOT READY."""
        self.become_ready()
        if self.cartridge is None or not self.threaded:
            raise Check(NOT_READY, 0x3A)
        return self.cartridge

    def vital_page(self, page: int) -> bytes:
        return bytes([1]) if page == 0xB0 else super().vital_page(page)  # it can write WORM

    def _nothing(self) -> bytes:
        self.ready()
        return b""

    def _rewind(self) -> bytes:
        self.ready()
        self.position = 0
        return b""

    def _read(self, fixed: bool, short_is_fine: bool, count: int) -> bytes:
        tape = self.ready()
        if fixed and (short_is_fine or not self.block):
            raise bad_field()
        if count == 0:
            return b""
        if fixed:
            return self._read_fixed(tape, count)
        record = self._take(tape, count, b"")
        if len(record) != count and not (short_is_fine and (len(record) < count or not self.block)):
            raise Check(0, information=count - len(record), flags=WRONG_LENGTH, data=record[:count])
        return record[:count]

    def _read_fixed(self, tape: Cartridge, count: int) -> bytes:
        came = b""
        for left in range(count, 0, -1):
            record = self._take(tape, left, came)
            if len(record) != self.block:
                raise Check(0, information=left, flags=WRONG_LENGTH, data=came)
            came += record
        return came

    def _take(self, tape: Cartridge, left: int, came: bytes) -> bytes:
        """The block at the position, which is passed. Raises Check at a filemark, the end of data, a bad spot."""
        if self.position >= len(tape.records):
            raise Check(BLANK_CHECK, 0, 5, information=left, data=came)
        record = tape.records[self.position]
        self.position += 1
        if record is MARK:
            raise Check(0, 0, 1, information=left, flags=FILEMARK, data=came)
        if self.position - 1 in tape.bad:
            self.health.unread += 1
            raise Check(MEDIUM_ERROR, 0x11, information=left, data=came)
        tape.read += len(record)
        return record

    def _write(self, fixed: bool, count: int, sent: bytes) -> bytes:
        tape = self.ready()
        if fixed and not self.block:
            raise bad_field()
        tape.refuse_overwriting(self.position)
        if count == 0:
            return b""
        blocks = [sent[at : at + self.block] for at in range(0, len(sent), self.block)] if fixed else [sent]
        tape.truncate(self.position)
        for number, block in enumerate(blocks):
            if not tape.fits(len(block)):
                left = len(blocks) - number if fixed else count
                raise Check(VOLUME_OVERFLOW, 0, 2, information=left, flags=END_OF_MEDIUM)
            tape.append(bytes(block))
            self.position += 1
        self._warn(tape)
        return b""

    def _write_filemarks(self, count: int) -> bytes:
        tape = self.ready()
        if count == 0:
            return b""
        tape.refuse_overwriting(self.position)
        tape.truncate(self.position)
        for _ in range(count):
            tape.append(MARK)
        self.position += count
        self._warn(tape)
        return b""

    def _warn(self, tape: Cartridge) -> None:
        """Early warning: all is on tape, residue 0."""
        if tape.near_end():
            raise Check(0, 0, 2, information=0, flags=END_OF_MEDIUM)

    def _space(self, what: int, count: int) -> bytes:
        tape = self.ready()
        if what == 3:
            self.position = len(tape.records)
            return b""
        if what not in (0, 1):
            raise bad_field()
        left, over_blocks = abs(count), what == 0
        while left:
            if count > 0 and self.position >= len(tape.records):
                raise Check(BLANK_CHECK, 0, 5, information=left)
            if count < 0 and self.position == 0:
                raise Check(0, 0, 4, information=left, flags=END_OF_MEDIUM)
            record = tape.records[self.position if count > 0 else self.position - 1]
            self.position += 1 if count > 0 else -1
            if over_blocks and record is MARK:
                raise Check(0, 0, 1, information=left, flags=FILEMARK)
            if over_blocks or record is MARK:
                left -= 1
        return b""

    def _locate(self, position: int) -> bytes:
        tape = self.ready()
        self.position = min(position, len(tape.records))
        if position > len(tape.records):
            raise Check(BLANK_CHECK, 0, 5)
        return b""

    def _read_position(self, form: int) -> bytes:
        tape = self.ready()
        at_end = self.position == len(tape.records) and tape.near_end()
        flags = (0x80 if self.position == 0 else 0) | (0x40 if at_end else 0)
        if form in (0, 1):
            return struct.pack(">B3xII8x", flags, self.position, self.position)
        if form == 6:
            marks = tape.records[: self.position].count(MARK)
            return struct.pack(">B3xIQQQ", flags, 0, self.position, marks, 0)
        raise bad_field()

    def _erase(self) -> bytes:
        tape = self.ready()
        tape.refuse_overwriting(self.position)
        tape.truncate(self.position)
        return b""

    def _load_unload(self, load: bool) -> bytes:
        if load and self.cartridge is None:
            raise Check(NOT_READY, 0x3A)
        if not load and self.locked:
            raise Check(ILLEGAL_REQUEST, 0x53, 2)
        self.threaded, self.position = load, 0
        return b""

    def _lock(self, locked: bool) -> bytes:
        self.locked = locked
        return b""

    def _density_support(self) -> bytes:
        return struct.pack(">HH", 54, 0) + bytes([DENSITY, DENSITY, 0xA0, 0]) + bytes(48)

    def _mode_select(self, sent: bytes, header: int) -> bytes:
        if not sent:
            return b""
        descriptor = sent[3] if header == 4 else int.from_bytes(sent[6:8], "big")
        if descriptor >= 8:
            block = int.from_bytes(sent[header + 5 : header + 8], "big")
            if block > self.block_bytes_max:
                raise Check(ILLEGAL_REQUEST, 0x26)
            self.block = block
            if sent[header] not in (0, 0x7F):
                self.density = sent[header]
        page = sent[header + descriptor :]
        while len(page) >= 2:
            if page[0] & 0x3F == pages.COMPRESSION:
                self.compression = bool(page[2] & 0x80)
            page = page[2 + page[1] :]
        return b""
