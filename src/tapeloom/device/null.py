"""The null drive: "null:", takes everything and keeps nothing."""

from __future__ import annotations

from msgspec import Struct

from tapeloom._devio import ffi, lib
from tapeloom.device.contract import Status, failure
from tapeloom.device.native import NativeDrive, owned
from tapeloom.device.tape import check_cartridge_name
from tapeloom.errors import NoMedium, UsageError
from tapeloom.softdrive import Model, Trouble


class Counts(Struct, frozen=True):
    """What a null drive was given since it was opened; `calls` are those of write."""

    blocks: int
    bytes: int
    filemarks: int
    calls: int


class NullDrive(NativeDrive):
    """See `device.open_drive`. It has one endless cartridge, "null", in it from the start.

    Nothing stays on it: reading meets the end of data, and a tape that leaves its place is blank again.
    """

    makes_cartridges = True

    def __init__(self, *, name: str, trouble: Trouble | None = None, model: Model | None = None) -> None:
        self._null = owned(lib.tl_null_new(), lib.tl_null_free)
        self._names = ["null"]
        self._loaded: str | None = "null"
        super().__init__(
            name, "null:", lib.tl_null_ops(), self._null, trouble, model=model, bytes_before="tl_null_bytes_before"
        )

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
        if wanted == self._loaded:
            self.rewind()
            return
        self.unload()
        self._loaded = wanted
        if self._model:
            self._model.put_in()

    def unload(self) -> None:
        if self._loaded is None:
            return
        self.rewind()
        self._loaded = None
        if self._model:
            self._model.taken_out()

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
