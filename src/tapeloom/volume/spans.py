"""Spans of blocks: plain arithmetic, without the run tables of `runs` and the library behind them."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]
"""First and last seq, both included."""


def union(parts: Iterable[Span]) -> list[Span]:
    """Overlapping and adjacent `parts` joined, ascending."""
    joined: list[Span] = []
    for first, last in sorted(parts):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def blocks_in(parts: Iterable[Span]) -> int:
    """How many blocks `parts`, none of them overlapping, hold."""
    return sum(last - first + 1 for first, last in parts)


def gaps(parts: Iterable[Span], blocks: int) -> list[Span]:
    """What `parts` leave out of blocks 0 to `blocks` - 1, ascending."""
    missing, expected = [], 0
    for first, last in union(parts):
        if first >= blocks:
            break
        if first > expected:
            missing.append((expected, first - 1))
        expected = last + 1
    if expected < blocks:
        missing.append((expected, blocks - 1))
    return missing
