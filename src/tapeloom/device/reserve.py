"""A drive is one process's at a time: a lock file that names its holder, and is free as soon as the holder is dead."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import sys

from tapeloom.errors import HeldError

LOCK_FILE = ".held"


class Reservation:
    """Held from construction until `release`. HeldError: somebody has it, also where that is this very process."""

    def __init__(self, folder_fd: int, what: str, file: str = LOCK_FILE) -> None:
        self._fd, self._named = _open_lock(folder_fd, file)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 4096, 0).decode(errors="replace").strip() if self._named else ""
            os.close(self._fd)
            raise HeldError(f"{what} is held by {holder or 'a process that could not leave its name'}") from None
        command = shlex.join(sys.orig_argv).replace("\n", "\\n")
        self._sign(f"pid {os.getpid()}: {command}\n")

    def release(self) -> None:
        """The file stays: if it were removed, two processes could hold two files of one name."""
        self._sign("")
        os.close(self._fd)

    def _sign(self, text: str) -> None:
        if self._named and fcntl.fcntl(self._fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text.encode(errors="replace")[:4096], 0)


def _open_lock(folder_fd: int, file: str) -> tuple[int, bool]:
    """The lock file, for reading only where writing is not allowed; else the folder itself, which bears no name."""
    for access in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        try:
            return os.open(file, access | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=folder_fd), True
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EROFS, errno.ENOENT):
                raise
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder_fd), False
