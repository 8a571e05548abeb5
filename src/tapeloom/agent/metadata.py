"""Extended attributes and access control lists: from the file system into records.

Reading them and setting them both take a *handle* where the system wants a file: an open descriptor, or for what must
not be opened (symbolic links, FIFOs, devices) `handle_of` a descriptor made with O_PATH, which stands for that very
file and follows nothing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from . import acl, pax
from .owners import Owners
from .report import reason

Handle = int | bytes

NONE_HERE = (errno.ENOTSUP, errno.ENODATA, errno.ENOSYS)


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
        if error.errno not in NONE_HERE:
            trouble(f"its extended attributes cannot be read: {reason(error)}")
        return []
    records: list[bytes] = []
    total = 0
    for name in sorted(map(os.fsencode, names)):
        listed = name in (acl.ACCESS, acl.DEFAULT)
        if name.startswith((b"system.", acl.XFS)) and not listed:
            continue
        try:
            value = os.getxattr(handle, name)
            if listed:
                key = pax.ACL_ACCESS if name == acl.ACCESS else pax.ACL_DEFAULT
                value = acl.to_text(value, owners)
            else:
                key = pax.XATTR + name.replace(b"%", b"%25").replace(b"=", b"%3D")
        except OSError as error:
            if error.errno not in NONE_HERE:
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
