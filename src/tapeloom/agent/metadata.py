"""Owners, modes, times, extended attributes and access control lists: from the file system into records, and back.

Both take a *handle* where the system wants a file: an open descriptor, or for what must not be opened (symbolic links,
FIFOs, devices) `handle_of` a descriptor made with O_PATH, which stands for that very file and follows nothing.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable

from . import acl, pax
from .owners import Owners
from .report import PATH_BYTES_KEPT, Unset, reason
from .unpax import Entry

Handle = int | bytes

_ID_MAX = 0xFFFFFFFE  # the one above says: leave it as it is
_NONE_HERE = (errno.ENOTSUP, errno.ENODATA, errno.ENOSYS)


def handle_of(fd: int) -> bytes:
    """The handle of what is open as *fd* with O_PATH."""
    return b"/proc/self/fd/%d" % fd


def read_records(handle: Handle, owners: Owners, trouble: Callable[[str], None]) -> list[bytes]:
    """The pax records of the extended attributes and access control lists of *handle*, in the order of their names.

    What cannot be read is told to *trouble*. Attributes `system.*` other than POSIX lists belong to the file system.
    """
    try:
        names = os.listxattr(handle)
    except OSError as error:
        if error.errno not in _NONE_HERE:
            trouble(f"its extended attributes cannot be read: {reason(error)}")
        return []
    records: list[bytes] = []
    total = 0
    for name in sorted(map(os.fsencode, names)):
        listed = name in (acl.ACCESS, acl.DEFAULT)
        if name.startswith(b"system.") and not listed:
            continue
        try:
            value = os.getxattr(handle, name)
            if listed:
                key = pax.ACL_ACCESS if name == acl.ACCESS else pax.ACL_DEFAULT
                value = acl.to_text(value, owners)
            else:
                key = pax.XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D")
        except OSError as error:
            if error.errno not in _NONE_HERE:
                trouble(f"its extended attribute {os.fsdecode(name)} cannot be read: {reason(error)}")
            continue
        except ValueError as error:
            trouble(f"its access control list cannot be read: {error}")
            continue
        total += len(key) + len(value)
        if total > pax.RECORDS_BYTES_MAX // 2:
            trouble(f"it has extended attributes of more than {pax.RECORDS_BYTES_MAX // 2} bytes, the rest is left out")
            break
        records.append(pax.record(key, value))
    return records


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
        self._numeric_owner = numeric_owner
        self._owners = Owners()
        self._unset: dict[str, Unset] = {}
        self._now = time.time_ns()

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
            os.utime(handle, ns=(self._now if entry.atime is None else entry.atime, entry.mtime))
        except OSError as error:
            self.note("times", entry.path, reason(error))
        except OverflowError:
            self.note("times", entry.path, "they are beyond what this system can count")

    def _own(self, handle: Handle, entry: Entry) -> bool:
        uid, gid = entry.uid, entry.gid
        if not self._numeric_owner:
            if entry.user:
                found = self._owners.uid(entry.user)
                uid = uid if found is None else found
            if entry.group:
                found = self._owners.gid(entry.group)
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
                    wanted[name] = acl.from_text(text, self._owners)
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
                if name not in wanted and name.startswith((b"user.", b"trusted.", acl.ACCESS, acl.DEFAULT)):
                    os.removexattr(handle, name)
        except OSError as error:
            if error.errno not in _NONE_HERE:
                raise
