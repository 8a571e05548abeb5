"""Restoring: sequences become files again, below one folder and never outside it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import get_args

from ..errors import RestoreError, UnsafeEntry, UsageError
from . import pax
from .dressing import Setter, unlock
from .listing import Listing
from .making import Existing, Making, Rules, is_fatal
from .opaque import restore_file, restore_raw
from .own import Own
from .removal import Removal
from .report import Notes, RestoreReport, printable, reason
from .runs import Runs
from .sink import Sequence
from .target import Target
from .unpax import Entry, Unpax

__all__ = ["Existing", "TreeRestore", "restore_file", "restore_raw", "restore_tree"]

Wanted = Callable[[bytes], bool]


def restore_tree(
    sequence: Sequence,
    target: Path,
    *,
    existing: Existing = "fail",
    in_place: bool = False,
    numeric_owner: bool = False,
    wanted: Wanted | None = None,
) -> RestoreReport:
    """Restore the pax archive *sequence* into the folder *target*: a `TreeRestore` of one feed.

    *wanted* is asked for each entry with its path, without `./` and a closing slash (the root is empty), and says
    whether it is restored. Raises what `TreeRestore` and its `feed` raise.
    """
    with TreeRestore(target, existing=existing, in_place=in_place, numeric_owner=numeric_owner) as restoring:
        restoring.feed(sequence, wanted=wanted)
        return restoring.finish()


class TreeRestore:
    """One tree made from one archive or several.

    An archive's root folder (`./`) lands on *target* itself. *target* is made where it does not exist, and must be
    empty unless *in_place*; only then *existing* matters, and only for what stood there before. Owners are found by
    name, then by number, or with *numeric_owner* by number alone.

    With *again* an entry of a later feed may bring a newer version of what an earlier one made: oldest first then.
    Without it feeds come in any order, and no path in two of them.

    Raises RestoreError when *target* cannot be used.
    """

    def __init__(
        self,
        target: Path,
        *,
        existing: Existing = "fail",
        in_place: bool = False,
        numeric_owner: bool = False,
        again: bool = False,
    ):
        if existing not in get_args(Existing):
            raise UsageError(f"existing files: {existing!r} is none of {', '.join(get_args(Existing))}")
        root, made = _open_target(target, in_place)
        self._path = target
        self._renamed: Mapping[bytes, bytes] = {}
        self._set = Setter(numeric_owner=numeric_owner)
        self._troubles = Notes()
        self._own = Own() if in_place else None
        self._target = Target(target, root, self._set, self._troubles, self._made)
        rules = Rules(existing if in_place else "replace", self._own, self._target)
        self._rules = rules
        self._removal = Removal(rules.ours, self._troubles)
        # Files are recorded only where a later feed may come. Folders are few.
        files = self._own if again else None
        self._making = Making(self._target, self._set, rules, self._troubles, files)
        self._runs = Runs(self._set) if files is None else None
        self._around_renamed: set[bytes] = set()
        self._folders = self._skipped = 0
        if made:
            self._made(b"")

    def __enter__(self) -> TreeRestore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def feed(
        self,
        sequence: Sequence,
        parts: Iterable[tuple[int, int]] | None = None,
        *,
        deletions: bool = False,
        wanted: Wanted | None = None,
        renamed: Mapping[bytes, bytes] | None = None,
    ) -> None:
        """Restore what is in the archive *sequence*, or in *parts* of it: ranges [begin, end) of bytes that hold whole
        entries, ascending, for which *sequence* has `go_to`.

        With *deletions* what an entry's listing (GNU.dumpdir) does not name, and this restore made, is removed from
        that folder before its content comes. *wanted* is as in `restore_tree`; deletions follow from unwanted folders
        too. *renamed* gives files of this archive a name that they do not have in it, path to path: it is for a hard
        link that belongs to the tree where the name with the data does not.

        Raises UnsafeEntry for an entry that would leave the target, FormatError for what is no archive, RestoreError
        when something stands in the way (*existing* is "fail") or the disk is full. Files restored before that are
        whole, and `report` tells of them; the one at which it happened is removed. After a FormatError the next feed
        may come. What concerns one entry alone stands in the report.
        """
        archive = self._making.archive = Unpax(sequence)
        self._renamed = renamed or {}
        self._around_renamed = {path.rpartition(b"/")[0] for path in self._renamed}
        try:
            if parts is None:
                self._take(archive, archive, deletions, wanted)
                archive.drain()
            else:
                for begin, end in parts:
                    self._take(archive, archive.part(begin, end), deletions, wanted)
        except OSError as error:
            raise RestoreError(f"{self._path}: restoring failed: {reason(error)}") from None

    def finish(self) -> RestoreReport:
        """Make the links that waited for their other name, and put on the folders what is still to be put on them.

        Raises RestoreError when that fails as a whole.
        """
        try:
            self._making.make_waiting()
            self._target.finish()
        except OSError as error:
            raise RestoreError(f"{self._path}: restoring failed: {reason(error)}") from None
        return self.report()

    def report(self) -> RestoreReport:
        """What has been restored so far."""
        made = self._making
        return RestoreReport(
            files=made.files + (self._runs.files if self._runs else 0),
            folders=self._folders,
            others=made.others,
            bytes=made.bytes + (self._runs.bytes if self._runs else 0),
            skipped=self._skipped + made.skipped,
            removed=self._removal.removed,
            troubles=self._troubles.named(),
            troubles_beyond=self._troubles.beyond,
            unset=self._set.unset(),
        )

    def close(self) -> None:
        """Let go of the target. May be called whatever happened before."""
        self._target.close()
        self._making.close()
        if self._own is not None:
            self._own.close()

    def _made(self, path: bytes) -> None:
        if self._own is not None:
            self._own.add(path)

    def _take(self, archive: Unpax, entries: Iterable[Entry], deletions: bool, wanted: Wanted | None) -> None:
        runs = self._runs if wanted is None else None
        for entry in entries:
            if b"\0" in entry.path or b"\0" in entry.link:
                raise UnsafeEntry(f"{printable(entry.path)} in the archive has a zero byte in a name")
            if not deletions:
                entry.listing = None
            if self._renamed and not self._rename(entry):
                continue
            try:
                if wanted is not None and not wanted(self._path_of(entry.path)):
                    self._skipped += 1
                    self._purge_unwanted(entry)
                    continue
                self._entry(entry, self._target.go(entry.path))
            except OSError as error:
                if is_fatal(error):
                    raise self._making.broken_off(entry, error) from None
                self._troubles.add(entry.path, f"cannot be restored: {reason(error)}")
            if runs is not None:
                if entry.kind == pax.REGULAR:
                    runs.learn(entry)
                if not self._is_around_renamed():
                    runs.make(archive, self._target)

    def _path_of(self, path: bytes) -> bytes:
        return b"/".join(self._target.components(path))

    def _rename(self, entry: Entry) -> bool:
        """Let *entry* have, or lead to, the name that is wanted. False for the link that has become the file."""
        path = self._path_of(entry.path)
        if entry.kind != pax.HARD_LINK:
            entry.path = self._renamed.get(path, entry.path)
            return True
        entry.link = self._renamed.get(self._path_of(entry.link), entry.link)
        return entry.link != path

    def _is_around_renamed(self) -> bool:
        return bool(self._around_renamed) and self._target.path(b"") in self._around_renamed

    def _entry(self, entry: Entry, name: bytes) -> None:
        if entry.kind == pax.FOLDER:
            self._folder(entry, name) if name else self._root(entry)
        elif not name:
            raise UnsafeEntry(f"{printable(entry.path)} in the archive would replace {self._target} by something else")
        else:
            self._making.make(entry, name)

    def _root(self, entry: Entry) -> None:
        goes = self._rules.goes_before(entry, b"", os.fstat(self._target.fd))
        if goes:
            self._target.dress_root(entry)
            self._rules.dressed(b"")
            self._folders += 1
        else:
            self._skipped += 1
        self._purge(entry)

    def _folder(self, entry: Entry, name: bytes) -> None:
        parent = self._target.fd
        prune = self._target.inherits
        tell = self._made
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            entry.listing = None  # nothing in it could be removed
        except FileExistsError:
            there = os.lstat(name, dir_fd=parent)
            if not stat.S_ISDIR(there.st_mode):
                if not self._rules.may_replace(entry, name, there):
                    self._skipped += 1
                    return
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o700, dir_fd=parent)
            elif self._rules.goes_before(entry, name, there):
                unlock(name, there.st_mode, parent)
                prune, tell = True, self._rules.dressed
            else:
                self._target.enter(name, entry.path, None, prune=False)
                self._skipped += 1
                self._purge(entry)
                return
        self._target.enter(name, entry.path, entry, prune=prune)
        tell(self._target.path(b""))
        self._folders += 1
        self._purge(entry)

    def _purge(self, entry: Entry) -> None:
        """Remove from the present folder, which is *entry*'s, what this restore made and its listing does not name."""
        if entry.listing is not None:
            listing, entry.listing = Listing(entry.listing, entry.path), None
            self._removal.purge(self._target.fd, self._target.path(b""), listing)

    def _purge_unwanted(self, entry: Entry) -> None:
        """As `_purge`, in a folder that is not restored itself, though something below it may be."""
        if entry.listing is None:
            return
        components = self._target.components(entry.path)
        listing = Listing(entry.listing, entry.path)
        nowhere = contextlib.suppress(FileNotFoundError, NotADirectoryError)
        with nowhere, self._target.folder(components, entry.path) as folder:
            self._removal.purge(folder, b"/".join(components), listing)


def _open_target(target: Path, in_place: bool) -> tuple[int, bool]:
    """The folder *target*, open, and whether it had to be made."""
    try:
        made = not target.exists()
        target.mkdir(parents=True, exist_ok=True)
        root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RestoreError(f"{target} cannot be restored into: {reason(error)}") from None
    try:
        with os.scandir(root) as there:
            if in_place or next(there, None) is None:
                return root, made
        why = "is not empty: name a new folder, or restore in place (--in-place)"
    except OSError as error:
        why = f"cannot be restored into: {reason(error)}"
    os.close(root)
    raise RestoreError(f"{target} {why}")
