"""Drives whose cartridges are pairs of files, on disk or in memory: what csrc/vtape.c does not do."""

from __future__ import annotations

import os
import re
from abc import abstractmethod

from msgspec import Struct

from tapeloom._devio import ffi, lib
from tapeloom.device.contract import Status, failure
from tapeloom.device.native import NativeDrive, owned
from tapeloom.errors import DeviceError, NoMedium, UsageError, VersionTooNew
from tapeloom.limits import MIB
from tapeloom.softdrive import Model, Trouble

CARTRIDGE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,31}")

EARLY_WARNING_BYTES_MAX = 64 * MIB
EARLY_WARNING_BYTES_MIN = 4 * MIB
_ENDLESS = 2**64 - 1


def check_cartridge_name(name: str) -> str:
    if not CARTRIDGE_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a cartridge: take 1 to 32 of the characters A-Z a-z 0-9 . _ - and no dot in front"
        )
    return name


def early_warning_bytes(capacity: int) -> int:
    """The zone when nobody says how long: an eighth of a small tape, a few blocks at least, 64 MiB at most."""
    return max(min(capacity // 8, EARLY_WARNING_BYTES_MAX), min(capacity // 2, EARLY_WARNING_BYTES_MIN))


class Medium(Struct, frozen=True):
    """The two open files of a cartridge."""

    data_fd: int
    index_fd: int
    writable: bool
    direct: bool


class TapeDrive(NativeDrive):
    """A drive over csrc/vtape.c. A subclass keeps the cartridges, and opens and shuts their files."""

    makes_cartridges = True

    def __init__(
        self,
        name: str,
        spec: str,
        *,
        capacity: int | None,
        early_warning: int | None,
        trouble: Trouble | None,
        model: Model | None,
    ) -> None:
        if capacity is None and model is not None and model.timing.capacity:
            capacity = int(model.timing.capacity)
        if capacity is not None and capacity <= 0:
            raise UsageError(f"drive {name}: a capacity of {capacity} bytes holds nothing")
        if early_warning is not None and not (capacity is not None and 0 < early_warning <= capacity):
            raise UsageError(f"drive {name}: early_warning needs a capacity, and lies between 1 and that many bytes")
        self._capacity = _ENDLESS if capacity is None else capacity
        self._early_warning = 0
        if capacity is not None:
            self._early_warning = early_warning_bytes(capacity) if early_warning is None else early_warning
        self._tape = owned(lib.tl_vtape_new(), lib.tl_vtape_free)
        self._loaded: str | None = None
        self._last = ""
        self._medium: Medium | None = None
        super().__init__(
            name, spec, lib.tl_vtape_ops(), self._tape, trouble, model=model, bytes_before="tl_vtape_bytes_before"
        )

    @abstractmethod
    def _open_medium(self, cartridge: str) -> Medium: ...

    @abstractmethod
    def _shut_medium(self, medium: Medium) -> None: ...

    @property
    def loaded(self) -> str | None:
        return self._loaded

    @property
    def write_protected(self) -> bool:
        self._loaded_medium()
        return bool(lib.tl_vtape_write_protected(self._tape))

    @property
    def direct(self) -> bool:
        """Whether the loaded cartridge is written past the page cache. False: its file system refuses that."""
        return self._loaded_medium().direct

    @property
    def damaged_entries(self) -> int:
        """Entries of the loaded cartridge's index that are damaged or follow such a one: the tape ends before them."""
        self._loaded_medium()
        return int(lib.tl_vtape_damaged(self._tape))

    def load(self, cartridge: str | None = None) -> None:
        self._open_handle()
        if self._loaded is not None and cartridge in (None, self._loaded):
            self.rewind()
            return
        wanted = self._next() if cartridge is None else self._known(cartridge)
        self.unload()
        self._put_in(wanted)

    def _put_in(self, wanted: str) -> None:
        """Into the empty drive, rewound."""
        self._mount(wanted)
        if self._model:
            self._model.put_in()

    def _mount(self, wanted: str) -> None:
        """What `_put_in` does, but for the time that it takes."""
        medium = self._open_medium(wanted)
        mounted = ffi.new(
            "struct tl_vtape_cartridge *",
            (medium.data_fd, medium.index_fd, medium.writable, medium.direct, self._capacity, self._early_warning),
        )
        status = lib.tl_vtape_mount(self._tape, mounted)
        if status != Status.OK:
            self._shut_medium(medium)
            raise self._unreadable(status, wanted)
        self._medium, self._loaded, self._last = medium, wanted, wanted

    def unload(self) -> None:
        medium = self._medium
        if medium is None:
            return
        try:
            self.rewind()  # through the table, so that late errors and those of the closing filemark are heard
        finally:
            what = self._place("unload")
            status = lib.tl_vtape_unmount(self._tape)
            self._medium, self._loaded = None, None
            self._shut_medium(medium)
            if self._model:
                self._model.taken_out()
        if status != Status.OK:
            raise failure(status, what, lib.tl_last_errno(lib.tl_vtape_ops(), self._tape))

    def _loaded_medium(self) -> Medium:
        if self._medium is None:
            raise failure(Status.ERR_NO_MEDIUM, f"drive {self.name}")
        return self._medium

    def _known(self, cartridge: str) -> str:
        names = self.cartridges()
        if check_cartridge_name(cartridge) not in names:
            has = f"it has {', '.join(names)}" if names else "it has none"
            raise NoMedium(f"drive {self.name}: there is no cartridge {cartridge}; {has}", status=Status.ERR_NO_MEDIUM)
        return cartridge

    def _next(self) -> str:
        """The cartridge of the stack behind the last one that was in the drive."""
        for name in self.cartridges():
            if name > self._last:
                return name
        raise NoMedium(f"drive {self.name}: its stack has no further cartridge", status=Status.ERR_NO_MEDIUM)

    def _unreadable(self, status: int, cartridge: str) -> DeviceError | VersionTooNew:
        what = f"drive {self.name}, cartridge {cartridge}"
        if status == Status.ERR_UNSUPPORTED:
            return VersionTooNew(f"{what}: its index was written by a newer version of tapeloom; use that one")
        if status == Status.ERR_INVALID:
            return DeviceError(
                f"{what}: the head of its index is damaged or none of ours; without it the blocks cannot be told apart",
                status=status,
            )
        return failure(status, f"{what}: load", lib.tl_last_errno(lib.tl_vtape_ops(), self._tape))


def format_index(index_fd: int, what: str) -> None:
    """Makes two empty files a blank cartridge."""
    error = lib.tl_vtape_format(index_fd, int.from_bytes(os.urandom(8), "little"))
    if error:
        raise failure(Status.ERR_IO, what, error)
