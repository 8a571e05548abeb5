"""Which inodes have other names than last time, however many hard links there are.

A fixed amount of memory is held; what is beyond goes into files without a name, which the system removes with the
process.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from .links import spilling
from .sink import BytesLike

Numbers = npt.NDArray[np.uint64]

RECORDS_MAX = 1 << 17
"""Records of 32 bytes in memory; sorting them takes three times as much again for a moment."""

_FINGERPRINT_BYTES = 16
_KEY = slice(0, 2)  # of a record: device, inode
_SUM = slice(2, 4)  # and the two halves of its fingerprint
_RECORD_WORDS = 4
_MERGED_MIN = 256  # records of a run that are read at once when there are very many runs


class ChangedInodes(Struct, frozen=True, eq=False):
    """Inodes by file system: those of `devices[i]` are `inodes[starts[i]:starts[i + 1]]`.

    All three are sorted and contiguous. Many inodes are in a file without a name, mapped into memory for reading only.
    """

    devices: Numbers
    starts: Numbers
    inodes: Numbers

    def __len__(self) -> int:
        return len(self.inodes)

    def __contains__(self, inode: tuple[int, int]) -> bool:
        """Whether (device, inode) is one of them."""
        dev, ino = inode
        return bool(self.among(np.array([dev], np.uint64), np.array([ino], np.uint64))[0])

    def among(self, devs: Numbers, inos: Numbers) -> npt.NDArray[np.bool_]:
        """Which of the inodes (devs[i], inos[i]) are among them."""
        found = np.zeros(len(inos), np.bool_)
        for device, start, end in zip(self.devices, self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True):
            rows = np.flatnonzero(devs == device)
            known = self.inodes[start:end]
            wanted = inos[rows]
            found[rows] = known[np.minimum(known.searchsorted(wanted), len(known) - 1)] == wanted
        return found


class NameSets:
    """Compares, inode by inode, the sets of names in a tree of two moments.

    Names come in any order, each once. What is kept of them is one record per inode: the sum of the hashes of its new
    names less that of its old ones, 128 bits wide, which is zero where both sets are the same. The hash is salted anew
    in every run, so that nobody can choose names that make up for one another.

    *spill* is the folder for what is beyond *records_max* inodes (None: RECORDS_MAX); without one the system's own
    for such files. For one thread at a time. Every call may raise SourceError, when that folder is full.
    """

    def __init__(self, spill: Path | None = None, *, records_max: int | None = None):
        self._folder = spill
        self._salt = os.urandom(blake2b.SALT_SIZE)
        self._records = np.empty((records_max or RECORDS_MAX, _RECORD_WORDS), np.uint64)
        self._filled = 0
        self._runs: _Runs | None = None

    def old(
        self,
        devs: Numbers,
        inos: Numbers,
        paths: BytesLike,
        path_ends: Numbers,
        *,
        rows: npt.NDArray[np.integer] | None = None,
        prefix: bytes = b"",
        stamps: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Names that were there: row i is of the inode (devs[i], inos[i]), its path ends in *paths* at path_ends[i].

        *rows* are the rows to take (None: all). *prefix* is put before each path. Devices may be any numbers that name
        a file system alike in both moments. *stamps* tell names apart as their paths do: one that has another counts as
        another name; given for both moments or for none.
        """
        self._add(devs, inos, paths, path_ends, rows, prefix, stamps, old=True)

    def new(
        self,
        devs: Numbers,
        inos: Numbers,
        paths: BytesLike,
        path_ends: Numbers,
        *,
        rows: npt.NDArray[np.integer] | None = None,
        prefix: bytes = b"",
        stamps: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Names that are there now, given as those of `old`."""
        self._add(devs, inos, paths, path_ends, rows, prefix, stamps, old=False)

    def _add(
        self,
        devs: Numbers,
        inos: Numbers,
        paths: BytesLike,
        path_ends: Numbers,
        rows: npt.NDArray[np.integer] | None,
        prefix: bytes,
        stamps: npt.NDArray[np.int64] | None,
        *,
        old: bool,
    ) -> None:
        taken = np.arange(len(path_ends)) if rows is None else rows
        while len(taken):
            if self._filled == len(self._records):
                self._make_room()
            some = taken[: len(self._records) - self._filled]
            taken = taken[len(some) :]
            ends = path_ends[some]
            begins = np.where(some > 0, path_ends[some - 1], np.uint64(0))
            names = [prefix + paths[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
            if stamps is not None:
                names = [b"%b\0%d" % (name, stamp) for name, stamp in zip(names, stamps[some].tolist(), strict=True)]
            prints = self._fingerprints(names)
            into = self._records[self._filled : self._filled + len(some)]
            into[:, 0] = devs[some]
            into[:, 1] = inos[some]
            into[:, _SUM] = np.negative(prints) if old else prints
            self._filled += len(some)

    def _fingerprints(self, names: list[bytes]) -> Numbers:
        salt = self._salt
        prints = b"".join([blake2b(name, digest_size=_FINGERPRINT_BYTES, salt=salt).digest() for name in names])
        return np.frombuffer(prints, np.uint64).reshape(-1, 2)

    def _make_room(self) -> None:
        """Make one record of those of each inode, and write them out where that does not make half of the room free."""
        combined = _combined(self._records[: self._filled])
        if len(combined) > len(self._records) // 2:
            with spilling(self._folder):
                if self._runs is None:
                    self._runs = _Runs(self._folder)
                self._runs.append(combined)
            self._filled = 0
        else:
            self._records[: len(combined)] = combined
            self._filled = len(combined)

    def changed(self) -> ChangedInodes:
        """The inodes whose set of names is another, those with none in one of the two moments among them.

        Ends the feeding: nothing is kept.
        """
        last = _combined(self._records[: self._filled])
        try:
            if self._runs is None:
                return _changed(last[:, 0], last[:, 1].copy())
            with spilling(self._folder):
                self._runs.append(last)
                return self._runs.merged(len(self._records))
        finally:
            self.close()

    def close(self) -> None:
        """Give back all memory and files."""
        self._filled = 0
        self._records = np.empty((0, _RECORD_WORDS), np.uint64)
        if self._runs is not None:
            self._runs.close()
            self._runs = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Runs:
    """Sorted runs of records, one after another in a file without a name."""

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._file = _nameless(folder)
        self._ends = [0]

    def append(self, records: Numbers) -> None:
        self._file.write(records.data)
        self._ends.append(self._ends[-1] + len(records))

    def merged(self, records_max: int) -> ChangedInodes:
        """The inodes of all runs, with about *records_max* records in memory."""
        devices: list[Numbers] = []
        inodes = 0
        with _nameless(self._folder) as sorted_file:
            for records in self._merge(max(_MERGED_MIN, records_max // len(self._ends))):
                sorted_file.write(records[:, 1].tobytes())
                devices.append(_firsts(records[:, 0], inodes))
                inodes += len(records)
            sorted_file.flush()
            if not inodes:
                return _changed(np.empty(0, np.uint64), np.empty(0, np.uint64))
            mapped = mmap.mmap(sorted_file.fileno(), 0, access=mmap.ACCESS_READ)
        firsts = np.concatenate(devices)
        kept = np.flatnonzero(np.r_[True, firsts[1:, 0] != firsts[:-1, 0]])
        starts = np.r_[firsts[kept, 1], np.uint64(inodes)]
        return ChangedInodes(firsts[kept, 0].copy(), starts, np.frombuffer(mapped, np.uint64))

    def _merge(self, at_once: int) -> Iterator[Numbers]:
        places = self._ends[:-1]
        none = np.empty((0, _RECORD_WORDS), np.uint64)
        pieces = [none for _ in places]
        while True:
            for run, end in enumerate(self._ends[1:]):
                if not len(pieces[run]) and places[run] < end:
                    pieces[run] = self._read(places[run], min(at_once, end - places[run]))
                    places[run] += len(pieces[run])
            going_on = [
                tuple(piece[-1, _KEY].tolist())
                for piece, place, end in zip(pieces, places, self._ends[1:], strict=True)
                if place < end
            ]
            # What is up to the first of their last ones is all in memory: no run has an inode twice.
            heads = []
            for run, piece in enumerate(pieces):
                taken = _up_to(piece, min(going_on)) if going_on else len(piece)
                heads.append(piece[:taken])
                pieces[run] = piece[taken:]
            yield _combined(np.concatenate(heads))
            if not going_on:
                return

    def _read(self, at: int, records: int) -> Numbers:
        read = np.empty((records, _RECORD_WORDS), np.uint64)
        self._file.seek(at * read.strides[0])
        self._file.readinto(read.data.cast("B"))  # type: ignore[attr-defined]
        return read

    def close(self) -> None:
        self._file.close()


def _combined(records: Numbers) -> Numbers:
    """One record per inode, sorted; those whose sum is zero, which is as if they were not there, left out."""
    if not len(records):
        return records
    records = records[np.lexsort((records[:, 1], records[:, 0]))]
    first = np.flatnonzero(np.r_[True, (records[1:, _KEY] != records[:-1, _KEY]).any(axis=1)])
    sums = np.add.reduceat(records[:, _SUM], first, axis=0)
    kept = sums.any(axis=1)
    return np.concatenate((records[first[kept], _KEY], sums[kept]), axis=1)


def _up_to(records: Numbers, key: tuple[int, int]) -> int:
    """How many of the sorted *records* are not beyond the inode *key*."""
    devs, inos = records[:, 0], records[:, 1]
    return int(np.count_nonzero((devs < key[0]) | ((devs == key[0]) & (inos <= key[1]))))


def _firsts(devs: Numbers, before: int) -> Numbers:
    """Where each device begins in the sorted *devs*, before which there are *before* others: (device, place)."""
    first = np.flatnonzero(np.r_[True, devs[1:] != devs[:-1]]) if len(devs) else np.empty(0, np.intp)
    return np.stack((devs[first], (first + before).astype(np.uint64)), axis=1)


def _changed(devs: Numbers, inos: Numbers) -> ChangedInodes:
    firsts = _firsts(devs, 0)
    return ChangedInodes(firsts[:, 0].copy(), np.r_[firsts[:, 1], np.uint64(len(inos))], inos)


def _nameless(folder: Path | None) -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="tapeloom-links-", dir=folder)
