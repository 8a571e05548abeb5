"""What stands for a virtual library, and for a drive in it: "vlib:FOLDER?drives=2&slots=20", "vlib:FOLDER?bay=0"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULTS: Final = {"drives": 2, "slots": 20, "mail": 2, "cartridges": 0, "seconds": 0}
LEAST: Final = {"drives": 1, "slots": 1, "mail": 0, "cartridges": 0, "seconds": 0}
MOST: Final = {"drives": 256, "slots": 30_000, "mail": 1_000, "cartridges": 30_000, "seconds": 3600}
_PREFIX: Final = "vlib:"


@dataclass(frozen=True, slots=True)
class Shape:
    """A virtual library. `cartridges` are blank ones that a new one is made with, V00001L9 and so on; `seconds` is what
    a move takes."""

    folder: Path
    drives: int
    slots: int
    mail: int
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
        if key not in DEFAULTS:
            raise ValueError(f"a virtual library has no option {key!r}; it has {', '.join(DEFAULTS)}")
        values[key] = _count(key, value, LEAST[key], MOST[key])
    if values["cartridges"] > values["slots"]:
        raise ValueError(f"{values['cartridges']} cartridges do not go into {values['slots']} slots")
    return Shape(Path(folder), **values)


def parse_bay(text: str) -> tuple[Path, int, dict[str, int]]:
    """Of a drive: the folder, the number of its bay, and all other options, which count something. Raises ValueError
    with words.

    >>> parse_bay("vlib:lib?bay=1")[1:]
    (1, {})
    """
    folder, options = _parts(text, "vlib:FOLDER?bay=0")
    counts = {key: _count(key, value, 0, 2**40) for key, value in options}
    return Path(folder), counts.pop("bay", 0), counts


def _parts(text: str, example: str) -> tuple[str, list[tuple[str, str]]]:
    folder, _, tail = text.removeprefix(_PREFIX).partition("?")
    if not text.startswith(_PREFIX) or not folder:
        raise ValueError(f"{text!r} names no folder: write {example}")
    options = [option.partition("=") for option in tail.split("&")] if tail else []
    return folder, [(key, value) for key, _, value in options]


def _count(key: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 14 and least <= int(value) <= most):
        raise ValueError(f"{key}={value}: {key} is a whole number from {least} to {most}")
    return int(value)
