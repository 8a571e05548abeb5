"""A source of files and folders: a tree becomes a pax archive in canonical order, whole or as an increment."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .._tree import DOUBT, Odd, Walk
from ..errors import SnapshotError, SourceError
from . import pax
from .byhand import COARSE_CLOCK, ByHand
from .links import FirstNames
from .report import SourceReport, reason
from .rules import Rules
from .sink import Sink
from .walk import open_unseen, walking

if TYPE_CHECKING:
    from .rows import Rows
    from .snapshot import Snapshot, SnapshotWriter

ROWS_MAX = 8192
"""Rows are handed on when so many have come together: but the first at once, for what takes them may have to be made
ready."""

_FILE = 8
"""DT_REG, from <dirent.h>."""


class TreeSource:
    """Files and folders of this machine.

    One path: its content stands in the archive under `./`, the folder's own entry first, so that a restore puts both on
    its target folder. Several paths, or one that is a file: each under its own name. A path that is a symbolic link
    is followed; links further down are kept as links. *exclude* are patterns as in a `.gitignore` at each path. With
    *cachedir_tag*, of a folder that holds a CACHEDIR.TAG (Bryan Ford's specification) nothing is taken but that tag; of
    one that holds a file named in *nobackup*, nothing but that file: as GNU tar does by `--exclude-caches` and
    `--exclude-tag`. *spill* is the folder for what does not fit into memory.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        exclude: Sequence[str] = (),
        one_file_system: bool = False,
        *,
        cachedir_tag: bool = False,
        nobackup: Sequence[str] = (),
        spill: Path | None = None,
    ):
        markers = tuple(os.fsencode(name) for name in nobackup)
        self.rules = Rules(tuple(paths), tuple(exclude), one_file_system, cachedir_tag, markers)
        self._spill = spill

    def run(
        self,
        sink: Sink,
        *,
        since: Snapshot | None = None,
        keep: SnapshotWriter | None = None,
        rows: Rows | None = None,
    ) -> SourceReport:
        """Write the archive to *sink*: of everything, or of what is not as *since* has it.

        What the tree looked like goes into *keep*, which the caller finishes; what is in the archive into *rows*.

        Raises SourceError when a path does not exist or cannot be opened, or when two have one name, before
        anything is written; SnapshotError when *since* is of other rules; errors.Stopped comes through from *sink*.
        """
        if since is not None and (why := since.fits(self)):
            raise SnapshotError(f"the snapshot does not fit: {why}")
        names = self._names()
        with ExitStack() as stack:
            roots: list[tuple[bytes, Path, int | None]] = []
            stack.callback(_close_all, roots)
            for name, path in names:
                roots.append((name, path, _open_root(path)))
            if keep is not None:
                keep.begin(self.rules)
            forced = None
            if since is not None and since.linked:
                from .relinked import relinked  # only where there is something to compare: start-up time

                forced = relinked(self.rules, roots, since, self._spill)
            links = stack.enter_context(FirstNames(self._spill))
            walk = stack.enter_context(
                walking(self.rules, since=since, keep=keep, forced=forced, rows=rows is not None, spill=self._spill)
            )
            reading = _Reading(sink, walk, ByHand(sink, walk, links), rows, since)
            while roots:
                name, path, fd = roots.pop(0)
                reading.root(name, path, fd)
            end = walk.position
            sink.write(pax.END)
            reading.flush()
            if keep is not None:
                keep.ended(walk)
        return reading.report(end)

    def _names(self) -> list[tuple[bytes, Path]]:
        """Each path under the name that it has in the archive, in canonical order."""
        paths = self.rules.paths
        if not paths:
            raise SourceError("a source of files needs at least one path")
        if len(paths) == 1 and os.path.isdir(paths[0]):
            return [(b".", paths[0])]
        named: dict[bytes, Path] = {}
        for path in paths:
            name = os.fsencode(path.name if path.name not in ("", "..") else path.resolve().name)
            if not name:
                raise SourceError(f"{path} has no name to stand under in an archive of several paths: give it alone")
            if name in named:
                raise SourceError(
                    f"{named[name]} and {path} would both be {path.name} in the archive: make them two sources"
                )
            named[name] = path
        return sorted(named.items())


def _close_all(roots: list[tuple[bytes, Path, int | None]]) -> None:
    for _, _, fd in roots:
        if fd is not None:
            os.close(fd)


def _open_root(path: Path) -> int | None:
    """The folder *path*, open, or None where it is something else that exists."""
    try:
        return open_unseen(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        try:
            os.stat(path)
            return None
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {reason(error)}") from None
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist: is its disk mounted?") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {reason(error)}") from None


class _Reading:
    """One run over the roots."""

    def __init__(self, sink: Sink, walk: Walk, by_hand: ByHand, rows: Rows | None, since: Snapshot | None):
        self._sink = sink
        self._walk = walk
        self._by_hand = by_hand
        self._rows = rows
        self._rows_max = 1
        self._since = {} if since is None else {record[0]: record for record in since.level()}

    def report(self, end: int) -> SourceReport:
        files, folders, others, content = self._walk.counts
        by = self._by_hand
        return SourceReport(
            files=files + by.files,
            folders=folders + by.folders,
            others=others + by.others,
            bytes=content + by.bytes,
            troubles=by.troubles.named(),
            troubles_beyond=by.troubles.beyond,
            remarks=by.remarks.named(),
            remarks_beyond=by.remarks.beyond,
            end=end,
        )

    def root(self, name: bytes, path: Path, fd: int | None) -> None:
        if fd is None:
            self._single(name, path)
            return
        known = self._since.get(name)
        skip = 2 if name == b"." else 0
        self._walk.begin(fd, name + b"/", skip, known[9] if known is not None and known[1] else None)
        write = self._sink.write
        while (found := self._walk.next()) is not None:
            if isinstance(found, tuple):
                self._odd(skip, *found)
            else:
                write(found)
            if self._rows is not None and self._walk.rows_waiting >= self._rows_max:
                self._rows.add(self._walk.take_rows())
                self._rows_max = ROWS_MAX

    def _is_same(self, name: bytes, path: Path) -> bool:
        """Whether the root *name*, which is no folder, is as the snapshot has it. Its record is made then."""
        known = self._since.get(name)
        now = time.clock_gettime_ns(COARSE_CLOCK)
        try:
            status = os.stat(path)
        except OSError:  # told when its entry is made
            return False
        seen = (False, status.st_mode, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mtime_ns)
        if known is None or (known[1], *known[3:8]) != seen or known[2] & DOUBT or self._walk.forces(status.st_ino):
            return False
        self._walk.record(status, self._walk.doubt(status, now))
        return True

    def flush(self) -> None:
        if self._rows is not None and self._walk.rows_waiting:
            self._rows.add(self._walk.take_rows())

    def _odd(
        self,
        skip: int,
        what: int,
        path: bytes,
        name: bytes,
        fd: int,
        error: int,
        kind: int,
        listed: bytes | None,
        listed_fd: int,
        listed_bytes: int,
    ) -> None:
        by = self._by_hand
        if what & Odd.DEEP:
            by.trouble(path, "the folder lies too deep for an archive and is left out")
            self._walk.keep()
        elif what & Odd.MOVED or fd < 0:
            by.trouble(
                path, f"the folder was moved while it was read, the rest of it is missing ({os.strerror(error)})"
            )
            if what & (Odd.NAME | Odd.FOLDER):
                self._walk.keep()
            if what & Odd.HEADER:
                self._walk.headless()
        elif what & (Odd.NAME | Odd.FOLDER):
            by.entry(path, fd, name, is_file=kind == _FILE and bool(what & Odd.NAME), row_skip=skip)
        if what & Odd.HEADER and fd >= 0:
            by.folder(path, fd, listed, listed_fd, listed_bytes)
        if what & Odd.UNLISTED:
            by.trouble(path, f"the folder cannot be listed, content of it is missing: {os.strerror(error)}")

    def _single(self, name: bytes, path: Path) -> None:
        """A path that is not a folder, under *name*. Symbolic links are followed here and nowhere else."""
        try:
            resolved = path.resolve(strict=True)
            parent = os.open(resolved.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._by_hand.unreadable(name, error)
            return
        try:
            with self._walk.single(name):
                if self._is_same(name, path):
                    return
                self._by_hand.entry(name, parent, os.fsencode(resolved.name), is_file=False, row_skip=0)
        finally:
            os.close(parent)
