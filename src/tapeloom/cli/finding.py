"""`files` and `find`: what file indexes say, without touching a tape."""

from __future__ import annotations

import heapq
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tapeloom.agent.rows import BLOCK, CHAR, FIFO, FILE, FOLDER, GONE, HARDLINK, SYMLINK
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, local_time, printable, say, short_id, size
from tapeloom.errors import NotFound, TapeloomError

if TYPE_CHECKING:
    from tapeloom.agent.rows import RowBatch
    from tapeloom.catalog import Catalog, Object
    from tapeloom.index import Index, Wanted
    from tapeloom.seal import KeyRing

LINES_MAX = 1000
"""So many lines go to a terminal; a pipe or a file takes all."""

_NAMES = {
    FILE: "file",
    FOLDER: "folder",
    SYMLINK: "symlink",
    HARDLINK: "hard link",
    FIFO: "fifo",
    CHAR: "character device",
    BLOCK: "block device",
    GONE: "deleted",
}
_TYPES = {
    FILE: stat.S_IFREG,
    FOLDER: stat.S_IFDIR,
    SYMLINK: stat.S_IFLNK,
    HARDLINK: stat.S_IFREG,
    FIFO: stat.S_IFIFO,
    CHAR: stat.S_IFCHR,
    BLOCK: stat.S_IFBLK,
}


class Entry(NamedTuple):
    """One row of an index."""

    path: bytes
    kind: int
    mode: int
    size: int
    mtime: int
    link: bytes

    def as_json(self) -> dict[str, Any]:
        """Bytes of a path that are no UTF-8 become lone surrogates, as in Python's `os.fsdecode`."""
        named = {"path": os.fsdecode(self.path), "kind": _NAMES[self.kind]}
        if self.kind == GONE:
            return named
        linked = {"link": os.fsdecode(self.link)} if self.link else {}
        return {**named, "mode": f"{self.mode:04o}", "size": self.size, "mtime_ns": self.mtime, **linked}

    def line(self) -> str:
        if self.kind == GONE:
            return f"{'deleted':10}  {'-':>10}  {'-':16}  {_shown(self.path)}"
        mode = stat.filemode(_TYPES[self.kind] | self.mode)
        long = size(self.size) if self.kind == FILE else "-"
        link = f" {'=' if self.kind == HARDLINK else '->'} {_shown(self.link)}" if self.link else ""
        return f"{mode}  {long:>10}  {_time(self.mtime):16}  {_shown(self.path) or '.'}{link}"


@click.command()
@click.argument("name", metavar="OBJECT|SOURCE")
@click.argument("glob", metavar="[GLOB]", required=False)
@as_json("the entries, as a list")
@click.pass_obj
def files(file: Path, name: str, glob: str | None, json_wanted: bool) -> None:
    """List the entries of an object: mode, size, time, path.

    A source's name means its newest object. Of an increment, what it holds: what has changed, and what was deleted.
    GLOB: `*` and `?` stay within a name, `**` does not; without a slash it is about names at any depth, with one about
    the whole path.
    """
    from tapeloom import kept
    from tapeloom.catalog import Catalog
    from tapeloom.index import Wanted
    from tapeloom.ops.choose import choose_object
    from tapeloom.ops.indexes import open_index

    config = kept.config(file)
    wanted = None if glob is None else Wanted.parse([glob], below=False)
    with Catalog.open(config.server.state, readonly=True) as catalog:
        item = choose_object(catalog, name, partial=True)
        index = open_index(catalog, item, _keys(config.keys))
    if index is None:
        whole = called("cat", short_id(item.id))
        raise NotFound(f"object {item.id} of {item.source} has no file index here; {whole} and `tar t` read it whole")
    with index:
        found = _entries(index, wanted)
        if json_wanted:
            _put_json(entry.as_json() for entry in found)
        else:
            _put_lines(entry.line() for entry in found)
    if item.parent is not None:
        level = item.level.name.lower()
        say(f"It is {level}: the rest of its state is in object {short_id(item.parent)} and what that builds on")


@click.command()
@click.argument("glob", metavar="GLOB")
@click.option("--source", metavar="S", help="In the objects of this source alone.")
@click.option("--versions", is_flag=True, help="All versions of each path, and when it was deleted; the newest first.")
@as_json("what was found, as a list")
@click.pass_obj
def find(file: Path, glob: str, source: str | None, versions: bool, json_wanted: bool) -> int:
    """Find files in all objects: where the newest version of each path is, for each source.

    GLOB: as in `files`. What an object's id is shown for can be had back by `restore`.
    """
    from tapeloom import kept
    from tapeloom.catalog import Catalog
    from tapeloom.index import Wanted

    config = kept.config(file)
    wanted = Wanted.parse([glob], below=False)
    with Catalog.open(config.server.state, readonly=True) as catalog, ExitStack() as stack:
        search = _Search(catalog, stack, _keys(config.keys))
        found = search.versions(source, wanted, all_of_them=versions)
        if json_wanted:
            _put_json(_object_as_json(item) | entry.as_json() for item, entry in found)
        else:
            _put_lines(f"{_object_shown(item)}  {entry.line()}" for item, entry in found)
    return search.conclude()


class _Search:
    """Through the indexes of all objects; what could not be searched is said at the end."""

    def __init__(self, catalog: Catalog, stack: ExitStack, keys: KeyRing):
        self._catalog, self._stack, self._keys = catalog, stack, keys
        self._unindexed = 0
        self._unreadable: list[str] = []

    def versions(self, source: str | None, wanted: Wanted, *, all_of_them: bool) -> Iterator[tuple[Object, Entry]]:
        """By source and path, the newest version of a path first; or that one alone, deleted or not since."""
        by_source = sorted(self._catalog.objects(source), key=lambda item: item.source)  # the oldest first, still
        for _, items in groupby(by_source, key=lambda item: item.source):
            opened = [(item, index) for item in reversed(list(items)) if (index := self._open(item)) is not None]
            lists = [_versions(item, age, index, wanted) for age, (item, index) in enumerate(opened)]
            for _, same in groupby(heapq.merge(*lists), key=lambda version: version.key):
                alive = ((each.item, each.entry) for each in same if all_of_them or each.entry.kind != GONE)
                yield from alive if all_of_them else islice(alive, 1)
            for _, index in opened:
                index.close()

    def conclude(self) -> int:
        if self._unindexed:
            say(f"{counted(self._unindexed, 'object')} without a file index not searched")
        for why in dict.fromkeys(self._unreadable):
            say(f"tapeloom: {why}")
        return 1 if self._unreadable else 0

    def _open(self, item: Object) -> Index | None:
        from tapeloom.ops.indexes import open_index

        try:
            index = open_index(self._catalog, item, self._keys)
        except TapeloomError as error:
            self._unreadable.append(str(error))
            return None
        self._unindexed += index is None
        return None if index is None else self._stack.enter_context(index)


class _Version(NamedTuple):
    """Compared by key, then by age; no two of one age have the same key."""

    key: bytes
    age: int
    item: Object
    entry: Entry


def _versions(item: Object, age: int, index: Index, wanted: Wanted) -> Iterator[_Version]:
    return (_Version(entry.path.replace(b"/", b"\0"), age, item, entry) for entry in _entries(index, wanted))


def _entries(index: Index, wanted: Wanted | None) -> Iterator[Entry]:
    for batch in index.matching(wanted):
        columns = (batch.kind, batch.mode, batch.size, batch.mtime)
        yield from map(
            Entry, _texts(batch.paths, batch.path_ends), *(column.tolist() for column in columns), _links(batch)
        )


def _links(batch: RowBatch) -> Iterator[bytes]:
    return _texts(batch.links, batch.link_ends)


def _texts(blob: bytes, ends: Any) -> Iterator[bytes]:
    first = 0
    for last in ends.tolist():
        yield blob[first:last]
        first = last


def _keys(files: Any) -> KeyRing:
    from tapeloom.seal import KeyRing

    return KeyRing.load(files)


def _put_lines(lines: Iterable[str]) -> None:
    each = iter(lines)
    bounded = islice(each, LINES_MAX) if sys.stdout.isatty() else each
    for line in bounded:
        click.echo(line)
    if left := sum(1 for _ in each):
        say(f"and {left:,} more: a pipe or a file takes all, a narrower GLOB shows fewer")


def _put_json(values: Iterable[dict[str, Any]]) -> None:
    """A list, an entry a line, written as it is found: there may be millions."""
    between = "[\n"
    for value in values:
        click.echo(f"{between}{json.dumps(value)}", nl=False)
        between = ",\n"
    click.echo("[]" if between == "[\n" else "\n]")


def _object_as_json(item: Object) -> dict[str, Any]:
    from tapeloom.catalog.model import iso

    return {"source": item.source, "object": str(item.id), "as_of": iso(item.as_of), "status": item.status}


def _object_shown(item: Object) -> str:
    return f"{printable(item.source)}  {short_id(item.id)}  {local_time(item.as_of)}  {item.status:11}"


def _shown(path: bytes) -> str:
    """On one line, whatever the name."""
    return printable(os.fsdecode(path).replace("\n", "\\n"))


def _time(ns: int) -> str:
    """Times before 1 and after 9999 have no date."""
    try:
        return local_time(ns)
    except (ValueError, OverflowError, OSError):
        return f"@{ns // 10**9}"
