"""The drive in a bay of a virtual library: "vlib:DIR?bay=0", a virtual drive whose cartridges a magazine brings."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tapeloom.device.virtual import VirtualDrive
from tapeloom.errors import DeviceError, UsageError, VersionTooNew
from tapeloom.library.magazine import LibraryMagazine
from tapeloom.softdrive import Model, Trouble
from tapeloom.vlib import parse_bay


class BayDrive(VirtualDrive):
    """See `device.Device`. What is in the bay when it is opened is in the drive. `unload` and `close` bring what is in
    the drive back to its slot; what was brought into the bay since stays there."""

    kind = "vlib"
    makes_cartridges = False

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        bay: int,
        magazine: LibraryMagazine,
        capacity: int | None = None,
        trouble: Trouble | None = None,
        model: Model | None = None,
    ):
        self.lock_file = f".bay{bay}.held"
        self._magazine = magazine
        super().__init__(folder, name=name, capacity=capacity, trouble=trouble, model=model)
        try:
            inside = magazine.loaded()
        except BaseException:
            self.close()
            raise
        if inside is not None:
            with suppress(DeviceError, VersionTooNew):  # `load` says what is wrong with it, if that one is wanted
                self._mount(inside)  # nobody has to fetch it

    def cartridges(self) -> list[str]:
        self._open_handle()
        return self._magazine.names()

    def changes(self) -> object:
        return self._magazine.changes()

    def new_cartridge(self, name: str) -> None:
        raise UsageError(
            f"drive {self.name}: cartridges come into a library through its import/export slots: "
            f"`tapeloom import-export --put {name} --in`"
        )

    def load(self, cartridge: str | None = None) -> None:
        self._open_handle()
        wanted = cartridge or self._loaded or self._magazine.loaded() or self._next()
        if self._loaded == wanted:
            self.rewind()
            return
        self.unload()
        self._magazine.bring(wanted)
        self._put_in(wanted)

    def unload(self) -> None:
        """Also where the tape's last calls failed, it goes back to its slot."""
        if self._loaded is None:
            return
        try:
            super().unload()
        finally:
            self._magazine.put_away()

    def _let_go(self) -> None:
        self._magazine.close()
        super()._let_go()


def open_bay(device: str, *, name: str, magazine: LibraryMagazine, capacity: int | None = None) -> BayDrive:
    """Raises UsageError, HeldError, DeviceError as `device.open_drive` does."""
    try:
        folder, bay, options = parse_bay(device)
    except ValueError as error:
        raise UsageError(f"drive {name}: {error}") from None
    return BayDrive(
        folder,
        name=name,
        bay=bay,
        magazine=magazine,
        capacity=capacity,
        trouble=options.trouble(),
        model=options.model,
    )
