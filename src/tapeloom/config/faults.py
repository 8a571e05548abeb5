"""What is wrong, and where in the tree of keys, before it has a line: and the words that every message shares."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

Path = tuple[str | int, ...]
"""The keys that lead from the top of the file to a value; a number counts the items of an array from 0."""

_SHOWN_CHARACTERS: Final = 80
_SHOWN_NAMES: Final = 8


class Fault(NamedTuple):
    """One mistake at a place in the tree of keys."""

    at: Path
    what: str
    hint: str | None = None


class Malformed(ValueError):
    """A single value that is not what its key takes. `hint` says what would be."""

    def __init__(self, what: str, hint: str | None = None):
        super().__init__(what)
        self.hint = hint


def quoted(value: object) -> str:
    """A value as one would write it in the file, cut where it is long; names and strings in double quotes."""
    if isinstance(value, str):
        shown = json.dumps(value[: _SHOWN_CHARACTERS + 1], ensure_ascii=False)
        # what a terminal would act upon is never printed raw
        text = "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in shown)
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int):
        # Python refuses to turn a number of thousands of digits into text
        text = str(value) if value.bit_length() < 256 else "a number of many digits"
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, list):
        text = "an array"
    else:
        text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 4] + '..."'


def dotted(path: Path) -> str:
    """A path as in the file: `backup.nightly.BMA124.buffers.B1`, items of arrays as `[1]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
            text += ("." if text else "") + (key if bare else quoted(key))
    return text


def listed(names: Iterable[str], last: str = "and") -> str:
    """`"a", "b" and "c"`."""
    shown = [quoted(name) for name in names]
    return f" {last} ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def nearest(name: str, known: Iterable[str], noun: str = "") -> str | None:
    """A hint that names what comes nearest; where nothing is near and there is a `noun`, the first few of all."""
    from difflib import get_close_matches  # for mistakes alone: start-up time

    names = list(dict.fromkeys(known))
    folded = [other for other in names if other.casefold() == name.casefold()]
    close = folded or get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        best = _likeness(name, close[0])
        return f"did you mean {listed([other for other in close if _likeness(name, other) == best], 'or')}?"
    if noun and names:
        more = " ..." if len(names) > _SHOWN_NAMES else ""
        return f"{noun}: {', '.join(map(quoted, names[:_SHOWN_NAMES]))}{more}"
    return None


def _likeness(name: str, other: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, other, name).ratio()
