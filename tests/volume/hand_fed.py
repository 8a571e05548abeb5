"""A drive that stands alone, as a real one does: whoever operates it puts one cartridge in at a time, and the drive
does not know what that is called."""

from __future__ import annotations

import threading
from typing import Any

from tapeloom.device import UNNAMED, Device
from tapeloom.errors import NoMedium


class HandFed:
    """Around a drive with a stack, whose names only the operator sees."""

    makes_cartridges = False
    fed_by_hand = True

    def __init__(self, inner: Device):
        self.inner = inner
        self.put_in: str | None = None
        self.called: str | None = None
        self.taken_out: list[str] = []
        self.empty = threading.Event()
        """Set while there is nothing in it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def insert(self, name: str, barcode: str | None = None) -> None:
        """By the operator's hand. `barcode`: what its memory says."""
        if name not in self.inner.cartridges():
            self.inner.new_cartridge(name)
        self.empty.clear()
        self.called, self.put_in = barcode, name

    @property
    def loaded(self) -> str | None:
        return None if self.put_in is None or self.inner.loaded is None else self.called or UNNAMED

    def cartridges(self) -> list[str]:
        return [] if self.put_in is None else [self.called or UNNAMED]

    def changes(self) -> object:
        return self.put_in

    def call_it(self, name: str) -> None:
        assert self.put_in is not None
        self.called = name

    def load(self, cartridge: str | None = None) -> None:
        if self.put_in is None or (self.called is not None and cartridge not in (None, self.called)):
            raise NoMedium(f"drive {self.inner.name}: there is no {cartridge or 'cartridge'}", status=18)
        self.inner.load(self.put_in)

    def unload(self) -> None:
        if self.put_in is not None:
            self.taken_out.append(self.put_in)
        self.put_in = self.called = None
        self.inner.unload()
        self.empty.set()

    def close(self) -> None:
        self.inner.close()

    def __enter__(self) -> HandFed:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
