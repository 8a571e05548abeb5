"""A real tape drive: "/dev/nst0" or "/dev/tape/by-id/...-nst", over csrc/stdev.c and the Linux st driver."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from tapeloom._devio import ffi, lib
from tapeloom.device.contract import UNNAMED, Magazine, Status, failure
from tapeloom.device.native import NativeDrive, owned
from tapeloom.device.nodes import tape_node
from tapeloom.device.tape import CARTRIDGE_NAME, check_cartridge_name
from tapeloom.errors import DeviceError, HeldError, NoMedium, NotReady, UsageError
from tapeloom.softdrive import Trouble

if TYPE_CHECKING:
    from tapeloom.device.aside import Aside
    from tapeloom.health import Health

READ_ATTRIBUTE = 0x8C
BARCODE_ATTRIBUTE = 0x0806
MEDIUM_TYPE_ATTRIBUTE = 0x0408
WORM_TYPE = 0x80
"""Attributes of a cartridge's memory (SPC-4, 7.4.2), and the type of one that is written once."""

PATIENCE_SECONDS = 120.0
"""So long `load` waits for a cartridge that is becoming ready: longer than a load takes, shorter than a calibration."""

_POLL_SECONDS = 0.5
_QUICK_SECONDS = 60.0
_TROUBLED_WORDS = {0x03: "somebody has to look after it", 0x12: "it is offline", 0x09: "a self-test is running"}


class Answer(Struct, frozen=True):
    """What a drive said to a SCSI command. `good`: it did what it was asked; `key`, `asc`, `ascq`: of its sense."""

    good: bool
    status: int
    key: int
    asc: int
    ascq: int
    data: bytes


class StDrive(NativeDrive):
    """See `device.open_drive`.

    Alone, it holds the one cartridge that somebody put into it, `UNNAMED` until `call_it`, unless its memory has a
    barcode. `close` rewinds it and leaves it in. With a magazine it is a library's drive: `load` has cartridges
    brought, and `unload` and `close` have them put away.

    Parameters
    ----------
    path : of a no-rewind node.
    aside : the process that the drive is in, which serves a fresh `struct tl_st`; None: this one.
    """

    patience_seconds = PATIENCE_SECONDS
    on_waiting: Callable[[str], None] | None = None
    """Told once, while `load` waits for a cartridge that is becoming ready."""

    def __init__(
        self,
        path: str,
        *,
        name: str,
        trouble: Trouble | None = None,
        magazine: Magazine | None = None,
        aside: Aside | None = None,
    ) -> None:
        self.node = tape_node(path, f"drive {name}")
        self._magazine = magazine
        self.fed_by_hand = magazine is None
        self._loaded: str | None = None
        self._last = ""
        self._write_once = False
        self._loads = 0
        self._facts = ffi.new("struct tl_st_facts *")
        self.aside = aside
        if aside is None:
            ops, handle = lib.tl_st_ops(), owned(lib.tl_st_new(), lib.tl_st_free)
        else:
            ops, handle = aside.ops, aside.handle
        super().__init__(name, path, ops, handle, trouble)
        self._open()

    def _open(self) -> None:
        asked = ffi.new("struct tl_st_open *")
        path = self.spec.encode()
        if len(path) >= lib.TL_ST_PATH_BYTES:
            raise UsageError(f"drive {self.name}: {self.spec}: the name is too long")
        asked.path = path
        asked.direct_bytes = self.node.direct_bytes
        status = self._control(lib.TL_ST_OPEN, asked)
        if status == Status.ERR_BUSY:
            holder = next(self.node.holders(), "a process that this one may not see")
            raise HeldError(f"drive {self.name} ({self.spec}) is held by {holder}")
        if status != Status.OK:
            raise self._failure(status, "open", self._handle)
        self._ask_facts(lib.TL_ST_FACTS)

    @property
    def block_bytes_max(self) -> int:
        return int(self._facts.block_bytes_max)

    @property
    def block_bytes_direct_max(self) -> int:
        return min(self.node.direct_bytes, self.block_bytes_max)

    @property
    def limits(self) -> str:
        """Where the longest block comes from, in words."""
        facts = self._facts
        if not facts.limits_known:
            return "its limits cannot be asked for without CAP_SYS_RAWIO"
        adapter = facts.adapter_bytes_max or "an unknown number of"
        return f"blocks of {facts.drive_block_min} to {facts.drive_block_max} bytes; the host adapter takes {adapter}"

    @property
    def loaded(self) -> str | None:
        return self._loaded

    @property
    def write_protected(self) -> bool:
        if self._loaded is None:
            raise failure(Status.ERR_NO_MEDIUM, f"drive {self.name}")
        return bool(self._facts.write_protected)

    @property
    def write_once(self) -> bool:
        return self._write_once

    def call_it(self, name: str) -> None:
        if self._magazine is None and self._loaded is not None:
            self._loaded = name
            return
        super().call_it(name)

    def cartridges(self) -> list[str]:
        self._open_handle()
        if self._magazine is not None:
            return self._magazine.names()
        if self._loaded is not None:
            return [self._loaded]
        self._ask_facts(lib.TL_ST_READY)
        return [UNNAMED] if self._facts.ready == lib.TL_ST_LOADED else []

    def changes(self) -> object:
        self._open_handle()
        if self._magazine is not None:
            return self._magazine.changes()
        if self._loaded is None:
            self._ask_facts(lib.TL_ST_READY)
        return self._loads, int(self._facts.ready), int(self._facts.changes)

    def new_cartridge(self, name: str) -> None:
        check_cartridge_name(name)
        raise UsageError(f"drive {self.name}: {self.spec} cannot make cartridges; put a blank one in")

    def load(self, cartridge: str | None = None) -> None:
        self._open_handle()
        if cartridge not in (None, UNNAMED):
            check_cartridge_name(str(cartridge))
        wanted = None if cartridge == UNNAMED else cartridge
        if self._loaded is not None and wanted in (None, self._loaded):
            if self._over() is Status.OK:
                self.rewind()
                return
            wanted = wanted or (self._loaded if self._magazine else None)
        if self._magazine is not None:
            self._bring(self._magazine, wanted)
        elif wanted is not None and self._loaded not in (None, UNNAMED):
            raise self._another(wanted)
        self._become_ready()
        self._loads += 1
        self._loaded = self._name()
        self._write_once = self._attribute(MEDIUM_TYPE_ATTRIBUTE) == bytes([WORM_TYPE])
        if self._magazine is None and wanted is not None and self._loaded not in (UNNAMED, wanted):
            raise self._another(wanted)

    def unload(self) -> None:
        if self._loaded is None:
            return
        try:
            self._eject()
        finally:
            if self._magazine is not None:
                self._magazine.put_away()

    def _eject(self) -> None:
        """The drive's part of unloading: what is in it is out, or can be taken out, even if this raises."""
        what = self._place("unload")
        try:
            if self._loaded is not None and self._over() is Status.OK:
                self.rewind()  # through the table, so that late errors and those of the closing filemark are heard
        finally:
            self._loaded = None
            status = self._control(lib.TL_ST_UNLOAD)
        if status not in (Status.OK, Status.ERR_NO_MEDIUM):
            raise failure(status, what, lib.tl_last_errno(self._ops, self._handle))

    def scsi(self, cdb: bytes, *, take: int = 0, give: bytes = b"", seconds: float = _QUICK_SECONDS) -> Answer:
        """One SCSI command to the drive. DeviceError: it could not be sent, which needs CAP_SYS_RAWIO.

        Parameters
        ----------
        take, give : bytes that the drive sends, or that it gets; at most 64 KiB.
        """
        self._open_handle()
        sg = ffi.new("struct tl_st_sg *")
        if len(cdb) > len(sg.cdb) or max(take, len(give)) > len(sg.data) or (take and give):
            raise UsageError(f"drive {self.name}: a SCSI command of {len(cdb)} bytes, {take} back, {len(give)} along")
        ffi.memmove(sg.cdb, cdb, len(cdb))
        ffi.memmove(sg.data, give, len(give))
        sg.cdb_bytes, sg.bytes, sg.timeout_ms = len(cdb), take or len(give), int(seconds * 1000)
        sg.direction = 1 if give else 2 if take else 0
        status = self._control(lib.TL_ST_SG, sg)
        if status != Status.OK:
            raise failure(status, self._place(f"SCSI command {cdb[0]:02x}h"), sg.error)
        result = sg.result
        good = bool(lib.tl_sg_good(ffi.addressof(sg, "result")))
        data = bytes(ffi.buffer(sg.data, max(0, take - result.residue))) if take else b""
        return Answer(good, result.scsi_status, result.key, result.asc, result.ascq, data)

    def health(self, *, alerts: bool = True) -> Health | None:
        from tapeloom.device.health import HealthReader  # of real drives only

        before = self._over(), int(self._facts.changes)

        def ask(cdb: bytes, take: int) -> Answer:
            answer = self.scsi(cdb, take=take)
            if (self._over(), int(self._facts.changes)) != before:
                raise failure(Status.ERR_POSITION_LOST, self._place("health"))
            return answer

        return HealthReader(ask).read(alerts=alerts)

    def _leave(self) -> None:
        if self._magazine is not None:
            self.unload()
        elif self._loaded is not None and self._over() is Status.OK:
            self.rewind()

    def _let_go(self) -> None:
        try:
            if self.aside is None or self.aside.ended is None:  # else the kernel has closed it
                status = self._control(lib.TL_ST_CLOSE)
                if status != Status.OK:
                    raise self._failure(status, "close", self._handle)
        finally:
            self._loaded = None
            if self._magazine is not None:
                self._magazine.close()

    def _control(self, op: int, argument: Any = ffi.NULL) -> Status:
        bytes_ = ffi.sizeof(ffi.typeof(argument).item) if argument else 0
        return Status(lib.tl_control(self._ops, self._handle, op, argument, bytes_))

    def _ask_facts(self, op: int) -> Status:
        """Raises DeviceError where its process has ended: the facts are old then, and never change again."""
        status = self._control(op, self._facts)
        if status == Status.ERR_IO and self.aside is not None and self.aside.ended is not None:
            raise self._failure(status, "question", self._handle)
        return status

    def _over(self) -> Status:
        """The failure that ended the mount, or OK."""
        self._ask_facts(lib.TL_ST_FACTS)
        return Status(self._facts.over)

    def _bring(self, magazine: Magazine, wanted: str | None) -> None:
        """Nothing where it is in already."""
        inside = magazine.loaded()
        if wanted is None:
            wanted = inside or next((name for name in magazine.names() if name > self._last), None)
        if wanted is None:
            raise NoMedium(f"drive {self.name}: its library has no further cartridge", status=Status.ERR_NO_MEDIUM)
        if wanted not in magazine.names():
            has = f"it has {', '.join(magazine.names())}" if magazine.names() else "it has none"
            raise NoMedium(f"drive {self.name}: there is no cartridge {wanted}; {has}", status=Status.ERR_NO_MEDIUM)
        if inside != wanted:
            self._eject()
            magazine.bring(wanted)
        self._last = wanted

    def _name(self) -> str:
        if self._magazine is not None:
            return self._magazine.loaded() or UNNAMED
        return self._barcode() or UNNAMED

    def _barcode(self) -> str | None:
        value = self._attribute(BARCODE_ATTRIBUTE)
        text = "" if value is None else value.decode("ascii", errors="replace").strip("\0 ")
        return text if CARTRIDGE_NAME.fullmatch(text) else None

    def _attribute(self, number: int) -> bytes | None:
        """From the cartridge's memory, where drive and system offer it."""
        cdb = bytes([READ_ATTRIBUTE, 0, 0, 0, 0, 0, 0, 0, *number.to_bytes(2), 0, 0, 1, 0, 0, 0])
        try:
            answer = self.scsi(cdb, take=256)
        except DeviceError:
            return None
        attribute = answer.data[4:]
        if not answer.good or len(attribute) < 5 or int.from_bytes(attribute[:2]) != number:
            return None
        return attribute[5 : 5 + int.from_bytes(attribute[3:5])]

    def _become_ready(self) -> None:
        """Opens the node anew, rewinds, and waits a while where the cartridge is still being loaded."""
        until = time.monotonic() + self.patience_seconds
        told = False
        self._loaded = None
        while True:
            status = self._ask_facts(lib.TL_ST_LOAD)
            if status == Status.OK:
                self._check_that_it_waits()
                return
            ready = self._facts.ready
            coming = ready == lib.TL_ST_BECOMING or (status == Status.ERR_NO_MEDIUM and self._magazine is not None)
            if not coming or time.monotonic() >= until:
                raise self._not_ready(status)
            if self.on_waiting is not None and not told:
                self.on_waiting(str(self._not_ready(status)))
            told = True
            threading.Event().wait(_POLL_SECONDS)

    def _check_that_it_waits(self) -> None:
        """Behind opening the node, which nobody else can open then, and change this."""
        if not self.node.waits:
            raise DeviceError(
                f"drive {self.name}: its driver does not wait for the drive, so that a filemark proves nothing; make "
                f"it wait: mt -f {self.spec} stclearoptions 0xa000",
                status=Status.ERR_UNSUPPORTED,
            )

    def _not_ready(self, status: Status) -> DeviceError | HeldError:
        what = f"drive {self.name}"
        facts = self._facts
        if status == Status.ERR_NO_MEDIUM:
            return NoMedium(f"{what}: no cartridge is in it; put one in", status=status)
        if status == Status.ERR_BUSY and facts.ready == lib.TL_ST_BECOMING:
            return NotReady(
                f"{what}: its cartridge is becoming ready: waiting. LTO-9 cartridges may calibrate up to two hours "
                "when they are loaded first: leave it in",
                status=status,
            )
        error = lib.tl_last_errno(self._ops, self._handle)
        if status == Status.ERR_BUSY:
            return HeldError(f"{what} ({self.spec}) is held by {next(self.node.holders(), 'another process')}")
        if status == Status.ERR_UNSUPPORTED:
            return DeviceError(f"{what}: it would not be set to blocks of variable length", status=status, errno=error)
        if error in (0, errno.EIO) and facts.key:
            why = _TROUBLED_WORDS.get(facts.ascq, "see the drive's display") if facts.asc == 0x04 else "see its manual"
            sense = f"sense {facts.key:x}h/{facts.asc:02x}h/{facts.ascq:02x}h"
            return DeviceError(f"{what}: it is not ready: {why} ({sense})", status=status, errno=error)
        return failure(status, f"{what}: load", error)

    def _another(self, wanted: str) -> NoMedium:
        return NoMedium(
            f"drive {self.name}: there is no cartridge {wanted}; it has {self._loaded}: put {wanted} in",
            status=Status.ERR_NO_MEDIUM,
        )
