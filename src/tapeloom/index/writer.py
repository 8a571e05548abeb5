"""Making an index while its object is written: rows in, a file out, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from .._tree import first_not_behind
from ..agent.rows import FILE, FOLDER, GONE, RowBatch
from ..errors import CatalogError, FormatError, TapeloomError
from . import form
from .form import GROUP_BYTES_MAX, GROUP_ROWS, NUMBERS, Facts, Groups
from .keys import key_of


class IndexSummary(Struct, frozen=True):
    """`files` counts regular files, `rows` all entries and GONE rows; `bytes` is the size of the index itself. Where
    there are no rows, there is no index."""

    files: int
    rows: int
    bytes: int


class IndexWriter:
    """Takes an object's rows (`agent.rows.Rows`) and stores them.

    `target` is the index's path, which appears when the index is whole (mode 0600; until then it is written beside it),
    or an empty file that is open, by descriptor or as an object, and stays the caller's. `step`: see `Facts`.

    Nothing is begun, nor pyarrow loaded, before there is a row: where none comes, none of it is touched.

    The object matters more than its index: once the index cannot be made, `add` takes rows and forgets them, and
    `finish` says why. At most three row groups are held in memory. `add` waits for the thread where that falls behind.
    Either `finish` or `abandon` has to be called.
    """

    def __init__(self, target: Path | int | IO[bytes], object_id: UUID, source: str, *, step: int | None = None):
        self._target = target
        self._object, self._source, self._step = object_id, source, step
        self._batches: list[RowBatch] = []
        self._rows = self._bytes = 0
        self._groups: queue.Queue[list[RowBatch] | None] = queue.Queue(1)
        self._end = 0
        self._wanted = True
        self._all_in = False
        self._failure: BaseException | None = None
        self._summary: IndexSummary | None = None
        self._thread: threading.Thread | None = None

    def add(self, batch: RowBatch) -> None:
        """Append rows; the batch is not to be changed any more."""
        at, rows = 0, len(batch)
        if rows and self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"index of {self._source}", daemon=True)
            self._thread.start()
        while at < rows and self._failure is None:
            to = self._room(batch, at)
            if to > at:
                self._batches.append(batch if to - at == rows else cut(batch, at, to))
                self._rows += to - at
                self._bytes += _text_bytes(batch, at, to)
            at = to
            if at < rows or self._rows == GROUP_ROWS:
                self._hand_over()

    def finish(self, end: int) -> IndexSummary:
        """Store what is left and put the index in its place, on the disk. `end` is where the last entry ends in the
        sequence: where the archive's end mark begins.

        Raises
        ------
        CatalogError
            The file cannot be written, or Arrow or memory fails.
        FormatError
            The rows were not in canonical order.
        """
        if self._thread is None:
            return IndexSummary(0, 0, 0)
        self._end = end
        self._close(self._thread)
        if self._failure is not None:
            raise self._failure
        assert self._summary is not None
        return self._summary

    def abandon(self) -> None:
        """Leave nothing behind. May be called again, and after a `finish` that raised."""
        if self._thread is not None and self._thread.is_alive():
            self._wanted = False
            self._close(self._thread)

    def _close(self, thread: threading.Thread) -> None:
        if self._batches:
            self._hand_over()
        self._groups.put(None)
        thread.join()

    def _hand_over(self) -> None:
        self._groups.put(self._batches)
        self._batches, self._rows, self._bytes = [], 0, 0

    def _room(self, batch: RowBatch, at: int) -> int:
        """Up to which row the batch still goes into the group that is being gathered: by one at least, if it is empty.

        It depends on the rows alone and not on how they were cut into batches, and so does the file.
        """
        most = min(len(batch), at + GROUP_ROWS - self._rows)
        if self._bytes + _text_bytes(batch, at, most) <= GROUP_BYTES_MAX:
            return most
        room = GROUP_BYTES_MAX - self._bytes + _text_bytes(batch, 0, at)
        fits = int(np.searchsorted((batch.path_ends + batch.link_ends)[:most], room, side="right"))
        return max(fits, at + 1 if not self._rows else at)

    # In the thread

    def _run(self) -> None:
        try:
            self._write_whole()
        except BaseException as error:
            self._failure = self._worded(error)
            for _ in self._incoming():
                pass

    def _incoming(self) -> Iterator[list[RowBatch]]:
        while not self._all_in:
            batches = self._groups.get()
            if batches is None:
                self._all_in = True
            else:
                yield batches

    def _write_whole(self) -> None:
        with _Place(self._target) as place, _Stored(place.file) as stored:
            for batches in self._incoming():
                stored.add(_glued(batches))
            if not self._wanted:
                return
            facts = Facts(self._object, self._source, self._step, self._end, *stored.counts())
            size = stored.finish(facts)
            place.keep()
            self._summary = IndexSummary(facts.files, facts.rows, size)

    def _worded(self, error: BaseException) -> BaseException:
        named = f"the index of object {self._object} of {self._source}"
        if isinstance(error, FormatError):
            return FormatError(f"{named} cannot be made: {error}")
        if isinstance(error, OSError):
            where = f" at {self._target}" if isinstance(self._target, Path) else ""
            return CatalogError(f"{named} cannot be written{where}: {error.strerror or error}")
        if isinstance(error, TapeloomError | MemoryError) or type(error).__module__.partition(".")[0] == "pyarrow":
            return CatalogError(f"{named} cannot be made: {str(error) or 'no memory is left'}")
        return error


class _Place:
    """The file to write: beside its path until it is kept, or the caller's descriptor."""

    def __init__(self, target: Path | int | IO[bytes]):
        self._target = target
        self._kept = False

    def __enter__(self) -> _Place:
        if not isinstance(self._target, Path):
            fd = self._target if isinstance(self._target, int) else self._target.fileno()
            self.file: BinaryIO = open(fd, "r+b", closefd=False)
            self.file.seek(0)
        else:
            self._part = self._target.with_name(self._target.name + ".part")
            fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self.file = open(fd, "w+b")
        return self

    def keep(self) -> None:
        self.file.flush()
        if isinstance(self._target, Path):
            os.fsync(self.file.fileno())
            os.rename(self._part, self._target)
            folder = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        self._kept = True

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(OSError):  # what it still had to write is of no use, or has been written
            self.file.close()
        if isinstance(self._target, Path) and not self._kept:
            self._part.unlink(missing_ok=True)


class _Stored:
    """The Parquet file in the making."""

    def __init__(self, file: BinaryIO):
        self._pa, parquet = form.arrow()
        self._file = file
        numbers = {np.uint8: "uint8", np.uint32: "uint32", np.uint64: "uint64", np.int64: "int64"}
        text = self._pa.large_binary()
        kinds = [("path", text), *((name, numbers[kind]) for name, kind in NUMBERS.items()), ("link", text)]
        self._schema = self._pa.schema([self._pa.field(name, kind, nullable=False) for name, kind in kinds])
        self._parquet = parquet.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=form.ZSTD_LEVELS,
            use_dictionary=form.DICTIONARIES,
            column_encoding=form.ENCODINGS,
            write_statistics=False,
            write_page_checksum=True,
        )
        self._last: bytes | None = None
        self._group_rows: list[int] = []
        self._group_offsets: list[int] = []
        self._group_keys: list[bytes] = []
        self._of_kind = np.zeros(256, np.int64)
        self._bytes = 0

    def __enter__(self) -> _Stored:
        return self

    def __exit__(self, *raised: object) -> None:
        with contextlib.suppress(Exception):  # of a file that will not be kept; else it is closed already
            self._parquet.close()

    def add(self, rows: RowBatch) -> None:
        """Store a row group. FormatError: the rows are not in canonical order."""
        self._check(rows)
        self._group_rows.append(len(rows))
        self._group_offsets.append(int(rows.offset[0]))
        self._of_kind += np.bincount(rows.kind, minlength=256)
        self._bytes += int(rows.size[rows.kind == FILE].sum())
        columns = [
            self._text(rows.paths, rows.path_ends),
            *(self._pa.array(np.ascontiguousarray(getattr(rows, name), kind)) for name, kind in NUMBERS.items()),
            self._text(rows.links, rows.link_ends),
        ]
        self._parquet.write_table(self._pa.Table.from_arrays(columns, schema=self._schema), row_group_size=len(rows))

    def counts(self) -> tuple[int, int, int, int, int, int]:
        """rows, files, folders, others, gone, bytes of Facts."""
        rows, files, folders, gone = (
            int(count) for count in (self._of_kind.sum(), *self._of_kind[[FILE, FOLDER, GONE]])
        )
        return rows, files, folders, rows - files - folders - gone, gone, self._bytes

    def finish(self, facts: Facts) -> int:
        """Close the file and give its size."""
        groups = Groups(np.array(self._group_rows, "<u4"), np.array(self._group_offsets, "<u8"), self._group_keys)
        self._parquet.add_key_value_metadata({form.INDEX_KEY: form.pack_facts(facts), form.GROUPS_KEY: groups.pack()})
        self._parquet.close()
        return guard_footer(self._file)

    def _check(self, rows: RowBatch) -> None:
        keys, ends = key_of(bytes(rows.paths)), rows.path_ends

        def key(row: int) -> bytes:
            return keys[int(ends[row - 1]) if row else 0 : int(ends[row])]

        if self._last is not None and not self._last < key(0):
            raise _disorder(self._last, key(0))
        self._group_keys.append(key(0))
        self._last = key(len(rows) - 1)
        if (row := first_not_behind(keys, np.ascontiguousarray(ends, np.uint64))) >= 0:
            raise _disorder(key(row - 1), key(row))

    def _text(self, blob: bytes, ends: NDArray[np.uint64]) -> Any:
        starts = np.zeros(len(ends) + 1, np.int64)
        starts[1:] = ends
        buffers = [None, self._pa.py_buffer(starts), self._pa.py_buffer(blob)]
        return self._pa.LargeBinaryArray.from_buffers(self._pa.large_binary(), len(ends), buffers)


def guard_footer(file: BinaryIO) -> int:
    """Put the guard before the footer of a finished Parquet file; returns the file's size."""
    size = file.seek(0, os.SEEK_END)
    file.seek(size - 8)
    footer = int.from_bytes(file.read(4), "little") + 8
    file.seek(size - footer)
    tail = file.read(footer)
    file.seek(size - footer)
    file.write(form.GUARD + zlib.crc32(tail).to_bytes(4, "little") + tail)
    return size + form.GUARD_BYTES


def cut(batch: RowBatch, first: int, stop: int) -> RowBatch:
    """Rows `first` up to before `stop`."""
    paths, path_ends = _cut_text(batch.paths, batch.path_ends, first, stop)
    links, link_ends = _cut_text(batch.links, batch.link_ends, first, stop)
    return RowBatch(
        paths=paths,
        path_ends=path_ends,
        links=links,
        link_ends=link_ends,
        **{name: getattr(batch, name)[first:stop] for name in NUMBERS},
    )


def _cut_text(blob: bytes, ends: NDArray[np.uint64], first: int, stop: int) -> tuple[bytes, NDArray[np.uint64]]:
    begin = int(ends[first - 1]) if first else 0
    end = int(ends[stop - 1]) if stop else 0
    return bytes(memoryview(blob)[begin:end]), ends[first:stop] - np.uint64(begin)


def _glued(batches: Sequence[RowBatch]) -> RowBatch:
    if len(batches) == 1:
        return batches[0]
    return RowBatch(
        paths=b"".join(batch.paths for batch in batches),
        path_ends=_glued_ends([batch.path_ends for batch in batches], [len(batch.paths) for batch in batches]),
        links=b"".join(batch.links for batch in batches),
        link_ends=_glued_ends([batch.link_ends for batch in batches], [len(batch.links) for batch in batches]),
        **{name: np.concatenate([getattr(batch, name) for batch in batches]) for name in NUMBERS},
    )


def _glued_ends(ends: Sequence[NDArray[np.uint64]], lengths: Sequence[int]) -> NDArray[np.uint64]:
    before = np.concatenate([[0], np.cumsum(lengths[:-1], dtype=np.uint64)]).astype(np.uint64)
    return np.concatenate([each + shift for each, shift in zip(ends, before, strict=True)])


def _text_bytes(batch: RowBatch, first: int, stop: int) -> int:
    """Bytes of paths and links of the rows `first` up to before `stop`."""
    if stop <= first:
        return 0
    last = int(batch.path_ends[stop - 1]) + int(batch.link_ends[stop - 1])
    return last - (int(batch.path_ends[first - 1]) + int(batch.link_ends[first - 1]) if first else 0)


def _disorder(before: bytes, behind: bytes) -> FormatError:
    one, other = (os.fsdecode(key.replace(b"\0", b"/")) for key in (before, behind))
    if one == other:
        return FormatError(f"its rows name {one!r} twice")
    return FormatError(f"its rows are not in canonical order: {one!r} stands before {other!r}")
