"""Restoring: never outside the target, what stands there already, and what cannot be set or written."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from agent_world import (
    ACL,
    DEFAULT_ACL,
    MemorySequence,
    MemorySink,
    as_nobody,
    make_everything,
    packed_acl,
    snapshot,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapeloom.agent.extract import restore_file, restore_tree
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import FormatError, RestoreError, TapeloomError, UnsafeEntry, UsageError

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="becoming somebody else needs root")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", **fields) -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    info.uid, info.gid = os.getuid(), os.getgid()
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive_of(*members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def restore(target: Path, *members, **options):
    return restore_tree(MemorySequence(archive_of(*members)), target, **options)


def archived(path: Path) -> bytes:
    sink = MemorySink()
    TreeSource([path]).run(sink)
    return bytes(sink.data)


# Never outside


@pytest.mark.parametrize("name", ["/absolute", "../up", "a/../../up", "./..", "..", "a/..", "//x", "./a/../b", "x\0y"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    data = archive_of(member("n" * len(name) if "\0" in name else name, data=b"x"))
    if "\0" in name:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            info, _ = member("x", data=b"")
            info.pax_headers = {"path": name}
            archive.addfile(info)
        data = out.getvalue()
    with pytest.raises(UnsafeEntry) as refused:
        restore_tree(MemorySequence(data), tmp_path / "t")
    assert "in the archive" in str(refused.value)
    for first in ("first", "a/first", "./first"):  # names in the same folder as the one before take a short cut
        header = archive_of(member(first))[:512]
        with pytest.raises(UnsafeEntry):
            restore_tree(MemorySequence(header + data), tmp_path / "t", in_place=True, existing="replace")
    assert os.listdir(tmp_path) == ["t"]
    assert not any((tmp_path / "t").rglob("*up"))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_links_in_the_way_are_not_followed(tmp_path, kind):
    (tmp_path / "outside").mkdir()
    with pytest.raises(UnsafeEntry, match=r"evil/x/? in the archive leads through the symbolic link evil"):
        restore(tmp_path / "t", member("evil", tarfile.SYMTYPE, "../outside"), member("evil/x", kind, "y"))
    assert os.listdir(tmp_path / "outside") == []


def test_a_link_in_the_way_deeper_down_is_not_followed(tmp_path):
    (tmp_path / "outside" / "b").mkdir(parents=True)
    with pytest.raises(UnsafeEntry):
        restore(
            tmp_path / "t",
            member("d", tarfile.DIRTYPE),
            member("d/evil", tarfile.SYMTYPE, "../../outside"),
            member("other", data=b"x"),
            member("d/evil/b/x", data=b"x"),
        )
    assert os.listdir(tmp_path / "outside" / "b") == []


def test_a_link_of_the_same_name_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "outside").write_text("mine")
    restore(tmp_path / "t", member("x", tarfile.SYMTYPE, "../outside"), member("x", data=b"theirs"))
    assert (tmp_path / "outside").read_text() == "mine"
    assert (tmp_path / "t" / "x").read_text() == "theirs"
    restore(tmp_path / "t2", member("x", tarfile.SYMTYPE, "../outside"), member("x", tarfile.DIRTYPE))
    assert (tmp_path / "t2" / "x").is_dir()


@pytest.mark.parametrize("link", ["/etc/passwd", "../outside", "evil/outside", "."])
def test_hard_links_do_not_lead_out(tmp_path, link):
    (tmp_path / "outside").write_text("mine")
    with pytest.raises(UnsafeEntry):
        restore(tmp_path / "t", member("evil", tarfile.SYMTYPE, ".."), member("x", tarfile.LNKTYPE, link))
    assert (tmp_path / "outside").stat().st_nlink == 1


def test_a_hard_link_to_a_link_links_the_link(tmp_path):
    (tmp_path / "outside").write_text("mine")
    restore(tmp_path / "t", member("l", tarfile.SYMTYPE, "../outside"), member("x", tarfile.LNKTYPE, "l"))
    assert (tmp_path / "outside").stat().st_nlink == 1
    assert os.readlink(tmp_path / "t" / "x") == "../outside"


def test_the_root_is_not_replaced(tmp_path):
    with pytest.raises(UnsafeEntry, match="would replace"):
        restore(tmp_path / "t", member("./", tarfile.SYMTYPE, "/"))


def test_permissions_of_a_link_do_not_reach_its_target(tmp_path):
    (tmp_path / "outside").write_text("mine")
    before = (tmp_path / "outside").stat()
    restore(tmp_path / "t", member("l", tarfile.SYMTYPE, "../outside", mode=0o4777, mtime=5))
    after = (tmp_path / "outside").stat()
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)
    assert (tmp_path / "t" / "l").lstat().st_mtime == 5


names = st.sampled_from(["a", "b", "..", ".", "", "a/b", "l", "l/x", "/a", "../x", "a/../b", "l/../x"])
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
targets = st.sampled_from(["..", "/", ".", "a", "b", "l", "../outside", "a/l", "l/outside/kept"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, kinds, targets), min_size=1, max_size=8))
def test_no_archive_reaches_outside(tmp_path_factory, entries):
    top = tmp_path_factory.mktemp("world")
    (top / "outside").mkdir()
    (top / "outside" / "kept").write_text("mine")
    before = snapshot(top / "outside")
    with contextlib.suppress(UnsafeEntry):
        restore(
            top / "t", *(member(n or "./", k, t, data=b"x" if k == tarfile.REGTYPE else b"") for n, k, t in entries)
        )
    assert snapshot(top / "outside") == before
    assert sorted(os.listdir(top)) == ["outside", "t"]
    shutil.rmtree(top)


# What stands there already


def test_a_target_must_be_empty(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "mine").write_text("1")
    with pytest.raises(RestoreError, match="is not empty"):
        restore(tmp_path / "t", member("x", data=b"x"))
    assert os.listdir(tmp_path / "t") == ["mine"]


def test_a_target_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "t").write_text("1")
    with pytest.raises(RestoreError, match="cannot be restored into"):
        restore(tmp_path / "t", member("x", data=b"x"))


@pytest.mark.parametrize(
    ("existing", "older", "newer", "skipped"),
    [("skip", "mine", "mine", 3), ("replace", "theirs", "theirs", 0), ("newer", "theirs", "mine", 1)],
)
def test_existing_files(tmp_path, existing, older, newer, skipped):
    target = tmp_path / "t"
    (target / "d").mkdir(parents=True)
    for name, mtime in (("older", 50), ("newer", 150)):
        (target / "d" / name).write_text("mine")
        os.utime(target / "d" / name, (mtime, mtime))
    os.utime(target / "d", (50, 50))
    (target / "kept").write_text("kept")
    report = restore(
        target,
        member("d", tarfile.DIRTYPE, mtime=100, mode=0o750),
        member("d/new", data=b"theirs", mtime=100),
        member("d/newer", data=b"theirs", mtime=100),
        member("d/older", data=b"theirs", mtime=100),
        in_place=True,
        existing=existing,
    )
    assert (target / "d" / "older").read_text() == older
    assert (target / "d" / "newer").read_text() == newer
    assert (target / "d" / "new").read_text() == "theirs"
    assert (target / "kept").read_text() == "kept"
    assert sorted(os.listdir(target / "d")) == ["new", "newer", "older"]
    assert report.skipped == skipped
    assert (target / "d").stat().st_mtime == (50 if existing == "skip" else 100)
    assert stat.S_IMODE((target / "d").stat().st_mode) == (0o755 if existing == "skip" else 0o750)


def test_existing_files_fail_by_default(tmp_path):
    target = tmp_path / "t"
    (target / "d").mkdir(parents=True)
    (target / "d" / "x").write_text("mine")
    with pytest.raises(RestoreError, match="t/d/x exists already"):
        restore(target, member("d", tarfile.DIRTYPE), member("d/x", data=b"theirs"), in_place=True)
    assert (target / "d" / "x").read_text() == "mine"


def test_replacing_leaves_other_names_of_a_file_alone(tmp_path):
    target = tmp_path / "t"
    target.mkdir()
    (tmp_path / "mine").write_text("mine")
    os.link(tmp_path / "mine", target / "x")
    restore(target, member("x", data=b"theirs"), in_place=True, existing="replace")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (target / "x").read_text() == "theirs"


def test_a_full_folder_in_a_files_place_is_reported(tmp_path):
    target = tmp_path / "t"
    (target / "x" / "in").mkdir(parents=True)
    (target / "y").mkdir()
    report = restore(target, member("x", data=b"1"), member("y", data=b"2"), in_place=True, existing="replace")
    assert [str(trouble) for trouble in report.troubles] == ["x: cannot be restored: Directory not empty"]
    assert (target / "y").read_text() == "2"
    assert sorted(os.listdir(target)) == ["x", "y"]


def test_a_tree_restored_over_itself_is_the_same(tmp_path):
    root = tmp_path / "tree"
    if not IS_ROOT:
        pytest.skip("owners and devices need root")
    make_everything(root)
    archive = archived(root)
    restore_tree(MemorySequence(archive), tmp_path / "back")
    (tmp_path / "back" / "small").write_text("spoilt")
    os.setxattr(tmp_path / "back" / "sorted", "user.more", b"1")
    report = restore_tree(MemorySequence(archive), tmp_path / "back", in_place=True, existing="replace")
    assert report.troubles == report.unset == ()
    assert snapshot(tmp_path / "back") == snapshot(root)


def test_a_default_list_of_the_target_does_not_leak_in(tmp_path):
    (tmp_path / "t").mkdir()
    os.setxattr(tmp_path / "t", "system.posix_acl_default", DEFAULT_ACL)
    restore(
        tmp_path / "t", member("d", tarfile.DIRTYPE), member("d/x", data=b"x"), member("y", data=b"y"), in_place=True
    )
    for path in ("d", "d/x", "y"):
        assert os.listxattr(tmp_path / "t" / path) == []


def test_entries_in_any_order(tmp_path):
    """As others write archives: a folder met again after it was left, a folder without an entry of its own."""
    restore(
        tmp_path / "t",
        member("d", tarfile.DIRTYPE, mtime=100, mode=0o755),
        member("d/a", data=b"a"),
        member("e/f/g", data=b"g"),
        member("d/b", data=b"b"),
    )
    assert (tmp_path / "t" / "d" / "b").read_text() == "b"
    assert (tmp_path / "t" / "e" / "f" / "g").read_text() == "g"
    assert (tmp_path / "t" / "d").stat().st_mtime == 100


def test_only_what_is_wanted(tmp_path):
    asked = []

    def wanted(path: bytes) -> bool:
        asked.append(path)
        return path in (b"d/x", b"h")

    report = restore(
        tmp_path / "t",
        member("./", tarfile.DIRTYPE),
        member("./d", tarfile.DIRTYPE),
        member("./d/w", data=b"w" * 100_000),
        member("./d/x", data=b"x"),
        member("./h", tarfile.LNKTYPE, "./d/w"),
        wanted=wanted,
    )
    assert asked == [b"", b"d", b"d/w", b"d/x", b"h"]
    assert sorted(path.name for path in (tmp_path / "t").rglob("*")) == ["d", "x"]
    assert [str(trouble) for trouble in report.troubles] == ["h: is a hard link to d/w, which was not restored"]


# What cannot be set, or written


@needs_root
def test_without_root_each_kind_is_said_once(open_path):
    make_everything(open_path / "tree")
    archive = archived(open_path / "tree")
    report = as_nobody(lambda: restore_tree(MemorySequence(archive), open_path / "back"))
    kinds = {unset.kind: unset for unset in report.unset}
    trusted = "trusted.secret" in os.listxattr(open_path / "tree" / "setuid")
    assert set(kinds) == {
        "owner and group",
        "device nodes",
        "setuid and setgid bits",
        "security.* attributes",
        *(["trusted.* attributes"] if trusted else []),
    }
    assert kinds["device nodes"].entries == 2
    assert kinds["owner and group"].entries > 20
    assert str(kinds["setuid and setgid bits"]).startswith(
        "setuid and setgid bits not set on 1 entries, first on setuid"
    )
    assert report.troubles == ()
    ours, back = snapshot(open_path / "tree"), snapshot(open_path / "back")
    for name in (b"/block", b"/null"):
        del ours[name]
    ours[b"/setuid"]["mode"] &= ~0o6000
    for seen in (*ours.values(), *back.values()):
        del seen["owner"]
        seen["attributes"] = {k: v for k, v in seen["attributes"].items() if k.startswith(("user.", "system."))}
    assert back == ours


@needs_root
def test_a_read_only_folder_of_ones_own_is_restored_over(open_path):
    archive = archive_of(
        member("d", tarfile.DIRTYPE, mode=0o555, uid=65534, gid=65534), member("d/x", data=b"x", uid=65534, gid=65534)
    )

    def twice():
        restore_tree(MemorySequence(archive), open_path / "t")
        return restore_tree(MemorySequence(archive), open_path / "t", in_place=True, existing="replace")

    assert as_nobody(twice).troubles == ()
    assert stat.S_IMODE((open_path / "t" / "d").stat().st_mode) == 0o555


@needs_root
def test_owners_go_by_name_then_by_number(tmp_path):
    members = [
        member("known", uname="daemon", gname="daemon", uid=777, gid=777),
        member("unknown", uname="nobody-of-that-name", gname="", uid=777, gid=778),
    ]
    restore(tmp_path / "t", *members)
    assert (tmp_path / "t" / "known").stat().st_uid == 1
    assert (tmp_path / "t" / "unknown").stat().st_uid == 777
    assert (tmp_path / "t" / "unknown").stat().st_gid == 778
    restore(tmp_path / "n", *members, numeric_owner=True)
    assert (tmp_path / "n" / "known").stat().st_uid == 777


def test_a_list_that_names_a_stranger_is_counted(tmp_path):
    info, data = member("x", data=b"x")
    info.pax_headers = {
        "SCHILY.acl.access": "user::rw-\nuser:no-such-user-here:rwx\ngroup::r--\nmask::rwx\nother::r--\n"
    }
    report = restore(tmp_path / "t", (info, data))
    assert [(unset.kind, unset.entries) for unset in report.unset] == [("access control list", 1)]
    assert "no-such-user-here is not known here" in str(report.unset[0])


def test_lists_in_short_form(tmp_path):
    info, data = member("x", data=b"x", mode=0o674)
    info.pax_headers = {"SCHILY.acl.access": "o::r,u::rw-,m::rwx # all,u:12345:rwx,g::r--,u:1:r"}
    report = restore(tmp_path / "t", (info, data))
    assert report.unset == ()
    assert os.getxattr(tmp_path / "t" / "x", "system.posix_acl_access") == ACL
    assert packed_acl((1, 6, -1)) == ACL[:12]


class FullDisk(MemorySequence):
    """A disk that takes so many bytes."""

    left = 150_000

    def pump_to(self, fd: int, offset: int, bytes: int) -> int:
        done = super().pump_to(fd, offset, min(bytes, self.left))
        self.left -= done
        if done < bytes:
            raise OSError(errno.ENOSPC, "full")
        return done


def test_a_full_disk_leaves_whole_files_only(tmp_path):
    archive = archive_of(member("d", tarfile.DIRTYPE), *(member(f"d/{n}", data=b"x" * 100_000) for n in "abc"))
    with pytest.raises(RestoreError, match=r"t/d/b cannot be restored: No space left on device"):
        restore_tree(FullDisk(archive), tmp_path / "t")
    assert os.listdir(tmp_path / "t" / "d") == ["a"]
    assert (tmp_path / "t" / "d" / "a").stat().st_size == 100_000


def test_a_failed_write_ends_the_restore(tmp_path):
    """Whatever the reason: the sequence cannot be gone on with."""

    class TooLarge(MemorySequence):
        def pump_to(self, fd: int, offset: int, bytes: int) -> int:
            raise OSError(errno.EFBIG, "too large")

    archive = archive_of(member("a", data=b"x"), member("b", data=b"x" * 100_000), member("c", data=b"x"))
    with pytest.raises(RestoreError, match="t/b cannot be restored: File too large"):
        restore_tree(TooLarge(archive), tmp_path / "t")
    assert os.listdir(tmp_path / "t") == ["a"]


def test_reports_stay_small_whatever_an_archive_holds(tmp_path):
    info, data = member("x" * 300_000, data=b"x")
    many, _ = member("y")
    many.pax_headers = {f"SCHILY.xattr.space{number}.x": "1" for number in range(100)}
    report = restore(tmp_path / "t", (info, data), (many, b""))
    assert [trouble.what for trouble in report.troubles] == ["cannot be restored: File name too long"]
    assert len(report.troubles[0].path) == 8192
    assert len(str(report.troubles[0])) < 1100
    assert [(unset.kind, unset.entries) for unset in report.unset] == [("extended attributes", 100)]


def test_what_no_file_can_have_is_counted(tmp_path):
    owner, _ = member("owner")
    owner.pax_headers = {"uid": "-1", "mtime": "9999999999999999999"}
    unknown, _ = member("unknown")
    unknown.type = b"Q"
    report = restore(tmp_path / "t", (owner, b""), (unknown, b""))
    assert [(unset.kind, unset.entries) for unset in report.unset] == [("owner", 1), ("times", 1)]
    assert [str(trouble) for trouble in report.troubles] == [
        "unknown: is of a kind 'Q' that is not known here, and left out"
    ]


def test_an_unknown_word_for_existing_files(tmp_path):
    with pytest.raises(UsageError, match="'overwrite' is none of fail, skip, replace, newer"):
        restore(tmp_path / "t", in_place=True, existing="overwrite")


def test_an_archive_that_breaks_off_leaves_whole_files_only(tmp_path):
    archive = archive_of(member("a", data=b"x" * 100_000), member("b", data=b"x" * 100_000))
    with pytest.raises(FormatError, match="breaks off after b: it is not whole"):
        restore_tree(MemorySequence(archive[:150_000]), tmp_path / "t")
    assert os.listdir(tmp_path / "t") == ["a"]


def test_the_archive_to_be_damaged_is_whole_at_first(tmp_path):
    report = restore_tree(MemorySequence(_GOLDEN), tmp_path / "t")
    assert (report.files, report.folders, report.others, report.troubles) == (2, 2, 3, ())
    assert (tmp_path / "t" / "sparse").read_bytes() == b"abcde" + bytes(4091) + b"fgh" + bytes(901)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_end_in_clear_words(tmp_path_factory, data):
    """Whatever a few changed bytes make of an archive, it is restored or refused, and never a traceback."""
    archive = bytearray(_GOLDEN)
    for _ in range(data.draw(st.integers(1, 4))):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        _mend_checksums(archive)
    target = tmp_path_factory.mktemp("damaged") / "t"
    try:
        restore_tree(MemorySequence(archive), target)
    except TapeloomError as error:
        assert str(error)  # noqa: PT017 - there is nothing to say about which archives are refused
    shutil.rmtree(target.parent)


def _mend_checksums(archive: bytearray) -> None:
    """So that damage reaches what lies behind the checksum."""
    for at in range(0, len(archive), 512):
        if archive[at + 257 : at + 262] == b"ustar":
            block = archive[at : at + 512]
            total = sum(block) - sum(block[148:156]) + 256
            archive[at + 148 : at + 156] = b"%06o\0 " % total


def _golden() -> bytes:
    info, data = member("file", data=b"content")
    info.pax_headers = {
        "SCHILY.xattr.user.a": "1",
        "mtime": "5.25",
        "SCHILY.acl.access": "user::rw-\ngroup::r--\nother::r--\n",
    }
    sparse, _ = member("GNUSparseFile")
    body = b"2\n0\n5\n4096\n3\n".ljust(512, b"\0") + b"abcdefgh"
    sparse.size = len(body)
    sparse.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "sparse",
        "GNU.sparse.realsize": "5000",
    }
    return archive_of(
        member("./", tarfile.DIRTYPE),
        (info, data),
        member("d", tarfile.DIRTYPE),
        member("d/l", tarfile.SYMTYPE, "x"),
        member("h", tarfile.LNKTYPE, "file"),
        (sparse, body),
        member("p", tarfile.FIFOTYPE),
    )[: 512 * 24]


_GOLDEN = _golden()


# Opaque objects


def test_an_opaque_sequence_becomes_a_file(tmp_path):
    data = os.urandom(300_000)
    assert restore_file(MemorySequence(data), tmp_path / "out") == 300_000
    assert (tmp_path / "out").read_bytes() == data
    with pytest.raises(RestoreError, match="exists already"):
        restore_file(MemorySequence(b"x"), tmp_path / "out")
    assert restore_file(MemorySequence(b""), tmp_path / "out", replace=True) == 0
    assert os.listdir(tmp_path) == ["out"]


def test_an_opaque_sequence_that_does_not_fit_leaves_nothing(tmp_path):
    with pytest.raises(RestoreError, match="out cannot be written: No space left"):
        restore_file(FullDisk(bytes(300_000)), tmp_path / "out")
    assert os.listdir(tmp_path) == []
