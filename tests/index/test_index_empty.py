"""An object without rows: nothing is made, and its index is one all the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from index_world import OBJECT, Entry, Rows, batch_of, opened

from tapeloom.agent.rows import FOLDER
from tapeloom.index import EmptyIndex, IndexWriter, Wanted, final_rows, final_state


def test_nothing_is_made_where_no_row_comes(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "one", OBJECT, "docs")
    writer.add(batch_of({}))
    assert not any(thread.name == "index of docs" for thread in threading.enumerate())
    summary = writer.finish(0)
    assert (summary.files, summary.rows, summary.bytes) == (0, 0, 0)
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_arrow_is_not_loaded_for_it() -> None:
    program = """
import sys
from pathlib import Path
from uuid import UUID
from tapeloom.index import EmptyIndex, IndexWriter
IndexWriter(Path("none"), UUID(int=1), "docs").finish(0)
with EmptyIndex(UUID(int=1), "docs") as index:
    assert index.find(b"a") is None
print("pyarrow" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_it_answers_as_an_index_without_rows() -> None:
    with EmptyIndex(OBJECT, "docs") as index:
        assert (index.object_id, index.count, index.end, index.group_keys) == (OBJECT, 0, 0, [])
        assert (index.facts.source, index.facts.rows, index.facts.files) == ("docs", 0, 0)
        assert index.find(b"") is None
        assert index.kind_of(b"a") is None
        assert index.range_of(b"a") == (0, 0)
        assert index.next_entry(0) is None
        for found in (index.matching(), index.matching(Wanted.parse(["*"], below=True)), index.below(b"")):
            assert list(found) == []
        assert list(index.overlapping(0, 1 << 40)) == []


@pytest.mark.parametrize("place", [0, 1, 2])
def test_it_changes_nothing_in_a_chain(place: int) -> None:
    chain: list[Rows] = [
        {b"": Entry(FOLDER), b"a": Entry(), b"b": Entry()},
        {b"": Entry(FOLDER), b"b": Entry(version=2)},
    ]
    longer = [*chain[:place], {}, *chain[place:]]
    with opened(*chain) as plain, opened(*longer) as with_it:
        assert list(final_state(with_it)) == list(final_state(plain))
        shares, expected = final_rows(with_it), final_rows(plain)
    empty = shares.pop(place)
    assert (empty.entries, empty.sequence_bytes, empty.pulled) == (0, 0, ())
    assert [share.parts.tolist() for share in shares] == [share.parts.tolist() for share in expected]
