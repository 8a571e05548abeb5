"""Opens a drive from what a configuration says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from tapeloom.device.contract import Device, Magazine
from tapeloom.device.memory import MemoryDrive
from tapeloom.device.model import OPTIONS as MODEL_OPTIONS
from tapeloom.device.model import model_of
from tapeloom.device.null import NullDrive
from tapeloom.device.trouble import Trouble
from tapeloom.device.virtual import VirtualDrive
from tapeloom.errors import UsageError

_TROUBLES = tuple(field.name for field in fields(Trouble))
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
) -> Device:
    """Opens a drive and reserves it for this process.

    Parameters
    ----------
    spec : "vtape:DIR", "null:" or "memory:". Options stand behind a question mark: the attributes of `Trouble`, as in
        "vtape:tapes/R8?fail_write=100", what makes a `Model`, as in "vtape:tapes/R8?model=lto9&time=simulated" or
        "null:?rate=400MB&buffer=16MiB", and "aside=1".
        "/dev/nst0" and "/dev/tape/by-id/...-nst" are real drives, which may have the options of `Trouble` too.
    name : how messages call it.
    capacity : bytes that a virtual or memory tape holds, None for what cartridges of its model hold, or else no end. A
        block counts as whole pages of 4096 bytes.
    early_warning : bytes before the end at which the warning begins, None for an eighth of the capacity (`tape.py`).
    trouble : what shall fail, and when.
    aside : whether the drive is in a process of its own (`aside.py`); None: a real one is, another one where its option
        says so.
    magazine : of the library that brings cartridges to a real drive; None: it stands alone.

    Raises
    ------
    UsageError : there is no such kind of drive, or an option is wrong.
    HeldError : another process has the drive; the sentence names it.
    DeviceError : the drive cannot be used.
    """
    kind, colon, rest = spec.partition(":")
    if spec.startswith("/dev/"):
        return _real(spec, name, capacity, early_warning, trouble, aside, magazine)
    if magazine is not None:
        raise UsageError(f"drive {name}: {spec!r} is no drive of a library; that is a node of /dev, or one of vlib:")
    if not colon or kind not in _KINDS:
        raise UsageError(f"drive {name}: {spec!r} is no kind of drive; there are vtape:DIR, null: and memory:")
    place, options = _options(kind, rest, f"drive {name}")
    try:
        trouble, model = _troubles(options, trouble), model_of(options)
        wanted_aside = _count("aside", options.get("aside", "0")) > 0 if aside is None else aside
    except ValueError as wrong:
        raise UsageError(f"drive {name}: {wrong}") from None
    if wanted_aside:
        if model is not None and model.simulated:
            raise UsageError(f"drive {name}: time that another process counts is seen by nobody; leave out aside")
        from tapeloom.device.asidedrive import AsideDrive  # that few need

        return AsideDrive(spec, name=name, capacity=capacity, early_warning=early_warning, trouble=trouble)
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
) -> Device:
    from tapeloom.device.st import StDrive  # that is not needed where tapes are files

    if capacity is not None or early_warning is not None:
        raise UsageError(f"drive {name}: a real tape has its own end; leave out capacity and early_warning")
    if aside is False:
        return StDrive(spec, name=name, trouble=trouble, magazine=magazine)
    from tapeloom.device.aside import Aside

    process = Aside(name, {"table": "st"})
    try:
        return StDrive(spec, name=name, trouble=trouble, magazine=magazine, aside=process)
    except BaseException:
        process.close()
        raise


def _options(kind: str, rest: str, what: str) -> tuple[str, dict[str, str]]:
    """Splits PLACE?KEY=VALUE&KEY=VALUE."""
    known = (*MODEL_OPTIONS, *_TROUBLES, "aside")
    place, mark, tail = rest.rpartition("?") if "?" in rest else (rest, "", "")
    options: dict[str, str] = {}
    for option in tail.split("&") if mark else ():
        key, _, value = option.partition("=")
        if key not in known:
            raise UsageError(f"{what}: {kind} has no option {key!r}; it has {', '.join(known)}")
        options[key] = value
    return place, options


def _troubles(options: Mapping[str, str], trouble: Trouble | None) -> Trouble | None:
    """With those that the options ask for."""
    wanted = {key: _count(key, options[key]) for key in _TROUBLES if key in options}
    return replace(trouble or Trouble(), **wanted) if wanted else trouble


def _count(key: str, text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{key}: {text!r} is not a count")
    return int(text)
