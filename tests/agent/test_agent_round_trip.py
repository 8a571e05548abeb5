"""A tree, its archive, and the tree that comes back: by tapeloom alone, and with GNU tar on either side."""

from __future__ import annotations

import io
import os
import resource
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from agent_world import MemorySequence, MemorySink, make_everything, make_plain, snapshot

from tapeloom.agent.extract import restore_tree
from tapeloom.agent.tree import TreeSource

IS_ROOT = os.geteuid() == 0
TAR = shutil.which("tar")
IS_GNU = TAR is not None and b"GNU tar" in subprocess.run([TAR, "--version"], capture_output=True).stdout
needs_tar = pytest.mark.skipif(not IS_GNU, reason="GNU tar is not installed")


def archived(*paths: Path, **options) -> bytes:
    sink = MemorySink()
    report = TreeSource(paths, **options).run(sink)
    assert report.troubles == ()
    return bytes(sink.data)


def restored(archive: bytes, target: Path, **options):
    report = restore_tree(MemorySequence(archive), target, **options)
    assert report.troubles == ()
    return report


def names_in(archive: bytes) -> list[str]:
    """Read by a stranger to our own parser."""
    with tarfile.open(fileobj=_file(archive)) as members:
        return members.getnames()


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    if IS_ROOT:
        make_everything(root)
    else:
        make_plain(root)
    return root


def test_everything_comes_back(tree, tmp_path):
    before = snapshot(tree)
    report = restored(archived(tree), tmp_path / "back")
    assert snapshot(tmp_path / "back") == before
    assert snapshot(tree) == before
    assert report.unset == ()
    assert archived(tmp_path / "back") == archived(tree)


def test_the_archive_of_a_tree_does_not_depend_on_when_it_is_read(tree):
    assert archived(tree) == archived(tree)


def test_reading_leaves_no_trace(tree):
    for name in ("small", "large", "sorted", "sparse"):
        os.utime(tree / name, ns=(5, 6))
    archived(tree)
    for name in ("small", "large", "sorted", "sparse"):
        assert (tree / name).stat().st_atime_ns == 5
    assert tree.stat().st_atime_ns == 5


def test_large_content_does_not_pass_through_python(tree):
    sink = MemorySink()
    TreeSource([tree]).run(sink)
    assert sink.pumped == 4  # large, and each piece of the sparse files


def test_both_reports_count(tmp_path):
    (tmp_path / "t" / "d").mkdir(parents=True)
    (tmp_path / "t" / "a").write_bytes(b"x" * 1000)
    (tmp_path / "t" / "d" / "b").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "t" / "a", tmp_path / "t" / "h")
    os.symlink("a", tmp_path / "t" / "l")
    sink = MemorySink()
    read = TreeSource([tmp_path / "t"]).run(sink)
    made = restore_tree(MemorySequence(sink.data), tmp_path / "back")
    for report in (read, made):
        assert (report.files, report.folders, report.others, report.bytes) == (2, 2, 2, 101_000)


def test_entries_come_in_canonical_order(tree):
    with tarfile.open(fileobj=_file(archived(tree))) as archive:
        names = [os.fsencode(name) for name in archive.getnames()]
    assert names[0] == b"."
    assert names == sorted(names, key=lambda name: name.split(b"/"))
    assert len(names) == len(snapshot(tree))
    at = names.index(b"./sorted")
    assert names[at : at + 6] == [
        b"./sorted",
        b"./sorted/a",
        b"./sorted/a-",
        b"./sorted/a-/x",
        b"./sorted/a-b",
        b"./sorted/a.b",
    ]


@needs_tar
@pytest.mark.skipif(not IS_ROOT, reason="owners and devices need root")
def test_gnu_tar_restores_what_we_write(tree, tmp_path):
    (tmp_path / "back").mkdir()
    run = subprocess.run(
        [
            "tar",
            "-x",
            "--warning=no-timestamp",
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "-f",
            "-",
            "-C",
            tmp_path / "back",
        ],
        input=archived(tree),
        capture_output=True,
    )
    assert run.returncode == 0
    assert run.stderr == b""
    ours, back = snapshot(tree), snapshot(tmp_path / "back")
    assert back == ours


@needs_tar
def test_gnu_tar_finds_no_difference(tree):
    run = subprocess.run(["tar", "--diff", "-f", "-", "-C", tree], input=archived(tree), capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@needs_tar
@pytest.mark.skipif(not IS_ROOT, reason="owners and devices need root")
@pytest.mark.parametrize("arguments", [["--format=posix", "--xattrs", "--acls", "--sparse"], ["--format=gnu"]])
def test_what_gnu_tar_writes_comes_back(tree, tmp_path, arguments):
    if arguments == ["--format=gnu"]:
        strip_to_what_the_old_format_holds(tree)
    archive = subprocess.run(["tar", "-c", *arguments, "-C", tree, "."], capture_output=True, check=True).stdout
    restored(archive, tmp_path / "back")
    plain = arguments == ["--format=gnu"]
    assert snapshot(tmp_path / "back", times=not plain, holes=not plain) == snapshot(
        tree, times=not plain, holes=not plain
    )


def strip_to_what_the_old_format_holds(tree: Path) -> None:
    for name in ("sparse", "sparse-all-hole", "sparse-data-last-\u00e4"):
        (tree / name).unlink()
    for folder, _, names in os.walk(os.fsencode(tree)):
        for path in [folder, *(os.path.join(folder, name) for name in names)]:
            for name in os.listxattr(path, follow_symlinks=False):
                os.removexattr(path, name, follow_symlinks=False)


def test_python_reads_what_we_write(tree):
    with tarfile.open(fileobj=_file(archived(tree))) as archive:
        assert archive.extractfile("./large").read() == (tree / "large").read_bytes()
        assert archive.getmember("./sparse").size == 8 << 20
        assert archive.extractfile("./sparse").read() == (tree / "sparse").read_bytes()
        assert archive.getmember("./sparse-data-last-\u00e4").size == (9 << 20) + 3


def test_paths_beyond_path_max(open_path):
    root = open_path / "deep"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for level in range(40):
        name = f"{level:03}" + "x" * 147
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        file = os.open("zfile", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=below)
        os.write(file, name.encode())
        os.close(file)
        os.link("zfile", "zz-hard", src_dir_fd=below, dst_dir_fd=below)
        os.close(fd)
        fd = below
    os.close(fd)
    archive = archived(root)
    assert max(len(member) for member in names_in(archive)) > 6000
    restored(archive, open_path / "back")
    assert snapshot(open_path / "back") == snapshot(root)


def test_a_tree_deeper_than_files_may_be_open(open_path):
    root = open_path / "deep"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        os.mkdir("e", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    open_before = len(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, limits[1]))
    try:
        archive = archived(root)
        report = restored(archive, open_path / "back")
        assert report.folders == 601
        assert archived(open_path / "back") == archive
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_several_paths_stand_under_their_names(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "in").write_text("1")
    (tmp_path / "a").write_text("2")
    os.symlink("b", tmp_path / "c")
    names = names_in(archived(tmp_path / "c", tmp_path / "b", tmp_path / "a"))
    assert names == ["a", "b", "b/in", "c", "c/in"]


def test_one_file(tmp_path):
    (tmp_path / "file").write_text("content")
    os.symlink("file", tmp_path / "alias")
    restored(archived(tmp_path / "alias"), tmp_path / "back")
    assert os.listdir(tmp_path / "back") == ["alias"]
    assert (tmp_path / "back" / "alias").read_text() == "content"


def test_a_linked_root_is_followed(tree, tmp_path):
    os.symlink(tree, tmp_path / "linked")
    assert archived(tmp_path / "linked") == archived(tree)


def test_patterns_exclude(tmp_path):
    for path in ("keep/a.o", "keep/b.c", "cache/x/y", "deep/cache/z", "top.o", "important.o"):
        (tmp_path / "t" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / path).write_text("x")
    names = names_in(archived(tmp_path / "t", exclude=["*.o", "!important.o", "/cache/"]))
    assert names == [".", "./deep", "./deep/cache", "./deep/cache/z", "./important.o", "./keep", "./keep/b.c"]


@pytest.mark.skipif(not IS_ROOT, reason="mounting needs root")
def test_other_file_systems_are_left_out_when_asked(tmp_path):
    inside = tmp_path / "t" / "mounted"
    inside.mkdir(parents=True)
    (tmp_path / "t" / "z").write_text("z")
    if subprocess.run(["mount", "-t", "tmpfs", "none", inside], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (inside / "file").write_text("x")
        assert names_in(archived(tmp_path / "t", one_file_system=True)) == [
            ".",
            "./mounted",
            "./z",
        ]
        assert "./mounted/file" in names_in(archived(tmp_path / "t"))
    finally:
        subprocess.run(["umount", inside], check=True)


def test_large_sizes_and_numbers(tmp_path):
    (tmp_path / "t").mkdir()
    with open(tmp_path / "t" / "large", "wb") as file:
        os.ftruncate(file.fileno(), 9 << 30)
        os.pwrite(file.fileno(), b"end", (9 << 30) - 3)
    archive = archived(tmp_path / "t")
    assert len(archive) < 100_000
    restored(archive, tmp_path / "back")
    status = (tmp_path / "back" / "large").stat()
    assert status.st_size == 9 << 30
    assert status.st_blocks * 512 < 1 << 20


def _file(archive: bytes) -> io.BytesIO:
    return io.BytesIO(archive)
