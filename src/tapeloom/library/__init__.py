"""Libraries: one contract for a changer, real ones and virtual ones behind it, and magazines for their drives.

::

    contract    what a changer is: elements, and moving cartridges between them
    layout      SMC-3 and SPC-4 as bytes
    sense       what a device says, in words
    scsi        one command through SG_IO, with patience
    smc         a real changer
    virtual     "vlib:DIR", a library in a folder
    magazine    a changer that several drives share
    bay         the drive in a bay of a virtual library
"""

from __future__ import annotations

from collections.abc import Callable

from tapeloom.errors import UsageError
from tapeloom.library.contract import Changer, Element, Kind
from tapeloom.library.magazine import Library, LibraryMagazine

__all__ = ["Changer", "Element", "Kind", "Library", "LibraryMagazine", "open_library"]


def open_library(changer: str, *, name: str, making: Callable[[], None] = lambda: None) -> Library:
    """Opens a library: `changer` is a device node, or "vlib:DIR" with its options. `making` is asked before a virtual
    one is made in a folder that holds none, and raises where it should not be.

    Raises
    ------
    UsageError
        What `changer` says makes no sense.
    DeviceError
        The changer cannot be used.
    """
    shown = f"library {name}"
    if changer.startswith("vlib:"):
        from tapeloom.library.virtual import VirtualChanger
        from tapeloom.vlib import parse_shape

        try:
            shape = parse_shape(changer)
        except ValueError as error:
            raise UsageError(f"{shown}: {error}") from None
        return Library(name, VirtualChanger(shape, shown, making))
    from tapeloom.library.smc import open_scsi_changer

    return Library(name, open_scsi_changer(changer, shown))
