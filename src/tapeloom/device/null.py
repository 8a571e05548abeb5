"""The null drive: "null:", takes everything and keeps nothing, at a chosen pace."""

from __future__ import annotations

from dataclasses import dataclass

from tapeloom._devio import ffi, lib
from tapeloom.device.contract import Status, failure
from tapeloom.device.native import NativeDrive, owned
from tapeloom.device.tape import check_cartridge_name
from tapeloom.device.trouble import Trouble
from tapeloom.errors import NoMedium, UsageError
from tapeloom.limits import MIB

BUFFER_BYTES_DEFAULT = 16 * MIB


@dataclass(frozen=True, slots=True)
class Counts:
    """What a null drive was given since it was opened; `calls` are those of write."""

    blocks: int
    bytes: int
    filemarks: int
    calls: int


class NullDrive(NativeDrive):
    """See `device.open_drive`. It has one endless cartridge, "null", in it from the start.

    Nothing stays on it: reading meets the end of data, and a tape that leaves its place is blank again.

    Parameters
    ----------
    rate : bytes a second, None for no limit.
    buffer : bytes that it takes ahead of its pace.
    """

    def __init__(
        self, *, name: str, rate: int | None = None, buffer: int = BUFFER_BYTES_DEFAULT, trouble: Trouble | None = None
    ) -> None:
        if rate is not None and rate <= 0:
            raise UsageError(f"drive {name}: a rate of {rate} bytes a second never ends")
        self._null = owned(lib.tl_null_new(rate or 0, buffer), lib.tl_null_free)
        self._names = ["null"]
        self._loaded: str | None = "null"
        super().__init__(name, "null:", lib.tl_null_ops(), self._null, trouble)

    def statistics(self) -> Counts:
        self._open_handle()
        counts = ffi.new("struct tl_null_counts *")
        lib.tl_null_counts(self._null, counts)
        return Counts(counts.blocks, counts.bytes, counts.filemarks, counts.calls)

    def cartridges(self) -> list[str]:
        return list(self._names)

    def new_cartridge(self, name: str) -> None:
        if check_cartridge_name(name) in self._names:
            raise UsageError(f"drive {self.name}: new cartridge {name}: there is one of that name")
        self._names.append(name)

    def load(self, cartridge: str | None = None) -> None:
        wanted = self._loaded or self._names[0] if cartridge is None else cartridge
        if wanted not in self._names:
            raise NoMedium(f"drive {self.name}: there is no cartridge {wanted}", status=Status.ERR_NO_MEDIUM)
        self.rewind()
        self._loaded = wanted

    def unload(self) -> None:
        self.rewind()
        self._loaded = None

    @property
    def keeps(self) -> bool:
        return False

    @property
    def loaded(self) -> str | None:
        return self._loaded

    @property
    def write_protected(self) -> bool:
        if self._loaded is None:
            raise failure(Status.ERR_NO_MEDIUM, f"drive {self.name}")
        return False

    def _let_go(self) -> None:
        """Nobody else could want it."""
