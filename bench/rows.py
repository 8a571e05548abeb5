"""Rows of synthetic trees, made fast: what an index of n files is measured with."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from tapeloom.agent.rows import FILE, FOLDER, RowBatch

BATCH_ROWS = 8192
ENTRY_BYTES = 3 * 512
"""Of each entry beside its data: the pax records' header, the records, the old header."""

_WORDS = (
    b"archive backup budget client contract data design draft export figures images import invoice journal letters log"
    b" meeting notes office old paper photos plan project report results review scan series sheet survey team test"
    b" thesis travel video work"
).split()
_ENDINGS = (b".pdf", b".jpg", b".docx", b".xlsx", b".txt", b".csv", b".png", b".dat", b".h5", b".py")
_YEARS_NS = (1_420_070_400 * 10**9, 1_735_689_600 * 10**9)


def row_batches(files: int, *, seed: int = 0, folder_files: int = 20) -> Iterator[RowBatch]:
    """`files` files in canonical order, and their folders, about `folder_files` files each, some levels deep.

    Times are random to the nanosecond, sizes log-normal, owners few. Only mtimes and sizes are made by numpy's
    generator and all names by `random`, so that a seed always makes the same tree.
    """
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    contents = [_content(chance, folder_files) for _ in range(4000)]
    offset, rows = 0, _Rows()
    for folder in _folders(chance):
        names, lengths = contents[chance.randrange(len(contents))]
        if len(lengths) > files:
            names, lengths = b"\0".join(names.split(b"\0")[: files + 1]), lengths[:files]
        rows.add(folder, names, lengths)
        files -= len(lengths)
        if rows.count >= BATCH_ROWS or not files:
            batch = rows.batch(numbers, offset)
            offset = int(batch.offset[-1]) + ENTRY_BYTES + _padded(int(batch.size[-1]))
            yield batch
            rows = _Rows()
        if not files:
            return


def end_of(batch: RowBatch) -> int:
    """Where the last entry of a batch ends."""
    return int(batch.offset[-1]) + ENTRY_BYTES + _padded(int(batch.size[-1]))


class _Rows:
    """What is gathered for one batch: for each folder its path, and its files' names with the folder before each."""

    def __init__(self) -> None:
        self.count = 0
        self._pieces: list[bytes] = []
        self._lengths: list[np.ndarray] = []
        self._folders: list[int] = []

    def add(self, folder: bytes, names: bytes, lengths: np.ndarray) -> None:
        self._folders.append(self.count)
        self._pieces += folder, names.replace(b"\0", folder + b"/" if folder else b"")
        self._lengths += np.array([len(folder)]), lengths + (len(folder) + 1 if folder else 0)
        self.count += 1 + len(lengths)

    def batch(self, numbers: np.random.Generator, offset: int) -> RowBatch:
        n = self.count
        kind = np.full(n, FILE, np.uint8)
        kind[self._folders] = FOLDER
        of_file = kind == FILE
        size = np.where(of_file, numbers.lognormal(9.0, 2.2, n), 0).astype(np.uint64)
        spans = ENTRY_BYTES + (size + np.uint64(511)) // np.uint64(512) * np.uint64(512)
        ends = np.cumsum(spans) + np.uint64(offset)
        owner = np.where(numbers.random(n) < 0.9, 1000, numbers.integers(1001, 1012, n)).astype(np.uint32)
        return RowBatch(
            paths=b"".join(self._pieces),
            path_ends=np.cumsum(np.concatenate(self._lengths)).astype(np.uint64),
            kind=kind,
            mode=np.where(of_file, np.where(numbers.random(n) < 0.95, 0o644, 0o600), 0o755).astype(np.uint32),
            uid=owner,
            gid=np.full(n, 100, np.uint32),
            size=size,
            mtime=numbers.integers(*_YEARS_NS, n, dtype=np.int64),
            offset=ends - spans,
            links=b"",
            link_ends=np.zeros(n, np.uint64),
        )


def _content(chance: random.Random, files: int) -> tuple[bytes, np.ndarray]:
    """A folder's file names, each behind a NUL, and their lengths. They begin with a digit or a capital letter, so that
    they come before the names of folders, which do not."""
    names: set[bytes] = set()
    kind = chance.randrange(4)
    start, ending = chance.randrange(9000), chance.choice(_ENDINGS)
    for n in range(chance.randint(1, 2 * files - 1)):
        word = chance.choice(_WORDS)
        names.add(
            (
                b"IMG_%04d%b" % (start + n, ending),
                b"20%02d-%02d %b%b"
                % (chance.randrange(10, 26), chance.randrange(1, 13), word, chance.choice(_ENDINGS)),
                b"%b_%b_v%d%b" % (word.title(), chance.choice(_WORDS), n, chance.choice(_ENDINGS)),
                b"%012X%b" % (chance.getrandbits(48), ending),
            )[kind]
        )
    listed = sorted(names)
    return b"".join(b"\0" + name for name in listed), np.array([len(name) for name in listed])


def _folders(chance: random.Random) -> Iterator[bytes]:
    """Endless folders in canonical order."""
    yield b""
    user = 0
    while True:
        user += 1
        yield from _below(chance, b"u%06d" % user, 1)


def _below(chance: random.Random, path: bytes, level: int) -> Iterator[bytes]:
    yield path
    if level < 7:
        names = {
            chance.choice(_WORDS) + (b"-%d" % chance.randrange(2000, 2026) if chance.random() < 0.3 else b"")
            for _ in range(chance.randrange((8, 7, 5, 4, 3, 2)[level - 1] + 1))
        }
        for name in sorted(names):
            yield from _below(chance, path + b"/" + name, level + 1)


def _padded(size: int) -> int:
    return -(-size // 512) * 512
