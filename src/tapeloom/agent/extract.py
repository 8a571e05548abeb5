"""Restoring: a sequence becomes files again, below one folder and never outside it.

Names are resolved folder by folder from that one on, without following a symbolic link: neither `..`, nor an absolute
name, nor a link that the archive, or somebody else, put in the way leads out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from ..errors import RestoreError, UnsafeEntry, UsageError
from . import acl, pax
from .descent import FOLDER_FLAGS, Descent
from .metadata import Setter, handle_of
from .report import Notes, RestoreReport, printable, reason
from .sink import Sequence
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
    restoring = _Restoring(root, target, "replace", wanted, Setter(numeric_owner=numeric_owner), Unpax(sequence))
    try:
        if in_place:
            restoring.existing = existing
        elif os.listdir(root):
            raise RestoreError(f"{target} is not empty: name a new folder, or say that you want to restore in place")
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
        raise RestoreError(f"{target} exists already: name a new file, or say that it is to be replaced")
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


class _Level:
    """A folder on the way down: what is to be put on it when its content is complete."""

    __slots__ = ("entry", "inherits", "met", "prune")

    def __init__(self, entry: Entry | None, prune: bool, met: os.stat_result | None, inherits: bool):
        self.entry = entry
        self.prune = prune
        self.met = met  # how it was found, if it was there without an entry of its own
        self.inherits = inherits  # it has a default access control list, which new content gets


class _Restoring:
    def __init__(
        self,
        root: int,
        target: Path,
        existing: Existing,
        wanted: Callable[[bytes], bool] | None,
        setter: Setter,
        archive: Unpax,
    ):
        self.existing = existing
        self._target = target
        self._wanted = wanted
        self._set = setter
        self._archive = archive
        self._descent = Descent(root)
        self._levels = [_Level(None, False, None, _inherits(root))]
        self._here: bytes | None = b"."  # the folder part of the last path, as it stood in the archive
        self._troubles = Notes()
        self._files = self._folders = self._others = self._bytes = self._skipped = 0

    def run(self) -> None:
        for entry in self._archive:
            try:
                self._entry(entry)
            except OSError as error:
                if error.errno in _FATAL:
                    raise self._broken_off(entry, error) from None
                self._troubles.add(entry.path, f"cannot be restored: {reason(error)}")
        self._up_to(0)
        self._finish_level()
        self._archive.drain()

    def _broken_off(self, entry: Entry, error: OSError) -> RestoreError:
        return RestoreError(
            f"{self._target}/{printable(entry.path)} cannot be restored: {reason(error)}. "
            "What was restored before it is whole; it and what follows is missing"
        )

    def close(self) -> None:
        self._descent.close()

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

    def _entry(self, entry: Entry) -> None:
        path = entry.path
        if b"\0" in path or b"\0" in entry.link:
            raise UnsafeEntry(f"{printable(path)} in the archive has a zero byte in its name, or in that of its target")
        if path.startswith(b"/"):
            raise UnsafeEntry(f"{printable(path)} in the archive is an absolute name: it would leave {self._target}")
        folder, _, name = path.rstrip(b"/").rpartition(b"/")
        if self._wanted is not None and not self._wanted(b"/".join(self._components(path))):
            self._skipped += 1
            return
        if name in (b"", b".", b".."):
            components = self._components(path)
            folder, name = b"/".join(components[:-1]), components[-1] if components else b""
        if folder != self._here:
            self._here = None
            self._go(self._components(folder), path)
            self._here = folder
        if entry.kind == pax.FOLDER:
            self._folder(entry, name)
        elif not name:
            raise UnsafeEntry(f"{printable(path)} in the archive would replace {self._target} by something else")
        elif entry.kind == pax.REGULAR:
            self._place(entry, name, self._file)
        elif entry.kind == pax.HARD_LINK:
            self._place(entry, name, self._hard_link)
        elif entry.kind == pax.SYMBOLIC_LINK:
            self._place(entry, name, self._symbolic_link)
        elif entry.kind in _NODES:
            self._place(entry, name, self._node)
        else:
            self._troubles.add(path, f"is of a kind {printable(entry.kind)!r} that is not known here, and left out")

    def _components(self, path: bytes) -> list[bytes]:
        components = [part for part in path.split(b"/") if part not in (b"", b".")]
        if b".." in components:
            raise UnsafeEntry(f"{printable(path)} in the archive goes upwards: it could leave {self._target}")
        return components

    # The way down and up

    def _go(self, components: list[bytes], path: bytes) -> None:
        """Make the folder *components* the present one; folders that are missing are made."""
        names = self._descent.names
        shared = 0
        for have, want in zip(names, components, strict=False):
            if have != want:
                break
            shared += 1
        self._up_to(shared)
        for name in components[shared:]:
            try:
                fd = self._step(name, self._descent.fd, path)
            except FileNotFoundError:
                os.mkdir(name, 0o777, dir_fd=self._descent.fd)
                fd = self._step(name, self._descent.fd, path)
            self._enter(name, fd, None)

    def _step(self, name: bytes, parent: int, path: bytes) -> int:
        """The folder *name* in *parent*, open. A symbolic link in its place is no accident that one goes on after."""
        try:
            return os.open(name, FOLDER_FLAGS, dir_fd=parent)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP) and stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
                raise UnsafeEntry(
                    f"{printable(path)} in the archive leads through the symbolic link {printable(name)}: "
                    f"it could leave {self._target}"
                ) from None
            raise

    def _enter(self, name: bytes, fd: int, entry: Entry | None, prune: bool = False) -> None:
        met = os.fstat(fd) if entry is None else None
        self._levels.append(_Level(entry, prune, met, _inherits(fd)))
        self._descent.enter(name, fd)

    def _up_to(self, depth: int) -> None:
        while self._descent.depth > depth:
            self._finish_level()
            self._levels.pop()
            self._descent.leave()

    def _finish_level(self) -> None:
        """Put a folder's metadata on it, now that nothing more comes into it."""
        level = self._levels[-1]
        try:
            fd = self._descent.fd
            if level.entry is not None:
                self._set.apply(fd, level.entry, prune=level.prune)
            elif level.met is not None:
                with contextlib.suppress(PermissionError):  # another's folder, of which nothing was asked
                    os.utime(fd, ns=(level.met.st_atime_ns, level.met.st_mtime_ns))
        except OSError as error:
            path = level.entry.path if level.entry is not None else b"/".join(self._descent.names)
            self._troubles.add(path, f"the folder's metadata cannot be set: {reason(error)}")

    # What an entry becomes

    def _folder(self, entry: Entry, name: bytes) -> None:
        if not name:
            self._up_to(0)
            self._here = None
            level = self._levels[0]
            if self._may_dress(entry, os.fstat(self._descent.fd)):
                level.entry, level.prune = entry, True
                self._folders += 1
            else:
                self._skipped += 1
            return
        fd = self._descent.fd
        prune = self._levels[-1].inherits
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            there = os.lstat(name, dir_fd=fd)
            if stat.S_ISDIR(there.st_mode):
                if not self._may_dress(entry, there):
                    self._skipped += 1
                    self._enter_own(entry, name, dress=False)
                    return
                prune = True
                self._unlock(name, there)
            elif not self._may_replace(entry, there):
                self._skipped += 1
                return
            else:
                os.unlink(name, dir_fd=fd)
                os.mkdir(name, 0o700, dir_fd=fd)
        self._enter_own(entry, name, dress=True, prune=prune)
        self._folders += 1

    def _enter_own(self, entry: Entry, name: bytes, *, dress: bool, prune: bool = False) -> None:
        self._enter(name, self._step(name, self._descent.fd, entry.path), entry if dress else None, prune)
        self._here = entry.path.rstrip(b"/")

    def _unlock(self, name: bytes, there: os.stat_result) -> None:
        """Let its owner write into a folder that is read-only, until its mode is set in the end."""
        if there.st_mode & 0o700 != 0o700:
            fd = os.open(name, _LOOK | os.O_DIRECTORY, dir_fd=self._descent.fd)
            try:
                with contextlib.suppress(PermissionError):
                    os.chmod(handle_of(fd), stat.S_IMODE(there.st_mode) | 0o700)
            finally:
                os.close(fd)

    def _place(self, entry: Entry, name: bytes, make: Callable[[Entry, bytes], None]) -> None:
        """Make *entry* under *name*; where something stands there, beside it first, so that it is replaced at once."""
        try:
            make(entry, name)
            return
        except FileExistsError:
            pass
        fd = self._descent.fd
        there = os.lstat(name, dir_fd=fd)
        if not self._may_replace(entry, there):
            self._skipped += 1
            return
        if stat.S_ISDIR(there.st_mode):
            os.rmdir(name, dir_fd=fd)
        beside = b".tapeloom-" + secrets.token_hex(8).encode()
        make(entry, beside)
        try:
            os.rename(beside, name, src_dir_fd=fd, dst_dir_fd=fd)
        finally:
            with contextlib.suppress(FileNotFoundError):  # it is there still when both were one inode
                os.unlink(beside, dir_fd=fd)

    def _may_replace(self, entry: Entry, there: os.stat_result) -> bool:
        if self.existing == "fail":
            raise RestoreError(
                f"{self._target}/{printable(entry.path)} exists already: say whether to skip or to replace such files"
            )
        return self._may_dress(entry, there)

    def _may_dress(self, entry: Entry, there: os.stat_result) -> bool:
        """Whether *entry* goes before what is *there*. A folder that is there already is in nobody's way."""
        if self.existing == "newer":
            return entry.mtime > there.st_mtime_ns
        return self.existing != "skip"

    def _file(self, entry: Entry, name: bytes) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=self._descent.fd)
        try:
            try:
                if entry.extents is None and entry.stored <= SMALL_BYTES:
                    _write_all(fd, self._archive.content(entry.stored))
                else:
                    try:
                        self._archive.copy_to(fd, entry)
                    except OSError as error:  # nobody knows where in the sequence
                        raise self._broken_off(entry, error) from None
                    if entry.extents is not None:
                        os.ftruncate(fd, entry.size)  # a hole at the end
                self._set.apply(fd, entry, prune=self._levels[-1].inherits)
            finally:
                os.close(fd)
        except BaseException:
            os.unlink(name, dir_fd=self._descent.fd)
            raise
        self._files += 1
        self._bytes += entry.stored

    def _hard_link(self, entry: Entry, name: bytes) -> None:
        if entry.link.startswith(b"/"):
            raise UnsafeEntry(f"{printable(entry.path)} in the archive is a hard link to an absolute name")
        components = self._components(entry.link)
        if not components:
            raise UnsafeEntry(f"{printable(entry.path)} in the archive is a hard link to the root folder")
        try:
            with self._folder_of(components[:-1], entry.path) as parent:
                os.link(components[-1], name, src_dir_fd=parent, dst_dir_fd=self._descent.fd, follow_symlinks=False)
        except FileNotFoundError:
            self._troubles.add(entry.path, f"is a hard link to {printable(entry.link)}, which was not restored")
            return
        self._others += 1

    @contextlib.contextmanager
    def _folder_of(self, components: list[bytes], path: bytes) -> Iterator[int]:
        """The folder *components*, open, whatever is the present one."""
        names = self._descent.names
        if components == names:
            yield self._descent.fd
            return
        fd = os.open(b".", FOLDER_FLAGS, dir_fd=self._descent.root)
        try:
            for name in components:
                deeper = self._step(name, fd, path)
                os.close(fd)
                fd = deeper
            yield fd
        finally:
            os.close(fd)

    def _symbolic_link(self, entry: Entry, name: bytes) -> None:
        os.symlink(entry.link, name, dir_fd=self._descent.fd)
        self._dress(entry, name)

    def _node(self, entry: Entry, name: bytes) -> None:
        try:
            os.mknod(name, _NODES[entry.kind] | 0o600, os.makedev(*entry.device), dir_fd=self._descent.fd)
        except PermissionError as error:
            if entry.kind == pax.FIFO:
                raise
            self._set.note("device nodes", entry.path, reason(error))
            return
        self._dress(entry, name)

    def _dress(self, entry: Entry, name: bytes) -> None:
        """Metadata for what cannot be opened."""
        fd = os.open(name, _LOOK, dir_fd=self._descent.fd)
        try:
            self._set.apply(handle_of(fd), entry, prune=self._levels[-1].inherits)
        finally:
            os.close(fd)
        self._others += 1


def _inherits(fd: int) -> bool:
    try:
        os.getxattr(fd, acl.DEFAULT)
    except OSError:
        return False
    return True


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
