"""A drive is one process's at a time: a lock file that names its holder, and frees itself when the holder dies."""

from __future__ import annotations

import fcntl
import os
import sys

from tapeloom.errors import HeldError

LOCK_FILE = ".held"


class Reservation:
    """Held from construction until `release`. HeldError: somebody else has it, also in this very process."""

    def __init__(self, folder_fd: int, what: str) -> None:
        self._fd = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666, dir_fd=folder_fd)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 4096, 0).decode(errors="replace").strip()
            os.close(self._fd)
            raise HeldError(f"{what} is held by {holder or 'a process that is just starting'}") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"pid {os.getpid()}: {' '.join(sys.orig_argv)}\n".encode(errors="replace")[:4096], 0)

    def release(self) -> None:
        """The file stays: removing it would let two processes hold two files of one name."""
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
