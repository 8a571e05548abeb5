"""Engine stand-ins, trees to read, and a way to compare them."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import stat
import struct
from pathlib import Path

from tapeloom.agent.sink import BytesLike


class MemorySink:
    """A sink of bytes. `before_pump` and `after_write` let tests change files while they are read."""

    def __init__(self, before_pump=None, after_write=None, fail_reading_after: int | None = None):
        self._after_write = after_write
        self.data = bytearray()
        self.pumped = 0
        self._before_pump = before_pump
        self._fail_reading_after = fail_reading_after

    def write(self, data: BytesLike) -> None:
        self.data += data
        if self._after_write:
            self._after_write(bytes(data))

    def pump(self, fd: int, offset: int, bytes: int) -> tuple[int, int]:
        if self._before_pump:
            self._before_pump(fd)
        self.pumped += 1
        got = 0
        while got < bytes:
            if self._fail_reading_after is not None and got >= self._fail_reading_after:
                return got, errno.EIO
            most = bytes - got if self._fail_reading_after is None else min(bytes, self._fail_reading_after) - got
            try:
                data = os.pread(fd, min(most, 1 << 20), offset + got)
            except OSError as error:
                return got, error.errno
            if not data:
                break
            self.data += data
            got += len(data)
        return got, 0

    def pump_pipe(self, fd: int) -> tuple[int, int]:
        got = 0
        while data := os.read(fd, 1 << 16):
            self.data += data
            got += len(data)
        return got, 0

    def zeros(self, bytes: int) -> None:
        self.data += b"\0" * bytes


class MemorySequence:
    def __init__(self, data: BytesLike):
        self._data = memoryview(data)
        self._at = 0

    def read(self, bytes: int) -> BytesLike:
        data = self._data[self._at : self._at + bytes]
        self._at += len(data)
        return data

    def pump_to(self, fd: int, offset: int, bytes: int) -> int:
        data = self.read(bytes)
        done = 0
        while done < len(data):
            done += os.pwrite(fd, data[done:], offset + done)
        return done

    def skip(self, bytes: int) -> int:
        return len(self.read(bytes))


def packed_acl(*entries: tuple[int, int, int]) -> bytes:
    """(tag, permissions, id) as the kernel takes them; id -1 where there is none."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", t, p, i & 0xFFFFFFFF) for t, p, i in entries)


ACL = packed_acl((1, 6, -1), (2, 4, 1), (2, 7, 12345), (4, 4, -1), (0x10, 7, -1), (0x20, 4, -1))
FOLDER_ACL = packed_acl((1, 7, -1), (2, 5, 54321), (4, 5, -1), (8, 7, 12345), (0x10, 5, -1), (0x20, 0, -1))
DEFAULT_ACL = packed_acl((1, 7, -1), (4, 5, -1), (8, 6, 54321), (0x10, 7, -1), (0x20, 0, -1))


def snapshot(root: Path, *, times: bool = True, holes: bool = True) -> dict[bytes, dict]:
    """All that a restore must bring back, by path below *root*."""
    found: dict[bytes, dict] = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _look(top, b".", b"", found, inodes, times, holes)
    finally:
        os.close(top)
    for names in inodes.values():
        for name in names:
            found[name]["names"] = sorted(names)
    return found


def _look(parent, name, path, found, inodes, times, holes) -> None:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
    handle = b"/proc/self/fd/%d" % fd
    try:
        status = os.fstat(fd)
        seen = {
            "mode": status.st_mode,
            "owner": (status.st_uid, status.st_gid),
            "attributes": {
                key: os.getxattr(handle, key)
                for key in os.listxattr(handle)
                if not key.startswith("trusted.SGI_ACL_")  # XFS shows there once more what the POSIX lists are
            },
        }
        if times:
            seen["mtime"] = status.st_mtime_ns
        if stat.S_ISLNK(status.st_mode):
            seen["link"] = os.readlink(b"", dir_fd=fd)
        elif stat.S_ISREG(status.st_mode):
            file = os.open(handle, os.O_RDONLY)
            try:
                data = b"".join(iter(lambda: os.read(file, 1 << 20), b""))
                seen["data"] = (len(data), hash(data))
                if holes:
                    seen["holes"] = _holes(file, len(data))
            finally:
                os.close(file)
        elif stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode):
            seen["device"] = status.st_rdev
        if stat.S_ISDIR(status.st_mode):
            folder = os.open(handle, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for below in os.listdir(folder):
                    raw = os.fsencode(below)
                    _look(folder, raw, path + b"/" + raw, found, inodes, times, holes)
            finally:
                os.close(folder)
        else:
            inodes.setdefault((status.st_dev, status.st_ino), []).append(path)
        found[path] = seen
    finally:
        os.close(fd)


def _holes(fd: int, size: int) -> list[int]:
    edges, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(fd, start, os.SEEK_HOLE)
        edges += [start, at]
    return edges


def as_nobody(work):
    """What *work*, run by a user without any rights in a process of its own, returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            result = work()
        except BaseException as error:
            result = error
        with os.fdopen(writer, "wb") as out:
            out.write(pickle.dumps(result))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        result = pickle.loads(answer.read())
    os.waitpid(child, 0)
    if isinstance(result, BaseException):
        raise result
    return result


def make_everything(root: Path) -> None:
    """A tree with one of everything that root can make."""
    make_plain(root)
    here = os.fsencode(root)
    os.mknod(here + b"/null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.mknod(here + b"/block", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    (root / "owned").write_text("by somebody")
    os.chown(root / "owned", 3_000_000, 4_000_000)
    (root / "setuid").write_text("#!")
    os.chown(root / "setuid", 1, 1)
    os.chmod(root / "setuid", 0o6755)
    os.setxattr(root / "setuid", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    os.chown(here + b"/link", 7, 8, follow_symlinks=False)
    with contextlib.suppress(PermissionError):  # in a container root may do less
        os.setxattr(root / "setuid", "trusted.secret", b"x")
        os.setxattr(here + b"/link", "trusted.of-a-link", b"1", follow_symlinks=False)


def make_plain(root: Path) -> None:
    """A tree with one of everything that needs no rights."""
    root.mkdir(exist_ok=True)
    here = os.fsencode(root)
    (root / "empty").touch()
    (root / "small").write_bytes(b"tape" * 1000)
    (root / "large").write_bytes(os.urandom(300_000))
    (root / "exact").write_bytes(os.urandom(1024))
    (root / "uml\u00e4ut").write_text("x")
    (root / "new\nline").write_text("x")
    Path(os.fsdecode(here + b"/not\xff\xe9utf8")).write_text("y")
    (root / ("n" * 255)).write_text("long name")
    deep = root / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    os.symlink(b"to\xff" * 60, here + b"/link")
    os.symlink(b"/", here + b"/rootlink")
    os.link(root / "small", root / "zz-hard")
    os.link(here + b"/link", here + b"/zz-hard-link-of-link", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    (root / "read-only").mkdir()
    (root / "read-only" / "inside").write_text("z")
    (root / "sorted").mkdir()
    for name in ("a", "a.b", "a-b"):
        (root / "sorted" / name).write_text(name)
    (root / "sorted" / "a-").mkdir()
    (root / "sorted" / "a-" / "x").write_text("x")
    with open(root / "sparse", "wb") as file:
        os.pwrite(file.fileno(), b"A" * 5000, 1 << 20)
        os.pwrite(file.fileno(), b"B", 3 << 20)
        os.ftruncate(file.fileno(), 8 << 20)
    with open(root / "sparse-all-hole", "wb") as file:
        os.ftruncate(file.fileno(), 32 << 20)
    with open(root / "sparse-data-last-\u00e4", "wb") as file:
        os.pwrite(file.fileno(), b"end", 9 << 20)
    os.setxattr(root / "small", "user.plain", b"value")
    os.setxattr(root / "small", "user.with=equals%25\u00e4", b"\x00bin\nary\xff")
    os.setxattr(root / "small", "user.empty", b"")
    os.setxattr(root / "small", "system.posix_acl_access", ACL)
    os.setxattr(root / "sorted", "system.posix_acl_default", DEFAULT_ACL)
    os.setxattr(root / "sorted", "system.posix_acl_access", FOLDER_ACL)
    os.chmod(root / "exact", 0o400)
    os.chmod(root / "large", 0o1700)
    for name, stamp in (
        ("empty", -5_500_000_001),
        ("exact", 1_700_000_000_000_000_000),
        ("large", 9_999_999_999_000_000_001),
    ):
        os.utime(root / name, ns=(stamp, stamp))
    os.utime(here + b"/link", ns=(5, 1_234_567_890_123_456_789), follow_symlinks=False)
    os.utime(root / "fifo", ns=(5, 1_234_567_890_000_000_789))
    os.utime(root / "sorted", ns=(5, 1_000_000_000_123_456_789))
    os.chmod(root / "read-only", 0o555)
    os.utime(root / "read-only", ns=(5, 1_000_000_001_123_456_789))
    os.utime(root, ns=(5, 1_000_000_002_123_456_789))
