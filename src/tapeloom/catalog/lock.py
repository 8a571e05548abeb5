"""The state folder in one writer's hands."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sys
import weakref
from pathlib import Path

from ..errors import CatalogError, HeldError


class StateLock:
    """An flock on a file in the state folder. The kernel drops it when the process is gone, however it went."""

    def __init__(self, path: Path):
        """Takes the lock at once or raises HeldError, which names the process that has it."""
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CatalogError(f"{path}: {error.strerror}; the state folder must be writable") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 4096).decode(errors="replace").strip()
            os.close(self._fd)
            raise HeldError(f"the state folder {path.parent} is in use by {holder or 'another process'}") from None
        _held.add(self)
        with contextlib.suppress(OSError):  # a full disk; the lock is held, though it does not say by whom
            os.ftruncate(self._fd, 0)
            os.pwrite(
                self._fd, f"process {os.getpid()}: {_one_line(shlex.join(sys.orig_argv))}\n".encode(errors="replace"), 0
            )

    def release(self) -> None:
        _held.discard(self)
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def forget(self) -> None:
        """In a forked child: closes its share, or the lock would live as long as the child does."""
        with contextlib.suppress(OSError):
            os.close(self._fd)


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n")


def is_held(path: Path) -> bool:
    """Whether any process has the lock. Nothing is changed, and no lock file made."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


_held: weakref.WeakSet[StateLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()
    _held.clear()


os.register_at_fork(after_in_child=_forget_all)
