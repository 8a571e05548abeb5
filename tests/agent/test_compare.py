"""Comparing an archive with its files: what differs, and whether the files' stamps explain it."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_world import ACL, MemorySequence, MemorySink, as_nobody, make_everything
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tapeloom.agent import compare as compare_module
from tapeloom.agent.compare import CompareReport, compare, first_difference
from tapeloom.agent.raw import RawSource
from tapeloom.agent.report import NAMED_MAX
from tapeloom.agent.rules import Rules
from tapeloom.agent.tree import TreeSource
from tapeloom.agent.unpax import Unpax
from tapeloom.errors import FormatError, SourceError

LATER = sys.maxsize
"""The archive was begun after anything happened to the files: nothing explains a difference."""


def archive_of(*paths: Path) -> bytes:
    sink = MemorySink()
    TreeSource(paths).run(sink)
    return bytes(sink.data)


def compared(
    data: bytes, *paths: Path, as_of: int = 0, whole: bool = True, rules: Rules | None = None
) -> CompareReport:
    before = set(os.listdir("/proc/self/fd"))
    rules = structs.replace(rules, paths=paths) if rules else TreeSource(paths).rules
    report = compare(MemorySequence(data), rules, as_of, whole=whole)
    assert set(os.listdir("/proc/self/fd")) == before
    return report


def changes(report: CompareReport) -> list[str]:
    """All of a report in which everything is explained."""
    assert (report.silent, report.unread) == ((), ())
    return [str(one) for one in report.changed]


def mysteries(report: CompareReport) -> list[str]:
    """All of a report in which nothing is explained."""
    assert (report.changed, report.unread) == ((), ())
    return [str(one) for one in report.silent]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`a`, `b/c`, `b/d` and a symbolic link `l` to a."""
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "a").write_text("content of a")
    (root / "b" / "c").write_text("content of c")
    (root / "b" / "d").write_text("content of d")
    (root / "l").symlink_to("a")
    return root


def keeping_times(path: Path, change: Callable[[], object]) -> None:
    """A change after which the modification times of a path and its folder are what they were."""
    stamps = [(here, os.stat(here, follow_symlinks=False)) for here in (path, path.parent) if os.path.lexists(here)]
    change()
    for here, status in stamps:
        if os.path.lexists(here):
            os.utime(here, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make everything")
def test_one_of_everything_is_the_same(tmp_path: Path) -> None:
    make_everything(tmp_path / "root")
    data = archive_of(tmp_path / "root")
    for as_of in (0, LATER):
        report = compared(data, tmp_path / "root", as_of=as_of)
        assert (report.silent, report.changed, report.unread) == ((), (), ())
        assert report.same
    assert report.entries == sum(1 for _ in (tmp_path / "root").rglob("*")) + 1


def test_what_is_counted(root: Path) -> None:
    report = compared(archive_of(root), root)
    assert (report.entries, report.bytes) == (6, 36)


def test_access_times_are_left_alone(root: Path) -> None:
    data = archive_of(root)
    for path in (root / "a", root / "b"):
        os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert compared(data, root).same
    assert [path.stat().st_atime_ns for path in (root / "a", root / "b")] == [1, 1]


Change = Callable[[Path], object]

CHANGES: dict[str, tuple[Change, list[str]]] = {
    "content": (lambda root: (root / "a").write_text("content of A"), ["a: differs in content, from byte 11 on"]),
    "size": (lambda root: (root / "a").write_text("?"), ["a: differs in size (1, was 12)"]),
    "mode": (lambda root: (root / "a").chmod(0o4711), ["a: differs in mode (4711, was 0644)"]),
    "mode of a folder": (lambda root: (root / "b").chmod(0o700), ["b: differs in mode (0700, was 0755)"]),
    "gone": (lambda root: (root / "b/c").unlink(), ["b/c: is not there any more"]),
    "new": (lambda root: (root / "b/x").touch(), ["b/x: is not in the object"]),
    "new folder": (
        lambda root: (root / "z/y/x").mkdir(parents=True),
        ["z: is not in the object, with all that is below it"],
    ),
    "kind": (
        lambda root: ((root / "a").unlink(), os.mkfifo(root / "a")),
        ["a: differs in kind (a FIFO, was a file)"],
    ),
    "target": (
        lambda root: ((root / "l").unlink(), (root / "l").symlink_to("b\n")),
        [r'l: differs in target ("b\n", was a)'],
    ),
    "attribute": (
        lambda root: os.setxattr(root / "a", "user.note", b"x"),
        ["a: differs in extended attributes or access control lists"],
    ),
    "list": (
        lambda root: (os.setxattr(root / "b/c", "system.posix_acl_access", ACL), (root / "b/c").chmod(0o674)),
        ["b/c: differs in mode (0674, was 0644), extended attributes or access control lists"],
    ),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("explained", [True, False])
def test_a_change(root: Path, change: Change, said: list[str], explained: bool) -> None:
    """Modification times are put back: it is the inode's own time that tells."""
    data = archive_of(root)
    path = root / said[0].partition(":")[0].removeprefix("./").rstrip("/")
    keeping_times(path, lambda: change(root))
    report = compared(data, root, as_of=0 if explained else LATER)
    assert (changes if explained else mysteries)(report) == said
    assert not report.same


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_another_owner(root: Path) -> None:
    data = archive_of(root)
    os.chown(root / "l", 7, 8, follow_symlinks=False)
    assert changes(compared(data, root)) == ["l: differs in owner (7:8, was 0:0)"]


def test_another_modification_time_explains_itself(root: Path) -> None:
    """The clock may have been put back: a stamp that differs is a stamp that differs."""
    data = archive_of(root)
    os.utime(root / "a", ns=(5, 5))
    (root / "b/c").write_text("content of C")
    assert changes(compared(data, root, as_of=LATER)) == [
        "a: differs in modification time",
        "b/c: differs in modification time, content, from byte 11 on",
    ]


def test_a_change_right_after_the_beginning_is_explained(root: Path) -> None:
    """Files get their stamps from a clock that lags a little behind."""
    data = archive_of(root)
    as_of = time.time_ns()
    keeping_times(root / "a", lambda: (root / "a").write_text("content of A"))
    assert changes(compared(data, root, as_of=as_of)) == ["a: differs in content, from byte 11 on"]


def test_a_whole_folder_gone(root: Path) -> None:
    data = archive_of(root)
    for path in (root / "b/c", root / "b/d", root / "b"):
        keeping_times(path, path.rmdir if path.is_dir() else path.unlink)
    assert changes(compared(data, root)) == [
        "b: is not there any more",
        "b/c: is not there any more, nor is the folder that it was in",
        "b/d: is not there any more, nor is the folder that it was in",
    ]


def test_a_folder_that_is_a_link_now_is_not_followed(root: Path) -> None:
    data = archive_of(root)
    keeping_times(root / "b", lambda: ((root / "b").rename(root.parent / "b"), (root / "b").symlink_to("../b")))
    said = changes(compared(data, root))
    assert said[0] == "b: differs in kind (a symbolic link, was a folder)"
    assert said[1:] == [f"b/{name}: is not there any more, nor is the folder that it was in" for name in "cd"]


def test_hard_links(root: Path) -> None:
    (root / "b/hard").hardlink_to(root / "a")
    (root / "b/harder").hardlink_to(root / "a")
    data = archive_of(root)
    assert compared(data, root).same

    def part() -> None:
        (root / "b/hard").unlink()
        (root / "b/hard").write_text("content of a")

    keeping_times(root / "b/hard", part)
    assert changes(compared(data, root)) == ["b/hard: differs in what it is a name of (no longer the same file as a)"]
    keeping_times(root / "a", (root / "a").unlink)
    assert changes(compared(data, root)) == [
        "a: is not there any more",
        "b/hard: differs in what it is a name of (a is not there any more)",
        "b/harder: differs in what it is a name of (a is not there any more)",
    ]


def test_of_an_increment_only_what_it_holds(root: Path) -> None:
    data = archive_of(root)
    keeping_times(root / "b/x", (root / "b/x").touch)
    assert compared(data, root, whole=False).same
    assert not compared(data, root).same


def rules(
    *exclude: str, one_file_system: bool = False, cachedir_tag: bool = False, nobackup: tuple[bytes, ...] = ()
) -> Rules:
    return Rules((), exclude, one_file_system, cachedir_tag, nobackup)


RULES: dict[str, Rules] = {
    "pattern": rules("*.tmp", "/caches/", "/b/e/f"),
    "tag": rules("/x.tmp", "/b/e", cachedir_tag=True),
    "marker": rules("*.tmp", "/b/e/", nobackup=(b"other", b"CACHEDIR.TAG")),
}


@pytest.mark.parametrize("said", RULES.values(), ids=RULES)
def test_what_is_left_out_on_purpose_is_not_missed(root: Path, said: Rules) -> None:
    (root / "caches").mkdir()
    (root / "b/e").mkdir()
    sink = MemorySink()
    TreeSource([root], list(said.exclude)).run(sink)

    def add() -> None:
        (root / "x.tmp").touch()
        (root / "b/e/f").touch()

    keeping_times(root / "b/e/f", add)
    keeping_times(
        root / "caches/CACHEDIR.TAG",
        lambda: (root / "caches/CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\nmore"),
    )
    keeping_times(root / "caches/big", (root / "caches/big").touch)
    os.utime(root, ns=(5, 5))
    assert changes(compared(bytes(sink.data), root, rules=said)) == [".: differs in modification time"]
    assert len(changes(compared(bytes(sink.data), root))) > 1


def test_a_tag_with_another_signature_is_none(root: Path) -> None:
    data = archive_of(root)
    keeping_times(root / "b/x", lambda: ((root / "b/CACHEDIR.TAG").write_text("?"), (root / "b/x").touch()))
    assert changes(compared(data, root, rules=rules(cachedir_tag=True))) == [
        "b/CACHEDIR.TAG: is not in the object",
        "b/x: is not in the object",
    ]


def test_one_file_system(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted below has no content in the archive. A device number stands in for a mount."""
    data = archive_of(root)
    keeping_times(root / "b/x", (root / "b/x").touch)
    inside = os.stat(root / "b").st_ino
    real = os.fstat

    def fstat(fd: int) -> os.stat_result:
        status = real(fd)
        if status.st_ino != inside:
            return status
        found = list(status)
        found[2] += 1
        return os.stat_result(found, {"st_ctime_ns": status.st_ctime_ns, "st_mtime_ns": status.st_mtime_ns})

    monkeypatch.setattr(os, "fstat", fstat)
    same = compared(data, root, rules=rules(one_file_system=True)).same
    different = compared(data, root).same
    monkeypatch.undo()
    assert (same, different) == (True, False)


def test_a_socket_is_not_missed(root: Path) -> None:
    data = archive_of(root)
    with socket.socket(socket.AF_UNIX) as server:
        keeping_times(root / "s", lambda: server.bind(os.fspath(root / "s")))
        assert compared(data, root).same


def test_several_paths(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_text("x")
    link = tmp_path / "way"
    link.symlink_to(root)
    data = archive_of(other, root / "a", link)
    assert compared(data, other, root / "a", link).same
    keeping_times(root / "b/new", (root / "b/new").touch)
    keeping_times(root / "a", lambda: (root / "a").write_text("content of A"))
    assert changes(compared(data, other, root / "a", link)) == [
        "a: differs in content, from byte 11 on",
        "way/a: differs in content, from byte 11 on",
        "way/b/new: is not in the object",
    ]
    assert changes(compared(data, root / "a", link))[1:3] == [
        "other: is not there any more",
        "other/x: is not there any more, nor is the folder that it was in",
    ]
    late = tmp_path / "zz"
    late.mkdir()
    assert changes(compared(data, other, root / "a", link, late))[-1] == (
        "zz: is not in the object, with all that is below it"
    )


def test_the_only_path_is_not_there(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone cannot be compared with: No such file or directory. Is its disk"):
        compared(archive_of(root), tmp_path / "gone")


def test_a_single_file(root: Path) -> None:
    data = archive_of(root / "a")
    assert compared(data, root / "a").same
    keeping_times(root / "a", lambda: (root / "a").write_text("content of A"))
    assert mysteries(compared(data, root / "a", as_of=LATER)) == ["a: differs in content, from byte 11 on"]


def test_a_raw_file_with_holes(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        os.pwrite(file.fileno(), b"x" * 4096, 1 << 20)
        os.ftruncate(file.fileno(), 4 << 20)
        os.fsync(file.fileno())
    sink = MemorySink()
    RawSource(path).run(sink)
    assert compared(bytes(sink.data), path).same

    def write(at: int, what: bytes) -> None:
        with path.open("r+b") as file:
            os.pwrite(file.fileno(), what, at)

    keeping_times(path, lambda: write(3 << 20, bytes(8192)))
    assert compared(bytes(sink.data), path).same
    keeping_times(path, lambda: write((3 << 20) + 9, b"!"))
    assert mysteries(compared(bytes(sink.data), path, as_of=LATER)) == [
        f"disk.img: differs in content, from byte {(3 << 20) + 9} on"
    ]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become nobody")
def test_what_cannot_be_read_is_named(root: Path) -> None:
    root.parent.chmod(0o755)
    for folder in root.parents:
        if folder.stat().st_mode & 0o005 != 0o005 and folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    (root / "b").chmod(0o700)
    (root / "a").chmod(0o600)
    data = archive_of(root)
    report = as_nobody(lambda: compare(MemorySequence(data), TreeSource([root]).rules, 0))
    assert [str(one) for one in report.unread] == [
        "a: cannot be compared: Permission denied",
        "b: cannot be compared: Permission denied",
        "b/c: cannot be compared: Permission denied",
        "b/d: cannot be compared: Permission denied",
    ]
    assert not report.same


def test_a_path_longer_than_the_system_takes(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(b"d" * 200, dir_fd=here)
        below = os.open(b"d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open(b"end", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=here))
    data = archive_of(root)
    assert compared(data, root).same
    os.chmod(b"end", 0o600, dir_fd=here)
    os.close(here)
    [said] = changes(compared(data, root))
    assert said.endswith("/end: differs in mode (0600, was 0644)")


def test_many_differences_are_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive_of(root)
    keeping_times(root / "b/x", lambda: [(root / "b" / f"{number:05}").touch() for number in range(NAMED_MAX + 3)])
    report = compared(data, root)
    assert (len(report.changed), report.changed_beyond) == (NAMED_MAX, 3)


def test_no_archive(root: Path) -> None:
    with pytest.raises(FormatError):
        compared(b"x" * 10240, root)


EDITS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 300), st.integers(0, 255)),  # another byte
    st.integers(0, 300),  # another length
)


@given(
    pieces=st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=30)), max_size=5),
    tail=st.integers(0, 30),
    edit=EDITS,
    step=st.integers(1, 64),
)
def test_where_content_parts(tmp_path_factory, pieces, tail: int, edit, step: int) -> None:
    """Against the same answer from whole strings, for sparse maps of any kind and pieces of any length."""
    from tapeloom.agent import pax

    content, extents, stored = b"", [], b""
    for hole, data in pieces:
        content += bytes(hole)
        extents.append((len(content), len(data)))
        content += data
        stored += data
    content += bytes(tail)
    if tail:
        extents.append((len(content), 0))
    now = content
    if isinstance(edit, tuple) and edit[0] < len(content):
        now = content[: edit[0]] + bytes([edit[1]]) + content[edit[0] + 1 :]
    elif isinstance(edit, int):
        now = content[:edit].ljust(edit, b"\0")
    path = tmp_path_factory.getbasetemp() / "parting"
    path.write_bytes(now)
    mapped = pax.sparse_map(extents)
    head = pax.header(
        pax.SPARSE_NAME,
        pax.REGULAR,
        os.stat(path),
        size=len(mapped) + len(stored),
        records=pax.sparse_records(b"x", len(content)),
    )
    archive = Unpax(MemorySequence(head + mapped + stored + bytes(pax.padding(len(stored))) + pax.END))
    data_at = {at for offset, length in extents for at in range(offset, offset + length)}
    differ = [
        at
        for at in range(len(content))
        if now[at : at + 1] != content[at : at + 1] and (at in data_at or at < len(now))  # beyond the end is a hole
    ]
    expected = differ[0] if differ else None if len(now) == len(content) else len(content)
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(compare_module, "PIECE_BYTES", step)
        entries = iter(archive)
        found = first_difference(archive, next(entries), file.fileno())
        assert next(entries, None) is None  # whatever was taken of it, the archive goes on
    assert found == expected
