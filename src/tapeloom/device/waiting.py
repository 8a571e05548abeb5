"""The waiting drive: blocks that wait for their turn, in a bounded file without a name. No tape: only jobs use it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tapeloom._devio import lib
from tapeloom.device.native import NativeDrive, owned
from tapeloom.errors import UsageError
from tapeloom.limits import PAGE_BYTES
from tapeloom.quantity import rough_bytes
from tapeloom.softdrive import Trouble

_MODE = 0o600


class WaitingDrive(NativeDrive):
    """See csrc/spooldev.h: one thread writes, another one reads, locates and forgets.

    Parameters
    ----------
    folder : where the file lies, on a fast disk; None: in memory. It has no name, so nothing is left of it after a
        crash, and all the room that it will ever take is its own from the start.
    place_bytes : of the longest block.
    places : so many blocks can wait at a time.
    blocks : so many are written in all.

    Raises
    ------
    UsageError
        The folder cannot be used, or has not the room.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        name: str,
        place_bytes: int,
        places: int,
        blocks: int,
        trouble: Trouble | None = None,
    ) -> None:
        place_bytes = -(-place_bytes // PAGE_BYTES) * PAGE_BYTES
        self.bytes = places * place_bytes
        self._fd = _reserved(folder, self.bytes)
        try:
            self._spool = owned(lib.tl_spool_new(self._fd, place_bytes, places, blocks), lib.tl_spool_free)
        except MemoryError:
            os.close(self._fd)
            raise
        super().__init__(name, "spool", lib.tl_spool_ops(), self._spool, trouble)

    def forget(self, position: int, blocks: int) -> None:
        """These blocks have gone on: their places are free."""
        self._open_handle()
        lib.tl_spool_forget(self._spool, position, blocks)

    @property
    def most(self) -> int:
        """The most blocks that waited at any time."""
        return int(lib.tl_spool_most(self._spool))

    @property
    def loaded(self) -> str | None:
        return None

    @property
    def write_protected(self) -> bool:
        return False

    def cartridges(self) -> list[str]:
        return []

    def new_cartridge(self, name: str) -> None:
        raise UsageError(f"drive {self.name}: it has no cartridges")

    def load(self, cartridge: str | None = None) -> None:
        raise UsageError(f"drive {self.name}: it has no cartridges")

    def unload(self) -> None:
        """There is nothing in it."""

    def _let_go(self) -> None:
        os.close(self._fd)


def _reserved(folder: Path | None, bytes: int) -> int:
    """A file of so many bytes that nobody can open."""
    if folder is None:
        return _in_memory(bytes)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = _nameless(folder)
    except OSError as error:
        raise UsageError(
            f"the spool folder {folder} cannot be used ({error.strerror}): make it writable, or name another one as "
            "spool in [server]"
        ) from error
    try:
        os.posix_fallocate(fd, 0, bytes)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return fd  # this file system cannot reserve: a write tells
        os.close(fd)
        raise UsageError(
            f"the spool folder {folder} has no room for {rough_bytes(bytes)} ({error.strerror}): free some, name "
            "another one as spool in [server], or take a smaller --spool, which may mean more passes"
        ) from error
    return fd


def _in_memory(bytes: int) -> int:
    """Allocated now: memory that cannot be had later would end the process."""
    have = os.sysconf("SC_AVPHYS_PAGES") * PAGE_BYTES
    fd = os.memfd_create("tapeloom-spool", os.MFD_CLOEXEC)
    try:
        if bytes > have:
            raise OSError(errno.ENOMEM, f"{rough_bytes(have)} are free")
        os.posix_fallocate(fd, 0, bytes)
    except OSError as error:
        os.close(fd)
        raise UsageError(
            f"this machine has not the memory for a spool of {rough_bytes(bytes)} ({error.strerror}): leave "
            "--in-memory out, or take a smaller --spool, which may mean more passes"
        ) from error
    return fd


def _nameless(folder: Path) -> int:
    """Around the page cache where the file system lets one: what waits is read once, and not soon."""
    for direct in (os.O_DIRECT, 0):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC | direct, _MODE)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EISDIR) or (
                not direct and error.errno == errno.EINVAL
            ):
                raise
    return _unlinked(folder)


def _unlinked(folder: Path) -> int:
    """Where a file system makes no files without a name."""
    path = folder / f"tapeloom-waiting-{os.getpid()}"
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, _MODE)
    path.unlink()
    return fd
