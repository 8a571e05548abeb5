"""Files that are read again and again, more of them than a process may have open: any number of them share a few
descriptors. A leaf: imports nothing of tapeloom.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections import OrderedDict
from pathlib import Path

OPEN_MAX = 48
"""Of all such files of the process, so many are open: the usual limit for all files together is 1,024, and some have
256."""


class PooledFile(io.RawIOBase):
    """A file for reading, as `open(path, "rb", buffering=0)` gives one, but that its descriptor may be closed between
    two calls, and opened again by the next. Threads may use different ones side by side.

    Raises OSError, also where another file has taken its place since.
    """

    def __init__(self, path: Path):
        self._path = path
        self._at = 0
        self._is: tuple[int, int] | None = None
        with _pool.guard:
            self.size = os.fstat(_pool.descriptor(self)).st_size
            """Bytes; it does not change any more."""

    def open_again(self) -> int:
        """A new descriptor of the same file."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(fd)
        itself = status.st_dev, status.st_ino
        if self._is not in (None, itself):
            os.close(fd)
            raise OSError(errno.ESTALE, "another file has taken its place", str(self._path))
        self._is = itself
        return fd

    def pread(self, count: int, offset: int) -> bytes:
        """Fewer bytes than `count` only at the end of the file."""
        pieces = []
        with _pool.guard:
            fd = _pool.descriptor(self)
            while count and (piece := os.pread(fd, count, offset)):
                pieces.append(piece)
                offset += len(piece)
                count -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read(self, count: int | None = -1, /) -> bytes:
        left = max(self.size - self._at, 0)
        found = self.pread(left if count is None or count < 0 else min(count, left), self._at)
        self._at += len(found)
        return found

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: object, /) -> int:
        room = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        found = self.read(len(room))
        room[: len(found)] = found
        return len(found)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if begin + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(self._path))
        self._at = begin + offset
        return self._at

    def close(self) -> None:
        with _pool.guard:
            _pool.drop(self)
        super().close()


class _Pool:
    """The descriptors, that of the file last used last. Whoever calls holds `guard`, as long as it uses one."""

    def __init__(self) -> None:
        self.guard = threading.RLock()  # a file may be collected, and so closed, while its thread is in here
        self._open: OrderedDict[int, int] = OrderedDict()

    def descriptor(self, file: PooledFile) -> int:
        fd = self._open.get(id(file))
        if fd is None:
            while len(self._open) >= OPEN_MAX:
                os.close(self._open.popitem(last=False)[1])
            fd = self._open[id(file)] = file.open_again()
        else:
            self._open.move_to_end(id(file))
        return fd

    def drop(self, file: PooledFile) -> None:
        fd = self._open.pop(id(file), None)
        if fd is not None:
            os.close(fd)


_pool = _Pool()
