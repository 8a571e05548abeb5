"""Any drive of `open_drive`, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from tapeloom.device.aside import Aside
from tapeloom.device.native import NativeDrive

if TYPE_CHECKING:
    from tapeloom.softdrive import Trouble


_LOOK_SECONDS = 0.005


class AsideDrive(NativeDrive):
    """See `device.open_drive`, whose arguments `options` are. It answers as the drive itself does, which its process
    has opened; what is asked about cartridges goes over a socket, all else through the table."""

    aside: Aside

    def __init__(
        self,
        spec: str,
        *,
        name: str,
        trouble: Trouble | None = None,
        on_aside: Callable[[Aside], None] | None = None,
        **options: Any,
    ) -> None:
        serves = {"spec": spec, "name": name, "trouble": asdict(trouble) if trouble else None, **options}
        self.aside = Aside(name, serves, on_start=on_aside)
        super().__init__(name, spec.rpartition("?")[0] or spec, self.aside.ops, self.aside.handle)
        self.makes_cartridges = bool(self.aside.facts["makes_cartridges"])
        self.fed_by_hand = bool(self.aside.facts["fed_by_hand"])

    def cartridges(self) -> list[str]:
        return list(self._ask("cartridges"))

    def new_cartridge(self, name: str) -> None:
        self._ask("new_cartridge", name)

    def protect(self, cartridge: str, on: bool = True) -> None:
        """See `device.virtual.VirtualDrive.protect`."""
        self._ask("protect", cartridge, on)

    def load(self, cartridge: str | None = None) -> None:
        self._ask("load", cartridge)

    def unload(self) -> None:
        self._ask("unload")

    def call_it(self, name: str) -> None:
        self._ask("call_it", name)

    def changes(self) -> object:
        return self._ask("changes")

    @property
    def loaded(self) -> str | None:
        loaded: str | None = self.aside.facts["loaded"]
        return loaded

    @property
    def write_protected(self) -> bool:
        return bool(self._ask("write_protected"))

    @property
    def keeps(self) -> bool:
        return bool(self.aside.facts["keeps"])

    @property
    def block_bytes_max(self) -> int:
        return int(self.aside.facts["block_bytes_max"])

    @property
    def block_bytes_direct_max(self) -> int:
        return int(self.aside.facts["block_bytes_direct_max"])

    def release_hang(self) -> None:
        self._ask("release_hang")

    def wait_hang(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while self.aside.ended is None:
            if self._ask("wait_hang", 0):
                return True
            if time.monotonic() >= until:
                break
            time.sleep(_LOOK_SECONDS)  # whoever is to hang may have to ask for something before that
        return False

    def _leave(self) -> None:
        self._ask("close")

    def _let_go(self) -> None:
        """Its process did."""

    def _ask(self, what: str, *arguments: object) -> Any:
        self._open_handle()
        return self.aside.ask(what, *arguments)
