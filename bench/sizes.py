"""How much the benchmarks move."""

from __future__ import annotations

from dataclasses import dataclass

from tapeloom.limits import MIB

FILES = 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is moved. `repeats`: how often a source reads its file, so that starting counts for nothing."""

    file_bytes: int
    repeats: int
    backup_repeats: int
    rounds: int
    paced_repeats: int
    tape_repeats: int
    copy_repeats: int
    kernel_blocks: int
    small_files: int
    many_files: int
    rows: int
    """Of the file index."""
    chain_bytes: int
    """Of the full object that is consolidated with its increments."""
    curve_blocks: int
    """Of each object of the restore curve."""
    curve_streams: tuple[int, ...]
    curve_runs: tuple[int, ...]
    bursts: int
    """Of the source that is slower than its drive."""


FULL = Sizes(
    file_bytes=128 * MIB,
    repeats=4,
    backup_repeats=16,
    rounds=9,
    paced_repeats=9,
    tape_repeats=2,
    copy_repeats=4,
    kernel_blocks=400_000,
    small_files=100_000,
    many_files=300_000,
    rows=10_000_000,
    chain_bytes=2_000_000_000,
    curve_blocks=2048,
    curve_streams=(1, 2, 4, 8, 16, 32),
    curve_runs=(1, 4, 16, 64, 256),
    bursts=300,
)
QUICK = Sizes(
    file_bytes=4 * MIB,
    repeats=1,
    backup_repeats=1,
    rounds=1,
    paced_repeats=8,
    tape_repeats=1,
    copy_repeats=1,
    kernel_blocks=32_000,
    small_files=1000,
    many_files=2000,
    rows=50_000,
    chain_bytes=20_000_000,
    curve_blocks=256,
    curve_streams=(1, 4),
    curve_runs=(1, 16),
    bursts=75,
)
