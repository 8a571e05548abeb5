"""What stands for a drive in the file: `vtape:FOLDER`, `vlib:FOLDER?bay=0`, `null:`, `memory:`, or the path of a real
one below /dev; and what stands for a library: `vlib:FOLDER`, or the path of a changer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from tapeloom import vlib
from tapeloom.config.faults import Malformed, listed, nearest, quoted
from tapeloom.softdrive import parse_options, split_options

KINDS: Final = ("vtape", "vlib", "null", "memory")
IN_FOLDERS: Final = ("vtape", "vlib")
CHANGER_PATTERN: Final = r"^(vlib:[^~?\x00]|/dev/(?!n?st[0-9]).)"
PATTERN: Final = r"^((vtape|vlib):[^~?\x00]|(null|memory):(\?|$)|/dev/(?!st[0-9]).)"


class Device(NamedTuple):
    """`kind` is empty for a path below /dev. `options` begins with a question mark."""

    kind: str
    place: str
    options: str

    @property
    def pairs(self) -> dict[str, str]:
        """The options by their keys."""
        return dict(option.partition("=")[::2] for option in self.options[1:].split("&") if option)

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
    kind, place, options = split_device(text)
    if not kind and place.startswith("/dev/"):
        if re.match(r"/dev/st\d", place):
            meant = quoted(place.replace("/dev/st", "/dev/nst", 1))
            raise Malformed(f"{quoted(text)} rewinds the tape whenever it is closed", f"did you mean {meant}?")
        check_path(place)
        if "?" in place:
            meant = quoted(place.partition("?")[0])
            raise Malformed(f"{quoted(text)}: a real drive has no options", f"did you mean {meant}?")
    elif ":" not in text:
        meant = f"{text}:" if text in KINDS else f"vtape:{text}"
        raise Malformed(f"{quoted(text)} does not say what kind of device it is", f"did you mean {quoted(meant)}?")
    elif kind not in KINDS:
        known = [f"{other}:" for other in KINDS]
        hint = nearest(f"{kind}:", known) or f"devices are {listed([*known, '/dev/...'])}"
        raise Malformed(f"{quoted(kind + ':')} is not a kind of device", hint)
    elif kind in IN_FOLDERS:
        check_path(place)
    elif place:
        raise Malformed(f"{quoted(text)}: a {kind} device has no path", f"did you mean {quoted(kind + ':')}?")
    if kind == "vlib":
        _judge(text, vlib.parse_bay, text)
    elif options:
        _judge(text, parse_options, split_options(options[1:]), kind)
    return text


def check_changer(text: str) -> str:
    """A changer as the file may have it; raises Malformed."""
    kind, place, _ = split_device(text)
    if kind == "vlib":
        check_path(place)
        _judge(text, vlib.parse_shape, text)
        return text
    if not text.startswith("/dev/"):
        meant = f"vlib:{text}" if ":" not in text else None
        raise Malformed(
            f"{quoted(text)} is not a changer",
            f"did you mean {quoted(meant)}?"
            if meant
            else 'a changer is "vlib:FOLDER", "/dev/sgN" or "/dev/tape/by-id/..."',
        )
    if re.match(r"/dev/n?st\d", text):
        raise Malformed(f"{quoted(text)} is a drive, not a changer", "`lsscsi -g` shows the node of the changer")
    return check_path(text)


def _judge(text: str, parse: Callable[..., object], *arguments: object) -> None:
    """Raises Malformed in the words of what cannot parse that."""
    try:
        parse(*arguments)
    except ValueError as error:
        raise Malformed(f"{quoted(text)}: {error}") from None
