"""One tree of several archives: chains with deletions, parts in any order, what is the restore's own."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tarfile

import pytest
from agent_world import MemorySequence, as_nobody
from extract_world import ViewedSequence, archive_of, below, folder, member, parts_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapeloom.agent.extract import TreeRestore
from tapeloom.agent.listing import Listing
from tapeloom.agent.own import Own
from tapeloom.agent.waiting import Waiting
from tapeloom.errors import FormatError, RestoreError, UnsafeEntry

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming somebody else needs root")
needs_tar = pytest.mark.skipif(not shutil.which("tar"), reason="no tar")

FULL = archive_of(
    folder("./"),
    folder("./a", mtime=100),
    member("./a/gone", data=b"gone"),
    member("./a/kept", data=b"kept"),
    member("./a/new", data=b"old"),
    folder("./gone"),
    folder("./gone/deep"),
    member("./gone/deep/x", data=b"x"),
    folder("./swap"),
    member("./swap/in", data=b"in"),
    member("./turn", data=b"turn"),
)
INCREMENT = archive_of(
    folder("./", "Da Yswap Dturn"),
    folder("./a", "Nkept Ynew Ymore", mtime=200),
    member("./a/more", data=b"more"),
    member("./a/new", data=b"newer"),
    member("./swap", data=b"now a file"),
    folder("./turn", "Yin"),
    member("./turn/in", data=b"now a folder"),
)
AFTER = {
    "a": None,
    "a/kept": "kept",
    "a/more": "more",
    "a/new": "newer",
    "swap": "now a file",
    "turn": None,
    "turn/in": "now a folder",
}


def chain(target, *archives, deletions=True, wanted=None, sequence=ViewedSequence, **options):
    with TreeRestore(target, again=True, **options) as restoring:
        for number, archive in enumerate(archives):
            restoring.feed(sequence(archive), deletions=deletions and number > 0, wanted=wanted)
        return restoring.finish()


# Chains, oldest first


@pytest.mark.parametrize("sequence", [MemorySequence, ViewedSequence])
def test_an_increment_over_its_full(tmp_path, sequence):
    report = chain(tmp_path / "t", FULL, INCREMENT, sequence=sequence)
    assert below(tmp_path / "t") == AFTER
    assert report.removed == 7  # a/gone; gone, deep, x; swap, swap/in; turn
    assert (report.troubles, report.skipped) == ((), 0)
    assert (tmp_path / "t" / "a").stat().st_mtime == 200


@needs_tar
def test_gnu_tar_makes_the_same_of_it(tmp_path):
    chain(tmp_path / "t", FULL, INCREMENT)
    (tmp_path / "tar").mkdir()
    for archive in (FULL, INCREMENT):
        command = ["tar", "-x", "--listed-incremental=/dev/null", "-C", tmp_path / "tar"]
        subprocess.run(command, input=archive, check=True, capture_output=True)
    assert below(tmp_path / "tar") == below(tmp_path / "t")


@needs_tar
def test_what_gnu_tar_writes(tmp_path):
    """A week of its increments."""
    tree, archives = tmp_path / "tree", []
    (tree / "d" / "e").mkdir(parents=True)
    (tree / "empty").mkdir()
    (tree / "d" / "x").write_text("1")
    (tree / "d" / "e" / "y").write_text("2")

    def dump():
        command = ["tar", "-c", "--format=posix", f"--listed-incremental={tmp_path / 'state'}", "-C", tree, "."]
        archives.append(subprocess.run(command, check=True, capture_output=True).stdout)

    dump()
    (tree / "d" / "x").unlink()
    (tree / "d" / "z").write_text("3")
    shutil.rmtree(tree / "d" / "e")
    dump()
    (tree / "empty").rmdir()
    (tree / "empty").write_text("no folder now")
    dump()
    report = chain(tmp_path / "t", *archives)
    assert below(tmp_path / "t") == below(tree)
    assert report.removed == 4


@pytest.mark.parametrize("existing", ["fail", "skip", "newer", "replace"])
def test_in_place_a_chain_replaces_and_removes_its_own(tmp_path, existing):
    (tmp_path / "t" / "a").mkdir(parents=True)
    (tmp_path / "t" / "a" / "mine").write_text("mine")
    report = chain(tmp_path / "t", FULL, INCREMENT, in_place=True, existing=existing)
    assert below(tmp_path / "t") == AFTER | {"a/mine": "mine"}
    assert (report.removed, report.troubles) == (7, ())


@pytest.mark.parametrize("existing", ["skip", "newer"])
def test_in_place_files_that_were_left_stay_left(tmp_path, existing):
    (tmp_path / "t" / "a").mkdir(parents=True)
    for name in ("new", "gone"):
        (tmp_path / "t" / "a" / name).write_text("mine")
    report = chain(tmp_path / "t", FULL, INCREMENT, in_place=True, existing=existing)
    assert below(tmp_path / "t") == AFTER | {"a/new": "mine", "a/gone": "mine"}
    assert report.removed == 6
    assert report.skipped == 7  # those two, a/new twice, and twice the folders above them


def test_in_place_an_existing_file_fails_a_chain_all_the_same(tmp_path):
    (tmp_path / "t" / "a").mkdir(parents=True)
    (tmp_path / "t" / "a" / "more").write_text("mine")
    with pytest.raises(RestoreError, match="a/more exists already"):
        chain(tmp_path / "t", FULL, INCREMENT, in_place=True)
    assert (tmp_path / "t" / "a" / "more").read_text() == "mine"


def test_a_folder_that_others_had_before_stays_without_what_was_put_there(tmp_path):
    (tmp_path / "t" / "gone" / "deep").mkdir(parents=True)
    (tmp_path / "t" / "gone" / "deep" / "mine").write_text("mine")
    chain(tmp_path / "t", FULL, INCREMENT, in_place=True, existing="skip")
    assert below(tmp_path / "t") == AFTER | {"gone": None, "gone/deep": None, "gone/deep/mine": "mine"}


def test_deletions_only_when_asked(tmp_path):
    report = chain(tmp_path / "t", FULL, archive_of(folder("./", "")), deletions=False)
    assert report.removed == 0
    assert len(below(tmp_path / "t")) == 10


def test_deletions_where_only_some_is_wanted(tmp_path):
    """A folder that is not wanted itself says what is gone from it."""
    report = chain(
        tmp_path / "t",
        FULL,
        archive_of(folder("./", "Da Yswap"), folder("./a", "Nkept"), folder("./never", "")),
        wanted=lambda path: path in (b"a/gone", b"a/kept", b"gone/deep/x"),
    )
    assert below(tmp_path / "t") == {"a": None, "a/kept": "kept"}
    assert report.removed == 4


def test_removal_follows_no_link_and_leaves_other_names(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine").write_text("mine")
    full = archive_of(
        folder("./"),
        member("./kept", data=b"kept"),
        folder("./d"),
        member("./d/fifo", tarfile.FIFOTYPE),
        member("./d/name", tarfile.LNKTYPE, "./kept"),
        member("./d/way", tarfile.SYMTYPE, "../../outside"),
        member("./way", tarfile.SYMTYPE, "../outside"),
    )
    report = chain(tmp_path / "t", full, archive_of(folder("./", "Ykept")))
    assert below(tmp_path / "t") == {"kept": "kept"}
    assert report.removed == 5
    assert below(tmp_path / "outside") == {"mine": "mine"}


def test_a_listing_of_a_folder_reached_through_a_link_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine").write_text("mine")
    first = archive_of(member("./way", tarfile.SYMTYPE, "../outside"), folder("./d"))
    with pytest.raises(UnsafeEntry):
        chain(tmp_path / "t", first, archive_of(folder("./way/d", "")))
    with pytest.raises(UnsafeEntry):
        chain(tmp_path / "t2", first, archive_of(folder("./way/d", "")), wanted=lambda path: path == b"way")
    assert below(tmp_path / "outside") == {"mine": "mine"}


def test_removal_of_a_tree_deeper_than_files_may_be_open(open_path):
    deep = [folder("./" + "/".join(["d"] * depth)) for depth in range(1, 300)]
    bottom = member("./" + "d/" * 299 + "x", data=b"x")
    report = chain(open_path / "t", archive_of(*deep, bottom), archive_of(folder("./", "")))
    assert below(open_path / "t") == {}
    assert report.removed == 300


@needs_root
def test_read_only_folders_are_written_and_removed_by_their_owner(open_path):
    nobody = {"uid": 65534, "gid": 65534}
    full = archive_of(
        folder("./", **nobody),
        folder("./shut", mode=0o555, mtime=100, **nobody),
        member("./shut/x", data=b"x", **nobody),
        folder("./gone", mode=0o500, **nobody),
        folder("./gone/in", mode=0o000, **nobody),
    )
    increment = archive_of(folder("./", "Dshut", **nobody), member("./shut/x", data=b"newer", **nobody))
    report = as_nobody(lambda: chain(open_path / "t", full, increment))
    assert (report.troubles, report.removed) == ((), 2)
    assert below(open_path / "t") == {"shut": None, "shut/x": "newer"}
    status = (open_path / "t" / "shut").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o555, 100)


@pytest.mark.parametrize("existing", ["fail", "skip", "newer", "replace"])
def test_in_place_chosen_files_go_again_with_their_unwanted_folder(tmp_path, existing):
    (tmp_path / "t").mkdir()
    chain(
        tmp_path / "t",
        archive_of(folder("./"), folder("./a"), member("./a/x"), member("./a/y", data=b"y")),
        archive_of(folder("./a", "Ny")),
        in_place=True,
        existing=existing,
        wanted=lambda path: path in (b"a/x", b"a/y"),
    )
    assert below(tmp_path / "t") == {"a": None, "a/y": "y"}


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    unlink = os.unlink

    def refusing(name, **where):
        if name == b"x":
            raise PermissionError(errno.EPERM, "")
        unlink(name, **where)

    monkeypatch.setattr(os, "unlink", refusing)
    full = archive_of(folder("./"), folder("./a"), member("./a/x", data=b"x"), folder("./b"), member("./b/y"))
    report = chain(tmp_path / "t", full, archive_of(folder("./", "")))
    assert [str(trouble) for trouble in report.troubles] == [
        "a: is gone from the source and cannot be removed here: Operation not permitted"
    ]
    assert below(tmp_path / "t") == {"a": None, "a/x": "x"}
    assert report.removed == 2


# Any chain


tree_names = st.sampled_from(["a", "b", "c"])
trees = st.recursive(
    st.text("xyz", max_size=2), lambda inner: st.dictionaries(tree_names, inner, max_size=3), max_leaves=6
)
roots = st.dictionaries(tree_names, trees, max_size=3)


def entries_of(tree, before, path="."):
    """A full (*before* is None) or increment of *tree*, as a source writes it: changed files, all listings."""
    items = [
        ("D" if isinstance(tree[n], dict) else "N" if before is not None and before.get(n) == tree[n] else "Y") + n
        for n in sorted(tree)
    ]
    yield folder(path + "/" if path == "." else path, None if before is None else " ".join(items))
    for name in sorted(tree):
        below, was = tree[name], None if before is None else before.get(name)
        if isinstance(below, dict):
            yield from entries_of(
                below, None if before is None else was if isinstance(was, dict) else {}, f"{path}/{name}"
            )
        elif before is None or was != below:
            yield member(f"{path}/{name}", data=below.encode())


def flat(tree, path=""):
    found = {}
    for name, inner in tree.items():
        found[path + name] = None if isinstance(inner, dict) else inner
        if isinstance(inner, dict):
            found |= flat(inner, f"{path}{name}/")
    return found


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    states=st.lists(roots, min_size=1, max_size=4), in_place=st.booleans(), existing=st.sampled_from(["fail", "skip"])
)
def test_a_chain_gives_the_newest_state(tmp_path_factory, states, in_place, existing):
    top = tmp_path_factory.mktemp("chain")
    archives = [
        archive_of(*entries_of(state, before)) for state, before in zip(states, [None, *states[:-1]], strict=True)
    ]
    report = chain(top / "t", *archives, in_place=in_place, existing=existing)
    assert below(top / "t") == flat(states[-1])
    assert (report.troubles, report.skipped) == ((), 0)
    shutil.rmtree(top)


# Parts, in any order


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("existing", ["fail", "skip", "newer"])
def test_disjoint_parts_in_any_order(tmp_path, order, existing):
    feeds = [(FULL, ["./a/kept", "./turn"]), (INCREMENT, ["./", "./a", "./a/more", "./a/new", "./swap"])]
    with TreeRestore(tmp_path / "t", in_place=True, existing=existing) as restoring:
        for archive, names in feeds[::order]:
            restoring.feed(ViewedSequence(archive), parts_of(archive, *(name.rstrip("/") for name in names)))
        report = restoring.finish()
    assert (report.files, report.folders, report.skipped) == (5, 2, 0)
    assert below(tmp_path / "t") == {
        "a": None,
        "a/kept": "kept",
        "a/more": "more",
        "a/new": "newer",
        "swap": "now a file",
        "turn": "turn",
    }
    assert (tmp_path / "t" / "a").stat().st_mtime == 200


def test_a_part_is_read_and_nothing_else(tmp_path):
    sequence = ViewedSequence(FULL)
    with TreeRestore(tmp_path / "t") as restoring:
        restoring.feed(sequence, parts_of(FULL, "./a/kept", "./gone/deep/x"))
        report = restoring.finish()
    assert below(tmp_path / "t") == {"a": None, "a/kept": "kept", "gone": None, "gone/deep": None, "gone/deep/x": "x"}
    assert (report.files, report.folders) == (2, 0)
    assert sequence.read_bytes + sequence.passed_bytes == 2 * 1024


def test_a_part_that_ends_inside_of_an_entry_is_refused(tmp_path):
    ((begin, end),) = parts_of(FULL, "./a/kept")
    with TreeRestore(tmp_path / "t") as restoring, pytest.raises(FormatError, match=f"goes beyond byte {end - 512}"):
        restoring.feed(MemorySequenceAt(FULL), [(begin, end - 512)])


class MemorySequenceAt(MemorySequence):
    def go_to(self, offset):
        self._at = offset


def test_the_next_feed_comes_after_a_damaged_one(tmp_path):
    ((begin, end),) = parts_of(FULL, "./a/kept")
    with TreeRestore(tmp_path / "t") as restoring:
        with pytest.raises(FormatError):
            restoring.feed(ViewedSequence(FULL[: begin + 515]), [(begin, end)])
        assert restoring.report().files == 0
        restoring.feed(ViewedSequence(FULL), parts_of(FULL, "./a/new"))
        report = restoring.finish()
    assert report.files == 1
    assert below(tmp_path / "t") == {"a": None, "a/new": "old"}


# Hard links


def test_a_hard_link_waits_for_its_other_name(tmp_path):
    linked = archive_of(member("./b/x", tarfile.LNKTYPE, "./a/kept"), member("./c", tarfile.LNKTYPE, "./never"))
    with TreeRestore(tmp_path / "t") as restoring:
        restoring.feed(ViewedSequence(linked))
        restoring.feed(ViewedSequence(FULL), parts_of(FULL, "./a/kept"))
        report = restoring.finish()
    assert (tmp_path / "t" / "b" / "x").samefile(tmp_path / "t" / "a" / "kept")
    assert [str(trouble) for trouble in report.troubles] == ["c: is a hard link to never, which was not restored"]
    assert (report.files, report.others) == (1, 1)


def test_a_hard_link_that_waited_follows_the_rules(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x").write_text("mine")
    with TreeRestore(tmp_path / "t", in_place=True, existing="skip") as restoring:
        restoring.feed(ViewedSequence(archive_of(member("./x", tarfile.LNKTYPE, "./a"))))
        restoring.feed(ViewedSequence(archive_of(member("./a", data=b"a"))))
        assert restoring.finish().skipped == 1
    assert (tmp_path / "t" / "x").read_text() == "mine"


def test_a_wanted_link_becomes_the_file(tmp_path):
    archive = archive_of(
        member("./a/first", data=b"data"),
        member("./a/other", data=b"other"),
        member("./b/second", tarfile.LNKTYPE, "./a/first"),
        member("./b/third", tarfile.LNKTYPE, "./a/first"),
    )
    with TreeRestore(tmp_path / "t") as restoring:
        restoring.feed(ViewedSequence(archive), renamed={b"a/first": b"b/second"})
        report = restoring.finish()
    assert below(tmp_path / "t") == {"a": None, "a/other": "other", "b": None, "b/second": "data", "b/third": "data"}
    assert (tmp_path / "t" / "b" / "third").samefile(tmp_path / "t" / "b" / "second")
    assert (report.files, report.others, report.skipped, report.troubles) == (2, 1, 0, ())


# The parts of it


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "breaks off"),
        (b"Ya", "breaks off"),
        (b"Ya\0", "has no end"),
        (b"Qa\0\0", "cannot be read: Qa"),
        (b"Y\0\0", "cannot be read: Y"),
        (b"Da/b\0\0", "cannot be read: Da/b"),
        (b"D..\0\0", "cannot be read"),
        (b"\0\0", "cannot be read"),
        (b"Rold\0Tnew\0\0", "renamed"),
    ],
)
def test_listings_that_are_none(value, why):
    with pytest.raises(FormatError, match=why):
        Listing(value, b"./d")


def test_what_a_listing_keeps():
    listing = Listing(b"Yfile\0Dfolder\0Neither\0Y\xff\n\0\0", b"./d")
    assert listing.keeps(b"file", False)
    assert not listing.keeps(b"file", True)
    assert listing.keeps(b"folder", True)
    assert not listing.keeps(b"folder", False)
    assert listing.keeps(b"either", True)
    assert listing.keeps(b"either", False)
    assert listing.keeps(b"\xff\n", False)
    assert not listing.keeps(b"other", False)
    assert not Listing(b"\0", b"").keeps(b"x", False)


def test_a_folder_of_a_million_names(tmp_path):
    """Its listing is longer than all other records together may be."""
    full = archive_of(member("./name-0000005"), member("./name-2000000"))
    increment = archive_of(folder("./", " ".join(f"Nname-{number:07}" for number in range(1_500_000))))
    assert len(increment) > 16 << 20
    chain(tmp_path / "t", full, increment)
    assert os.listdir(tmp_path / "t") == ["name-0000005"]


def test_other_records_may_not_be_that_long(tmp_path):
    info, data = member("x")
    info.pax_headers = {"comment": "c" * (17 << 20)}
    with pytest.raises(FormatError, match="would take 178257"):
        chain(tmp_path / "t", archive_of((info, data)))


@given(paths=st.lists(st.binary(max_size=8), max_size=60), others=st.lists(st.binary(max_size=8), max_size=20))
def test_own_paths_are_remembered_in_a_file_too(paths, others):
    own = Own(held_max=7)
    for path in paths:
        own.add(path)
    assert all(path in own for path in paths)
    assert [other in own for other in others] == [other in paths for other in others]
    own.close()


@given(links=st.lists(st.tuples(st.binary(max_size=90), st.binary(max_size=90), st.integers(-(2**63), 2**63 - 1))))
def test_waiting_links_come_back_in_order(links):
    waiting = Waiting(held_bytes_max=100)
    for link in links:
        waiting.add(*link)
    assert list(waiting) == links
    waiting.close()
