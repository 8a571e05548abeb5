"""Trees with everything in them that a file system allows, the ways in which they change, and how two are compared.

All chance comes from a `random.Random`: `Random(seed)`, or one that hypothesis gives (`st.randoms()`) and can simplify.
What only root can make is made by root alone. There are no sockets: an archive leaves them out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random

from agent_world import ACL, DEFAULT_ACL, snapshot

IS_ROOT = os.geteuid() == 0

NAMES = (
    *(b"a", b"b", b"a.b", b"a-b", b"a-", b"a!", b"A", b"0", b".hidden", b"..."),
    *(
        b"new\nline",
        b"\xff\xfe not utf8",
        "\u00fcml\u00e4ut".encode(),
        b"tab\t",
        b" ",
        b"trailing ",
        b"-rf",
        b"back\\slash",
    ),
    *(b"quote'\"", b"*", b"[x]", b"a=b", b"50%", b"\x01", b"n" * 255, b"\xe2\x82" * 127, b"pax", b"GNUSparseFile.0"),
)
SIZES = (0, 1, 511, 512, 513, 4096, 10_000, 32 << 10, (32 << 10) + 1, 70_000, 200_000)
SECONDS = (-(2**31), -5_500_000, -1, 0, 1, 2**31 - 1, 2**31, 2**32, 2**33, 1_700_000_000)
NANOSECONDS = (0, 1, 999_999_999, 500_000_000, 123_456_789)
ATTRIBUTES = (b"user.a", b"user.with=equals%25", b"user.\xff", b"user.long" + b"g" * 200)
VALUES = (b"", b"x", b"\x00bin\nary\xff", b"v" * 800)
MODES = (0o644, 0o600, 0o755, 0o400, 0o7777, 0o000)
FOLDER_MODES = (0o755, 0o700, 0o1777, 0o2775)

Change = Callable[[Random, Path], str | None]


def make_tree(root: Path, chance: Random, entries: int = 30) -> None:
    """Make the folder *root* with about so many entries below it."""
    root.mkdir()
    folders = [os.fsencode(root)]
    others: list[bytes] = []
    for _ in range(entries):
        path = _free_name(chance, chance.choice(folders))
        if path is None:
            continue
        if others and chance.random() < 0.2:
            os.link(chance.choice(others), path, follow_symlinks=False)
            others.append(path)
        elif chance.random() < 0.25:
            os.mkdir(path)
            folders.append(path)
        else:
            _make_other(chance, path)
            others.append(path)
    for path in others + folders[::-1]:
        _dress(chance, path)


def mutate(root: Path, chance: Random, changes: int = 6) -> list[str]:
    """Change the tree in so many ways. Returns what was done, for whom it breaks."""
    done = [chance.choice(CHANGES)(chance, root) for _ in range(changes)]
    return [what for what in done if what is not None]


def same_tree(
    expected: Path, found: Path, *, times: bool = True, holes: bool = True, folder_dress: bool = True
) -> list[str]:
    """What of *found* is other than in *expected*, one sentence each: names, kinds, content, modes, owners, times of
    change, which names are one file, extended attributes, holes. Without *folder_dress* the times and attributes of
    folders may be any, and their setgid bit, which a new folder inherits."""
    one, other = snapshot(expected, times=times, holes=holes), snapshot(found, times=times, holes=holes)
    differences = [f"{path!r} is missing" for path in sorted(one.keys() - other.keys())]
    differences += [f"{path!r} should not be there" for path in sorted(other.keys() - one.keys())]
    for path in sorted(one.keys() & other.keys()):
        a, b = one[path], other[path]
        facts = a.keys() | b.keys()
        if not folder_dress and stat.S_ISDIR(a["mode"]):
            facts -= {"mtime", "attributes"}
            a, b = ({**entry, "mode": entry["mode"] & ~stat.S_ISGID} for entry in (a, b))
        differences += [
            f"{path!r}: {what} {b.get(what)!r} instead of {a.get(what)!r}"
            for what in sorted(facts)
            if a.get(what) != b.get(what)
        ]
    return differences


def _free_name(chance: Random, folder: bytes) -> bytes | None:
    path = folder + b"/" + chance.choice(NAMES)
    return None if os.path.lexists(path) or len(path) > 3000 else path


def _make_other(chance: Random, path: bytes) -> None:
    kind = chance.choice(("file", "file", "file", "sparse", "symlink", "fifo", "device" if IS_ROOT else "file"))
    if kind == "file":
        _write(path, chance.randbytes(chance.choice(SIZES)))
    elif kind == "sparse":
        with open(path, "wb") as file:
            for _ in range(chance.randrange(4)):
                os.pwrite(file.fileno(), chance.randbytes(chance.choice((1, 4096, 5000))), chance.randrange(1 << 20))
            os.ftruncate(file.fileno(), chance.choice((1 << 20, (1 << 20) + 5001)))
    elif kind == "symlink":
        os.symlink(chance.choice((b"a", b"/", b"../nowhere", b"to\xff" * 60, b"new\nline", b"l" * 4000)), path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.mknod(path, chance.choice((stat.S_IFCHR, stat.S_IFBLK)) | 0o600, os.makedev(1, chance.choice((3, 70_000))))


def _write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _dress(chance: Random, path: bytes) -> None:
    status = os.lstat(path)
    plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    if IS_ROOT and chance.random() < 0.3:
        os.chown(path, chance.choice((0, 1, 3_000_000)), chance.choice((0, 7, 4_000_000)), follow_symlinks=False)
    if plain and chance.random() < 0.2:
        os.setxattr(path, chance.choice(ATTRIBUTES), chance.choice(VALUES))
    if plain and chance.random() < 0.1:
        is_folder = stat.S_ISDIR(status.st_mode)
        os.setxattr(
            path,
            b"system.posix_acl_default" if is_folder else b"system.posix_acl_access",
            DEFAULT_ACL if is_folder else ACL,
        )
    if not stat.S_ISLNK(status.st_mode) and chance.random() < 0.5:
        os.chmod(path, chance.choice(FOLDER_MODES if stat.S_ISDIR(status.st_mode) else MODES))
    if chance.random() < 0.7:
        stamp = chance.choice(SECONDS) * 10**9 + chance.choice(NANOSECONDS)
        os.utime(path, ns=(stamp, stamp), follow_symlinks=False)


# Changes: each returns what it did, or None where the tree has nothing that it could be done to.


def _pick(chance: Random, root: Path, wanted: Callable[[os.stat_result], bool]) -> bytes | None:
    """Something below *root*, found in an order that is always the same."""
    found = []
    for folder, folders, others in os.walk(os.fsencode(root)):
        folders.sort()
        found += [path for name in sorted(folders + others) if wanted(os.lstat(path := folder + b"/" + name))]
    return chance.choice(found) if found else None


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _is_other(status: os.stat_result) -> bool:
    return not stat.S_ISDIR(status.st_mode)


def _folder(chance: Random, root: Path) -> bytes:
    return _pick(chance, root, _is_folder) or os.fsencode(root)


def create(chance: Random, root: Path) -> str | None:
    path = _free_name(chance, _folder(chance, root))
    if path is None:
        return None
    _make_other(chance, path)
    _dress(chance, path)
    return f"create {path!r}"


def create_folder(chance: Random, root: Path) -> str | None:
    path = _free_name(chance, _folder(chance, root))
    if path is None:
        return None
    os.mkdir(path)
    _write(path + b"/inside", b"i")
    return f"create folder {path!r}"


def write(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, _is_file)
    if path is None:
        return None
    _write(path, chance.randbytes(chance.choice(SIZES)))
    return f"write {path!r}"


def write_unseen(chance: Random, root: Path) -> str | None:
    """As many other bytes, and the time of the change put back."""
    path = _pick(chance, root, lambda status: _is_file(status) and status.st_size > 0)
    if path is None:
        return None
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(chance.randbytes(min(before.st_size, 1000)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"write {path!r} as if nothing had been"


def replace(chance: Random, root: Path) -> str | None:
    """Another file under the name, of the same size and time."""
    path = _pick(chance, root, _is_file)
    if path is None:
        return None
    before = os.stat(path)
    beside = os.path.dirname(path) + b"/.beside"
    _write(beside, chance.randbytes(before.st_size))
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.rename(beside, path)
    return f"replace {path!r}"


def delete(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, _is_other)
    if path is None:
        return None
    os.unlink(path)
    return f"delete {path!r}"


def delete_folder(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, _is_folder)
    if path is None:
        return None
    shutil.rmtree(path)
    return f"delete folder {path!r}"


def rename(chance: Random, root: Path) -> str | None:
    """A file or a whole folder, also into another folder."""
    path = _pick(chance, root, _is_other if chance.random() < 0.5 else _is_folder)
    to = _free_name(chance, _folder(chance, root))
    if path is None or to is None or to.startswith(path + b"/"):
        return None
    with contextlib.suppress(OSError):  # too long a path for what is in it
        os.rename(path, to)
    return f"rename {path!r} to {to!r}"


def exchange(chance: Random, root: Path) -> str | None:
    one, other = _pick(chance, root, _is_other), _pick(chance, root, _is_other)
    if one is None or other is None or one == other:
        return None
    between = os.fsencode(root) + b"/.between"
    os.rename(one, between)
    if os.path.lexists(other):
        os.rename(other, one)
    os.rename(between, other)
    return f"exchange {one!r} and {other!r}"


def link(chance: Random, root: Path) -> str | None:
    path, to = _pick(chance, root, _is_other), _free_name(chance, _folder(chance, root))
    if path is None or to is None:
        return None
    os.link(path, to, follow_symlinks=False)
    return f"link {path!r} to {to!r}"


def unlink_one_name(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, lambda status: _is_other(status) and status.st_nlink > 1)
    if path is None:
        return None
    os.unlink(path)
    return f"unlink {path!r}, which has other names"


def dress(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, lambda status: True)
    if path is None:
        return None
    _dress(chance, path)
    return f"dress {path!r}"


def undress(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, lambda status: _is_file(status) or _is_folder(status))
    if path is None:
        return None
    for name in os.listxattr(path):
        if not name.startswith("security."):
            os.removexattr(path, name)
    return f"undress {path!r}"


def touch_old(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, lambda status: True)
    if path is None:
        return None
    os.utime(path, ns=(0, chance.choice(SECONDS) * 10**9), follow_symlinks=False)
    return f"touch {path!r}"


def folder_to_file(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, _is_folder)
    if path is None:
        return None
    shutil.rmtree(path)
    _make_other(chance, path)
    return f"folder {path!r} to a file"


def file_to_folder(chance: Random, root: Path) -> str | None:
    path = _pick(chance, root, _is_other)
    if path is None:
        return None
    os.unlink(path)
    os.mkdir(path)
    _write(path + b"/inside", b"i")
    return f"file {path!r} to a folder"


def folder_anew(chance: Random, root: Path) -> str | None:
    """Another folder under the name, with some of the names that were in it."""
    path = _pick(chance, root, _is_folder)
    if path is None:
        return None
    kept = sorted(os.listdir(path))[:2]
    shutil.rmtree(path)
    os.mkdir(path)
    for name in kept:
        _write(path + b"/" + name, b"anew")
    return f"folder {path!r} anew with {kept!r}"


CHANGES: tuple[Change, ...] = (
    *(create, create_folder, write, write_unseen, replace, delete, delete_folder, rename, rename, rename, exchange),
    *(link, link, unlink_one_name, dress, undress, touch_old, folder_to_file, file_to_folder, folder_anew),
)
