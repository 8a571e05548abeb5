"""An archive of ours, entry by entry, each as the bytes that it is."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from .._merge import Head, read_head
from ..errors import FormatError, SourceError
from . import pax, rows
from .report import printable, reason
from .rewriting import Buffer, without
from .sink import Sequence, Sink

HEADER_BYTES_HELD = 256 << 10
"""A header that is longer, for it lists the names of a large folder, is kept in a file without a name."""

Stretch = tuple[Buffer, int, int]
"""Bytes of something that keeps them: from, and up to before."""


class Archive(Sequence, Protocol):
    """A sequence that shows its bytes where they lie. In the order of its bytes it is read to its end."""

    def peek(self) -> memoryview:
        """The next unread bytes that lie together, empty at the end. Void after the next call."""

    def consume(self, bytes: int) -> None:
        """Pass over the first *bytes* of what `peek` has shown."""


class Entries:
    """Goes through an archive; *level* is its place in the chain, 0 for the full one.

    After `next`: `key` is the entry's path as a key (slashes are NULs), `kind` as in a row, `stored` the length of its
    content, `link` what it is a link to, as it stands there. The calls raise FormatError for what is no archive, and
    what the sequence raises.
    """

    def __init__(self, archive: Archive, level: int, spill: Path | None = None):
        self.level = level
        self.key = self.link = b""
        self.kind = rows.FOLDER
        self.stored = 0
        self.header: Buffer = b""
        self._archive = archive
        self._spill = spill
        self._head: Head | None = None
        self._left = 0  # of the content and its padding

    def next(self) -> bool:
        """Goes on to the next entry; what is left of the one before is passed over. False at the end mark."""
        self.pass_over()
        before = self.key if self._head is not None else None
        view = self._archive.peek()
        head = self._read(view)
        if isinstance(head, Head) and head.header_bytes > HEADER_BYTES_HELD:
            head = head.header_bytes
        if isinstance(head, int):
            self.header, head = self._gather(head)
        elif head is not None:
            self.header = bytes(view[: head.header_bytes])
            self._archive.consume(head.header_bytes)
        del view
        if head is None:
            self._archive.skip(1 << 62)
            return False
        if before is not None and head.key <= before:
            raise FormatError(f"the entry {self._where()} does not stand in canonical order in its archive")
        self._head = head
        self.key, self.kind, self.link, self.stored = head.key, head.kind, head.link, head.stored
        self._left = head.stored + pax.padding(head.stored)
        return True

    @property
    def is_folder(self) -> bool:
        return self.kind == rows.FOLDER

    @property
    def listing(self) -> Stretch | None:
        """Where the list of the folder's names stands, if it has one."""
        at = self._head.listing if self._head is not None else None
        return None if at is None else (self.header, *at)

    def header_without_listing(self) -> bytes:
        """The header as a full archive has it."""
        assert self._head is not None
        return self.header[:] if self._head.record is None else without(self.header, *self._head.record)

    def copy_to(self, sink: Sink) -> None:
        """Gives the content on, with its padding."""
        for piece in self.content():
            sink.write(piece)

    def content(self) -> Iterator[memoryview]:
        """The content with its padding, piece by piece, each void with the next."""
        while self._left:
            view = self._archive.peek()[: self._left]
            if not view:
                raise self._ends_early()
            yield view
            self._left -= len(view)
            self._archive.consume(len(view))

    def pass_over(self) -> None:
        """Leaves out what is left of the content."""
        left, self._left = self._left, 0
        if left and self._archive.skip(left) != left:
            raise self._ends_early()

    def behind(self) -> memoryview:
        """What lies together behind this entry, whose content has been taken."""
        return self._archive.peek()

    def passed(self, bytes: int, last: bytes) -> None:
        """Whole entries of *bytes* bytes, which `behind` has shown, have been taken; *last* is the key of the last."""
        self._archive.consume(bytes)
        self.key = last

    def _read(self, view: memoryview | Buffer) -> Head | int | None:
        try:
            return read_head(view)
        except FormatError as error:
            raise FormatError(f"the header {self._where()} is damaged: {error}") from None

    def _gather(self, needed: int) -> tuple[Buffer, Head | None]:
        """The header, where it does not lie together."""
        found: Head | int | None = needed
        header: Buffer = b""
        while isinstance(found, int):
            header = self._longer(bytes(header), found)
            found = self._read(header)
        return header, found

    def _longer(self, begin: bytes, needed: int) -> Buffer:
        if needed <= HEADER_BYTES_HELD:
            begin += self._archive.read(needed - len(begin))
            if len(begin) != needed:
                raise self._ends_early()
            return begin
        try:
            with tempfile.TemporaryFile(dir=self._spill) as file:
                os.pwrite(file.fileno(), begin, 0)
                more = needed - len(begin)
                if self._archive.pump_to(file.fileno(), len(begin), more) != more:
                    raise self._ends_early()
                return mmap.mmap(file.fileno(), needed, prot=mmap.PROT_READ)
        except OSError as error:
            where = self._spill or tempfile.gettempdir()
            raise SourceError(
                f"the names of a large folder find no room in {where}: {reason(error)}; let TMPDIR name a roomier one"
            ) from None

    def _where(self) -> str:
        return f"behind {self.path}" if self._head is not None else "at its start"

    @property
    def path(self) -> str:
        """For people."""
        return printable(self.key.replace(b"\0", b"/") or b".")

    def _ends_early(self) -> FormatError:
        return FormatError(f"the archive breaks off {self._where()}: it is not whole")
