"""What stands for a virtual library, and for a drive in it: "vlib:FOLDER?drives=2&slots=20", "vlib:FOLDER?bay=0"."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from tapeloom.softdrive import BAY_OPTIONS, Options, parse_options, split_options

DEFAULTS: Final = {"drives": 2, "slots": 20, "import_export": 2, "cartridges": 0, "seconds": 0}
LEAST: Final = {"drives": 1, "slots": 1, "import_export": 0, "cartridges": 0, "seconds": 0}
MOST: Final = {"drives": 256, "slots": 30_000, "import_export": 1_000, "cartridges": 30_000, "seconds": 3600}
_PREFIX: Final = "vlib:"


class Shape(Struct, frozen=True):
    """A virtual library. `cartridges` are blank ones that a new one is made with, V00001L9 and so on; `seconds` is what
    a move takes."""

    folder: Path
    drives: int
    slots: int
    import_export: int
    cartridges: int
    seconds: int


def parse_shape(text: str) -> Shape:
    """Raises ValueError with words.

    >>> parse_shape("vlib:lib?drives=3").drives
    3
    """
    folder, options = _parts(text, "vlib:FOLDER, or vlib:FOLDER?drives=2&slots=20")
    values = dict(DEFAULTS)
    for key, value in options:
        if key == "bay":
            raise ValueError("bay= is of a drive; the device of a drive in it is vlib:FOLDER?bay=0")
        if key in BAY_OPTIONS:
            raise ValueError(f"{key}= is of a drive; the device of a drive in it is vlib:FOLDER?bay=0&{key}=...")
        if key not in DEFAULTS:
            raise ValueError(f"a virtual library has no option {key!r}; it has {', '.join(DEFAULTS)}")
        if [given for given, _ in options].count(key) > 1:
            raise ValueError(f"{key}: it is there twice; leave one of them out")
        values[key] = _count(key, value, LEAST[key], MOST[key])
    if values["cartridges"] > values["slots"]:
        raise ValueError(f"{values['cartridges']} cartridges do not go into {values['slots']} slots")
    return Shape(Path(folder), **values)


def parse_bay(text: str) -> tuple[Path, int, Options]:
    """Of a drive: the folder, the number of its bay, and what all other options say. Raises ValueError with words.

    >>> parse_bay("vlib:lib?bay=1&fail_write=7")[1:]
    (1, Options(model=None, troubles={'fail_write': 7}, aside=False))
    """
    folder, pairs = _parts(text, "vlib:FOLDER?bay=0")
    options = parse_options(pairs, "a drive of a virtual library", ("bay", *BAY_OPTIONS))
    bay = dict(pairs).get("bay", "0")
    return Path(folder), _count("bay", bay, 0, MOST["drives"] - 1), options


def _parts(text: str, example: str) -> tuple[str, list[tuple[str, str]]]:
    folder, _, tail = text.removeprefix(_PREFIX).partition("?")
    if not text.startswith(_PREFIX) or not folder:
        raise ValueError(f"{text!r} names no folder: write {example}")
    return folder, split_options(tail) if tail else []


def _count(key: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 14 and least <= int(value) <= most):
        raise ValueError(f"{key}={value}: {key} is a whole number from {least} to {most}")
    return int(value)
