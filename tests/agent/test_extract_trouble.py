"""Restoring where the target is full or lacks something, and what is at the edge of what files can be."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from agent_world import MemorySequence, snapshot
from extract_world import ViewedSequence, archive_of, below, folder, member

from tapeloom.agent import pax
from tapeloom.agent.extract import TreeRestore, restore_tree
from tapeloom.errors import RestoreError

HERE = Path(__file__).parent
IS_ROOT = os.geteuid() == 0
WAYS = [MemorySequence, ViewedSequence]

PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from agent_world import MemorySequence
from extract_world import ViewedSequence
from tapeloom.agent.extract import TreeRestore
from tapeloom.errors import RestoreError

archive, way = Path(sys.argv[2]).read_bytes(), {"slow": MemorySequence, "fast": ViewedSequence}[sys.argv[4]]
with TreeRestore(Path(sys.argv[3])) as restoring:
    said = None
    try:
        restoring.feed(way(archive))
        restoring.finish()
    except RestoreError as error:
        said = str(error)
    report = restoring.report()
print(json.dumps({
    "said": said,
    "files": report.files,
    "folders": report.folders,
    "others": report.others,
    "bytes": report.bytes,
    "troubles": [str(trouble) for trouble in report.troubles],
    "unset": {unset.kind: [unset.entries, unset.path.decode(), unset.why] for unset in report.unset},
}))
"""


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("faults") / "faults.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Wall", "-Werror"]
    subprocess.run([*command, HERE / "target_faults.c", "-o", made, "-ldl"], check=True)
    return made


@pytest.fixture(params=["slow", "fast"])
def restore_with(request, tmp_path, faults):
    """Restores an archive into `tmp_path / "t"` in a process of its own, under faults."""

    def restore(archive: bytes, **environment: str) -> dict:
        (tmp_path / "archive").write_bytes(archive)
        command = [sys.executable, "-c", PROGRAM, HERE, tmp_path / "archive", tmp_path / "t", request.param]
        where = os.pathsep.join(path for path in sys.path if path)
        ran = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": where, "PYTHONDONTWRITEBYTECODE": "1", "LD_PRELOAD": str(faults)}
            | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return restore


# No space left


SIZES = {"a": 1000, "b": 40_000, "c": 300, "d": 100_000, "e": 50}


@pytest.mark.parametrize("room", [0, 999, 1000, 40_999, 41_000, 41_150, 100_000, 141_299, 141_300, 141_349])
def test_no_space_left_for_data(tmp_path, restore_with, room):
    """Whole files, up to the one at which it happened, which is named and not there."""
    entries = [member(f"d/{name}", data=name.encode() * size) for name, size in SIZES.items()]
    said = restore_with(archive_of(folder("d"), *entries), ROOM=str(room))
    whole, fits = [], room
    for name, size in SIZES.items():
        if size > fits:
            break
        whole.append(name)
        fits -= size
    assert {path.name: path.read_text() for path in (tmp_path / "t" / "d").iterdir()} == {
        name: name * SIZES[name] for name in whole
    }
    assert (said["files"], said["folders"]) == (len(whole), 1)
    assert said["bytes"] == sum(SIZES[name] for name in whole)
    assert said["said"] == (
        f"{tmp_path}/t/d/{list(SIZES)[len(whole)]} cannot be restored: No space left on device. "
        "What was restored before it is whole; it and what follows is missing"
    )


@pytest.mark.parametrize("count", range(7))
def test_no_space_left_for_names(tmp_path, restore_with, count):
    entries = [
        folder("d"),
        *(member(f"d/{name}", data=b"x") for name in "ab"),
        folder("d/in"),
        member("d/in/l", tarfile.SYMTYPE, "x"),
        member("f", data=b"x"),
    ]
    said = restore_with(archive_of(*entries), NAMES=str(count))
    names = ["d", "d/a", "d/b", "d/in", "d/in/l", "f"]
    made = sorted(str(path.relative_to(tmp_path / "t")) for path in (tmp_path / "t").rglob("*"))
    assert made == names[:count]
    assert said["files"] + said["folders"] + said["others"] == count
    if count < len(names):
        named = entries[count][0].name + ("/" if entries[count][0].isdir() else "")
        assert said["said"].startswith(f"{tmp_path}/t/{named} cannot be restored: No space left on device.")
    else:
        assert said["said"] is None


# What the target lacks


@pytest.mark.parametrize(
    ("lacks", "kinds"),
    [
        ("attributes", {"user.* attributes": 10, "access control list": 10}),
        ("owners", {"owner and group": 32}),
        ("modes", {"mode": 31}),
        ("times", {"times": 32}),
        ("attributes owners modes times", {"user.* attributes": 10, "access control list": 10, "owner and group": 32,
                                           "mode": 31, "times": 32}),
    ],
)  # fmt: skip
def test_what_the_target_lacks_is_said_once(tmp_path, restore_with, lacks, kinds):
    entries = [folder("d"), member("d/link", tarfile.SYMTYPE, "x")]
    for number in range(30):
        info, data = member(f"d/{number:02}", data=b"x", uname="", gname="", uid=os.getuid() + 1, gid=os.getgid() + 1)
        if number % 3 == 0:
            info.pax_headers = {
                "SCHILY.xattr.user.a": "1",
                "SCHILY.acl.access": "user::rw-\nuser:5:r--\ngroup::r--\nmask::r--\nother::r--\n",
            }
        entries.append((info, data))
    said = restore_with(archive_of(*entries), LACKS=lacks)
    assert (said["said"], said["troubles"], said["files"]) == (None, [], 30)
    assert {kind: entries for kind, (entries, _, _) in said["unset"].items()} == kinds
    assert len(list((tmp_path / "t" / "d").iterdir())) == 31


# The edges


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stamp", [-(2**31), -1, -0.5, 0, 2**31 - 1, 2**31, 2**32 + 0.25, 2**33])
def test_times_before_1970_and_after_2038(tmp_path, way, stamp):
    restore_tree(way(archive_of(member("before"), member("x", mtime=stamp), folder("d", mtime=stamp))), tmp_path / "t")
    assert (tmp_path / "t" / "x").stat().st_mtime_ns == int(stamp * 4) * 250_000_000
    assert (tmp_path / "t" / "d").stat().st_mtime_ns == int(stamp * 4) * 250_000_000


def test_an_attribute_of_64_kib(tmp_path):
    """Whether it is set is the file system's affair: it is there, or counted."""
    info, data = member("x", data=b"x")
    info.pax_headers = {"SCHILY.xattr.user.large": "v" * (64 << 10)}
    report = restore_tree(ViewedSequence(archive_of((info, data), member("y"))), tmp_path / "t")
    assert report.files == 2
    if report.unset:
        ((unset,), attributes) = report.unset, os.listxattr(tmp_path / "t" / "x")
        assert (unset.kind, unset.entries, attributes) == ("user.* attributes", 1, [])
    else:
        assert os.getxattr(tmp_path / "t" / "x", "user.large") == b"v" * (64 << 10)


def sparse(name: str, size: int, *extents: tuple[int, bytes]) -> tuple:
    """The entry of a file with holes."""
    body = pax.sparse_map((offset, len(data)) for offset, data in extents) + b"".join(data for _, data in extents)
    info, _ = member("GNUSparseFile", data=body)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(size),
    }
    return info, body


@pytest.mark.parametrize("way", WAYS)
def test_a_sparse_file_of_a_tebibyte(tmp_path, way):
    data = os.urandom(4096)
    archive = archive_of(member("a"), sparse("x", 1 << 40, (1 << 39, data)), member("z", data=b"z"))
    try:
        report = restore_tree(way(archive), tmp_path / "t")
    except RestoreError as error:  # a file system whose files cannot be that long
        assert "x cannot be restored: File too large" in str(error)  # noqa: PT017
        return
    assert (report.files, report.bytes) == (3, 4096 + 1)
    status = (tmp_path / "t" / "x").stat()
    assert status.st_size == 1 << 40
    assert status.st_blocks * 512 < 1 << 20
    fd = os.open(tmp_path / "t" / "x", os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 1 << 39
    assert os.pread(fd, 4096, 1 << 39) == data
    os.close(fd)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"tab\there", b"\xc3", b"-rf", b"n" * 255])
def test_names_of_any_bytes(tmp_path, way, name):
    text = os.fsdecode(name)
    archive = archive_of(folder("./d"), member("./d/before"), member(f"./d/{text}", data=b"1"))
    if b"\xff" in name or name == b"\xc3":  # Python writes such names as they are only in headers
        archive = archive_of(folder("./d"), member("./d/before"), member("./d/" + "q" * len(name), data=b"1"))
        at = archive.index(b"./d/" + b"q" * len(name))
        block = bytearray(archive[at : at + 512])
        block[4 : 4 + len(name)] = name
        block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
        archive = archive[:at] + block + archive[at + 512 :]
    report = restore_tree(way(archive), tmp_path / "t")
    assert report.troubles == ()
    assert os.listdir(os.fsencode(tmp_path / "t" / "d")) in ([b"before", name], [name, b"before"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [4095, 4096, 4097, 20_000])
def test_long_paths(open_path, way, length):
    """Longer than the system takes in one call."""
    name = ("./" + ("d" * 99 + "/") * (length // 100)).ljust(length, "x")[:length]
    name = name if name[-1] != "/" else name[:-1] + "x"
    archive = archive_of(member(name, data=b"1"), member(name[:-1] + "y", data=b"2"))
    report = restore_tree(way(archive), open_path / "t")
    assert (report.files, report.troubles) == (2, ())
    seen = snapshot(open_path / "t")
    assert len(seen[name[1:].encode()]["names"][0]) == length - 1
    assert name[1:-1].encode() + b"y" in seen


@pytest.mark.skipif(not IS_ROOT, reason="device nodes need root")
def test_devices_and_sockets(tmp_path):
    """A device in a socket's place; there are no sockets in archives."""
    (tmp_path / "t").mkdir()
    there = socket.socket(socket.AF_UNIX)
    there.bind(str(tmp_path / "t" / "x"))
    there.close()
    entries = [
        member("x", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o620, mtime=5),
        member("y", tarfile.BLKTYPE, devmajor=259, devminor=70_000, mode=0o600),
        member("z", tarfile.FIFOTYPE, mode=0o640, mtime=6),
    ]
    report = restore_tree(ViewedSequence(archive_of(*entries)), tmp_path / "t", in_place=True, existing="replace")
    made = {name: (tmp_path / "t" / name).stat() for name in "xyz"}
    if report.unset:  # a container whose root may make no devices
        assert {unset.kind for unset in report.unset} == {"device nodes"}
        return
    assert stat.S_ISCHR(made["x"].st_mode)
    assert made["x"].st_rdev == os.makedev(1, 3)
    assert made["x"].st_mtime == 5
    assert stat.S_ISBLK(made["y"].st_mode)
    assert made["y"].st_rdev == os.makedev(259, 70_000)
    assert stat.S_ISFIFO(made["z"].st_mode)
    assert report.others == 3


def test_what_failed_is_known_and_the_rest_is_whole(tmp_path):
    """The report can be had where the restore has ended with an error."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "c").write_text("mine")
    entries = [member(name, data=name.encode()) for name in "abcd"]
    with TreeRestore(tmp_path / "t", in_place=True) as restoring:
        with pytest.raises(RestoreError, match="t/c exists already"):
            restoring.feed(ViewedSequence(archive_of(*entries)))
        assert restoring.report().files == 2
    assert below(tmp_path / "t") == {"a": "a", "b": "b", "c": "mine"}
