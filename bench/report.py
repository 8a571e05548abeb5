"""Prints the table of figures: `python bench/report.py RESULTS.json...`, written by pytest with --benchmark-json.

Several files, from runs at several times, are taken together.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from goals import GOALS, Goal


def collect(files: Sequence[Path]) -> dict[str, list[float]]:
    """All measured values of each figure."""
    figures: defaultdict[str, list[float]] = defaultdict(list)
    for file in files:
        for benchmark in json.loads(file.read_text())["benchmarks"]:
            for key, values in benchmark["extra_info"].get("figures", {}).items():
                figures[key] += values
    return dict(figures)


def table(figures: Mapping[str, Sequence[float]]) -> str:
    """Markdown: a row for each figure; the median decides."""
    lines = ["| figure | goal | median | min to max | runs | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [_row(goal, figures.get(key, ())) for key, goal in GOALS.items()]
    return "\n".join(lines)


def _row(goal: Goal, values: Sequence[float]) -> str:
    if not values:
        return f"| {goal.text} | {goal.wanted} | not measured | | | |"
    median = statistics.median(values)
    verdict = {True: "ok", False: "**short**", None: ""}[goal.met(median)]
    unit = f" {goal.unit}" if goal.unit else ""
    span = f"{_text(min(values))} to {_text(max(values))}"
    return f"| {goal.text} | {goal.wanted} | {_text(median)}{unit} | {span} | {len(values)} | {verdict} |"


def _text(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    print(table(collect([Path(name) for name in sys.argv[1:]])))
