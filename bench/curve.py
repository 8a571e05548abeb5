"""Draws the restore curve: `python bench/curve.py RESULTS.json > bench/restore_curve.svg`.

RESULTS.json is written by `python -m pytest bench/test_restore_curve.py --benchmark-json=RESULTS.json`. Full lines are
what was measured, broken ones what the same timing predicts for runs too long to be measured. The points go to the
standard error as a table.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapeloom.compile.cost import restore_cost
from tapeloom.limits import BLOCK_BYTES_DEFAULT
from tapeloom.picture.draw import COLOURS, EDGE, INK, QUIET
from tapeloom.picture.lettering import FONTS, attribute, content
from tapeloom.quantity import rough_size
from tapeloom.timing import LTO9

WIDE, HIGH, TOP, LEFT, GAP, LEGEND = 330, 300, 76, 62, 84, 190
STREAMS = (1, 2, 4, 8, 16, 32)
LONG_RUNS = (4096, 16384, 131072)
"""In blocks: beyond what any benchmark writes."""
PANELS = (("bytes", "bytes read : bytes of the object"), ("seconds", "seconds : those of an object alone"))


@dataclass(frozen=True, slots=True)
class Line:
    run_blocks: int
    points: Sequence[tuple[int, float]]
    """(streams, ratio)"""
    measured: bool

    @property
    def name(self) -> str:
        return f"{self.run_blocks} x 512 KiB = {rough_size(self.run_blocks * BLOCK_BYTES_DEFAULT)}"


def lines(rows: Sequence[dict[str, float]], key: str) -> list[Line]:
    measured = [
        Line(run, [(int(row["streams"]), row[key]) for row in rows if row["run_blocks"] == run], True)
        for run in sorted({int(row["run_blocks"]) for row in rows})
    ]
    predicted = [
        Line(
            run,
            [(streams, getattr(restore_cost(LTO9, streams, run, BLOCK_BYTES_DEFAULT), key)) for streams in STREAMS],
            False,
        )
        for run in LONG_RUNS
    ]
    return measured + predicted


def svg(rows: Sequence[dict[str, float]]) -> str:
    wide = LEFT + 2 * WIDE + GAP + LEGEND + 30
    high = TOP + HIGH + 64
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'role="img" aria-labelledby="title" font-family={attribute(FONTS)} fill="{INK}">',
        '<title id="title">What it costs to restore one of several interleaved objects from LTO-9</title>',
        f'<rect width="{wide}" height="{high}" fill="#ffffff"/>',
        _text(LEFT - 30, 30, "Restoring one of several interleaved objects, LTO-9", size=17, bold=True),
    ]
    for column, (key, title) in enumerate(PANELS):
        parts += _panel(LEFT + column * (WIDE + GAP), title, lines(rows, key))
    parts += _legend(LEFT + 2 * WIDE + GAP + 26, lines(rows, "bytes"))
    return "\n".join([*parts, "</svg>", ""])


def _x(left: float, streams: float) -> float:
    return left + WIDE * math.log2(streams) / 5


def _y(ratio: float) -> float:
    return TOP + HIGH * (1 - math.log2(ratio) / 5.2)


def _panel(left: float, title: str, curves: Sequence[Line]) -> Iterator[str]:
    yield _text(left - 30, TOP - 18, title, size=13, fill=QUIET)
    for mark in STREAMS:
        yield f'<path d="M{left} {_y(mark):.1f}h{WIDE}M{_x(left, mark):.1f} {TOP}v{HIGH}" stroke="{EDGE}"/>'
        yield _text(left - 8, _y(mark) + 4, f"{mark}", anchor="end")
        yield _text(_x(left, mark), TOP + HIGH + 18, f"{mark}", anchor="middle")
    yield _text(left + WIDE / 2, TOP + HIGH + 40, "streams interleaved", anchor="middle", fill=QUIET)
    for row, line in enumerate(curves):
        way = "L".join(f"{_x(left, streams):.1f} {_y(max(ratio, 1)):.1f}" for streams, ratio in line.points)
        yield f'<path d="M{way}" fill="none" stroke="{COLOURS[row]}" stroke-width="2.2"{_dash(line)}/>'


def _legend(left: float, curves: Sequence[Line]) -> Iterator[str]:
    yield _text(left, TOP + 4, "length of a run", fill=QUIET)
    for row, line in enumerate(curves):
        y = TOP + 28 + 22 * row
        yield f'<path d="M{left} {y - 4}h26" stroke="{COLOURS[row]}" stroke-width="2.2"{_dash(line)}/>'
        yield _text(left + 34, y, line.name)
    yield _text(left, TOP + 40 + 22 * len(curves), "full: measured at 1 : 32", fill=QUIET)
    yield _text(left, TOP + 58 + 22 * len(curves), "broken: predicted", fill=QUIET)


def _dash(line: Line) -> str:
    return "" if line.measured else ' stroke-dasharray="6 4"'


def _text(
    x: float, y: float, text: str, *, size: float = 12, anchor: str = "start", fill: str = INK, bold: bool = False
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{weight}>'
        f"{content(text)}</text>"
    )


def points(file: Path) -> list[dict[str, float]]:
    """The points of the curve in a file of results."""
    found: list[dict[str, float]] = []
    for benchmark in json.loads(file.read_text())["benchmarks"]:
        found += benchmark["extra_info"].get("curve", [])
    return found


def table(rows: Sequence[dict[str, float]]) -> str:
    """Markdown: `bytes / seconds (predicted seconds)` of each point."""
    runs = sorted({int(row["run_blocks"]) for row in rows})
    at = {
        (int(row["streams"]), int(row["run_blocks"])): f"{row['bytes']:.3g} / {row['seconds']:.3g} "
        f"({row['predicted']:.3g})"
        for row in rows
    }
    made = ["| streams | " + " | ".join(f"runs of {run}" for run in runs) + " |", "| --- " * (len(runs) + 1) + "|"]
    for streams in sorted({key[0] for key in at}):
        made.append(f"| {streams} | " + " | ".join(at[streams, run] for run in runs) + " |")
    return "\n".join(made)


if __name__ == "__main__":
    rows = points(Path(sys.argv[1]))
    print(table(rows), file=sys.stderr)
    print(svg(rows), end="")
