"""The file index by itself: made, and asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from pytest_benchmark.fixture import BenchmarkFixture
from rows import end_of, row_batches
from sizes import Sizes

from tapeloom.index import Index, IndexWriter

OBJECTS = 100
WANTED = 20
"""So many paths are looked for, spread over the whole index."""


def test_index(benchmark: BenchmarkFixture, note: Callable[[str, float], None], scratch: Path, sizes: Sizes) -> None:
    folder = scratch / "index"
    folder.mkdir()
    batches = list(row_batches(sizes.rows))
    rows = sum(map(len, batches))
    paths = [_first_path(batch) for batch in batches[:: max(1, len(batches) // WANTED)]][:WANTED]
    end = end_of(batches[-1])
    target = folder / "index.parquet"

    def make() -> None:
        begin = time.perf_counter()
        writer = IndexWriter(target, UUID(int=1), "S")
        for batch in batches:
            writer.add(batch)
        writer.finish(end)
        note("index_rate", rows / (time.perf_counter() - begin))

    benchmark.pedantic(make, rounds=min(3, sizes.rounds))
    note("index_bytes", target.stat().st_size / rows)
    batches.clear()

    objects = []
    for number in range(OBJECTS):
        objects.append(folder / f"object-{number}.parquet")
        objects[-1].symlink_to(target)
    for path in paths:
        begin = time.perf_counter()
        with Index.open(target) as index:
            assert index.find(path) is not None
        note("index_find", (time.perf_counter() - begin) * 1e3)
    for path in paths[:3]:
        begin = time.perf_counter()
        for target in objects:
            with Index.open(target) as index:
                assert index.find(path) is not None
        note("index_versions", (time.perf_counter() - begin) * 1e3)


def _first_path(batch: object) -> bytes:
    return bytes(batch.paths[: int(batch.path_ends[0])])  # type: ignore[attr-defined]
