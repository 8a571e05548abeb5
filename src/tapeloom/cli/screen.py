"""Words on the screen: sentences, lists, JSON, sizes and times.

What was asked for goes to standard output, all else to standard error.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import click

PROSE_COLUMNS = 100

BOUND = 20
"""So many lines of one kind are shown; the rest is counted."""


def put(text: str = "") -> None:
    """One line that was asked for."""
    click.echo(printable(text))


def say(text: str) -> None:
    """One line about what goes on."""
    click.echo(printable(text), err=True)


def put_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def put_text(text: str, indent: str = "") -> None:
    """A sentence or two, folded where there is a terminal; elsewhere one line, which is easier to search."""
    if not sys.stdout.isatty():
        put(indent + text)
        return
    import shutil

    columns = min(shutil.get_terminal_size().columns, PROSE_COLUMNS)
    for line in textwrap.wrap(
        printable(text),
        columns,
        initial_indent=indent,
        subsequent_indent=indent * 2,
        break_long_words=False,
        break_on_hyphens=False,
    ):
        click.echo(line)


def put_section(title: str, lines: Sequence[str], *, more: str = "") -> None:
    """A titled list of at most BOUND lines; `more` says where the others are."""
    if not lines:
        return
    put()
    click.secho(title, bold=True)
    for line in bounded(lines, more):
        put_text(line, indent="  ")


def bounded(lines: Sequence[str], more: str = "") -> list[str]:
    """At most BOUND of the lines, the last of which counts what was left out."""
    if len(lines) <= BOUND:
        return list(lines)
    return [*lines[: BOUND - 1], f"and {len(lines) - BOUND + 1} more" + (f": {more}" if more else "")]


def printable(text: str) -> str:
    """No control character reaches a terminal but the line feed: names of files may hold any."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def size(count: int | None) -> str:
    if count is None:
        return "-"
    from tapeloom.quantity import rough_size

    return rough_size(count)


def rate(bytes_per_second: float) -> str:
    from tapeloom.quantity import rough_rate

    return rough_rate(bytes_per_second)


def number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """
    >>> counted(1, "copy", "copies"), counted(1200, "block")
    ('1 copy', '1,200 blocks')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def local_time(ns: int) -> str:
    from tapeloom.quantity import local_time

    return local_time(ns)


def duration(seconds: float) -> str:
    """
    >>> duration(3.21), duration(75), duration(7384)
    ('3.2 s', '1:15 min', '2:03:04 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def short_id(id: object) -> str:
    """The beginning of an object's or a job's id that tells it from any other: milliseconds and their fraction."""
    return str(id)[:18]
