from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import IntFlag
from os import stat_result
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tapeloom.agent.rows import RowBatch
from tapeloom.agent.sink import BytesLike
from tapeloom.agent.walk import Limits

DOUBT: int

class Odd(IntFlag):
    NAME = 1
    FOLDER = 2
    HEADER = 4
    UNLISTED = 8
    DEEP = 16
    MOVED = 32

Left = tuple[int, bytes, bytes, int, int, int, bytes | None, int, int]
Record = tuple[bytes, bool, int, int, int, int, int, int, int, int, int, int]

def pax_header(
    path: bytes,
    kind: bytes,
    status: Any,
    *,
    size: int = 0,
    link: bytes = b"",
    user: bytes = b"",
    group: bytes = b"",
    records: bytes = b"",
    listing: bytes | None = None,
) -> bytes: ...
def crc32c(data: BytesLike, crc: int = 0) -> int: ...

class Level(Iterator[Record]):
    def __init__(self, records: BytesLike, begin: int, end: int) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Record: ...

class Linked:
    def __init__(self, records: BytesLike, begin: int) -> None: ...
    def next(self, rows_max: int) -> RowBatch | None: ...

class Walk:
    prefix: bytes
    def __init__(
        self,
        *,
        limits: Limits,
        one_file_system: bool,
        caches: bool,
        markers: tuple[bytes, ...],
        excluded: Callable[[bytes], bool] | None,
        since: BytesLike | None,
        forced: npt.NDArray[np.uint64] | None,
        snapshot: tuple[int, int] | None,
        rows: bool,
        looking: bool,
        spill: bytes,
    ) -> None: ...
    def begin(self, root: int, prefix: bytes, row_skip: int, since: int | None) -> None: ...
    def work(self) -> None: ...
    def stop(self) -> None: ...
    def next(self) -> memoryview | Left | None: ...
    def record(self, status: stat_result, doubt: bool = False) -> None: ...
    def doubt(self, status: stat_result, now_ns: int) -> bool: ...
    def forces(self, inode: int) -> bool: ...
    def keep(self) -> None: ...
    def headless(self) -> None: ...
    def unlisted(self, status: stat_result) -> None: ...
    def single(self, name: bytes) -> AbstractContextManager[None]: ...
    def row(self, kind: int, path: bytes, link: bytes, status: stat_result | None) -> None: ...
    def wrote(self, bytes: int) -> None: ...
    @property
    def rows_waiting(self) -> int: ...
    def take_rows(self) -> RowBatch: ...
    @property
    def counts(self) -> tuple[int, int, int, int]: ...
    @property
    def position(self) -> int: ...
    def finish_snapshot(self) -> tuple[int, int, int]: ...
