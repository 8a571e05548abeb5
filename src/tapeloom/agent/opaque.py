"""Restoring what is no tree: a command's output as a file, an image onto a block device or as a file."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from .._untree import zero_range
from ..errors import FormatError, RestoreError
from . import pax
from .making import CREATE
from .report import printable, reason
from .sink import Sequence
from .unpax import Entry, Unpax


def restore_file(sequence: Sequence, target: Path, *, replace: bool = False) -> int:
    """Restore the opaque *sequence*, the output of a command say, as the file *target*. Returns its length.

    Raises RestoreError when *target* exists and is not to be replaced, or cannot be written; it is then left as it was.
    """
    _may_replace(target, replace)
    size = 0
    with _new_file(target, 0o666) as fd:
        while got := sequence.pump_to(fd, size, 1 << 30):
            size += got
    return size


def restore_raw(sequence: Sequence, target: Path, *, replace: bool = False) -> int:
    """Restore an image, a pax archive of one file with its holes, onto the block device *target*, or as the file
    *target*.

    On a device the holes are made to read as zeros, and what lies behind the image stays. Returns how many bytes of
    data were written, holes not counted.

    Raises FormatError for what is no such archive, RestoreError when *target* exists and is not to be replaced, is in
    use, too small or neither a file nor a device, or cannot be written. A file is then left as it was; a device on
    which writing has begun is not.
    """
    archive = Unpax(sequence)
    entries = iter(archive)
    entry = next(entries, None)
    if entry is None or entry.kind != pax.REGULAR:
        raise FormatError("this archive does not begin with a file: it is no image")
    _may_replace(target, replace)
    if _is_device(target):
        with _device(target, entry.size) as fd:
            _write_image(archive, entry, fd)
            _nothing_follows(entries)
    else:
        with _new_file(target, 0o600) as fd:
            archive.copy_to(fd, entry)
            os.ftruncate(fd, entry.size)
            _nothing_follows(entries)
    return entry.stored


def _nothing_follows(entries: Iterator[Entry]) -> None:
    """The rest of the archive is read: whether it is whole is known at its end."""
    if (more := next(entries, None)) is not None:
        raise FormatError(f"this archive holds more than one file ({printable(more.path)}): it is no image")


def _may_replace(target: Path, replace: bool) -> None:
    if not replace and os.path.lexists(target):
        raise RestoreError(
            f"{target} exists already: name a new folder, or have it replaced (--in-place --existing replace)"
        )


def _is_device(target: Path) -> bool:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RestoreError(f"{target} cannot be written: {reason(error)}") from None
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise RestoreError(f"{target} is neither a block device nor a file: an image cannot be restored onto it")
    return stat.S_ISBLK(mode)


def _write_image(archive: Unpax, entry: Entry, fd: int) -> None:
    end = 0
    for offset, size in entry.extents or ():
        zero_range(fd, end, offset - end)
        end = offset + size
    archive.copy_to(fd, entry)
    if entry.extents is not None:
        zero_range(fd, end, entry.size - end)
    os.fsync(fd)


@contextlib.contextmanager
def _device(target: Path, size: int) -> Iterator[int]:
    """The device open for writing, which nobody else has in use."""
    try:
        fd = os.open(target, os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC)
        try:
            room = os.lseek(fd, 0, os.SEEK_END)
            if room < size:
                raise RestoreError(f"{target} has {room} bytes, and the image {size}: it does not fit")
            yield fd
        finally:
            os.close(fd)
    except OSError as error:
        raise RestoreError(f"{target} cannot be written: {reason(error)}") from None


@contextlib.contextmanager
def _new_file(target: Path, mode: int) -> Iterator[int]:
    """A new file open for writing, which takes *target*'s place when it is whole, and is removed when it never is."""
    partial = target.with_name(f"{target.name[:200]}.{secrets.token_hex(4)}.partial")
    try:
        fd = os.open(partial, CREATE, mode)
        try:
            try:
                yield fd
            finally:
                os.close(fd)
            os.rename(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise RestoreError(f"{target} cannot be written: {reason(error)}") from None
