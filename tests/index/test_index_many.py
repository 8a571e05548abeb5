"""Thousands of indexes at once, with few descriptors; the entries of a state."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_world import Entry, opened, state_after, write

from tapeloom import filepool
from tapeloom.agent.rows import FILE, FOLDER, GONE
from tapeloom.errors import CatalogError
from tapeloom.filepool import PooledFile
from tapeloom.index import Index, final_entries

MANY = 5000

PROGRAM = f"""
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from tapeloom.index import Index, Wanted, final_entries, final_rows
one, = Path(sys.argv[1]).iterdir()
indexes = [Index.open(one) for _ in range({MANY})]
shares = final_rows(indexes)
print(sum(share.entries for share in shares), shares[-1].entries)
print([(level, entry.path) for level, entry in final_entries(indexes, Wanted.parse(["a/*"]))])
print(sum(len(batch) for index in indexes for batch in index.matching()))
"""


def test_more_indexes_than_descriptors(tmp_path: Path) -> None:
    write(tmp_path / "one.parquet", {b"": Entry(FOLDER), b"a": Entry(FOLDER), b"a/b": Entry(FILE, 5)})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3 3", f"[({MANY - 1}, b'a/b')]", str(3 * MANY)]


def test_another_file_in_its_place_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filepool, "OPEN_MAX", 1)
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        write(path, {b"a": Entry(FILE, 5)})
    with Index.open(one) as index, Index.open(other):
        os.rename(other, one)
        with pytest.raises(CatalogError, match="another file has taken its place"):
            index.find(b"a")


def test_a_pooled_file_reads_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filepool, "OPEN_MAX", 1)
    (tmp_path / "a").write_bytes(b"0123456789")
    with PooledFile(tmp_path / "a") as a, PooledFile(tmp_path / "a") as b:
        assert (a.read(3), b.read(4), a.read(3), b.read(), a.tell()) == (b"012", b"0123", b"345", b"456789", 6)
        assert (a.seek(-2, os.SEEK_END), a.read(5), a.read(5)) == (8, b"89", b"")
        before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == before - 1


ROWS = st.dictionaries(
    st.lists(st.sampled_from([b"a", b"b", b"a.b"]), min_size=1, max_size=3).map(b"/".join),
    st.builds(Entry, st.sampled_from([FILE, FOLDER, GONE]), version=st.integers(0, 9)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_entries_of_a_state(chain: list[dict[bytes, Entry]]) -> None:
    with opened(*chain) as indexes:
        found = {entry.path: (level, entry.kind, entry.mtime) for level, entry in final_entries(indexes)}
    assert found == {path: (level, one.kind, one.version) for path, (level, one) in state_after(chain).items()}
