"""Restoring: a sequence becomes files again, below one folder and never outside it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from ..errors import RestoreError, UnsafeEntry, UsageError
from . import pax
from .metadata import Setter, handle_of
from .report import Notes, RestoreReport, printable, reason
from .sink import Sequence
from .target import Target
from .unpax import Entry, Unpax

Existing = Literal["fail", "skip", "replace", "newer"]
"""What to do where a file stands already: give up, leave it, replace it, or replace it when it is the older one."""

SMALL_BYTES = 32 << 10
"""Up to this size content is copied through memory, which takes fewer calls."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES = {pax.FIFO: stat.S_IFIFO, pax.CHARACTER: stat.S_IFCHR, pax.DEVICE: stat.S_IFBLK}
_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""After these the next entry would fare no better."""


def restore_tree(
    sequence: Sequence,
    target: Path,
    *,
    existing: Existing = "fail",
    in_place: bool = False,
    numeric_owner: bool = False,
    wanted: Callable[[bytes], bool] | None = None,
) -> RestoreReport:
    """Restore the pax archive *sequence* into the folder *target*.

    The archive's root folder (`./`) lands on *target* itself. *target* is made where it does not exist, and must be
    empty unless *in_place*; only then *existing* matters. Owners are found by name, then by number, or with
    *numeric_owner* by number alone. *wanted* is asked for each entry with its path, without `./` and a closing slash
    (the root is empty), and says whether it is restored.

    Raises UnsafeEntry for an entry that would leave *target*, FormatError for what is no archive, RestoreError when
    *target* cannot be used, something stands in the way (*existing* is "fail"), or the disk is full. Files restored
    before that are whole; the one at which it happened is removed. What concerns one entry alone stands in the report.
    """
    if existing not in get_args(Existing):
        raise UsageError(f"existing files: {existing!r} is none of {', '.join(get_args(Existing))}")
    try:
        target.mkdir(parents=True, exist_ok=True)
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RestoreError(f"{target} cannot be restored into: {reason(error)}") from None
    restoring = _Restoring(Unpax(sequence), target, root, existing if in_place else "replace", wanted, numeric_owner)
    try:
        if not in_place and os.listdir(root):
            raise RestoreError(f"{target} is not empty: name a new folder, or restore in place (--in-place)")
        restoring.run()
    except OSError as error:
        raise RestoreError(f"{target}: restoring failed: {reason(error)}") from None
    finally:
        restoring.close()
    return restoring.report()


def restore_file(sequence: Sequence, target: Path, *, replace: bool = False) -> int:
    """Restore the opaque *sequence*, the output of a command say, as the file *target*. Returns its length.

    Raises RestoreError when *target* exists and is not to be replaced, or cannot be written; it is then left as it was.
    """
    if not replace and os.path.lexists(target):
        raise RestoreError(
            f"{target} exists already: name a new folder, or have it replaced (--in-place --existing replace)"
        )
    partial = target.with_name(f"{target.name[:200]}.{secrets.token_hex(4)}.partial")
    size = 0
    try:
        fd = os.open(partial, _CREATE, 0o666)
        try:
            try:
                while got := sequence.pump_to(fd, size, 1 << 30):
                    size += got
            finally:
                os.close(fd)
            os.rename(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise RestoreError(f"{target} cannot be written: {reason(error)}") from None
    return size


class _Restoring:
    """One run over an archive."""

    def __init__(
        self,
        archive: Unpax,
        path: Path,
        root: int,
        existing: Existing,
        wanted: Callable[[bytes], bool] | None,
        numeric_owner: bool,
    ):
        self._archive = archive
        self._existing = existing
        self._wanted = wanted
        self._set = Setter(numeric_owner=numeric_owner)
        self._troubles = Notes()
        self._target = Target(path, root, self._set, self._troubles)
        self._files = self._folders = self._others = self._bytes = self._skipped = 0

    def run(self) -> None:
        for entry in self._archive:
            if b"\0" in entry.path or b"\0" in entry.link:
                raise UnsafeEntry(f"{printable(entry.path)} in the archive has a zero byte in a name")
            if self._wanted is not None and not self._wanted(b"/".join(self._target.components(entry.path))):
                self._skipped += 1
                continue
            try:
                self._entry(entry, self._target.go(entry.path))
            except OSError as error:
                if error.errno in _FATAL:
                    raise self._broken_off(entry, error) from None
                self._troubles.add(entry.path, f"cannot be restored: {reason(error)}")
        self._target.finish()
        self._archive.drain()

    def close(self) -> None:
        self._target.close()

    def report(self) -> RestoreReport:
        return RestoreReport(
            files=self._files,
            folders=self._folders,
            others=self._others,
            bytes=self._bytes,
            skipped=self._skipped,
            troubles=self._troubles.named(),
            troubles_beyond=self._troubles.beyond,
            unset=self._set.unset(),
        )

    def _broken_off(self, entry: Entry, error: OSError) -> RestoreError:
        return RestoreError(
            f"{self._target}/{printable(entry.path)} cannot be restored: {reason(error)}. "
            "What was restored before it is whole; it and what follows is missing"
        )

    def _entry(self, entry: Entry, name: bytes) -> None:
        if entry.kind == pax.FOLDER:
            self._folder(entry, name) if name else self._root(entry)
        elif not name:
            raise UnsafeEntry(f"{printable(entry.path)} in the archive would replace {self._target} by something else")
        elif entry.kind in _MAKERS:
            self._place(entry, name, _MAKERS[entry.kind])
        else:
            what = f"is of a kind {printable(entry.kind)!r} that is not known here, and left out"
            self._troubles.add(entry.path, what)

    def _root(self, entry: Entry) -> None:
        if self._goes_before(entry, os.fstat(self._target.fd)):
            self._target.dress_root(entry)
            self._folders += 1
        else:
            self._skipped += 1

    def _folder(self, entry: Entry, name: bytes) -> None:
        parent = self._target.fd
        prune = self._target.inherits
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            there = os.lstat(name, dir_fd=parent)
            if not stat.S_ISDIR(there.st_mode):
                if not self._may_replace(entry, there):
                    self._skipped += 1
                    return
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o700, dir_fd=parent)
            elif self._goes_before(entry, there):
                self._target.unlock(name, there.st_mode)
                prune = True
            else:
                self._target.enter(name, entry.path, None, prune=False)
                self._skipped += 1
                return
        self._target.enter(name, entry.path, entry, prune=prune)
        self._folders += 1

    def _place(self, entry: Entry, name: bytes, make: _Maker) -> None:
        """Make *entry* under *name*; where something stands there, beside it first, so that it is replaced at once."""
        with contextlib.suppress(FileExistsError):
            make(self, entry, name)
            return
        folder = self._target.fd
        there = os.lstat(name, dir_fd=folder)
        if not self._may_replace(entry, there):
            self._skipped += 1
            return
        beside = b".tapeloom-" + secrets.token_hex(8).encode()
        try:
            if make(self, entry, beside):
                if stat.S_ISDIR(there.st_mode):
                    os.rmdir(name, dir_fd=folder)
                os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with contextlib.suppress(FileNotFoundError):  # it is there still when both were one inode
                os.unlink(beside, dir_fd=folder)

    def _may_replace(self, entry: Entry, there: os.stat_result) -> bool:
        if self._existing == "fail":
            raise RestoreError(
                f"{self._target}/{printable(entry.path)} exists already: say what becomes of such files "
                "(--existing skip, replace or newer)"
            )
        return self._goes_before(entry, there)

    def _goes_before(self, entry: Entry, there: os.stat_result) -> bool:
        """Whether *entry* goes before what is *there*. A folder that is there already is in nobody's way."""
        if self._existing == "newer":
            return entry.mtime > there.st_mtime_ns
        return self._existing != "skip"

    # What an entry becomes. Each says whether it made something; FileExistsError comes before anything else happens.

    def _file(self, entry: Entry, name: bytes) -> bool:
        fd = os.open(name, _CREATE, 0o600, dir_fd=self._target.fd)
        try:
            try:
                self._content(fd, entry)
                self._set.apply(fd, entry, prune=self._target.inherits)
            finally:
                os.close(fd)
        except BaseException:
            os.unlink(name, dir_fd=self._target.fd)
            raise
        self._files += 1
        self._bytes += entry.stored
        return True

    def _content(self, fd: int, entry: Entry) -> None:
        if entry.extents is None and entry.stored <= SMALL_BYTES:
            _write_all(fd, self._archive.content(entry.stored))
            return
        try:
            self._archive.copy_to(fd, entry)
        except OSError as error:  # nobody knows now where in the sequence one is
            raise self._broken_off(entry, error) from None
        if entry.extents is not None:
            os.ftruncate(fd, entry.size)  # a hole at the end

    def _hard_link(self, entry: Entry, name: bytes) -> bool:
        components = self._target.components(entry.link)
        if not components:
            raise UnsafeEntry(f"{printable(entry.path)} in the archive is a hard link to the root folder")
        try:
            with self._target.folder(components[:-1], entry.path) as parent:
                os.link(components[-1], name, src_dir_fd=parent, dst_dir_fd=self._target.fd, follow_symlinks=False)
        except FileNotFoundError:
            self._troubles.add(entry.path, f"is a hard link to {printable(entry.link)}, which was not restored")
            return False
        self._others += 1
        return True

    def _symbolic_link(self, entry: Entry, name: bytes) -> bool:
        os.symlink(entry.link, name, dir_fd=self._target.fd)
        self._dress(entry, name)
        return True

    def _node(self, entry: Entry, name: bytes) -> bool:
        try:
            os.mknod(name, _NODES[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=self._target.fd)
        except PermissionError as error:
            if entry.kind == pax.FIFO:
                raise
            self._set.note("device nodes", entry.path, reason(error))
            return False
        self._dress(entry, name)
        return True

    def _dress(self, entry: Entry, name: bytes) -> None:
        """Metadata for what cannot be opened."""
        fd = os.open(name, _LOOK, dir_fd=self._target.fd)
        try:
            self._set.apply(handle_of(fd), entry, prune=self._target.inherits)
        finally:
            os.close(fd)
        self._others += 1


_Maker = Callable[[_Restoring, Entry, bytes], bool]
_MAKERS: dict[bytes, _Maker] = {
    pax.REGULAR: _Restoring._file,
    pax.HARD_LINK: _Restoring._hard_link,
    pax.SYMBOLIC_LINK: _Restoring._symbolic_link,
    pax.FIFO: _Restoring._node,
    pax.CHARACTER: _Restoring._node,
    pax.DEVICE: _Restoring._node,
}


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
