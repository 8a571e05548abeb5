"""Several archives become one: a full one and the increments on it, gone through side by side, as a full one of the
last one's time.

All of them stand in canonical order, so one pass does, and no more is held than a header of each, the lists of the
folders that lead to the present place, and what is known of hard links. Headers and content go on as they are, byte by
byte, but for the lists of names, which a full archive does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .._merge import Passing
from ..errors import FormatError, SealError, SourceError
from . import pax, rows
from .entries import Archive, Entries
from .report import SourceReport
from .severed import Severed
from .shadows import Shadows
from .sink import Sink

if TYPE_CHECKING:
    from .rows import Rows

ROWS_MAX = 8192


@runtime_checkable
class Proven(Protocol):
    """A sequence whose bytes are compared with what is known of them."""

    def proof(self) -> bool:
        """Reads on to the end. Raises FormatError where they are others."""


class MergeSource:
    """A full archive and the increments on it, oldest first, as a source of the full one that they make up.

    *severed* has, by place in the chain, the paths whose data is wanted though their entry is not (see
    `tapeloom.index.chain.Pulled`): a hard link leads to it, and a newer archive has something else under its name.
    *spill* is the folder for what does not fit into memory.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        *,
        severed: Mapping[int, frozenset[bytes]] | None = None,
        spill: Path | None = None,
    ):
        if not archives:
            raise ValueError("there is nothing to merge")
        self._archives = archives
        self._severed = severed or {}
        self._spill = spill

    def run(self, sink: Sink, *, rows: Rows | None = None) -> SourceReport:
        """Write the full archive to *sink*, and what is in it to *rows*. Each archive is read to its end, and proven
        where it can be, before this returns.

        Raises SourceError where one of them is damaged, breaks off or is no increment to the ones before;
        errors.Stopped comes through from *sink*.
        """
        with ExitStack() as held:
            merging = _Merging(self._archives, self._severed, self._spill, sink, rows, held)
            try:
                merging.run()
                for archive in self._archives:
                    if isinstance(archive, Proven):
                        archive.proof()
            except (FormatError, SealError) as error:
                raise SourceError(f"the objects of the chain cannot be merged: {error}") from None
            return merging.report()


Head = tuple[bytes, int, Entries]
"""In the heap: the key, and of one key the newest first."""


class _Merging:
    """One run."""

    def __init__(
        self,
        archives: Sequence[Archive],
        severed: Mapping[int, frozenset[bytes]],
        spill: Path | None,
        sink: Sink,
        rows: Rows | None,
        held: ExitStack,
    ):
        self._entries = [Entries(archive, level, spill) for level, archive in enumerate(archives)]
        self._sink = sink
        self._rows = rows
        self._passing = Passing(rows=rows is not None)
        self._shadows = Shadows()
        self._severed = [held.enter_context(Severed(severed.get(level), spill)) for level in range(len(archives))]
        self._at = 0
        self._heads: list[Head] = []
        self._rows_max = 1

    def run(self) -> None:
        heads = self._heads
        heads += [(entries.key, -entries.level, entries) for entries in self._entries if entries.next()]
        heapify(heads)
        while heads:
            key, _, entries = heappop(heads)
            if heads and heads[0][0] == key:
                there = [entries]
                while heads and heads[0][0] == key:
                    there.append(heappop(heads)[2])
                self._several(key, there)
            else:
                self._one(key, entries)
            if self._rows is not None and self._passing.rows_waiting >= self._rows_max:
                self._rows.add(self._passing.take_rows())
                self._rows_max = ROWS_MAX
        self._shadows.finish()
        if self._rows is not None and self._passing.rows_waiting:
            self._rows.add(self._passing.take_rows())
        self._sink.write(pax.END)

    def report(self) -> SourceReport:
        files, folders, others, content = self._passing.counts
        return SourceReport(files=files, folders=folders, others=others, bytes=content, end=self._at)

    def _one(self, key: bytes, entries: Entries) -> None:
        """Only one archive has that entry. Those behind it in the same archive may be no others' business either."""
        folder, other = self._shadows.over(key)
        stays = entries.level >= (folder if entries.is_folder else other)
        if entries.is_folder or (self._heads and self._heads[0][0].startswith(key + b"\0")):
            self._shadows.cast(key, (entries,), folder)
        if stays:
            self._take(entries)
            self._run_on(key, entries)
        else:
            self._leave(entries)
        if entries.next():
            heappush(self._heads, (entries.key, -entries.level, entries))

    def _several(self, key: bytes, there: list[Entries]) -> None:
        """Several have it, the newest first."""
        folder, other = self._shadows.over(key)
        self._shadows.cast(key, there, folder)
        taken = next((one for one in there if one.level >= (folder if one.is_folder else other)), None)
        for entries in there:
            if entries is taken:
                self._take(entries)
            else:
                self._leave(entries)
            if entries.next():
                heappush(self._heads, (entries.key, -entries.level, entries))

    def _run_on(self, key: bytes, entries: Entries) -> None:
        """Takes what follows in the archive at one go, as far as no other archive has a say in it."""
        until = self._shadows.free_until(key, entries)
        if self._heads and (until is None or self._heads[0][0] < until):
            until = self._heads[0][0]
        if until is not None and until <= key:
            return
        with_links = not self._severed[entries.level]
        while True:
            view = entries.behind()
            done = self._passing.run(view, until, with_links, self._at)
            if not done:
                return
            self._sink.write(view[:done])
            self._at += done
            entries.passed(done, self._passing.last)
            if done < len(view):
                return

    def _take(self, entries: Entries) -> None:
        severed = self._severed[entries.level]
        if entries.kind == rows.HARDLINK and severed:
            self._take_link(entries, severed)
            return
        self._write(entries.header_without_listing())
        entries.copy_to(self._sink)
        self._at += entries.stored + pax.padding(entries.stored)

    def _take_link(self, entries: Entries, severed: Severed) -> None:
        header, content = severed.found(entries)
        self._write(header)
        for piece in content:
            self._sink.write(piece)
            self._at += len(piece)

    def _leave(self, entries: Entries) -> None:
        if not entries.is_folder and entries.kind != rows.HARDLINK:
            self._severed[entries.level].add(entries)
        entries.pass_over()

    def _write(self, header: bytes) -> None:
        self._passing.one(header, self._at)
        self._sink.write(header)
        self._at += len(header)
