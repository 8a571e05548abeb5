"""Hard links of an archive whose target is not taken from it.

The first name of a file stands there with its data, each further one as a link to it. As an increment has all names of
a file that it could read, they go together; but where it could not, and the first name has become something else, the
others still lead to data that nobody takes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from msgspec import Struct

from ..errors import FormatError
from .entries import Entries
from .links import spilling
from .report import printable
from .rewriting import relinked, renamed

RECENT_MAX = 1 << 15
_PIECE_BYTES = 1 << 18


class _Kept(Struct):
    """An entry that is not taken, though links lead to it: its content stands in the file from *begin* on. *now* is the
    name that has got it meanwhile, as it stands in the archive."""

    header: bytes
    begin: int
    end: int
    now: bytes | None = None


class Severed:
    """What of one archive is not taken and could be the target of links. It is false as long as there is nothing.

    Of each path no more is kept than 8 bytes, in a file in the folder *spill* when they are many; of those in *wanted*
    header and content as well.
    """

    def __init__(self, wanted: frozenset[bytes] | None, spill: Path | None):
        self._wanted = {path.replace(b"/", b"\0") for path in wanted or ()}
        self._spill = spill
        self._recent: set[int] = set()
        self._older: IO[bytes] | None = None
        self._runs = 0
        self._kept: dict[bytes, _Kept] = {}
        self._content: IO[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self._recent or self._runs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for file in (self._older, self._content):
            if file is not None:
                file.close()

    def add(self, entries: Entries) -> None:
        """The present entry is not taken. Its content is, where it is wanted."""
        self._recent.add(hash(entries.key))
        if len(self._recent) == RECENT_MAX:
            self._put_away()
        if entries.key in self._wanted:
            self._keep(entries)

    def found(self, link: Entries) -> tuple[bytes, Iterable[bytes]]:
        """What a link becomes, header and content: itself where it leads to what is taken.

        Raises SourceError where it leads to what is not, and that was not wanted.
        """
        target = link.link.removeprefix(b"./").replace(b"/", b"\0")
        if not self._has(target):
            return link.header[:], ()
        kept = self._kept.get(target)
        if kept is None:
            raise FormatError(
                f"{link.path} is a hard link to {printable(link.link)}, which a newer object of the chain replaces"
            )
        if kept.now is not None:
            return relinked(link.header, kept.now), ()
        kept.now = (b"./" if link.link.startswith(b"./") else b"") + link.key.replace(b"\0", b"/")
        return renamed(kept.header, kept.now), self._pieces(kept)

    def _has(self, key: bytes) -> bool:
        word = hash(key)
        if word in self._recent:
            return True
        if self._older is None:
            return False
        runs = np.memmap(self._older, np.int64, "r", shape=(self._runs, RECENT_MAX))
        return any(run[min(run.searchsorted(word), RECENT_MAX - 1)] == word for run in runs)

    def _put_away(self) -> None:
        with spilling(self._spill):
            if self._older is None:
                self._older = tempfile.TemporaryFile(dir=self._spill)  # noqa: SIM115
            self._older.write(np.sort(np.fromiter(self._recent, np.int64, RECENT_MAX)).tobytes())
            self._older.flush()
        self._runs += 1
        self._recent.clear()

    def _keep(self, entries: Entries) -> None:
        with spilling(self._spill):
            if self._content is None:
                self._content = tempfile.TemporaryFile(dir=self._spill)  # noqa: SIM115
            begin = self._content.tell()
        for piece in entries.content():
            with spilling(self._spill):
                self._content.write(piece)
        with spilling(self._spill):
            self._content.flush()
        self._kept[entries.key] = _Kept(entries.header[:], begin, self._content.tell())

    def _pieces(self, kept: _Kept) -> Iterator[bytes]:
        assert self._content is not None
        for at in range(kept.begin, kept.end, _PIECE_BYTES):
            yield os.pread(self._content.fileno(), min(_PIECE_BYTES, kept.end - at), at)
