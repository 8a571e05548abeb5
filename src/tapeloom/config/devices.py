"""What stands for a drive in the file: `vtape:FOLDER`, `null:`, `memory:`, or the path of a real one below /dev."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tapeloom.config.faults import Malformed, listed, nearest, quoted

KINDS: Final = ("vtape", "null", "memory")
PATTERN: Final = r"^(vtape:[^~?\x00]|(null|memory):(\?|$)|/dev/(?!st[0-9]).)"


class Device(NamedTuple):
    """`kind` is empty for a path below /dev. `options` begins with a question mark, and is for the driver to judge."""

    kind: str
    place: str
    options: str

    def __str__(self) -> str:
        return (f"{self.kind}:" if self.kind else "") + self.place + self.options


def split_device(text: str) -> Device:
    """The parts of a device that `check_device` has passed; of any other, parts that make the same text."""
    kind, colon, rest = text.partition(":")
    if not colon or text.startswith("/dev/"):
        return Device("", text, "")
    place, mark, options = rest.rpartition("?")
    return Device(kind, place, mark + options) if mark else Device(kind, rest, "")


def check_path(text: str) -> str:
    """A path as the file may have it; raises Malformed."""
    if not text:
        raise Malformed("the path is empty")
    if "\0" in text:
        raise Malformed("a path cannot hold the character NUL")
    if text.startswith("~"):
        raise Malformed(
            f"{quoted(text)}: ~ is not expanded", 'write the whole path, or "./~..." where a name begins with ~'
        )
    return text


def check_device(text: str) -> str:
    """A device as the file may have it; raises Malformed."""
    kind, place, _ = split_device(text)
    if not kind and place.startswith("/dev/"):
        if re.match(r"/dev/st\d", place):
            meant = quoted(place.replace("/dev/st", "/dev/nst", 1))
            raise Malformed(f"{quoted(text)} rewinds the tape whenever it is closed", f"did you mean {meant}?")
        check_path(place)
    elif ":" not in text:
        meant = f"{text}:" if text in KINDS else f"vtape:{text}"
        raise Malformed(f"{quoted(text)} does not say what kind of device it is", f"did you mean {quoted(meant)}?")
    elif kind not in KINDS:
        known = [f"{other}:" for other in KINDS]
        hint = nearest(f"{kind}:", known) or f"devices are {listed([*known, '/dev/...'])}"
        raise Malformed(f"{quoted(kind + ':')} is not a kind of device", hint)
    elif kind == "vtape":
        check_path(place)
    elif place:
        raise Malformed(f"{quoted(text)}: a {kind} device has no path", f"did you mean {quoted(kind + ':')}?")
    return text
