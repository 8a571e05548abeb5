"""What happens to a tree while it is read: reported by name, and the archive stays whole."""

from __future__ import annotations

import errno
import io
import os
import socket
import tarfile
from pathlib import Path

import pytest
from agent_world import MemorySequence, MemorySink, as_nobody, snapshot

from tapeloom.agent import byhand, extents, metadata, report, walk
from tapeloom.agent.extract import restore_tree
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import SourceError, Stopped

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="becoming somebody else needs root")


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch):
    """What happens while a tree is read happens at a certain entry: nothing is read before its turn."""
    monkeypatch.setattr(walk, "LIMITS", walk.ONE_BY_ONE)


def told(report) -> dict[bytes, str]:
    assert report.troubles_beyond == 0
    return {trouble.path: trouble.what for trouble in report.troubles}


def contents(sink: MemorySink) -> dict[str, bytes | None]:
    """Read by a stranger to our own parser: the archive is well-formed, to its end mark."""
    assert sink.data[-1024:] == bytes(1024)
    with tarfile.open(fileobj=io.BytesIO(bytes(sink.data))) as archive:
        return {m.name: archive.extractfile(m).read() if m.isreg() else None for m in archive}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * 10)
    (tmp_path / "large").write_bytes(b"L" * 100_000)
    (tmp_path / "small").write_bytes(b"s" * 1000)
    (tmp_path / "z").write_bytes(b"z" * 10)
    return tmp_path


def change_small_while_read(monkeypatch, path: Path, change) -> None:
    """Runs *change* between the look at *path* and the reading of its content."""
    inode = path.stat().st_ino

    def reading_records(handle, owners, trouble):
        if isinstance(handle, int) and os.fstat(handle).st_ino == inode:
            change()
        return []

    monkeypatch.setattr(byhand, "read_records", reading_records)


def test_a_large_file_that_shrinks_is_filled_up(root):
    sink = MemorySink(before_pump=lambda fd: os.truncate(root / "large", 70_000))
    assert told(TreeSource([root]).run(sink)) == {
        b"large": "shrank while it was read: zeros stand from byte 70000 on, up to byte 100000"
    }
    found = contents(sink)
    assert found["./large"] == b"L" * 70_000 + bytes(30_000)
    assert found["./z"] == b"z" * 10


def test_a_small_file_that_shrinks_is_filled_up(root, monkeypatch):
    change_small_while_read(monkeypatch, root / "small", lambda: os.truncate(root / "small", 100))
    sink = MemorySink()
    assert told(TreeSource([root]).run(sink)) == {
        b"small": "shrank while it was read: zeros stand from byte 100 on, up to byte 1000"
    }
    assert contents(sink)["./small"] == b"s" * 100 + bytes(900)


@pytest.mark.parametrize("name", ["large", "small"])
def test_a_file_that_grows_is_taken_as_announced(root, monkeypatch, name):
    old = (root / name).read_bytes()

    def grow():
        with open(root / name, "ab") as file:
            file.write(b"more")

    change_small_while_read(monkeypatch, root / name, grow)
    sink = MemorySink()
    assert told(TreeSource([root]).run(sink)) == {
        f"{name}".encode(): f"grew while it was read: its first {len(old)} bytes were taken"
    }
    assert contents(sink)[f"./{name}"] == old


@pytest.mark.parametrize("name", ["large", "small"])
def test_a_file_that_changes_is_reported(root, monkeypatch, name):
    def change():
        with open(root / name, "r+b") as file:
            file.write(b"other")
        os.utime(root / name, ns=(1, 1))

    change_small_while_read(monkeypatch, root / name, change)
    sink = MemorySink()
    assert told(TreeSource([root]).run(sink)) == {f"{name}".encode(): "changed while it was read"}
    assert contents(sink)[f"./{name}"].startswith(b"other")


def test_a_read_error_leaves_zeros_behind_it(root):
    sink = MemorySink(fail_reading_after=50_000)
    assert told(TreeSource([root]).run(sink)) == {
        b"large": "cannot be read from byte 50000 on, zeros stand there: Input/output error"
    }
    assert contents(sink)["./large"] == b"L" * 50_000 + bytes(50_000)


def test_a_sparse_file_that_shrinks_keeps_its_form(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        os.pwrite(file.fileno(), b"A" * 8192, 1 << 20)
        os.pwrite(file.fileno(), b"B" * 8192, 2 << 20)
    sink = MemorySink(before_pump=lambda fd: os.truncate(tmp_path / "sparse", (1 << 20) + 100))
    assert told(TreeSource([tmp_path]).run(sink)).keys() == {b"sparse"}
    assert contents(sink)["./sparse"] == (bytes(1 << 20) + b"A" * 100).ljust((2 << 20) + 8192, b"\0")


def after_entry(name: bytes, change):
    """A hook that runs *change* once the entry *name* was written."""

    def after_write(data: bytes):
        if name in data[:2048]:
            change()

    return after_write


def test_a_file_that_vanishes_is_reported(root):
    sink = MemorySink(after_write=after_entry(b"./a\0", lambda: (root / "z").unlink()))
    assert told(TreeSource([root]).run(sink)) == {b"z": "vanished before it was read"}
    assert "./z" not in contents(sink)


def test_a_folder_that_vanishes_is_reported(root):
    (root / "folder").mkdir()
    sink = MemorySink(after_write=after_entry(b"./a\0", lambda: (root / "folder").rmdir()))
    assert told(TreeSource([root]).run(sink)) == {b"folder": "vanished before it was read"}


def test_a_file_that_becomes_something_else_is_taken_as_that(root):
    def change():
        (root / "small").unlink()
        os.symlink("a", root / "small")
        (root / "z").unlink()
        os.mkfifo(root / "z")

    sink = MemorySink(after_write=after_entry(b"./a\0", change))
    report = TreeSource([root]).run(sink)
    assert report.troubles == ()
    with tarfile.open(fileobj=io.BytesIO(bytes(sink.data))) as archive:
        assert archive.getmember("./small").issym()
        assert archive.getmember("./z").isfifo()


def test_a_folder_that_becomes_a_link_is_not_followed(root):
    (root / "folder").mkdir()
    (root / "folder" / "inside").touch()

    def change():
        os.rename(root / "folder", root / "moved")
        os.symlink("/etc", root / "folder")

    sink = MemorySink(after_write=after_entry(b"./a\0", change))
    TreeSource([root]).run(sink)
    with tarfile.open(fileobj=io.BytesIO(bytes(sink.data))) as archive:
        assert archive.getmember("./folder").issym()
        assert not [name for name in archive.getnames() if name.startswith("./folder/")]


def test_a_deep_folder_that_moves_is_reported(tmp_path):
    """Deep enough that the folder is no longer open when the walk comes back to it."""
    path = tmp_path / "top"
    for _ in range(100):
        path = path / "d"
    path.mkdir(parents=True)
    (tmp_path / "top" / "z").touch()
    (tmp_path / "zz").touch()

    def change():
        os.rename(tmp_path / "top", tmp_path / "moved")
        (tmp_path / "top").mkdir()
        (tmp_path / "top" / "z").write_text("of another folder")

    sink = MemorySink(after_write=_at_entry(100, change))
    report = TreeSource([tmp_path]).run(sink)
    found = contents(sink)
    assert "./top/z" not in found
    assert "./zz" in found
    assert any(t.path == b"top" and t.what.startswith("the folder was moved") for t in report.troubles)


def _at_entry(number: int, change):
    seen = []

    def after_write(data: bytes):
        seen.append(data)
        if len(seen) == number:
            change()

    return after_write


@needs_root
def test_what_cannot_be_read_is_left_out_by_name(open_path):
    root = open_path / "t"
    root.mkdir()
    (root / "closed").mkdir(mode=0o700)
    (root / "closed" / "x").write_text("x")
    (root / "readable").write_text("r")
    (root / "secret").write_text("s")
    os.chmod(root / "secret", 0o600)

    def read():
        sink = MemorySink()
        return TreeSource([root]).run(sink), contents(sink)

    report, found = as_nobody(read)
    assert told(report) == {
        b"secret": "cannot be read and is left out: Permission denied",
        b"closed": "the folder cannot be listed, its content is missing: Permission denied",
    }
    assert found == {".": None, "./closed": None, "./readable": b"r"}


def test_sockets_are_remarked(root):
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(root, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
        sink = MemorySink()
        report = TreeSource([root]).run(sink)
    assert report.troubles == ()
    assert [str(remark) for remark in report.remarks] == ["socket: a socket: it has no content and is left out"]
    assert "./socket" not in contents(sink)


def test_a_missing_path_fails_before_anything_is_written(tmp_path):
    sink = MemorySink()
    with pytest.raises(SourceError, match=r"gone does not exist"):
        TreeSource([tmp_path, tmp_path / "gone"]).run(sink)
    assert not sink.data


@pytest.mark.parametrize("pattern", ["!", "[z-a]"])
def test_a_pattern_that_is_none(tmp_path, pattern):
    with pytest.raises(SourceError, match="a pattern of `exclude` is none"):
        TreeSource([tmp_path], exclude=[pattern]).run(MemorySink())


def test_two_paths_of_one_name_are_refused(tmp_path):
    (tmp_path / "x" / "etc").mkdir(parents=True)
    (tmp_path / "y" / "etc").mkdir(parents=True)
    with pytest.raises(SourceError, match="would both be etc"):
        TreeSource([tmp_path / "x" / "etc", tmp_path / "y" / "etc"]).run(MemorySink())


def test_a_stop_comes_through_and_closes_everything(root):
    def stop(data):
        raise Stopped("the job is stopping")

    before = os.listdir("/proc/self/fd")
    with pytest.raises(Stopped):
        TreeSource([root, root / "a"]).run(MemorySink(after_write=stop))
    assert os.listdir("/proc/self/fd") == before


def test_troubles_are_counted_beyond_a_number(root, monkeypatch):
    monkeypatch.setattr(report, "NAMED_MAX", 2)
    for number in range(5):
        (root / f"f{number}").touch()

    def remove():
        for number in range(5):
            (root / f"f{number}").unlink()

    sink = MemorySink(after_write=after_entry(b"./a\0", remove))
    result = TreeSource([root]).run(sink)
    assert [t.path for t in result.troubles] == [b"f0", b"f1"]
    assert result.troubles_beyond == 3


def test_attributes_too_large_for_an_archive_are_reported(root, monkeypatch):
    monkeypatch.setattr("tapeloom.agent.pax.RECORDS_BYTES_MAX", 2000)
    os.setxattr(root / "a", "user.a", b"x" * 900)
    os.setxattr(root / "a", "user.b", b"x" * 900)
    sink = MemorySink()
    assert told(TreeSource([root]).run(sink)) == {
        b"a": "it has extended attributes of more than 1000 bytes, the rest is left out"
    }
    with tarfile.open(fileobj=io.BytesIO(bytes(sink.data))) as archive:
        assert "SCHILY.xattr.user.a" in archive.getmember("./a").pax_headers


def test_more_pieces_than_a_map_holds(tmp_path, monkeypatch):
    monkeypatch.setattr("tapeloom.agent.pax.EXTENTS_MAX", 3)
    with open(tmp_path / "sparse", "wb") as file:
        for piece in range(6):
            os.pwrite(file.fileno(), b"x" * 4096, piece << 20)
        os.ftruncate(file.fileno(), 7 << 20)
    sink = MemorySink()
    TreeSource([tmp_path]).run(sink)
    restore_tree(MemorySequence(sink.data), tmp_path / "back")
    assert (tmp_path / "back" / "sparse").read_bytes() == (tmp_path / "sparse").read_bytes()
    assert snapshot(tmp_path / "back")[b"/sparse"]["holes"] == [0, 4096, 1 << 20, 7 << 20]


def test_a_small_file_that_cannot_be_read_is_zeros(root, monkeypatch):
    def failing_read(fd, size):
        raise OSError(errno.EIO, "broken")

    sink = MemorySink()
    with monkeypatch.context() as patched:
        patched.setattr(byhand, "os", _OsWith(read=failing_read))
        report = TreeSource([root / "small"]).run(sink)
    assert told(report) == {b"small": "cannot be read from byte 0 on, zeros stand there: Input/output error"}
    assert contents(sink)["small"] == bytes(1000)


def test_attributes_that_cannot_be_read_are_reported(root, monkeypatch):
    os.setxattr(root / "a", "user.x", b"1")

    def failing(handle, name=None):
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patched:
        patched.setattr(metadata, "os", _OsWith(getxattr=failing))
        assert told(TreeSource([root / "a"]).run(MemorySink())) == {
            b"a": "its extended attribute user.x cannot be read: Input/output error"
        }
        patched.setattr(metadata, "os", _OsWith(listxattr=failing))
        assert told(TreeSource([root / "a"]).run(MemorySink())) == {
            b"a": "its extended attributes cannot be read: Input/output error"
        }


def test_a_file_system_without_seeking_for_holes(tmp_path, monkeypatch):
    with open(tmp_path / "sparse", "wb") as file:
        os.pwrite(file.fileno(), b"end", 1 << 20)

    def failing(fd, offset, whence):
        raise OSError(errno.EINVAL, "no such thing")

    sink = MemorySink()
    with monkeypatch.context() as patched:
        patched.setattr(extents, "os", _OsWith(lseek=failing))
        report = TreeSource([tmp_path]).run(sink)
    assert report.bytes == (1 << 20) + 3
    assert contents(sink)["./sparse"] == (tmp_path / "sparse").read_bytes()


class _OsWith:
    """The module `os` with some functions replaced, for one module alone."""

    def __init__(self, **replaced):
        self.__dict__.update(replaced)

    def __getattr__(self, name):
        return getattr(os, name)


def test_a_root_without_a_name_stands_alone(tmp_path):
    with pytest.raises(SourceError, match="/ has no name to stand under"):
        TreeSource([tmp_path, Path("/")]).run(MemorySink())
    with pytest.raises(SourceError, match="at least one path"):
        TreeSource([]).run(MemorySink())


def test_a_path_through_a_file(root):
    with pytest.raises(SourceError, match="a/b cannot be read: Not a directory"):
        TreeSource([root / "a" / "b"]).run(MemorySink())
