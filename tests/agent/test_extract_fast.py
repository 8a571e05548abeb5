"""The fast way of a restore makes what the slow way makes, whatever the archive holds."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
from agent_world import DEFAULT_ACL, MemorySequence, MemorySink, as_nobody, make_plain, snapshot
from extract_world import ViewedSequence, archive_of, below, folder, member
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapeloom._untree import Maker
from tapeloom.agent.extract import TreeRestore, restore_tree
from tapeloom.agent.tree import TreeSource
from tapeloom.errors import TapeloomError

HERE = Path(__file__).parent
CSRC = HERE.parent.parent / "csrc"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")


def outcome(sequence, target: Path, **options):
    """What is said of a restore, without the target's name, and what is made, without the times that nobody stated."""
    before = time.time_ns() - 1_000_000_000  # the clock of files is a coarse one
    said: object
    try:
        said = restore_tree(sequence, target, **options)
    except TapeloomError as error:
        said = type(error), str(error).replace(str(target), "TARGET")
    seen = snapshot(target)
    for facts in seen.values():
        if before <= facts["mtime"] <= time.time_ns():
            facts["mtime"] = "now"
    return said, seen


def both_ways(folder: Path, archive: bytes, block: int = 1 << 20, **options):
    """Restores *archive* in both ways, which must not differ. Returns what is said, and the fast one's sequence."""
    sequence = ViewedSequence(archive, block)
    slow = outcome(MemorySequence(archive), folder / "slow", **options)
    fast = outcome(sequence, folder / "fast", **options)
    assert slow == fast
    return fast[0], sequence


def test_small_files_go_the_fast_way(tmp_path):
    files = [member(f"./d/f{number}", data=b"x" * number, mtime=number + 0.5) for number in range(200)]
    archive = archive_of(folder("./"), folder("./d", mtime=7), *files)
    report, sequence = both_ways(tmp_path, archive)
    assert (report.files, report.folders, report.bytes) == (200, 2, sum(range(200)))
    assert sequence.passed_bytes > 199 * 2048  # all but the first, whose owner had to be asked for
    assert (tmp_path / "fast" / "d" / "f199").stat().st_mtime == 199.5
    assert (tmp_path / "fast" / "d").stat().st_mtime == 7


@pytest.mark.parametrize("block", [512, 1024, 2048, 3000, 4096, 100_000])
def test_entries_that_lie_in_two_blocks(tmp_path, block):
    make_plain(tmp_path / "tree")
    for number in range(40):
        (tmp_path / "tree" / "sorted" / f"more{number}").write_bytes(b"y" * (number * 97))
    sink = MemorySink()
    TreeSource([tmp_path / "tree"]).run(sink)
    report, _ = both_ways(tmp_path, bytes(sink.data), block)
    assert report.troubles == report.unset == ()
    assert snapshot(tmp_path / "fast") == snapshot(tmp_path / "tree")


def test_what_gnu_tar_writes_goes_the_fast_way(tmp_path):
    """Its records hold times of access and change too."""
    (tmp_path / "tree" / "d").mkdir(parents=True)
    for number in range(50):
        (tmp_path / "tree" / "d" / f"f{number}").write_bytes(b"x" * number)
    command = ["tar", "-c", "--format=posix", "-C", tmp_path / "tree", "."]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    report, sequence = both_ways(tmp_path, archive)
    assert report.files == 50
    assert sequence.passed_bytes >= 48 * 4 * 512


def test_time_of_access(tmp_path):
    """As stated, or that of the restore."""
    stated = member("b")
    stated[0].pax_headers = {"atime": "-5.25"}
    before = time.time_ns()
    restore_tree(ViewedSequence(archive_of(member("a"), stated, member("c"))), tmp_path / "t")
    assert (tmp_path / "t" / "b").stat().st_atime == -5.25
    assert before <= (tmp_path / "t" / "c").stat().st_atime_ns <= time.time_ns()


@pytest.mark.parametrize(
    "stamp", ["-1", "-0.000000001", "-5.5", "0", "0.1234567899", "9223372036.854775807", "9223372037", "2147483648.5"]
)
def test_times_far_off(tmp_path, stamp):
    odd = member("b")
    odd[0].pax_headers = {"mtime": stamp, "atime": stamp}
    both_ways(tmp_path, archive_of(member("a"), odd, member("c")))


@needs_root
@pytest.mark.parametrize("numeric_owner", [False, True])
def test_owners(tmp_path, numeric_owner):
    """By name, by number, by a record; each first the slow way, then the fast one."""
    owners = [
        {"uname": "daemon", "gname": "bin", "uid": 700, "gid": 701},
        {"uname": "nobody-of-that-name", "gname": "", "uid": 702, "gid": 703},
        {"uname": "", "gname": "", "uid": 4_000_000_000, "gid": 3_000_000_000},
        {"uname": "u" * 40, "gname": "daemon", "uid": 5, "gid": 6},
    ]
    entries = [member(f"{turn}{number}", **owner) for turn in "abc" for number, owner in enumerate(owners)]
    report, sequence = both_ways(tmp_path, archive_of(*entries), numeric_owner=numeric_owner)
    assert report.unset == ()
    assert sequence.passed_bytes > 0
    assert (tmp_path / "fast" / "c0").stat().st_uid == (700 if numeric_owner else 1)
    assert (tmp_path / "fast" / "c2").stat().st_uid == 4_000_000_000


def test_more_owners_than_are_learnt(tmp_path):
    names = [f"nobody-{number}" for number in range(300)]
    entries = [member(f"{turn}-{name}", uname=name, gname=name) for turn in "ab" for name in names]
    report, _ = both_ways(tmp_path, archive_of(*entries))
    assert report.files == 600


@needs_root
def test_who_may_not_give_files_away(open_path):
    """Each file is made once, and counted in the report as the slow way counts it."""
    entries = [member(f"f{number}", uid=5, gid=5, data=b"x" * 100, mode=0o4755) for number in range(20)]
    archive = archive_of(*entries, folder("d"), member("d/x", uid=65534, gid=65534))
    slow, fast = as_nobody(
        lambda: [
            restore_tree(way(archive), open_path / name)
            for name, way in (("slow", MemorySequence), ("fast", ViewedSequence))
        ]
    )
    assert slow == fast
    assert {unset.kind: unset.entries for unset in fast.unset} == {
        "owner and group": 21,  # the folder too
        "setuid and setgid bits": 20,
    }


def test_what_stands_in_the_way_is_treated_alike(tmp_path):
    archive = archive_of(*(member(f"d/{name}", data=name.encode()) for name in "abcdef"))
    for existing in ("fail", "skip", "newer", "replace"):
        for name in ("slow", "fast"):
            (tmp_path / existing / name / "d").mkdir(parents=True)
            (tmp_path / existing / name / "d" / "d").write_text("mine")
            os.utime(tmp_path / existing / name / "d", (5, 5))
        said, _ = both_ways(tmp_path / existing, archive, existing=existing, in_place=True)
        assert isinstance(said, tuple) == (existing == "fail")


def test_a_default_list_is_kept_away_from_new_files(tmp_path):
    for name in ("slow", "fast"):
        (tmp_path / name / "d").mkdir(parents=True)
        os.setxattr(tmp_path / name / "d", "system.posix_acl_default", DEFAULT_ACL)
        os.utime(tmp_path / name / "d", (5, 5))
    both_ways(tmp_path, archive_of(*(member(f"d/{name}") for name in "abc")), in_place=True)
    assert os.listxattr(tmp_path / "fast" / "d" / "c") == []


def test_records_for_all_are_heeded(tmp_path):
    entries = [member(name, mtime=0) for name in "abc"]
    (tmp_path / "archive").write_bytes(b"")
    with tarfile.open(tmp_path / "archive", "w", format=tarfile.PAX_FORMAT, pax_headers={"mtime": "77.5"}) as archive:
        for info, _ in entries:
            archive.addfile(info)
    both_ways(tmp_path, (tmp_path / "archive").read_bytes())
    assert (tmp_path / "fast" / "c").stat().st_mtime == 77.5


@pytest.mark.parametrize("name", ["..", ".", "", "x/", "x/y", "/x", "./x", "d/x", "d/../x", "d//x", "x\0y", "n" * 256])
@pytest.mark.parametrize("recorded", [False, True])
def test_names_are_judged_alike(tmp_path, name, recorded):
    """In the root and in a folder; in the header and in a record."""
    for where in ("", "d/"):
        odd = member("odd" if recorded else where + name)
        if recorded:
            odd[0].pax_headers = {"path": where + name}
        both_ways(tmp_path / where.strip("/"), archive_of(folder("d"), member(where + "a"), odd, member(where + "b")))


def test_a_run_goes_no_further_than_its_part(tmp_path):
    files = [member(f"./f{number}", data=b"x" * 600) for number in range(20)]
    archive = archive_of(*files)
    with TreeRestore(tmp_path / "t") as restoring:
        restoring.feed(ViewedSequence(archive), [(1536 * 2, 1536 * 5), (1536 * 9, 1536 * 12)])
        report = restoring.finish()
    assert sorted(below(tmp_path / "t")) == ["f10", "f11", "f2", "f3", "f4", "f9"]
    assert report.files == 6


def test_nothing_behind_a_part_is_looked_at(tmp_path):
    """It may not have been read from the tape."""

    class Missing(ViewedSequence):
        def peek(self):
            assert self._at < 1536 * 4
            return super().peek()

    archive = archive_of(*(member(f"./f{number}", data=b"x" * 600) for number in range(8)))
    with TreeRestore(tmp_path / "t") as restoring:
        restoring.feed(Missing(archive, 1536), [(0, 1536 * 4)])
        assert restoring.finish().files == 4


def test_it_makes_nothing_of_what_is_no_entry(tmp_path):
    maker = Maker(now_ns=0, numeric_owner=True)
    fd = os.open(tmp_path, os.O_RDONLY)
    for data in (b"", b"x", bytes(511), bytes(512), bytes(4096), b"\xff" * 4096):
        assert maker.run(fd, b"", data) == 0
    os.close(fd)
    assert (maker.files, os.listdir(tmp_path)) == (0, [])


def test_what_cannot_be_written_is_removed_and_told_by_the_slow_way(tmp_path):
    """A file may have so many bytes only: the limit is the process's, for which it needs one of its own."""

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        archive = archive_of(*(member(f"f{n}", data=b"x" * n * 500, uid=65534, gid=65534) for n in range(9)))
        report = restore_tree(ViewedSequence(archive), Path(target), numeric_owner=True)
        return report.files, [str(trouble) for trouble in report.troubles]

    target = tmp_path / "t"
    os.chmod(tmp_path, 0o777)
    for parent in (tmp_path, *list(tmp_path.parents)[:-2]):
        os.chmod(parent, parent.stat().st_mode | 0o011)
    files, troubles = as_nobody(limited)
    assert files == 5
    assert troubles == [f"f{n}: cannot be restored: File too large" for n in range(5, 9)]
    assert sorted(os.listdir(target)) == ["f0", "f1", "f2", "f3", "f4"]


# Damage


def golden() -> bytes:
    odd = member("./d/odd", data=b"content")
    odd[0].pax_headers = {"mtime": "5.25", "atime": "7", "ctime": "8", "uname": "daemon", "size": "7", "uid": "9"}
    named = member("./d/n" + "\u00e4" * 30, data=b"x" * 600)
    attribute = member("./d/attribute", data=b"a")
    attribute[0].pax_headers = {"SCHILY.xattr.user.a": "1"}
    return archive_of(
        folder("./"), folder("./d"), member("./d/a", data=b"a"), odd, named, attribute, member("./d/z", data=b"z" * 700)
    )


GOLDEN = golden()


def mended(archive: bytearray) -> bytes:
    """So that damage reaches what lies behind the checksum."""
    for at in range(0, len(archive), 512):
        if archive[at + 257 : at + 262] == b"ustar":
            block = archive[at : at + 512]
            archive[at + 148 : at + 156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
    return bytes(archive)


changed = st.tuples(st.integers(0, len(GOLDEN) - 1025), st.sampled_from(b"\0 01789=-./\nxgLSa\x80\xff"))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(changed, min_size=1, max_size=6), cut=st.none() | st.integers(0, len(GOLDEN)))
def test_damaged_archives_are_treated_alike(tmp_path_factory, changes, cut):
    archive = bytearray(GOLDEN)
    for at, byte in changes:
        archive[at] = byte
    top = tmp_path_factory.mktemp("damaged")
    both_ways(top, mended(archive)[:cut])
    shutil.rmtree(top)


field_values = st.text("0123456789.-+ _ex\0=\nd", max_size=14)
field_names = st.sampled_from(
    ["path", "mtime", "atime", "ctime", "size", "uid", "gid", "uname", "gname", "linkpath", "x"]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(st.dictionaries(field_names, field_values, max_size=4), min_size=1, max_size=4))
def test_odd_records_are_treated_alike(tmp_path_factory, records):
    entries = []
    for number, fields in enumerate(records):
        info, data = member(f"f{number}", data=b"x" * 513)
        info.pax_headers = fields
        entries.append((info, data))
    top = tmp_path_factory.mktemp("records")
    both_ways(top, archive_of(member("first"), *entries, member("last")))
    shutil.rmtree(top)


@pytest.mark.parametrize("sanitizer", ["address,undefined"])
def test_hostile_bytes_reach_nothing_beyond_them(tmp_path, sanitizer):
    """Some ten thousand damaged archives, each in memory of exactly its length, under the compiler's eyes."""
    made = tmp_path / "fuzz"
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}"]
    flags = [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    sources = [HERE / "unpack_fuzz.c", CSRC / "unpack.c"]
    subprocess.run([*command, *flags, *map(str, sources), "-o", str(made)], check=True)
    (tmp_path / "golden").write_bytes(GOLDEN)
    (tmp_path / "t").mkdir()
    seeds = os.environ.get("TAPELOOM_FUZZ_SEEDS", "10000")
    command = [str(made), str(tmp_path / "golden"), str(tmp_path / "t"), "1", seeds]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[0]) > 100  # files were made at all
    assert sorted(os.listdir(tmp_path)) == ["fuzz", "golden", "t"]
    assert os.listdir(tmp_path / "t") == []
