"""The real st driver, inside of the guest of tests/guest: a hand that brings the cartridges that a test has made."""

from __future__ import annotations

from pathlib import Path

from tapeguest import Control, ControlError

from tapeloom.device import Device, open_drive
from tapeloom.errors import NoMedium

NODE = "/dev/nst0"


class Hand:
    """A `Magazine` of all cartridges that the target knows; nobody else moves any."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._inside: str | None = None

    def names(self) -> list[str]:
        return sorted(filter(None, self._control.places().values()))

    def loaded(self) -> str | None:
        return self._inside

    def bring(self, name: str) -> None:
        try:
            self._control.load(0, name)
        except ControlError:
            raise NoMedium(f"drive R1: there is no cartridge {name}; it has {', '.join(self.names())}") from None
        self._inside = name

    def put_away(self) -> None:
        self._control.unload(0)
        self._inside = None

    def changes(self) -> object:
        return self.names()

    def close(self) -> None:
        pass


def open_st(folder: Path, capacity: int | None = None, early_warning: int | None = None, **options: object) -> Device:
    """The first drive, and no cartridge anywhere. `folder` is not needed: media are the target's."""
    control = Control.from_environment()
    control.reset(capacity=capacity, early_warning=early_warning)
    return open_drive(NODE, name="R1", aside=False, magazine=Hand(control), **options)  # type: ignore[arg-type]


def add_cartridge(name: str) -> None:
    """A blank one, for `Hand` to bring."""
    Control.from_environment().add(name)
