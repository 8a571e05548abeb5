"""Numbers with units and times, as people read them. A leaf: imports nothing of tapeloom."""

from __future__ import annotations

import re
from datetime import datetime

_BINARY = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_DECIMAL = (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SIZE = re.compile(r"(\d+) ?([kMGT]?|[KMGT]i)B?")


def size_of(text: str) -> int:
    """Bytes, as an option of a drive says them. Raises ValueError.

    >>> size_of("400MB"), size_of("64MiB"), size_of("4096")
    (400000000, 67108864, 4096)
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a size; write 400MB or 64MiB")
    return int(match[1]) * _UNITS[match[2]]


def rough_size(size: float) -> str:
    """Bytes of memory, in binary units and three digits or so.

    >>> rough_size(268435456), rough_size(33024), rough_size(100)
    ('256 MiB', '32.2 KiB', '100 B')
    """
    for unit, each in _BINARY:
        if size >= each:
            return f"{_digits(size / each)} {unit}"
    return f"{size:.0f} B"


def rough_bytes(size: float) -> str:
    """Bytes on disk or tape, in decimal units and three digits or so, as drives are sold.

    >>> rough_bytes(100e9), rough_bytes(1073741824), rough_bytes(12)
    ('100 GB', '1.1 GB', '12 B')
    """
    for unit, each in _DECIMAL:
        if size >= each:
            return f"{_digits(size / each)} {unit}"
    return f"{size:.0f} B"


def rough_rate(rate: float) -> str:
    """Bytes per second, in decimal units and three digits or so, as drives are rated.

    >>> rough_rate(400e6), rough_rate(133.333e6), rough_rate(12)
    ('400 MB/s', '133 MB/s', '12 B/s')
    """
    return f"{rough_bytes(rate)}/s"


def _digits(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 100 else f"{number:.0f}"


def local_time(ns: int) -> str:
    """A time, in ns since 1970 UTC, to the second in the zone of whoever reads it, which stands behind it: as `--at`
    takes it.

    >>> local_time(1_700_000_000_999_999_999)[13:]
    ':13:20+00'
    """
    text = f"{datetime.fromtimestamp(ns // 10**9).astimezone():%Y-%m-%d %H:%M:%S%z}"
    return text.removesuffix("00") if text[-5] in "+-" else text
