"""Opens a drive from what a configuration says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from tapeloom.device.contract import Device, Magazine
from tapeloom.device.memory import MemoryDrive
from tapeloom.device.null import NullDrive
from tapeloom.device.virtual import VirtualDrive
from tapeloom.errors import UsageError
from tapeloom.softdrive import Trouble, parse_options, split_options

if TYPE_CHECKING:
    from tapeloom.device.aside import Aside

_KINDS = ("vtape", "memory", "null")


def open_drive(
    spec: str,
    *,
    name: str,
    capacity: int | None = None,
    early_warning: int | None = None,
    trouble: Trouble | None = None,
    aside: bool | None = None,
    magazine: Magazine | None = None,
    on_aside: Callable[[Aside], None] | None = None,
) -> Device:
    """Opens a drive and reserves it for this process.

    Parameters
    ----------
    spec : "vtape:DIR", "null:" or "memory:". Options stand behind a question mark: the attributes of `Trouble`, as in
        "vtape:tapes/R8?fail_write=100", what makes a `Model`, as in "vtape:tapes/R8?model=lto9&time=simulated" or
        "null:?rate=400MB&buffer=16MiB", and "aside=1" (`tapeloom.softdrive`).
        "/dev/nst0" and "/dev/tape/by-id/...-nst" are real drives, which have no options.
    name : how messages call it.
    capacity : bytes that a virtual or memory tape holds, None for what cartridges of its model hold, or else no end. A
        block counts as whole pages of 4096 bytes.
    early_warning : bytes before the end at which the warning begins, None for an eighth of the capacity (`tape.py`).
    trouble : what shall fail, and when.
    aside : whether the drive is in a process of its own (`aside.py`); None: a real one is, another one where its option
        says so.
    magazine : of the library that brings cartridges to a real drive; None: it stands alone.
    on_aside : is told of the process of its own before the drive is touched there: another thread may `abandon` it,
        and this comes back with a DeviceError. Not told of a drive in this process.

    Raises
    ------
    UsageError : there is no such kind of drive, or an option is wrong.
    HeldError : another process has the drive; the sentence names it.
    DeviceError : the drive cannot be used.
    """
    kind, colon, rest = spec.partition(":")
    if spec.startswith("/dev/"):
        return _real(spec, name, capacity, early_warning, trouble, aside, magazine, on_aside)
    if magazine is not None:
        raise UsageError(f"drive {name}: {spec!r} is no drive of a library; that is a node of /dev, or one of vlib:")
    if not colon or kind not in _KINDS:
        raise UsageError(f"drive {name}: {spec!r} is no kind of drive; there are vtape:DIR, null: and memory:")
    place, mark, tail = rest.rpartition("?") if "?" in rest else (rest, "", "")
    try:
        options = parse_options(split_options(tail) if mark else (), kind, aside=aside)
    except ValueError as wrong:
        raise UsageError(f"drive {name}: {wrong}") from None
    trouble, model = options.trouble(trouble), options.model
    if options.aside:
        from tapeloom.device.asidedrive import AsideDrive  # that few need

        return AsideDrive(
            spec, name=name, capacity=capacity, early_warning=early_warning, trouble=trouble, on_aside=on_aside
        )
    if kind == "vtape":
        if not place:
            raise UsageError(f"drive {name}: vtape: needs a folder, as in vtape:tapes/{name}")
        return VirtualDrive(
            Path(place), name=name, capacity=capacity, early_warning=early_warning, trouble=trouble, model=model
        )
    if place:
        raise UsageError(f"drive {name}: {kind}: takes no place, only options behind a question mark, not {place!r}")
    if kind == "memory":
        return MemoryDrive(name=name, capacity=capacity, early_warning=early_warning, trouble=trouble, model=model)
    if capacity is not None or early_warning is not None:
        raise UsageError(f"drive {name}: a null drive has no end; leave out capacity and early_warning")
    return NullDrive(name=name, trouble=trouble, model=model)


def _real(
    spec: str,
    name: str,
    capacity: int | None,
    early_warning: int | None,
    trouble: Trouble | None,
    aside: bool | None,
    magazine: Magazine | None,
    on_aside: Callable[[Aside], None] | None,
) -> Device:
    from tapeloom.device.st import StDrive  # that is not needed where tapes are files

    if capacity is not None or early_warning is not None:
        raise UsageError(f"drive {name}: a real tape has its own end; leave out capacity and early_warning")
    if aside is False:
        return StDrive(spec, name=name, trouble=trouble, magazine=magazine)
    from tapeloom.device.aside import Aside

    serves = {"table": "st", "trouble": asdict(trouble) if trouble else None}
    process = Aside(name, serves, on_start=on_aside)
    try:
        return StDrive(spec, name=name, trouble=trouble, magazine=magazine, aside=process)
    except BaseException:
        process.close()
        raise
