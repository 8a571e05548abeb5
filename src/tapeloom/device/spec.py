"""Opens a drive from what a configuration says of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

from tapeloom.device.contract import Device
from tapeloom.device.memory import MemoryDrive
from tapeloom.device.null import BUFFER_BYTES_DEFAULT, NullDrive
from tapeloom.device.trouble import Trouble
from tapeloom.device.virtual import VirtualDrive
from tapeloom.errors import UsageError

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SIZE = re.compile(r"(\d+) ?([kMGT]?|[KMGT]i)B?")


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a size; write 400MB or 64MiB")
    return int(match[1]) * _UNITS[match[2]]


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a count")
    return int(text)


_TROUBLE: dict[str, Callable[[str], int]] = {field.name: _count for field in fields(Trouble)}
_OPTIONS = {"vtape": _TROUBLE, "memory": _TROUBLE, "null": {"rate": _size, "buffer": _size, **_TROUBLE}}


def open_drive(
    spec: str,
    *,
    name: str,
    capacity: int | None = None,
    early_warning: int | None = None,
    trouble: Trouble | None = None,
) -> Device:
    """Opens a drive and reserves it for this process.

    Parameters
    ----------
    spec : "vtape:DIR", "null:" or "memory:". Options stand behind a question mark: "null:?rate=400MB&buffer=16MiB", and
        for every kind the attributes of `Trouble`, as in "vtape:tapes/R8?fail_write=100".
    name : how messages call it.
    capacity : bytes that a virtual or memory tape holds, None for no end. A block counts as whole pages of 4096 bytes.
    early_warning : bytes before the end at which the warning begins, None for an eighth of the capacity (`tape.py`).
    trouble : what shall fail, and when.

    Raises
    ------
    UsageError : there is no such kind of drive, or an option is wrong.
    HeldError : another process has the drive; the sentence names it.
    DeviceError : the drive cannot be used.
    """
    kind, colon, rest = spec.partition(":")
    if spec.startswith("/dev/"):
        raise UsageError(f"drive {name}: {spec}: this version has no driver for real tape drives; use vtape:DIR")
    if not colon or kind not in _OPTIONS:
        raise UsageError(f"drive {name}: {spec!r} is no kind of drive; there are vtape:DIR, null: and memory:")
    place, options = _options(kind, rest, f"drive {name}")
    wanted = {key: value for key, value in options.items() if key in _TROUBLE}
    if wanted:
        trouble = replace(trouble or Trouble(), **wanted)
    if kind == "vtape":
        if not place:
            raise UsageError(f"drive {name}: vtape: needs a folder, as in vtape:tapes/{name}")
        return VirtualDrive(Path(place), name=name, capacity=capacity, early_warning=early_warning, trouble=trouble)
    if place:
        raise UsageError(f"drive {name}: {kind}: takes no place, only options behind a question mark, not {place!r}")
    if kind == "memory":
        return MemoryDrive(name=name, capacity=capacity, early_warning=early_warning, trouble=trouble)
    if capacity is not None or early_warning is not None:
        raise UsageError(f"drive {name}: a null drive has no end; leave out capacity and early_warning")
    return NullDrive(
        name=name, rate=options.get("rate"), buffer=options.get("buffer", BUFFER_BYTES_DEFAULT), trouble=trouble
    )


def _options(kind: str, rest: str, what: str) -> tuple[str, dict[str, int]]:
    """Splits PLACE?KEY=VALUE&KEY=VALUE."""
    place, mark, tail = rest.rpartition("?") if "?" in rest else (rest, "", "")
    options: dict[str, int] = {}
    for option in tail.split("&") if mark else ():
        key, _, value = option.partition("=")
        if key not in _OPTIONS[kind]:
            raise UsageError(f"{what}: {kind} has no option {key!r}; it has {', '.join(_OPTIONS[kind])}")
        try:
            options[key] = _OPTIONS[kind][key](value)
        except ValueError as error:
            raise UsageError(f"{what}: {key}: {error}") from None
    return place, options
