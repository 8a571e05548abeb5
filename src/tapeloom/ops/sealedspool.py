"""What waits on disk for a while and must not lie there in the clear.

It is sealed with a key that is made for it and is nowhere but in memory: when the process is gone, nobody can open it.
"""

from __future__ import annotations

import os

from tapeloom.agent.filed import WINDOW_BYTES, FiledArchive, Filing
from tapeloom.seal.block import Seal
from tapeloom.seal.keys import DATA_KEY_BYTES
from tapeloom.volume.header import SEAL_BYTES

_STORED_BYTES = WINDOW_BYTES + SEAL_BYTES


class SealedFiling(Filing):
    """See `Filing`. Raises LibraryMissing when it is made."""

    def __init__(self, fd: int):
        super().__init__(fd)
        self._seal = Seal(os.urandom(DATA_KEY_BYTES))
        self._pieces = self._bytes = 0

    def add(self, piece: bytes) -> None:
        super().add(self._seal.close(b"", self._pieces, piece))
        self._pieces += 1
        self._bytes += len(piece)

    def archive(self) -> FiledArchive:
        return _SealedArchive(self._fd, self._bytes, self._seal)


class _SealedArchive(FiledArchive):
    """Raises SealBroken where the file is not what was written to it."""

    def __init__(self, fd: int, size: int, seal: Seal):
        super().__init__(fd, size)
        self._seal = seal

    def _load(self, at: int, bytes_max: int) -> bytes:
        number, inside = divmod(at, WINDOW_BYTES)
        stored = os.pread(self._fd, _STORED_BYTES, number * _STORED_BYTES)
        return self._seal.open(b"", number, stored)[inside:] if stored else b""
