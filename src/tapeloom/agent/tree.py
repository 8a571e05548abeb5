"""A source of files and folders: a tree becomes a pax archive in canonical order, whole or as an increment."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

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
        with self.begin(since=since, keep=keep, rows=rows is not None) as begun:
            return begun.into(sink, rows)

    def begin(
        self, *, since: Snapshot | None = None, keep: SnapshotWriter | None = None, rows: bool = False
    ) -> TreeReading:
        """Open the paths and begin to read the first, for somebody who writes it down later: the walk goes ahead as far
        as `agent.walk.Limits` say. *rows*: that one wants them. Raises as `run`. To be closed."""
        if since is not None and (why := since.fits(self)):
            raise SnapshotError(f"the snapshot does not fit: {why}")
        return TreeReading(self.rules, self._names(), since, keep, rows, self._spill)

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


class TreeReading:
    """A tree that is being read. See `TreeSource.begin`."""

    def __init__(
        self,
        rules: Rules,
        names: Sequence[tuple[bytes, Path]],
        since: Snapshot | None,
        keep: SnapshotWriter | None,
        rows: bool,
        spill: Path | None,
    ):
        self._keep = keep
        self._since = {} if since is None else {record[0]: record for record in since.level()}
        self._roots: list[tuple[bytes, Path, int | None]] = []
        with ExitStack() as stack:
            stack.callback(_close_all, self._roots)
            for name, path in names:
                self._roots.append((name, path, _open_root(path)))
            if keep is not None:
                keep.begin(rules)
            forced = None
            if since is not None and since.linked:
                from .relinked import relinked  # only where there is something to compare: start-up time

                forced = relinked(rules, self._roots, since, spill)
            self._links = stack.enter_context(FirstNames(spill))
            walk = walking(rules, since=since, keep=keep, forced=forced, rows=rows, spill=spill)
            self._walk = stack.enter_context(walk)
            self._name, self._path, self._folder = self._next()
            self._open = stack.pop_all()

    def _next(self) -> tuple[bytes, Path, bool]:
        """The next of the paths: under which name, and whether it is a folder. That is read from now on."""
        name, path, fd = self._roots.pop(0)
        if fd is not None:
            known = self._since.get(name)
            at = known[9] if known is not None and known[1] else None
            self._walk.begin(fd, name + b"/", _row_skip(name), at)
        return name, path, fd is not None

    def into(self, sink: Sink, rows: Rows | None) -> SourceReport:
        """Write the archive to *sink*, its rows to *rows*. Once. errors.Stopped comes through from *sink*."""
        taking = _Taking(sink, self._walk, ByHand(sink, self._walk, self._links), rows, self._since)
        while True:
            if self._folder:
                taking.folder(self._name)
            else:
                taking.single(self._name, self._path)
            if not self._roots:
                break
            self._name, self._path, self._folder = self._next()
        end = self._walk.position
        sink.write(pax.END)
        taking.flush()
        if self._keep is not None:
            self._keep.ended(self._walk)
        return taking.report(end)

    def close(self) -> None:
        """The walk ends, wherever it is."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _row_skip(name: bytes) -> int:
    """How many bytes of a path in the archive rows leave out: of the content of one folder alone its `./`."""
    return 2 if name == b"." else 0


class _Taking:
    """Takes what the walk finds, in order, and what it leaves to be done by hand."""

    def __init__(
        self, sink: Sink, walk: Walk, by_hand: ByHand, rows: Rows | None, since: Mapping[bytes, Sequence[Any]]
    ):
        self._sink = sink
        self._walk = walk
        self._by_hand = by_hand
        self._rows = rows
        self._rows_max = 1
        self._since = since

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

    def folder(self, name: bytes) -> None:
        """All of a root that the walk has begun."""
        skip = _row_skip(name)
        write = self._sink.write
        while (found := self._walk.next()) is not None:
            if isinstance(found, tuple):
                self._odd(skip, *found)
            else:
                write(found)
            if self._walk.rows_waiting >= self._rows_max:
                self.flush()
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
        """Rows that have come together go where they are wanted."""
        if self._walk.rows_waiting:
            taken = self._walk.take_rows()
            if self._rows is not None:
                self._rows.add(taken)

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

    def single(self, name: bytes, path: Path) -> None:
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
