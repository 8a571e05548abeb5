"""The tables of hard links against dictionaries and sets, with so little memory that they spill."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tapeloom
from tapeloom.agent import links
from tapeloom.agent.links import FirstNames
from tapeloom.agent.namesets import ChangedInodes, NameSets
from tapeloom.errors import SourceError

TOP = 2**64 - 1
NUMBERS = st.sampled_from([0, 1, 2, 3, 255, 256, 2**63, TOP - 1, TOP])
NAMES = st.binary(min_size=1, max_size=12)


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def spill(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("spill")


# First names


@settings(deadline=None)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NAMES), max_size=60),
    st.integers(0, 3000),
    st.integers(-(2**63), 2**63),
)
def test_the_first_name_is_known_from_then_on(spill, names, memory_bytes, mtime_ns):
    first: dict[tuple[int, int], bytes] = {}
    with FirstNames(spill, memory_bytes=memory_bytes) as table:
        for dev, ino, path in names:
            assert table.known(dev, ino, 1000, path, mtime_ns) == first.get((dev, ino))
            first.setdefault((dev, ino), path)
        assert not list(spill.iterdir())


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
def test_another_file_under_the_number_of_one_that_is_gone(tmp_path, memory_bytes):
    with FirstNames(tmp_path, memory_bytes=memory_bytes) as table:
        assert table.known(1, 7, 2, b"old", 100) is None
        assert table.known(1, 7, 2, b"new", 200) is None
        assert table.known(1, 7, 2, b"new's second", 200) == b"new"
        assert table.known(1, 7, 2, b"old's second", 100) == b"old"


def test_what_has_all_its_names_takes_no_memory():
    with FirstNames(memory_bytes=5000) as table:
        before = descriptors()
        for ino in range(10_000):
            assert table.known(1, ino, 2, b"a" * 100) is None
            assert table.known(1, ino, 2, b"b" * 100) == b"a" * 100
        assert descriptors() == before  # it never had to spill


def test_long_paths_fill_the_memory_as_many_do(tmp_path):
    with FirstNames(tmp_path, memory_bytes=100_000) as table:
        before = descriptors()
        for ino in range(25):
            table.known(1, ino, 2, b"%d" % ino + b"p" * 4000)
        assert len(descriptors()) == len(before) + 1
        assert table.known(1, 3, 2, b"another") == b"3" + b"p" * 4000


def test_everything_is_given_back(tmp_path):
    before = descriptors()
    with FirstNames(tmp_path, memory_bytes=0) as names, NameSets(tmp_path, records_max=2) as sets:
        for ino in range(5):
            names.known(1, ino, 2, b"x")
            feed(sets.new, [(1, ino, b"x")])
        assert len(descriptors()) > len(before)
    names.close()
    sets.close()
    assert descriptors() == before
    assert not list(tmp_path.iterdir())


# Sets of names


def feed(into, names, **options) -> None:
    into(
        np.array([dev for dev, _, _ in names], np.uint64),
        np.array([ino for _, ino, _ in names], np.uint64),
        b"".join(path for _, _, path in names),
        np.cumsum([len(path) for _, _, path in names]).astype(np.uint64),
        **options,
    )


def sets_of(names) -> dict[tuple[int, int], set[bytes]]:
    found = defaultdict(set)
    for dev, ino, path in names:
        found[dev, ino].add(path)
    return found


def pairs(changed: ChangedInodes) -> list[tuple[int, int]]:
    return [
        (int(device), int(ino))
        for device, start, end in zip(changed.devices, changed.starts[:-1], changed.starts[1:], strict=True)
        for ino in changed.inodes[int(start) : int(end)]
    ]


TREES = st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS), max_size=40)


@st.composite
def two_moments(draw):
    """A tree, and one that has most names in common with it."""
    old = draw(TREES)
    new = {name: inode for name, inode in old.items() if draw(st.integers(0, 9))} | draw(TREES)
    return [[(dev, ino, name) for name, (dev, ino) in draw(st.permutations(list(tree.items())))] for tree in (old, new)]


@settings(deadline=None)
@given(two_moments(), st.integers(1, 100), st.integers(1, 50))
def test_changed_are_those_with_another_set(spill, moments, records_max, batch):
    old, new = moments
    before, now = sets_of(old), sets_of(new)
    expected = sorted(inode for inode in before.keys() | now.keys() if before[inode] != now[inode])
    with NameSets(spill, records_max=records_max) as sets:
        for at in range(0, max(len(old), len(new)), batch):
            feed(sets.new, new[at : at + batch])
            feed(sets.old, old[at : at + batch])
        changed = sets.changed()
    assert pairs(changed) == expected
    assert len(changed) == len(expected)
    inodes = sorted(before.keys() | now.keys())
    asked = np.array(inodes, np.uint64).reshape(-1, 2)
    assert changed.among(asked[:, 0], asked[:, 1]).tolist() == [inode in set(expected) for inode in inodes]
    assert all((inode in changed) == (inode in set(expected)) for inode in inodes[:5])
    assert (5, 5) not in changed
    assert changed.inodes.flags.c_contiguous
    assert changed.inodes.dtype == changed.devices.dtype == changed.starts.dtype == np.uint64
    assert not list(spill.iterdir())


def test_rows_and_prefix():
    names = [(1, 1, b"a"), (1, 2, b"bb"), (1, 3, b"ccc"), (1, 4, b"dddd")]
    with NameSets() as sets:
        feed(sets.new, names, rows=np.array([1, 3]), prefix=b"folder/")
        feed(sets.old, [(1, 2, b"folder/bb"), (1, 4, b"elsewhere/dddd")])
        assert pairs(sets.changed()) == [(1, 4)]


def test_a_blob_may_be_any_bytes_like():
    for kind in (bytes, bytearray, memoryview):
        with NameSets() as sets:
            sets.old(np.ones(1, np.uint64), np.ones(1, np.uint64), kind(b"name"), np.array([4], np.uint64))
            feed(sets.new, [(1, 1, b"name")])
            assert len(sets.changed()) == 0


def test_another_stamp_is_another_name():
    names = [(1, 1, b"a"), (1, 1, b"b"), (1, 2, b"c")]
    with NameSets() as sets:
        feed(sets.old, names, stamps=np.array([5, 6, 7]))
        feed(sets.new, names, stamps=np.array([5, 5, 7]))
        assert pairs(sets.changed()) == [(1, 1)]


def test_names_exchanged_between_inodes():
    with NameSets() as sets:
        feed(sets.old, [(1, 1, b"a"), (1, 1, b"b"), (1, 2, b"c"), (1, 2, b"d")])
        feed(sets.new, [(1, 1, b"a"), (1, 1, b"c"), (1, 2, b"b"), (1, 2, b"d")])
        assert pairs(sets.changed()) == [(1, 1), (1, 2)]


@pytest.mark.parametrize("records_max", [1 << 17, 1 << 10], ids=["in memory", "spilled"])
def test_many_names(tmp_path, records_max):
    """20,000 inodes of two names each; one in a thousand was renamed."""
    count = 40_000
    inos = (np.arange(count, dtype=np.uint64) // 2) * np.uint64(2654435761) % np.uint64(2**32)
    devs = np.arange(count, dtype=np.uint64) // 2 % 3
    with NameSets(tmp_path, records_max=records_max) as sets:
        for into, renamed in ((sets.old, b""), (sets.new, b"!")):
            paths = [b"folder/%d" % i + (renamed if i % 1000 == 0 else b"") for i in range(count)]
            into(devs, inos, b"".join(paths), np.cumsum([len(path) for path in paths]).astype(np.uint64))
        changed = sets.changed()
    assert pairs(changed) == sorted(zip(devs[::1000].tolist(), inos[::1000].tolist(), strict=True))


MILLION = """
import resource, sys
from pathlib import Path
import numpy as np
from tapeloom.agent.links import FirstNames
from tapeloom.agent.namesets import NameSets

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder, before = Path(sys.argv[1]), peak_kib()
with FirstNames(folder) as table, NameSets(folder) as sets:
    for name in range(2):
        for start in range(0, 500_000, 5000):
            inos = np.arange(start, start + 5000, dtype=np.uint64)
            paths = [b"folder/%d/some/more/of/it/%d" % (name, ino) for ino in inos.tolist()]
            for ino, path in zip(inos.tolist(), paths, strict=True):
                assert (table.known(1, ino, 2, path) is None) == (name == 0)
            ends = np.cumsum([len(path) for path in paths]).astype(np.uint64)
            sets.old(np.ones(5000, np.uint64), inos, b"".join(paths), ends)
            sets.new(np.ones(5000, np.uint64), inos, b"".join(paths), ends)
    sets.new(np.ones(1, np.uint64), inos[-1:], b"one more", np.array([8], np.uint64))
    changed = sets.changed()
assert changed.inodes.tolist() == [499_999]
print(peak_kib() - before)
"""


@pytest.mark.slow
def test_a_million_hard_links_in_little_memory(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(tapeloom.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", MILLION, tmp_path], env=environment, check=True, capture_output=True, text=True
    )
    assert int(run.stdout) < 40 << 10


# Trouble


def test_no_room_to_spill(tmp_path):
    gone = tmp_path / "gone"
    with (
        FirstNames(gone, memory_bytes=0) as table,
        pytest.raises(SourceError, match=r"no room in .*gone: No such file"),
    ):
        table.known(1, 1, 2, b"a")
    with NameSets(gone, records_max=1) as sets, pytest.raises(SourceError, match=r"no room in .*gone: No such file"):
        feed(sets.new, [(1, 1, b"a"), (1, 2, b"b")])
    assert tempfile.gettempdir() in str(links.no_room(None, OSError(28, "full")))


def test_a_spill_that_breaks_off(tmp_path):
    class Full:
        def execute(self, *_):
            raise sqlite3.OperationalError("database or disk is full")

        executemany = execute

        def close(self):
            pass

    with FirstNames(tmp_path, memory_bytes=0) as table:
        table.known(1, 1, 2, b"a")
        table._beyond._table.close()
        table._beyond._table = Full()
        with pytest.raises(SourceError, match="database or disk is full; let TMPDIR name a roomier folder"):
            table.known(1, 1, 2, b"a")
        with pytest.raises(SourceError, match="disk is full"):
            table.known(1, 2, 2, b"b")
