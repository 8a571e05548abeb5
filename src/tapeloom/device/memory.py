"""The memory drive: "memory:", tapes that live as long as the drive is open, for tests."""

from __future__ import annotations

import os

from tapeloom.device.tape import Medium, TapeDrive, check_cartridge_name, format_index
from tapeloom.errors import UsageError
from tapeloom.softdrive import Model, Trouble


class MemoryDrive(TapeDrive):
    """See `device.open_drive`. A cartridge is a pair of anonymous files: it answers exactly as one on disk does."""

    def __init__(
        self,
        *,
        name: str,
        capacity: int | None = None,
        early_warning: int | None = None,
        trouble: Trouble | None = None,
        model: Model | None = None,
    ) -> None:
        self._media: dict[str, Medium] = {}
        super().__init__(name, "memory:", capacity=capacity, early_warning=early_warning, trouble=trouble, model=model)

    def cartridges(self) -> list[str]:
        return sorted(self._media)

    def new_cartridge(self, name: str) -> None:
        self._open_handle()
        if check_cartridge_name(name) in self._media:
            raise UsageError(f"drive {self.name}: new cartridge {name}: there is one of that name")
        data, index = os.memfd_create(f"{name}.tape"), os.memfd_create(f"{name}.index")
        format_index(index, f"drive {self.name}: new cartridge {name}")
        self._media[name] = Medium(data, index, writable=True, direct=False)

    def _open_medium(self, cartridge: str) -> Medium:
        return self._media[cartridge]

    def _shut_medium(self, medium: Medium) -> None:
        """The files stay open: they are the cartridge."""

    def _let_go(self) -> None:
        for medium in self._media.values():
            os.close(medium.data_fd)
            os.close(medium.index_fd)
