"""Whether libraries and the drives in them fit together.

Works on the file's tables as they were parsed, as `check` does: what has not the right shape is passed over.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from tapeloom import vlib
from tapeloom.config.devices import split_device
from tapeloom.config.faults import Fault, Path, nearest, quoted
from tapeloom.config.wired import items


def library_of(device: str, library: str | None, changers: Mapping[str, str]) -> str | None:
    """The library that a drive stands in: the one that it names, or for a drive of a virtual one that of its folder.
    `changers` by the name of the library."""
    if library is not None or not device.startswith("vlib:"):
        return library
    return next((name for name, changer in changers.items() if _folder(changer) == _folder(device)), None)


def bay_of(device: str, bay: int | None) -> int | None:
    """The number of the bay that a drive says it is in."""
    if device.startswith("vlib:"):
        try:
            return vlib.parse_bay(device)[1]
        except ValueError:
            return None
    return bay


def library_faults(tables: dict[str, Any]) -> Iterator[Fault]:
    """All mistakes in how the file's libraries and drives refer to one another."""
    changers = {name: text for name, one in items(tables.get("libraries")) if (text := _text(one, "changer"))}
    known = [name for name, _ in items(tables.get("libraries"))]
    drives = [drive for name, one in items(tables.get("drives")) if (drive := _drive(name, one, changers))]
    yield from _same_changers(tables, changers)
    for name in known:
        if name in {drive.name for drive in drives}:
            yield Fault(
                ("libraries", name),
                f"{quoted(name)} is the name of a drive, too",
                "volumes belong to a library or to a drive, so they need different names",
            )
    bays: dict[tuple[str, int], str] = {}
    for drive in drives:
        yield from _misplaced(drive, known, changers)
        if drive.library is None or drive.bay is None:
            continue
        other = bays.setdefault((drive.library, drive.bay), drive.name)
        if other != drive.name:
            yield Fault(drive.place, f"drive {quoted(other)} is in bay {drive.bay} of {quoted(drive.library)} already")
    for name in known:
        if all(drive.library != name for drive in drives):
            changer = changers.get(name, "")
            example = f'R1 = "vlib:{split_device(changer).place}?bay=0"' if changer.startswith("vlib:") else None
            hint = f"below [drives]: {example}" if example else f"each drive in it says library = {quoted(name)}"
            yield Fault(("libraries", name), "no drive of [drives] is in this library", hint)


class _Drive(Struct, frozen=True):
    """As far as the file describes it. `place` is where its bay is said."""

    name: str
    device: str
    library: str | None
    bay: int | None
    place: Path
    table: Mapping[str, Any]


def _drive(name: str, one: object, changers: Mapping[str, str]) -> _Drive | None:
    device = _text(one, "device")
    if device is None:
        return None
    table = one if isinstance(one, dict) else {}
    library, bay = table.get("library"), table.get("bay")
    library = library if isinstance(library, str) else None
    bay = bay if isinstance(bay, int) and not isinstance(bay, bool) else None
    key = "bay" if bay is not None else "device"
    place: Path = ("drives", name, key) if table else ("drives", name)
    return _Drive(name, device, library_of(device, library, changers), bay_of(device, bay), place, table)


def _misplaced(drive: _Drive, known: list[str], changers: Mapping[str, str]) -> Iterator[Fault]:
    at: Path = ("drives", drive.name, "library") if "library" in drive.table else drive.place
    virtual = drive.device.startswith("vlib:")
    if drive.library is None:
        if virtual:
            folder = split_device(drive.device).place
            yield Fault(
                at,
                f"no library of [libraries] has the folder {quoted(folder)}",
                f'below [libraries]: L1 = "vlib:{folder}?drives=2&slots=20&cartridges=10"',
            )
        elif "bay" in drive.table:
            yield Fault(drive.place, "a drive in no library has no bay", 'library = "..." says which one it is in')
        return
    if drive.library not in known:
        hint = nearest(drive.library, known, "the libraries are")
        yield Fault(at, f"there is no library {quoted(drive.library)} in [libraries]", hint)
        return
    changer = changers.get(drive.library, "")
    if changer and virtual != changer.startswith("vlib:"):
        meant = f"{changer.partition('?')[0]}?bay=0" if changer.startswith("vlib:") else "/dev/tape/by-id/...-nst"
        yield Fault(at, f"{quoted(drive.device)} is no drive of library {quoted(drive.library)}", f'such as "{meant}"')
    elif virtual and changer and _folder(changer) != _folder(drive.device):
        yield Fault(at, f"{quoted(drive.device)} is not in the folder of library {quoted(drive.library)}", changer)
    elif virtual and "bay" in drive.table:
        yield Fault(drive.place, "the device says its bay already", "leave one of them out")
    elif not virtual and not drive.device.startswith("/dev/"):
        yield Fault(at, f"{quoted(drive.device)} cannot be in a library", "a library holds real drives, or vlib: ones")
    elif virtual and drive.bay is not None:
        bays = _bays(changer)
        if bays is not None and drive.bay >= bays:
            what = f"library {quoted(drive.library)} has {bays} drive bays, counted from 0: there is no bay {drive.bay}"
            yield Fault(drive.place, what, f"drives={drive.bay + 1} in its changer gives it more")


def _same_changers(tables: dict[str, Any], changers: Mapping[str, str]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for name, changer in changers.items():
        other = first.setdefault(_folder(changer) or changer, name)
        if other != name:
            table = tables["libraries"][name]
            at: Path = ("libraries", name, "changer") if isinstance(table, dict) else ("libraries", name)
            yield Fault(at, f"{quoted(changer)} is the changer of library {quoted(other)} already")


def _text(one: object, key: str) -> str | None:
    value = one.get(key) if isinstance(one, dict) else one
    return value if isinstance(value, str) else None


def _folder(text: str) -> str | None:
    kind, place, _ = split_device(text)
    return os.path.normpath(place) if kind == "vlib" and place else None


def _bays(changer: str) -> int | None:
    try:
        return vlib.parse_shape(changer).drives
    except ValueError:
        return None
