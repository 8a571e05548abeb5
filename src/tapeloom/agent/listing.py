"""What an increment says is in a folder: the value of the record GNU.dumpdir, as GNU tar writes and reads it.

One item for each name, in any order: a letter, the name, a NUL; and one more NUL at the end. The letters: `Y`, in this
archive, and no folder; `D`, a folder; `N`, not in this archive, whatever it is.
"""

from __future__ import annotations

from ..errors import FormatError
from .report import printable


class Listing:
    """The names in the folder *path*. Raises FormatError for what is no such record."""

    def __init__(self, value: bytes, path: bytes):
        if not value.endswith(b"\0"):
            raise FormatError(f"the list of what is in {printable(path)} of the archive breaks off")
        items = value[:-1].split(b"\0")
        if items.pop():
            raise FormatError(f"the list of what is in {printable(path)} of the archive has no end")
        for item in items:
            if item[:1] in (b"R", b"T", b"X"):
                raise FormatError(
                    f"the list of what is in {printable(path)} of the archive has folders that were renamed, "
                    "which only GNU tar understands"
                )
            if item[:1] not in (b"Y", b"N", b"D") or b"/" in item or item[1:] in (b"", b".", b".."):
                raise FormatError(
                    f"the list of what is in {printable(path)} of the archive cannot be read: {printable(item)}"
                )
        self._items = frozenset(items)

    def keeps(self, name: bytes, is_folder: bool) -> bool:
        """Whether *name* may stay: it is named, and a folder only if it is to be one."""
        return (b"D" if is_folder else b"Y") + name in self._items or b"N" + name in self._items
