"""Sizes, rates and durations as people write them: "512KiB", "400MB/s", "15min".

Decimal units (kB, MB, ...) count in thousands, binary units (KiB, MiB, ...) in 1024. Units are spelt exactly: "Mb"
would be a megabit to many, and a wrong guess is worth a factor of eight.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from tapeloom.config.faults import Malformed, quoted

BYTES_LIMIT: Final = 2**63
"""No size reaches this: the schedule and the catalog keep sizes in 64 bits."""
SECONDS_LIMIT: Final = 10**9

_BYTES: Final[dict[str, Fraction]] = {
    "B": Fraction(1),
    "kB": Fraction(10**3),
    "KB": Fraction(10**3),
    **{f"{letter}B": Fraction(10 ** (3 * power)) for power, letter in enumerate("MGTP", 2)},
    **{f"{letter}iB": Fraction(2 ** (10 * power)) for power, letter in enumerate("KMGTP", 1)},
}
_SECONDS: Final[dict[str, Fraction]] = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_COUSINS: Final = {
    "m": "min",
    "sec": "s",
    "secs": "s",
    "mins": "min",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
}

_NUMBER: Final = r"[0-9]{1,19}(?:\.[0-9]{1,19})?"
BYTES_PATTERN: Final = rf"^{_NUMBER} ?(?:[kKMGTP]?B|[KMGTP]iB)$"
RATE_PATTERN: Final = BYTES_PATTERN[:-1] + "/s$"
SECONDS_PATTERN: Final = rf"^{_NUMBER} ?(?:ms|s|min|h|d)$"
_QUANTITY: Final = re.compile(rf"({_NUMBER}) ?([^\s0-9.]*)")


def parse_bytes(value: object) -> int:
    """A size in bytes from a whole number or a string with a unit; a fraction of a byte is dropped."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(_bounded(Fraction(value), value, "a size", BYTES_LIMIT))
    if not isinstance(value, str):
        raise Malformed(
            f"{quoted(value)} is not a size", 'a whole number of bytes, or a string such as "512KiB" or "64GB"'
        )
    return int(_bounded(_quantity(value, "a size", _BYTES), value, "a size", BYTES_LIMIT))


def parse_rate(value: object) -> float:
    """Bytes per second from a number or a string such as "400MB/s"; never zero."""
    example = 'a number of bytes per second, or a string such as "400MB/s"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        rate = _fraction(value, "a rate", example)
    elif isinstance(value, str) and value.endswith("/s"):
        rate = _quantity(value[:-2], "a rate", _BYTES, per="/s")
    elif isinstance(value, str) and re.match(BYTES_PATTERN, value):
        raise Malformed(f"{quoted(value)} is not a rate", f"did you mean {quoted(value + '/s')}?")
    else:
        raise Malformed(f"{quoted(value)} is not a rate", example)
    _bounded(rate, value, "a rate", BYTES_LIMIT)
    if not rate:
        raise Malformed("a rate of zero would never write anything", example)
    return float(rate)


def parse_seconds(value: object) -> float:
    """Seconds from a number (of seconds) or a string such as "15min" or "500ms"."""
    example = 'a number of seconds, or a string such as "30s" or "15min"'
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = _fraction(value, "a duration", example)
    elif isinstance(value, str):
        seconds = _quantity(value, "a duration", _SECONDS)
    else:
        raise Malformed(f"{quoted(value)} is not a duration", example)
    return float(_bounded(seconds, value, "a duration", SECONDS_LIMIT))


def is_duration(text: str) -> bool:
    """Whether the text ends in a unit of time: it is then `parse_seconds` that judges it, else `parse_bytes`."""
    match = _QUANTITY.fullmatch(text.strip())
    return match is not None and (match[2] in _SECONDS or match[2] in _COUSINS)


def show_bytes(count: int) -> str:
    """The shortest exact spelling that `parse_bytes` reads back to the same number.

    >>> show_bytes(512 * 1024), show_bytes(64 * 10**9), show_bytes(4097)
    ('512KiB', '64GB', '4097B')
    """
    for unit, factor in sorted(_BYTES.items(), key=lambda item: -item[1]):
        if count >= factor and count % factor == 0 and unit != "KB":
            return f"{count // int(factor)}{unit}"
    return f"{count}B"


def _quantity(text: str, noun: str, units: dict[str, Fraction], per: str = "") -> Fraction:
    if text.startswith("-"):
        raise Malformed(f"{quoted(text + per)} is not {noun}: it is negative")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise Malformed(f"{quoted(text + per)} is not {noun}", f"a number and a unit: {', '.join(units)}")
    number, unit = match[1], match[2]
    if unit not in units:
        named = f"{quoted(text + per)} is not {noun}: " + (
            f"there is no unit {quoted(unit)}" if unit else "it has no unit"
        )
        raise Malformed(named, _meant(number, unit, units, per))
    return Fraction(number) * units[unit]


def _meant(number: str, unit: str, units: dict[str, Fraction], per: str) -> str:
    if units is _SECONDS:
        same = [_COUSINS[unit.lower()]] if unit.lower() in _COUSINS else []
    else:
        same = [f"{unit}B", f"{unit}iB"]
    near = [known for known in units if known.lower() == unit.lower() or known in same]
    if unit and near:
        return "did you mean " + " or ".join(quoted(f"{number}{known}{per}") for known in near[-2:]) + "?"
    return f"a number and a unit: {', '.join(units)}"


def _fraction(value: float, noun: str, example: str) -> Fraction:
    try:
        return Fraction(value)
    except (ValueError, OverflowError):  # nan and inf, which TOML can write
        raise Malformed(f"{quoted(value)} is not {noun}", example) from None


def _bounded(number: Fraction, said: object, noun: str, limit: int) -> Fraction:
    if number < 0:
        raise Malformed(f"{quoted(said)} is not {noun}: it is negative")
    if number >= limit:
        raise Malformed(f"{quoted(said)} is not {noun}: it is too large")
    return number
