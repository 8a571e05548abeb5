"""Trees as bad as they come, read: the archive is whole, GNU tar takes it, and each trouble is told once."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import tarfile
import time
from pathlib import Path

import faults
import pytest
from agent_world import MemorySink, as_nobody
from nasty_trees import same_tree

from tapeloom.agent import links
from tapeloom.agent.report import SourceReport
from tapeloom.agent.tree import TreeSource

IS_ROOT = os.geteuid() == 0
TAR = shutil.which("tar")
IS_GNU = TAR is not None and b"GNU tar" in subprocess.run([TAR, "--version"], capture_output=True).stdout
needs_tar = pytest.mark.skipif(not IS_GNU, reason="GNU tar is not installed")
needs_cc = pytest.mark.skipif(not faults.CC, reason="no C compiler")
needs_root = pytest.mark.skipif(not IS_ROOT, reason="making devices and becoming somebody else need root")

GIVE_ALL = ["tar", "-xp", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--warning=no-timestamp"]
VALUE_BYTES = 64 << 10  # the most that Linux allows for an extended attribute


@pytest.fixture(scope="session")
def no_faults(tmp_path_factory) -> faults.Faults:
    return faults.compiled(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def root(tmp_path) -> Path:
    """a, folder/{big,inside}, large, small, z"""
    made = tmp_path / "tree"
    (made / "folder").mkdir(parents=True)
    for name, size in (("a", 10), ("folder/inside", 10), ("folder/big", 100_000)):
        (made / name).write_bytes(b"i" * size)
    (made / "large").write_bytes(b"L" * 300_000)
    (made / "small").write_bytes(b"s" * 1000)
    (made / "z").write_bytes(b"z" * 10)
    return made


def told(report: SourceReport) -> dict[bytes, str]:
    """The troubles; a path has one at most."""
    assert report.troubles_beyond == 0
    found = {trouble.path.rstrip(b"/"): trouble.what for trouble in report.troubles}
    assert len(found) == len(report.troubles), report.troubles
    return found


def contents(archive: Path) -> dict[str, bytes | None]:
    """Read by two strangers to our own parser: the archive is well-formed, to its end mark."""
    assert archive.read_bytes()[-1024:] == bytes(1024)
    if IS_GNU:
        listed = subprocess.run(
            ["tar", "--list", "--verbose", "--warning=no-timestamp", "-f", archive], capture_output=True
        )
        assert (listed.returncode, listed.stderr) == (0, b"")
    with tarfile.open(archive) as members:
        return {m.name: members.extractfile(m).read() if m.isreg() else None for m in members}


def archived(root: Path, archive: Path) -> SourceReport:
    sink = MemorySink()
    report = TreeSource([root]).run(sink)
    archive.write_bytes(sink.data)
    return report


def extracted(archive: Path, target: Path) -> Path:
    """By GNU tar, which has nothing to say."""
    target.mkdir()
    run = subprocess.run(
        [*GIVE_ALL, "-C", target, "-f", archive],
        capture_output=True,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    return target


# What happens while a tree is read


@needs_cc
def test_a_file_becomes_a_folder(no_faults, root, tmp_path):
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "new").touch()
    report = no_faults.swap("small", root / "small", beside).read(root, tmp_path / "archive")
    found = contents(tmp_path / "archive")
    assert told(report).keys() == {b"small"}
    assert "the folder cannot be listed, its content is missing" in told(report)[b"small"]
    assert found["./small"] is None
    assert found["./z"] == b"z" * 10


def test_a_large_file_becomes_a_folder_while_it_is_read(root, tmp_path):
    def change(fd):
        if os.fstat(fd).st_size == 300_000:
            os.rename(root / "large", tmp_path / "away")
            (root / "large").mkdir()
            (root / "large" / "new").touch()

    sink = MemorySink(before_pump=change)
    report = TreeSource([root]).run(sink)
    (tmp_path / "archive").write_bytes(sink.data)
    assert told(report) == {b"large": "changed while it was read"}
    found = contents(tmp_path / "archive")
    assert found["./large"] == b"L" * 300_000
    assert found["./z"] == b"z" * 10


@needs_cc
def test_a_folder_becomes_a_file(no_faults, root, tmp_path):
    (tmp_path / "beside").write_bytes(b"file now")
    report = no_faults.swap("folder", root / "folder", tmp_path / "beside").read(root, tmp_path / "archive")
    assert told(report) == {}
    found = contents(tmp_path / "archive")
    assert found["./folder"] == b"file now"
    assert not [name for name in found if name.startswith("./folder/")]


@needs_cc
def test_a_folder_vanishes_before_it_is_opened(no_faults, root, tmp_path):
    report = no_faults.move("folder", root / "folder", tmp_path / "away").read(root, tmp_path / "archive")
    assert told(report) == {b"folder": "vanished before it was read"}
    found = contents(tmp_path / "archive")
    assert not [name for name in found if name.startswith("./folder")]
    assert found["./large"] == b"L" * 300_000


def test_a_folder_vanishes_while_its_content_is_read(root, tmp_path):
    """Whatever was read ahead: what is not in the archive is told, and nothing else is."""
    names = [f"file{number:05}" for number in range(3000)]
    for name in names:
        (root / "folder" / name).write_bytes(b"x" * 100)
    os.rename(root / "folder" / "big", root / "folder" / "file00001")

    def change(fd):
        if os.fstat(fd).st_size == 100_000:
            shutil.rmtree(root / "folder")

    sink = MemorySink(before_pump=change)
    report = TreeSource([root]).run(sink)
    (tmp_path / "archive").write_bytes(sink.data)
    found = contents(tmp_path / "archive")
    assert found["./folder/file00001"] == b"i" * 100_000
    missing = {name for name in [*names, "inside"] if f"./folder/{name}" not in found}
    assert missing
    vanished = {t.path for t in report.troubles if t.what == "vanished before it was read"}
    assert vanished <= {f"folder/{name}".encode() for name in missing}
    assert len(report.troubles) == len({t.path for t in report.troubles})
    assert len(vanished) + report.troubles_beyond >= len(missing)
    assert found["./z"] == b"z" * 10


@needs_cc
def test_a_folder_is_moved_away_while_its_content_is_read(no_faults, root, tmp_path):
    """It is open, and stays the same folder under any name."""
    report = no_faults.move("inside", root / "folder", tmp_path / "away").read(root, tmp_path / "archive")
    assert told(report) == {}
    assert contents(tmp_path / "archive")["./folder/big"] == b"i" * 100_000


@needs_cc
@pytest.mark.parametrize("name", ["large", "small"])
def test_a_file_that_grows_without_end(no_faults, root, tmp_path, name):
    """As much is taken as was there when its header was made."""
    whole = (root / name).read_bytes()
    report = no_faults.grow(name, 4096).read(root, tmp_path / "archive")
    found = contents(tmp_path / "archive")
    taken = len(found[f"./{name}"])
    assert told(report) == {f"{name}".encode(): f"grew while it was read: its first {taken} bytes were taken"}
    assert len(whole) <= taken < (root / name).stat().st_size
    assert found[f"./{name}"] == whole + bytes(taken - len(whole))
    assert found["./z"] == b"z" * 10


# What cannot be read


@needs_cc
@pytest.mark.parametrize(("name", "at"), [("large", 123_456), ("large", 0), ("small", 500), ("small", 0)])
def test_an_error_in_the_middle_of_a_file(no_faults, root, tmp_path, name, at):
    whole = (root / name).read_bytes()
    report = no_faults.fail(name, at).read(root, tmp_path / "archive")
    found = contents(tmp_path / "archive")
    told_of = told(report)
    assert told_of.keys() == {f"{name}".encode()}
    assert told_of[f"{name}".encode()] == f"cannot be read from byte {at} on, zeros stand there: Input/output error"
    assert found[f"./{name}"] == whole[:at] + bytes(len(whole) - at)
    assert found["./z"] == b"z" * 10


@needs_cc
def test_a_folder_whose_listing_fails(no_faults, root, tmp_path):
    report = no_faults.unlistable("folder").read(root, tmp_path / "archive")
    assert told(report).keys() == {b"folder"}
    assert "cannot be listed" in told(report)[b"folder"]
    assert "Input/output error" in told(report)[b"folder"]
    found = contents(tmp_path / "archive")
    assert "./folder" in found
    assert found["./z"] == b"z" * 10


@needs_cc
def test_a_file_that_cannot_be_opened(no_faults, root, tmp_path):
    report = no_faults.unopenable("small").read(root, tmp_path / "archive")
    assert told(report) == {b"small": "cannot be read and is left out: Input/output error"}
    assert "./small" not in contents(tmp_path / "archive")


@pytest.fixture
def closed(open_path) -> Path:
    """A tree of which its owner has closed some to others: and to himself, where he is not root."""
    made = open_path / "tree"
    for name in ("closed", "names-only", "open"):
        (made / name).mkdir(parents=True)
        (made / name / "inside").write_bytes(b"i")
    (made / "secret").write_bytes(b"s")
    os.symlink("secret", made / "to-secret")
    os.chmod(made / "secret", 0)
    os.chmod(made / "closed", 0)
    os.chmod(made / "names-only", 0o444)
    yield made
    for name in ("closed", "names-only"):
        os.chmod(made / name, 0o755)


def test_permission_refused(closed, open_path):
    def read():
        sink = MemorySink()
        return TreeSource([closed]).run(sink), bytes(sink.data)

    report, data = as_nobody(read) if IS_ROOT else read()
    (open_path / "archive").write_bytes(data)
    assert told(report) == {
        b"closed": "the folder cannot be listed, its content is missing: Permission denied",
        b"names-only/inside": "cannot be read and is left out: Permission denied",
        b"secret": "cannot be read and is left out: Permission denied",
    }
    names = {".", "./closed", "./names-only", "./open", "./open/inside", "./to-secret"}
    assert contents(open_path / "archive").keys() == names


# What trees may hold


def test_a_path_of_4096_bytes_and_longer_ones(open_path):
    """A system call takes paths up to 4,095 bytes; what lies deeper is reached from folder to folder."""
    root = open_path / "tree"
    root.mkdir()
    here = os.open(root, os.O_RDONLY)
    path = "."
    for depth in range(40):
        name = f"{depth:02}" + "d" * 198
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, path = below, f"{path}/{name}"
        exactly = 4096 - len(path) - 1
        names = ["file"] + (["f" * exactly] if 5 < exactly < 256 else [])
        for file in names:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    report = archived(root, open_path / "archive")
    assert told(report) == {}
    found = contents(open_path / "archive")
    assert f"{path}/file" in found
    assert len(path) > 8000
    assert [len(name) for name in found].count(4096) == 1
    assert len(found) == 1 + 40 + 40 + 1


@needs_tar
def test_names_of_any_bytes(tmp_path):
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"./"]
    names += [
        b"new\nline",
        b"\xff\xfe",
        b"half a character \xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"x" * 255,
    ]
    (tmp_path / "tree").mkdir()
    for name in names:
        path = os.fsencode(tmp_path / "tree") + b"/" + name
        with open(path, "wb") as file:
            file.write(name)
        os.symlink(name, path[: -len(name)] + b"link-" + name[:200])
    report = archived(tmp_path / "tree", tmp_path / "archive")
    assert told(report) == {}
    assert report.files == len(names)
    assert same_tree(tmp_path / "tree", extracted(tmp_path / "archive", tmp_path / "back")) == []


@needs_tar
def test_many_hard_links(tmp_path, monkeypatch):
    """20,000 names of 6,667 inodes, far apart in the archive, with a table that soon spills."""
    monkeypatch.setattr(links, "FIRST_NAMES_BYTES", 100_000)
    root = tmp_path / "tree"
    for folder in range(3):
        (root / str(folder)).mkdir(parents=True)
    for number in range(6667):
        first = root / "0" / str(number)
        os.close(os.open(first, os.O_WRONLY | os.O_CREAT))
        for folder in (1, 2):
            os.link(first, root / str(folder) / str(number))
    before = os.listdir("/proc/self/fd")
    report = archived(root, tmp_path / "archive")
    assert os.listdir("/proc/self/fd") == before
    assert (report.troubles, report.files, report.others) == ((), 6667, 2 * 6667)
    with tarfile.open(tmp_path / "archive") as members:
        targets = {m.name: m.linkname for m in members if m.islnk()}
    assert targets == {f"./{folder}/{number}": f"./0/{number}" for folder in (1, 2) for number in range(6667)}
    assert same_tree(root, extracted(tmp_path / "archive", tmp_path / "back"), times=False) == []


@needs_tar
def test_times_of_other_ages(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    seconds = [1 - 2**31, -2, -1, 0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 15_000_000_000]
    stamps = [second * 10**9 + nano for second in seconds for nano in (0, 1, 999_999_999)]
    for stamp in stamps:
        (root / str(stamp)).mkdir()
        os.utime(root / str(stamp), ns=(stamp, stamp))
    kept = {(root / str(stamp)).stat().st_mtime_ns for stamp in stamps}
    assert len(kept) == len(stamps), "the file system of the test keeps no such times"
    os.utime(root, ns=(1, -1))
    assert told(archived(root, tmp_path / "archive")) == {}
    assert same_tree(root, extracted(tmp_path / "archive", tmp_path / "back")) == []


@needs_tar
def test_a_sparse_file_of_one_tebibyte(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    with open(root / "sparse", "wb") as file:
        os.pwrite(file.fileno(), b"d" * 4096, 700 << 30)
        os.ftruncate(file.fileno(), 1 << 40)
    began = time.monotonic()
    report = archived(root, tmp_path / "archive")
    assert time.monotonic() - began < 1
    assert (report.troubles, report.bytes) == ((), 4096)
    assert (tmp_path / "archive").stat().st_size <= 12 << 10
    back = extracted(tmp_path / "archive", tmp_path / "back") / "sparse"
    assert back.stat().st_size == 1 << 40
    assert back.stat().st_blocks * 512 <= 64 << 10
    with open(back, "rb") as file:
        assert os.lseek(file.fileno(), 0, os.SEEK_DATA) == 700 << 30
        assert os.pread(file.fileno(), 5000, 700 << 30) == b"d" * 4096 + bytes(904)


def takes_large_attributes(folder: Path) -> bool:
    probe = folder / "probe"
    probe.touch()
    try:
        os.setxattr(probe, "user.large", b"x" * VALUE_BYTES)
        return True
    except OSError:
        return False
    finally:
        probe.unlink()


def with_attribute(archive: Path) -> dict[str, str]:
    with tarfile.open(archive) as members:
        return {m.name: m.pax_headers.get("SCHILY.xattr.user.large", "") for m in members}


@needs_cc
@pytest.mark.parametrize("name", ["small", "large", "folder"])
def test_an_attribute_of_64_kib(no_faults, root, tmp_path, name):
    """On any file system, for that of the test may have room for 4 KiB only."""
    report = no_faults.attribute(name, VALUE_BYTES).read(root, tmp_path / "archive")
    assert told(report) == {}
    found = with_attribute(tmp_path / "archive")
    assert {entry for entry, value in found.items() if value} == {f"./{name}"}
    assert found[f"./{name}"] == "x" * VALUE_BYTES
    assert contents(tmp_path / "archive")["./z"] == b"z" * 10


@needs_tar
def test_an_attribute_as_large_as_the_file_system_takes(tmp_path):
    """64 KiB where it can be, and GNU tar gives it back."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "file").touch()
    os.setxattr(root / "file", "user.large", b"x" * (VALUE_BYTES if takes_large_attributes(tmp_path) else 3500))
    assert told(archived(root, tmp_path / "archive")) == {}
    assert same_tree(root, extracted(tmp_path / "archive", tmp_path / "back")) == []


@needs_root
@needs_tar
def test_devices_and_sockets(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()
    largest = os.makedev(0xFFF, 0xFFFFF)
    os.mknod(root / "character", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(root / "block", stat.S_IFBLK | 0o644, largest)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(root, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)
    report = archived(root, tmp_path / "archive")
    assert told(report) == {}
    assert [(remark.path, remark.what) for remark in report.remarks] == [
        (b"socket", "a socket: it has no content and is left out")
    ]
    assert report.others == 3
    back = extracted(tmp_path / "archive", tmp_path / "back")
    assert same_tree(root, back, times=False) == ["b'/socket' is missing"]
    assert (back / "block").stat().st_rdev == largest
