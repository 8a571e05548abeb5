"""POSIX access control lists: the kernel's bytes to the text that archives hold, and back.

The bytes are those of the attributes `system.posix_acl_access` and `system.posix_acl_default`, after
linux/posix_acl_xattr.h: version 2 as 32 bits, then per entry tag and permissions of 16 bits each and an id of 32, all
little-endian. The text is the long form of acl(5), one entry a line.
"""

from __future__ import annotations

import struct

from .owners import Owners

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"
XFS = b"trusted.SGI_ACL_"
"""Under names that begin so XFS shows the same lists once more, in its own form, to root."""

_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_NO_ID = 0xFFFFFFFF

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_WORDS = {
    _USER_OBJ: b"user",
    _USER: b"user",
    _GROUP_OBJ: b"group",
    _GROUP: b"group",
    _MASK: b"mask",
    _OTHER: b"other",
}
_TAGS = {  # word -> tag without and with a qualifier
    b"user": (_USER_OBJ, _USER),
    b"group": (_GROUP_OBJ, _GROUP),
    b"mask": (_MASK, None),
    b"other": (_OTHER, None),
    b"u": (_USER_OBJ, _USER),
    b"g": (_GROUP_OBJ, _GROUP),
    b"m": (_MASK, None),
    b"o": (_OTHER, None),
}


def to_text(packed: bytes, owners: Owners) -> bytes:
    """The list *packed* as text; users and groups that have no name stand as numbers.

    Raises ValueError for bytes that are no such list.
    """
    if len(packed) < _VERSION.size or (len(packed) - _VERSION.size) % _ENTRY.size:
        raise ValueError(f"an access control list of {len(packed)} bytes")
    (version,) = _VERSION.unpack_from(packed)
    if version != 2:
        raise ValueError(f"an access control list of version {version}")
    lines = []
    for tag, permissions, number in _ENTRY.iter_unpack(packed[_VERSION.size :]):
        if tag not in _WORDS:
            raise ValueError(f"an access control list with an unknown tag {tag:#x}")
        qualifier = b""
        if tag == _USER:
            qualifier = owners.user(number) or b"%d" % number
        elif tag == _GROUP:
            qualifier = owners.group(number) or b"%d" % number
        letters = bytes(
            letter if permissions & bit else ord("-") for letter, bit in zip(b"rwx", (4, 2, 1), strict=True)
        )
        lines.append(b"%b:%b:%b\n" % (_WORDS[tag], qualifier, letters))
    return b"".join(lines)


def from_text(text: bytes, owners: Owners) -> bytes:
    """The list that *text* describes, as the kernel takes it.

    Raises ValueError for what is no entry, and for a user or group that this system does not know.
    """
    entries = []
    for item in text.replace(b",", b"\n").split(b"\n"):
        line = item.partition(b"#")[0].strip()
        if not line:
            continue
        parts = line.split(b":")
        if len(parts) < 3 or parts[0] not in _TAGS:
            raise ValueError(f"no entry of an access control list: {line.decode('utf-8', 'backslashreplace')}")
        plain, named = _TAGS[parts[0]]
        tag = plain if not parts[1] else named
        if tag is None:
            raise ValueError(f"{parts[0].decode()} entries of an access control list name nobody")
        entries.append((tag, _permissions(parts[2]), _NO_ID if tag == plain else _number(tag, parts[1], owners)))
    entries.sort(key=lambda entry: (entry[0], entry[2]))  # the kernel takes them in the order of tags only
    return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def _permissions(letters: bytes) -> int:
    bits = 0
    for letter in letters.strip():
        bit = {ord("r"): 4, ord("w"): 2, ord("x"): 1, ord("-"): 0}.get(letter)
        if bit is None:
            raise ValueError(f"no permissions: {letters.decode('utf-8', 'backslashreplace')}")
        bits |= bit
    return bits


def _number(tag: int, qualifier: bytes, owners: Owners) -> int:
    number = owners.uid(qualifier) if tag == _USER else owners.gid(qualifier)
    if number is None and qualifier.isdigit() and int(qualifier) < _NO_ID:
        number = int(qualifier)
    if number is None:
        raise ValueError(f"{_WORDS[tag].decode()} {qualifier.decode('utf-8', 'backslashreplace')} is not known here")
    return number
