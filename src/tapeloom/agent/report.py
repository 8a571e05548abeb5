"""What a source or a restore has to say when it is through."""

from __future__ import annotations

import os

from msgspec import Struct

from ..quoting import shown

NAMED_MAX = 1000
"""Troubles kept by name; those beyond are counted. A tree that cannot be read at all must not fill the memory."""

PATH_BYTES_KEPT = 8 << 10
_PRINTED_MAX = 1000


class Trouble(Struct, frozen=True):
    """Something about one path, which is relative to the root: see `plain`."""

    path: bytes
    what: str

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.what}"


class Unset(Struct, frozen=True):
    """A kind of metadata that could not be set on `entries` entries, the first of which was `path`."""

    kind: str
    entries: int
    path: bytes
    why: str

    def __str__(self) -> str:
        return f"{self.kind} not set on {self.entries} entries, first on {printable(plain(self.path))}: {self.why}"


class SourceReport(Struct, frozen=True):
    """What a source wrote.

    `bytes` counts the content of files, holes not included; `others` are links, FIFOs and devices. `troubles` make the
    object less than a true copy, `remarks` (a socket was left out) do not. `said` is the end of what a command wrote on
    its standard error; `end` the offset in the sequence at which the last entry of an archive ends.
    """

    files: int = 0
    folders: int = 0
    others: int = 0
    bytes: int = 0
    troubles: tuple[Trouble, ...] = ()
    troubles_beyond: int = 0
    remarks: tuple[Trouble, ...] = ()
    remarks_beyond: int = 0
    said: str = ""
    end: int = 0


class RestoreReport(Struct, frozen=True):
    """What a restore made.

    `skipped` counts entries that were there already or were not wanted, `removed` what was there and is no longer in
    the source: files, folders and all else, each in a removed folder too.
    """

    files: int = 0
    folders: int = 0
    others: int = 0
    bytes: int = 0
    skipped: int = 0
    removed: int = 0
    troubles: tuple[Trouble, ...] = ()
    troubles_beyond: int = 0
    unset: tuple[Unset, ...] = ()


class Notes:
    """Troubles as they come: the first NAMED_MAX by name, the rest counted."""

    def __init__(self) -> None:
        self._named: list[Trouble] = []
        self.beyond = 0

    def add(self, path: bytes, what: str) -> None:
        if len(self._named) < NAMED_MAX:
            self._named.append(Trouble(plain(path)[:PATH_BYTES_KEPT], what))
        else:
            self.beyond += 1

    def named(self) -> tuple[Trouble, ...]:
        return tuple(self._named)


def plain(path: bytes) -> bytes:
    """An archive's path as indexes and lists have it: no "./" before it, no slash behind it, b"" for the root."""
    return (path + b"/").removeprefix(b"./").rstrip(b"/")


def printable(path: bytes) -> str:
    """*path* in a sentence: as `tapeloom.quoting.shown`, the middle of a very long one left out."""
    if len(path) > _PRINTED_MAX:
        path = path[: _PRINTED_MAX // 2] + b"..." + path[-_PRINTED_MAX // 2 :]
    return shown(path)


def reason(error: OSError) -> str:
    """The system's word for *error*, without the path that Python puts behind it."""
    return os.strerror(error.errno) if error.errno else str(error)
