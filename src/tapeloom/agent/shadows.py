"""What of older archives in a chain is gone, while the chain is gone through in canonical order.

A newer archive hides what older ones have in two ways: a folder's list (GNU.dumpdir) does not name it any more, or
something that is no folder stands where its folder was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from .._merge import KEEPS_FOLDER, KEEPS_OTHER, Names
from ..errors import FormatError
from .entries import Entries
from .report import printable


class _Folder(Struct):
    """A folder about which newer archives have something to say. Nothing of levels below *hidden* is there; *lists*
    are the newest first. *folder* and *other*: below which level there is nothing under the *name* last asked for."""

    prefix: bytes
    hidden: int = 0
    lists: list[tuple[int, Names]] = field(default_factory=list)
    name: bytes = b""
    folder: int = 0
    other: int = 0

    def look(self, name: bytes) -> None:
        self.name = name
        folder = other = self.hidden
        for level, names in self.lists:
            kept = names.keeps(name)
            if not kept & KEEPS_FOLDER and level > folder:
                folder = level
            if not kept & KEEPS_OTHER and level > other:
                other = level
        self.folder, self.other = folder, other

    def finish(self) -> None:
        """All its names have been asked for."""
        with _telling(self.prefix[:-1]):
            for _, names in self.lists:
                names.finish()


class Shadows:
    """Levels count from 0, the oldest archive. Keys are asked for in ascending order. Every call may raise
    FormatError for a list that is wrong."""

    def __init__(self) -> None:
        self._folders = [_Folder(b"")]

    def over(self, key: bytes) -> tuple[int, int]:
        """Below which level there is no folder any more under a key, and below which nothing else."""
        folders = self._folders
        while not key.startswith(folders[-1].prefix):
            folders.pop().finish()
        top = folders[-1]
        if not top.lists or not key:
            return top.hidden, top.hidden
        begin = len(top.prefix)
        end = key.find(b"\0", begin)
        name = key[begin:] if end < 0 else key[begin:end]
        if name != top.name:
            try:
                top.look(name)
            except FormatError as error:
                raise _wrong(top.prefix[:-1], error) from None
        return top.folder, top.other if end < 0 else top.folder

    def cast(self, key: bytes, there: Iterable[Entries], over_folder: int) -> None:
        """Says what archives have under a key, for which `over` has just been asked: over what is below it."""
        hidden = over_folder
        lists = []
        for entries in there:
            if not entries.is_folder:
                hidden = max(hidden, entries.level)
            elif entries.level and (listing := entries.listing) is not None:
                with _telling(key):
                    lists.append((entries.level, Names(*listing)))
        if lists or hidden > over_folder:
            lists = [(level, names) for level, names in lists if level >= hidden]
            self._folders.append(_Folder(key + b"\0" if key else b"", hidden, lists))

    def free_until(self, key: bytes, entries: Entries) -> bytes | None:
        """Behind the entry under a key, which was taken: from which key on `over` has to be asked again for more of
        that archive. That key itself: for the very next; None: never."""
        top = self._folders[-1]
        if not top.lists or top.lists[0][0] <= entries.level:
            return top.prefix[:-1] + b"\1" if top.prefix else None
        end = key.find(b"\0", len(top.prefix))
        if end >= 0:
            return key[:end] + b"\1"
        return key + b"\1" if entries.is_folder else key

    def finish(self) -> None:
        """All keys have been asked for."""
        for each in self._folders:
            each.finish()


@contextmanager
def _telling(folder: bytes) -> Iterator[None]:
    try:
        yield
    except FormatError as error:
        raise _wrong(folder, error) from None


def _wrong(folder: bytes, error: FormatError) -> FormatError:
    path = printable(folder.replace(b"\0", b"/") or b".")
    return FormatError(f"what is in {path} of the archive cannot be told: {error}")
