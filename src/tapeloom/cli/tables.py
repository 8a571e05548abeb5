"""Tables: aligned columns, on a terminal within its width and never with a value cut short."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import click

from tapeloom.cli.screen import printable

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
"""Spaces between columns."""

NAME_COLUMNS_MIN = 12
"""A name is not folded into fewer columns than that."""

_NAMES = {"source", "group", "drive", "volume", "cartridge"}
"""Users' own names: folded anywhere. What stands under any other title but these and _LISTS is never folded."""

_LISTS = {"volumes", "copies", "groups"}
"""Folded between words."""

_COLOURS = {
    "complete": "green",
    "good": "green",
    "appendable": "green",
    "partial": "yellow",
    "detached": "yellow",
    "stopped": "yellow",
    "interrupted": "yellow",
    "running": "cyan",
    "reading": "cyan",
    "missing": "red",
    "damaged": "red",
    "failed": "red",
    "hung": "red",
}

_LABEL = re.compile(r"(.*?)(\d+)")
_RUN_MIN = 3


def put_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Aligned columns, with colours for "status" on a terminal.

    There, long names and lists are folded within their columns; where that does not make it fit, each row becomes a
    paragraph.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _put_on_terminal(titles, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    for row in (titles, *cells):
        aligned = [
            cell.rjust(width) if title in right else cell.ljust(width)
            for title, cell, width in zip(titles, row, widths, strict=True)
        ]
        click.echo("  ".join(aligned).rstrip())


def volume_runs(labels: Sequence[str]) -> str:
    """
    >>> volume_runs(["R1-0001", "R1-0002"]), volume_runs([f"R1-{n:04}" for n in range(1, 15)] + ["R2-0001"])
    ('R1-0001, R1-0002', 'R1-0001..R1-0014 (14), R2-0001')
    """
    runs: list[list[str]] = []
    for label in labels:
        if runs and _follows(runs[-1][-1], label):
            runs[-1].append(label)
        else:
            runs.append([label])
    return ", ".join(f"{run[0]}..{run[-1]} ({len(run)})" if len(run) >= _RUN_MIN else ", ".join(run) for run in runs)


def fitted(widths: Mapping[str, int], least: Mapping[str, int], columns: int) -> dict[str, int] | None:
    """How wide each column may be so that all fit: between its `least` and its full width. None: they cannot fit."""
    room = columns - GAP * (len(widths) - 1) - sum(least.values())
    if room < 0:
        return None
    found = dict(least)
    waiting = sorted((widths[title] - least[title], title) for title in widths)
    for n, (wanted, title) in enumerate(waiting):  # the modest first, so that what they leave goes to the others
        given = min(wanted, room // (len(waiting) - n))
        found[title] += given
        room -= given
    return found


def _follows(before: str, label: str) -> bool:
    one, two = _LABEL.fullmatch(before), _LABEL.fullmatch(label)
    if one is None or two is None:
        return False
    return label == f"{one[1]}{int(one[2]) + 1:0{len(one[2])}}"


def _put_on_terminal(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    columns = dict(zip(titles, zip(titles, *rows, strict=True), strict=True))
    widths = {title: max(map(cell_len, column)) for title, column in columns.items()}
    least = dict(widths)
    for title, column in columns.items():
        if title in _NAMES:
            least[title] = min(widths[title], NAME_COLUMNS_MIN)
        elif title in _LISTS:
            least[title] = max(cell_len(word) for cell in column for word in cell.split() or [""])
    fit = fitted(widths, least, console.width)
    if fit is None:
        _put_paragraphs(console, titles, rows)
        return
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for title in titles:
        justify: Literal["left", "right"] = "right" if title in right else "left"
        table.add_column(title, justify=justify, overflow="fold", width=fit[title])
    for row in rows:
        table.add_row(*[Text(cell, _colour(title, cell)) for title, cell in zip(titles, row, strict=True)])
    console.print(table)


def _put_paragraphs(console: Console, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    for n, row in enumerate(rows):
        if n:
            console.print()
        paragraph = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        paragraph.add_column(style="bold", width=max(map(len, titles)))
        paragraph.add_column(overflow="fold")
        for title, cell in zip(titles, row, strict=True):
            paragraph.add_row(title, Text(cell, _colour(title, cell)))
        console.print(paragraph)


def _colour(title: str, cell: str) -> str:
    return _COLOURS.get(cell, "") if title == "status" else ""
