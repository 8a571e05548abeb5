"""Reading an index: one path, a folder, everything that matches. Decoded is one row group at a time."""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ..agent.rows import GONE, RowBatch
from ..errors import CatalogError, IndexDamaged, NotFound
from ..filepool import PooledFile
from . import form
from .form import COLUMNS, NUMBERS, Facts, Groups
from .keys import Range, below, key_of
from .paths import Paths
from .wanted import Wanted


class Row(Struct, frozen=True):
    """One row, as `agent.rows.RowBatch` says. `number` counts from 0; the entry is bytes `begin` up to before `end` of
    the sequence, none of a GONE row."""

    number: int
    path: bytes
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    begin: int
    end: int


class Index:
    """An index that is open for reading: see `open`. For one thread at a time. A context manager that closes it.

    Methods raise IndexDamaged where the file turns out to be damaged.
    """

    @classmethod
    def open(cls, target: Path | BinaryIO, name: str | None = None) -> Index:
        """A path, or a file object that can seek and is the index's from now on; `name` is for messages.

        Raises
        ------
        NotFound
            There is no such file.
        IndexDamaged
            It is not an index, or not whole.
        VersionTooNew
            A newer tapeloom wrote it.
        """
        if not isinstance(target, Path):
            return cls(target, name or "a file")
        try:
            return cls(cast(BinaryIO, PooledFile(target)), name or str(target))
        except FileNotFoundError:
            raise NotFound(f"there is no index {target}") from None
        except OSError as error:
            raise CatalogError(f"{target} cannot be read: {error.strerror or error}") from None

    def __init__(self, file: BinaryIO, name: str):
        self._file, self._name = file, name
        self._pa, parquet = form.arrow()
        try:
            with self._believing():
                check_footer(file)
                self._parquet = parquet.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
                metadata = self._parquet.metadata.metadata or {}
                self.facts = form.unpack_facts(metadata[form.INDEX_KEY])
                self._groups = Groups.unpack(metadata[form.GROUPS_KEY], self._parquet.num_row_groups)
                if self._parquet.schema_arrow.names != list(COLUMNS) or int(self._groups.rows.sum()) != self.facts.rows:
                    raise ValueError("other columns or rows than it says")
        except BaseException:
            file.close()
            raise
        self._prepare()

    def _prepare(self) -> None:
        """Facts and groups are known."""
        self._starts = np.concatenate([[0], np.cumsum(self._groups.rows, dtype=np.int64)])
        self._offsets = np.append(self._groups.offsets, np.uint64(self.facts.end))
        self._kept_group = -1
        self._kept: dict[str, Any] = {}

    @property
    def object_id(self) -> Any:
        return self.facts.object

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.facts.rows

    @property
    def end(self) -> int:
        """Where the last entry ends in the sequence."""
        return self.facts.end

    @property
    def group_keys(self) -> list[bytes]:
        """The key of each row group's first row, ascending."""
        return self._groups.keys

    def close(self) -> None:
        self._kept.clear()
        self._parquet.close(force=True)
        self._file.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # Questions

    def find(self, path: bytes) -> Row | None:
        """The row of one path, if there is one."""
        at = self._locate(key_of(path))
        if at is None:
            return None
        group, n = at
        batch = next(self._batches(group, n, n + 1))
        ends = self.ends(group)
        return Row(
            number=int(self._starts[group]) + n,
            path=batch.paths,
            link=batch.links,
            begin=int(batch.offset[0]),
            end=int(ends[n]),
            **{name: int(getattr(batch, name)[0]) for name in NUMBERS if name != "offset"},
        )

    def kind_of(self, path: bytes) -> int | None:
        """The kind of the row of one path, if there is one."""
        at = self._locate(key_of(path))
        return None if at is None else int(self.column(at[0], "kind")[at[1]])

    def range_of(self, path: bytes) -> tuple[int, int]:
        """The row numbers of a path and all below it: first, and the one behind the last."""
        first, last = below(key_of(path))
        return self._number_of(first), self.count if last is None else self._number_of(last)

    def below(self, path: bytes) -> Iterator[RowBatch]:
        """The row of a path and all rows below it."""
        yield from self.matching(Wanted.below(path))

    def matching(self, wanted: Wanted | None = None) -> Iterator[RowBatch]:
        """All rows that are wanted, in order, batch by batch; None wants all."""
        for group in range(len(self.group_keys)):
            if wanted is None:
                yield from self._batches(group, 0, int(self._groups.rows[group]))
            elif wanted.may_match(self.range_of_group(group)):
                mask = wanted.mask(self.paths(group))
                if mask.any():
                    yield to_batch(self._table(group, COLUMNS).filter(self._pa.array(mask)))

    def overlapping(self, begin: int, end: int) -> Iterator[bytes]:
        """The paths of the entries that have bytes between these offsets of the sequence."""
        first = max(int(np.searchsorted(self._groups.offsets, begin, side="right")) - 1, 0)
        for group in range(first, len(self.group_keys)):
            if int(self._offsets[group]) >= end:
                return
            begins, ends = self.column(group, "offset"), self.ends(group)
            touched = np.flatnonzero(np.maximum(begins, begin) < np.minimum(ends, end))
            if len(touched):
                paths = self.paths(group)
                yield from (paths.path(n) for n in touched.tolist())

    def next_entry(self, offset: int) -> int | None:
        """Where the first entry begins that begins at `offset` or behind it; None: no entry does."""
        for group in range(max(int(np.searchsorted(self._groups.offsets, offset)) - 1, 0), len(self.group_keys)):
            begins = self.column(group, "offset")[self.column(group, "kind") != GONE]
            at = int(np.searchsorted(begins, offset))
            if at < len(begins):
                return int(begins[at])
        return None

    # Row groups, for whoever goes through several indexes side by side

    def group_of(self, key: bytes) -> int:
        """The row group in which a key stands, if it stands anywhere; -1: it comes before the first row."""
        return bisect_right(self.group_keys, key) - 1

    def range_of_group(self, group: int) -> Range:
        keys = self.group_keys
        return keys[group], keys[group + 1] if group + 1 < len(keys) else None

    def paths(self, group: int) -> Paths:
        """The paths of a row group."""
        return cast(Paths, self._column(group, "path"))

    def texts(self, group: int) -> Paths:
        """The link targets of a row group."""
        return cast(Paths, self._column(group, "link"))

    def column(self, group: int, name: str) -> NDArray[Any]:
        """A column of numbers of a row group."""
        return cast("NDArray[Any]", self._column(group, name))

    def _column(self, group: int, name: str) -> Any:
        """Those of the group that was asked for last are kept, so that going through it in steps decodes it once."""
        if self._kept_group != group:
            self._kept.clear()
            self._kept_group = group
        if name not in self._kept:
            column = self._table(group, (name,)).column(0)
            self._kept[name] = numbers(column, name) if name in NUMBERS else Paths(column)
        return self._kept[name]

    def ends(self, group: int) -> NDArray[np.uint64]:
        """Where the entries of a row group end."""
        return np.append(self.column(group, "offset")[1:], self._offsets[group + 1])

    def _locate(self, key: bytes) -> tuple[int, int] | None:
        group = self.group_of(key)
        if group < 0:
            return None
        paths = self.paths(group)
        n = paths.first_from(key)
        return (group, n) if n < len(paths) and paths.key(n) == key else None

    def _number_of(self, key: bytes) -> int:
        """How many rows come before a key."""
        group = self.group_of(key)
        return 0 if group < 0 else int(self._starts[group]) + self.paths(group).first_from(key)

    def _batches(self, group: int, first: int, stop: int) -> Iterator[RowBatch]:
        yield to_batch(self._table(group, COLUMNS).slice(first, stop - first))

    def _table(self, group: int, names: Sequence[str]) -> Any:
        with self._believing():
            table = self._parquet.read_row_group(group, columns=list(names), use_threads=False)
            if table.num_rows != int(self._groups.rows[group]):
                raise ValueError("other rows than it says")
            return table.select(list(names))

    @contextmanager
    def _believing(self) -> Iterator[None]:
        """What a damaged file makes the libraries raise becomes one sentence."""
        try:
            yield
        except OSError as error:
            if error.errno is not None:
                raise CatalogError(f"{self._name} cannot be read: {error.strerror}") from None
            raise self._damaged(error) from None  # Arrow has it for pages with a wrong checksum, too
        except (self._pa.ArrowException, ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> IndexDamaged:
        why = str(error).strip().partition("\n")[0].rstrip(":.")
        return IndexDamaged(
            f"{self._name} is no whole file index ({why}); its object is not touched by that: remove the file, and the "
            "copy of the index that is on tape takes its place"
        )


class EmptyIndex(Index):
    """The index of an object that has no rows: an increment of a tree in which nothing has changed. No file is made for
    it, and there is nothing to load for reading one."""

    def __init__(self, object_id: UUID, source: str):
        self.facts = Facts(object_id, source, None, 0, 0, 0, 0, 0, 0, 0)
        self._groups = Groups(np.zeros(0, "<u4"), np.zeros(0, "<u8"), [])
        self._prepare()

    def close(self) -> None:
        """Nothing is open."""


def check_footer(file: BinaryIO) -> None:
    """ValueError: the end of the file is not a footer behind its guard."""
    size = file.seek(0, os.SEEK_END)
    if size >= 8 + form.GUARD_BYTES:
        file.seek(size - 8)
        ending = file.read(8)
        footer = int.from_bytes(ending[:4], "little") + 8
        if ending[4:] == form.MAGIC and footer + form.GUARD_BYTES <= size:
            file.seek(size - footer - form.GUARD_BYTES)
            tail = file.read(form.GUARD_BYTES + footer)
            file.seek(0)
            if tail[:4] != form.GUARD:
                raise ValueError("another program's file")
            if zlib.crc32(tail[8:]) != int.from_bytes(tail[4:8], "little"):
                raise ValueError("wrong checksum of its end")
            return
    raise ValueError("it ends too soon, or is of another kind")


def numbers(column: Any, name: str) -> NDArray[Any]:
    """A column of numbers, without copying where it is of one piece."""
    made: NDArray[Any] = column.to_numpy()
    return made.astype(NUMBERS[name], copy=False)


def to_batch(table: Any) -> RowBatch:
    paths, links = Paths(table.column("path")), Paths(table.column("link"))
    return RowBatch(
        paths=paths.blob(),
        path_ends=paths.ends(),
        links=links.blob(),
        link_ends=links.ends(),
        **{name: numbers(table.column(name), name) for name in NUMBERS},
    )
