"""Entries of file indexes, as lines, as JSON and as bare paths."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tapeloom.agent.rows import BLOCK, CHAR, FIFO, FILE, FOLDER, GONE, HARDLINK, SYMLINK
from tapeloom.cli.endings import begun
from tapeloom.cli.screen import local_time, printable, say, short_id, size
from tapeloom.errors import UsageError
from tapeloom.quoting import in_json, shown

if TYPE_CHECKING:
    from tapeloom.catalog import Object
    from tapeloom.index import Entry
    from tapeloom.ops.finding import Found

T = TypeVar("T")

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


def put_found(found: Iterable[Found], *, json_wanted: bool, null: bool, with_object: bool) -> None:
    """One after another, as they are found: there may be millions. `with_object`: each line begins with its object."""
    if null and json_wanted:
        raise UsageError("--null and --json are two forms of one list: leave one of them out")
    if null:
        _put_paths(one.entry.path for one in found)
    elif json_wanted:
        _put_json((_object_as_json(one.item) if with_object else {}) | _as_json(one) for one in found)
    else:
        _put_lines(f"{_object_shown(one.item)}  {_line(one)}" if with_object else _line(one) for one in found)


def _as_json(one: Found) -> dict[str, Any]:
    from tapeloom.catalog.model import iso

    entry = one.entry
    named: dict[str, Any] = {**in_json("path", entry.path), "kind": _NAMES[entry.kind]}
    if entry.kind == GONE:
        return named
    linked = in_json("link", _link(entry)) if entry.link else {}
    gone = {} if one.gone is None else {"deleted_as_of": iso(one.gone.as_of)}
    return {**named, "mode": f"{entry.mode:04o}", "size": entry.size, "mtime_ns": entry.mtime, **linked, **gone}


def _line(one: Found) -> str:
    entry = one.entry
    if entry.kind == GONE:
        return f"{'deleted':10}  {'-':>10}  {'-':16}  {shown(entry.path)}"
    mode = stat.filemode(_TYPES[entry.kind] | entry.mode)
    long = size(entry.size) if entry.kind == FILE else "-"
    link = f" {'=' if entry.kind == HARDLINK else '->'} {shown(_link(entry))}" if entry.link else ""
    gone = "" if one.gone is None else f"  (deleted, as of {local_time(one.gone.as_of)})"
    return f"{mode}  {long:>10}  {_minute(entry.mtime):16}  {shown(entry.path)}{link}{gone}"


def _link(entry: Entry) -> bytes:
    """The name of a hard link's file is a path as all others are."""
    return entry.link.removeprefix(b"./") if entry.kind == HARDLINK else entry.link


def _object_as_json(item: Object) -> dict[str, Any]:
    from tapeloom.catalog.model import iso

    return {"source": item.source, "object": str(item.id), "as_of": iso(item.as_of), "status": item.status}


def _object_shown(item: Object) -> str:
    return f"{printable(item.source)}  {short_id(item.id)}  {local_time(item.as_of)}  {item.status:11}"


def _put_lines(lines: Iterable[str]) -> None:
    each = _noted(lines)
    for line in islice(each, LINES_MAX) if sys.stdout.isatty() else each:
        click.echo(line)
    if left := sum(1 for _ in each):
        say(f"and {left:,} more: a pipe or a file takes all, a narrower GLOB shows fewer")


def _put_json(values: Iterable[dict[str, Any]]) -> None:
    """A list, an entry a line."""
    between = "[\n"
    for value in _noted(values):
        click.echo(f"{between}{json.dumps(value)}", nl=False)
        between = ",\n"
    click.echo("[]" if between == "[\n" else "\n]")


def _put_paths(paths: Iterable[bytes]) -> None:
    """The bytes themselves, with a NUL behind each. The root is "."."""
    for path in _noted(paths):
        click.echo((path or b".") + b"\0", nl=False)


def _noted(values: Iterable[T]) -> Iterator[T]:
    """From the first one on something is done."""
    for value in values:
        begun()
        yield value


def _minute(ns: int) -> str:
    """In the zone of whoever reads it; times before 1 and after 9999 have no date."""
    try:
        return f"{datetime.fromtimestamp(ns // 10**9).astimezone():%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"@{ns // 10**9}"
