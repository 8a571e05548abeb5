"""What a source looked like at its last object: a file to compare the tree with, and the writer of the next one.

    magic "TLSNAP" 0x0D 0x0A, version u32, length of this head u32, object id 16 bytes, rules (see rules.py) as JSON
    records, as csrc/snapshot.h has them: the roots in canonical order
    names u64, names of inodes with several names u64, end of the records u64, CRC32C of all before u32, magic "TLEN"

Numbers are little-endian. Whatever ends otherwise is torn, and no snapshot.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from .._tree import Level, Walk, crc32c
from ..errors import SnapshotError
from .report import reason
from .rules import Rules

if TYPE_CHECKING:
    from .tree import TreeSource

_HEAD = struct.Struct("<8sII16s")
_TAIL = struct.Struct("<QQQI4s")
_MAGIC, _TAIL_MAGIC = b"TLSNAP\r\n", b"TLEN"
VERSION = 2
_WINDOW_BYTES = 1 << 22


class Snapshot:
    """A snapshot, open for reading. `records` are its bytes, in which offsets count from the file's beginning."""

    def __init__(self, mapped: mmap.mmap, where: str):
        self._mapped = mapped
        whole = memoryview(mapped)
        if len(whole) < _HEAD.size + _TAIL.size:
            raise SnapshotError(f"the snapshot {where} is not whole: the next backup has to be a full one")
        magic, version, head_bytes, object_id = _HEAD.unpack_from(whole)
        if magic != _MAGIC:
            raise SnapshotError(f"{where} is no snapshot")
        if version != VERSION:
            raise SnapshotError(
                f"the snapshot {where} has version {version}, this tapeloom knows version {VERSION}: "
                "the next backup has to be a full one"
            )
        self.names, self.linked, end, checksum, tail_magic = _TAIL.unpack_from(whole, len(whole) - _TAIL.size)
        if (
            tail_magic != _TAIL_MAGIC
            or not _HEAD.size <= head_bytes <= end == len(whole) - _TAIL.size
            or crc32c(whole[:-8]) != checksum
        ):
            raise SnapshotError(f"the snapshot {where} is not whole: the next backup has to be a full one")
        self.object_id = UUID(bytes=object_id)
        """The object that the tree was read into."""
        self.entries: int = self.names
        self.fingerprint = bytes(whole[_HEAD.size : head_bytes])
        self.records = whole[:end]
        self.begin = head_bytes
        """Where the records of the roots begin."""

    @classmethod
    def open(cls, target: Path | int) -> Snapshot:
        """Open the file *target*, or what is open as the descriptor *target*, which stays the caller's.

        Raises SnapshotError where it is not whole, of another version, none at all, or cannot be read.
        """
        where = str(target) if isinstance(target, Path) else "in hand"
        try:
            fd = os.open(target, os.O_RDONLY | os.O_CLOEXEC) if isinstance(target, Path) else target
            try:
                if not os.fstat(fd).st_size:
                    raise SnapshotError(f"the snapshot {where} is empty: the next backup has to be a full one")
                mapped = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                if isinstance(target, Path):
                    os.close(fd)
        except OSError as error:
            raise SnapshotError(f"the snapshot {where} cannot be read: {reason(error)}") from None
        return cls(mapped, where)

    def fits(self, source: TreeSource) -> str | None:
        """Why an increment of *source* cannot be made against this, in words; None where it can."""
        return source.rules.difference(self.fingerprint)

    def level(self, begin: int | None = None, end: int | None = None) -> Level:
        """The records of one level, by default of the roots."""
        return Level(self.records, self.begin if begin is None else begin, len(self.records) if end is None else end)

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(BufferError):  # somebody looks at it still: it closes when that ends
            self.records.release()
            self._mapped.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class SnapshotWriter:
    """A snapshot being written. End it with `finish` or `abandon`."""

    def __init__(self, fd: int, object_id: UUID, part: Path | None, target: Path | None):
        self._fd = fd
        self._object_id = object_id
        self._part = part
        self._target = target
        self._ended: tuple[int, int, int] | None = None
        self._failed: SnapshotError | None = None
        self.records_at = (-1, 0)
        """Where records are written: a descriptor, -1 for nowhere, and an offset."""

    @classmethod
    def create(cls, target: Path | int, object_id: UUID) -> SnapshotWriter:
        """Begin the snapshot of the object *object_id*: beside the file *target*, whose place it takes in the end, or
        in what is open as the descriptor *target*, which is empty and stays the caller's. Raises SnapshotError."""
        if not isinstance(target, Path):
            return cls(target, object_id, None, None)
        part = target.with_name(target.name + ".part")
        try:
            part.unlink(missing_ok=True)
            fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SnapshotError(f"the snapshot {target} cannot be written: {reason(error)}") from None
        return cls(fd, object_id, part, target)

    def begin(self, rules: Rules) -> None:
        """Write the head. A TreeSource does this. What cannot be written stops no backup: `finish` says so."""
        said = rules.fingerprint()
        head = _HEAD.pack(_MAGIC, VERSION, _HEAD.size + len(said), self._object_id.bytes) + said
        try:
            os.pwrite(self._fd, head, 0)
            self.records_at = (self._fd, len(head))
        except OSError as error:
            self._failed = self._error(error)

    def ended(self, walk: Walk) -> None:
        """All records have been made. A TreeSource does this."""
        if self._failed is not None:
            return
        try:
            self._ended = walk.finish_snapshot()
        except OSError as error:
            self._failed = self._error(error)

    def finish(self) -> None:
        """End it, safe on disk and in its place. Raises SnapshotError where that fails, or nothing was read into it."""
        if self._ended is None:
            self.abandon()
            raise self._failed or SnapshotError("the tree of this snapshot was not read to its end")
        end, names, linked = self._ended
        try:
            tail = _TAIL.pack(names, linked, end, 0, _TAIL_MAGIC)[:-8]
            os.pwrite(self._fd, tail, end)
            with mmap.mmap(self._fd, end + len(tail), access=mmap.ACCESS_READ) as whole, memoryview(whole) as view:
                checksum = crc32c(view)
            os.pwrite(self._fd, struct.pack("<I", checksum) + _TAIL_MAGIC, end + len(tail))
            if self._target is not None and self._part is not None:
                os.fdatasync(self._fd)
                os.rename(self._part, self._target)
                self._sync_folder(self._target.parent)
        except OSError as error:
            self.abandon()
            raise self._error(error) from None
        self._close()

    def abandon(self) -> None:
        """Leave nothing of it. What stood in its place stays."""
        if self._part is not None:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        self._ended = None
        if self._part is not None and self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    @staticmethod
    def _sync_folder(folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _error(self, error: OSError) -> SnapshotError:
        return SnapshotError(f"the snapshot {self._target or 'in hand'} cannot be written: {reason(error)}")
