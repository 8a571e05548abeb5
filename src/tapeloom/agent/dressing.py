"""Owners, modes, times, extended attributes and access control lists: from the entries of an archive onto files."""

from __future__ import annotations

import contextlib
import os
import stat
import time

from . import acl, pax
from .metadata import NONE_HERE, Handle, handle_of
from .owners import Owners
from .report import PATH_BYTES_KEPT, Unset, reason
from .unpax import Entry

_ID_MAX = 0xFFFFFFFE  # the one above says: leave it as it is


def _kind(name: bytes) -> str:
    """What an attribute is called in a report. Few words: a hostile archive must not fill it."""
    if name in (acl.ACCESS, acl.DEFAULT):
        return "access control list"
    for namespace in ("user", "trusted", "security", "system"):
        if name.startswith(namespace.encode() + b"."):
            return f"{namespace}.* attributes"
    return "extended attributes"


class Setter:
    """Puts the metadata of archive entries on files. What cannot be set is counted per kind, not raised."""

    def __init__(self, *, numeric_owner: bool = False):
        self.numeric_owner = numeric_owner
        self.owners = Owners()
        self._unset: dict[str, Unset] = {}
        self.now_ns = time.time_ns()  # time of last access where an entry states none

    def unset(self) -> tuple[Unset, ...]:
        return tuple(self._unset.values())

    def note(self, kind: str, path: bytes, why: str) -> None:
        """Count that *kind* could not be set on *path*."""
        known = self._unset.get(kind)
        self._unset[kind] = (
            Unset(kind, 1, path[:PATH_BYTES_KEPT], why)
            if known is None
            else Unset(kind, known.entries + 1, known.path, known.why)
        )

    def apply(self, handle: Handle, entry: Entry, *, prune: bool = False) -> None:
        """Set all of *entry*'s metadata on *handle*, and with *prune* take away attributes that it does not have."""
        owned = self._own(handle, entry)
        # Before the mode: an owner may not set attributes on a file that is read-only. After the owner: a change
        # of owner drops capabilities.
        self._attributes(handle, entry, prune)
        if entry.kind != pax.SYMBOLIC_LINK:
            mode = entry.mode
            if not owned and mode & (stat.S_ISUID | stat.S_ISGID) and entry.kind != pax.FOLDER:
                mode &= ~(stat.S_ISUID | stat.S_ISGID)
                self.note("setuid and setgid bits", entry.path, "they belong to an owner that could not be set")
            try:
                os.chmod(handle, mode)
            except OSError as error:
                self.note("mode", entry.path, reason(error))
        try:
            os.utime(handle, ns=(self.now_ns if entry.atime is None else entry.atime, entry.mtime))
        except OSError as error:
            self.note("times", entry.path, reason(error))
        except OverflowError:
            self.note("times", entry.path, "they are beyond what this system can count")

    def _own(self, handle: Handle, entry: Entry) -> bool:
        uid, gid = entry.uid, entry.gid
        if not self.numeric_owner:
            if entry.user:
                found = self.owners.uid(entry.user)
                uid = uid if found is None else found
            if entry.group:
                found = self.owners.gid(entry.group)
                gid = gid if found is None else found
        if not (0 <= uid <= _ID_MAX and 0 <= gid <= _ID_MAX):
            self.note("owner", entry.path, f"{uid}:{gid} are no numbers of a user and a group")
            return False
        try:
            os.chown(handle, uid, gid)
            return True
        except OSError as error:
            try:
                os.chown(handle, -1, gid)
                self.note("owner", entry.path, reason(error))
            except OSError:
                self.note("owner and group", entry.path, reason(error))
            return False

    def _attributes(self, handle: Handle, entry: Entry, prune: bool) -> None:
        wanted = entry.attributes
        if entry.acl_access is not None or entry.acl_default is not None:
            wanted = dict(wanted)
            for name, text in ((acl.ACCESS, entry.acl_access), (acl.DEFAULT, entry.acl_default)):
                if text is None:
                    continue
                try:
                    wanted[name] = acl.from_text(text, self.owners)
                except ValueError as error:
                    self.note("access control list", entry.path, str(error))
        if prune:
            self._prune(handle, wanted)
        for name, value in wanted.items():
            try:
                os.setxattr(handle, name, value)
            except OSError as error:
                self.note(_kind(name), entry.path, reason(error))
            except ValueError:
                self.note("extended attributes", entry.path, "a name holds a zero byte")

    def _prune(self, handle: Handle, wanted: dict[bytes, bytes]) -> None:
        try:
            present = [os.fsencode(name) for name in os.listxattr(handle)]
            for name in present:
                # What the system itself gives to a new file, a security label say, stays.
                ours = name.startswith((b"user.", b"trusted.", acl.ACCESS, acl.DEFAULT))
                if ours and name not in wanted and not name.startswith(acl.XFS):
                    os.removexattr(handle, name)
        except OSError as error:
            if error.errno not in NONE_HERE:
                raise


def unlock(name: bytes, mode: int, parent: int) -> None:
    """Let the owner write into the folder *name* of that *mode* in the open folder *parent*, if that can be."""
    if mode & stat.S_IRWXU == stat.S_IRWXU:
        return
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
    try:
        with contextlib.suppress(PermissionError):
            os.chmod(handle_of(fd), stat.S_IMODE(mode) | stat.S_IRWXU)
    finally:
        os.close(fd)
