"""How wide a text will be, without knowing the font it will be drawn in.

The picture names a row of sans-serif fonts and gets whichever the viewer has. Widths here are those of the widest
common one, so that a text which is made to fit, fits.
"""

from __future__ import annotations

import re
import unicodedata
from xml.sax.saxutils import escape, quoteattr

FONTS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

_NARROW = "fijlrtI.,:;|!'()[]{}/\\ \"`-"
_WIDE = "mwMW@%"
_BOLD = 1.1
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _em(character: str) -> float:
    """Width of a character in units of the font size."""
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if ord(character) > 0x2FFF:
        return 1.0
    if character in _NARROW:
        return 0.42
    if character in _WIDE:
        return 0.99
    return 0.76 if character.isupper() else 0.64


def width(text: str, size: float, bold: bool = False) -> float:
    """Upper bound of the text's width at a font size, in the same unit."""
    return sum(map(_em, text)) * size * (_BOLD if bold else 1.0)


def fit(text: str, room: float, size: float, bold: bool = False) -> str:
    """As much of the text as there is room for. The middle is left out: names in a row differ at their ends."""
    if width(text, size, bold) <= room:
        return text
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    while (head or tail) and width(f"{head}…{tail}", size, bold) > room:
        if len(head) > len(tail):
            head = head[:-1]
        else:
            tail = tail[1:]
    return f"{head.rstrip()}…{tail.lstrip()}"


def clean(text: str) -> str:
    """The text as XML can hold it: characters that XML forbids become U+FFFD."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def content(text: str) -> str:
    """Text for between two tags."""
    return escape(clean(text))


def attribute(text: str) -> str:
    """Text as an attribute's value, quotes included."""
    return quoteattr(clean(text))
