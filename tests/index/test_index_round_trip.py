"""What was written is what is read, however it was cut into batches, and found as by looking at every row."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import UUID

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_world import (
    FILE,
    FOLDER,
    GONE,
    HARDLINK,
    OBJECT,
    Entry,
    Rows,
    batch_of,
    end_of,
    is_below,
    key,
    layout,
    opened,
    paths_of,
    stored,
    write,
)

from tapeloom.agent.rows import SYMLINK, RowBatch
from tapeloom.errors import CatalogError, FormatError, IndexDamaged, NotFound, VersionTooNew
from tapeloom.index import Index, IndexWriter, form
from tapeloom.index.writer import guard_footer

NAMES = st.sampled_from([b"a", b"b", b"a.b", b"a b", b"\xff\xfe", b"\n", b"\x01", b"z" * 255, b"ab", b".", b"-"])
PATHS = st.lists(NAMES, max_size=4).map(b"/".join)
ENTRIES = st.builds(
    Entry,
    kind=st.sampled_from([FILE, FOLDER, SYMLINK, HARDLINK, GONE]),
    size=st.integers(0, 5000),
    link=st.sampled_from([b"", b"./a", b"\xff/x\n"]),
    version=st.sampled_from([-(2**62), -1, 0, 1, 2**62]),
)
TREES = st.dictionaries(PATHS, ENTRIES, min_size=1, max_size=40)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(rows=TREES, batches=st.integers(1, 9))
def test_what_was_written_is_read(small_groups: None, rows: Rows, batches: int) -> None:
    whole = batch_of(rows)
    packed = stored(rows, batches=batches)
    with Index.open(io.BytesIO(packed)) as index:
        assert index.facts.object == index.object_id == OBJECT
        assert (index.facts.source, index.facts.step, index.end) == ("docs", 4096, end_of(rows))
        kinds = whole.kind.tolist()
        assert index.count == len(rows)
        assert (index.facts.files, index.facts.folders, index.facts.gone) == tuple(
            map(kinds.count, (FILE, FOLDER, GONE))
        )
        assert index.facts.bytes == sum(entry.size for entry in rows.values() if entry.kind == FILE)
        read = list(index.matching())
        assert paths_of(read) == paths_of([whole])
        for name in ("kind", "mode", "uid", "gid", "size", "mtime", "offset"):
            assert [value for batch in read for value in getattr(batch, name).tolist()] == getattr(whole, name).tolist()
        assert b"".join(batch.links for batch in read) == whole.links
    assert packed == stored(rows), "the file depends on how its rows were cut into batches"


@FEW
@given(rows=TREES, asked=PATHS)
def test_find_is_a_linear_search(small_groups: None, rows: Rows, asked: bytes) -> None:
    ordered, places = sorted(rows, key=key), layout(rows)
    with opened(rows) as (index,):
        for path in {asked, *rows}:
            row = index.find(path)
            if path not in rows:
                assert row is None
                assert index.kind_of(path) is None
                continue
            entry = rows[path]
            assert row is not None
            assert (row.number, row.path) == (ordered.index(path), path)
            assert (row.kind, row.size, row.mtime, row.link) == (entry.kind, entry.size, entry.version, entry.link)
            assert (row.begin, row.end) == places[path]
            assert index.kind_of(path) == entry.kind
        under = [n for n, path in enumerate(ordered) if path == asked or is_below(path, asked)]
        first, last = index.range_of(asked)
        assert list(range(first, last)) == under
        assert paths_of(index.below(asked)) == [ordered[n] for n in under]


@FEW
@given(rows=TREES, begin=st.integers(0, 30_000), length=st.integers(0, 10_000))
def test_what_lies_at_an_offset(small_groups: None, rows: Rows, begin: int, length: int) -> None:
    places = layout(rows)
    touched = [
        path for path in sorted(rows, key=key) if max(places[path][0], begin) < min(places[path][1], begin + length)
    ]
    behind = [places[path][0] for path in rows if places[path][0] >= begin and rows[path].kind != GONE]
    with opened(rows) as (index,):
        assert list(index.overlapping(begin, begin + length)) == touched
        assert index.next_entry(begin) == min(behind, default=None)


def test_long_paths_make_smaller_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.index.writer.GROUP_BYTES_MAX", 10_000)
    long = b"/".join([b"n" * 255] * 16)
    rows = {long + b"%d" % n: Entry() for n in range(9)} | {b"o%02d" % n: Entry() for n in range(20)}
    for batches in (1, 4, 29):
        with Index.open(io.BytesIO(stored(rows, batches=batches))) as index:
            assert len(index.group_keys) == 5
            row = index.find(long + b"7")
            assert row is not None
            assert len(row.path) == 4096
    assert stored(rows, batches=29) == stored(rows)


def test_the_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "one.parquet"
    rows = {b"": Entry(FOLDER), b"a": Entry()}
    writer = IndexWriter(target, OBJECT, "docs")
    writer.add(batch_of(rows))
    assert not target.exists()
    summary = writer.finish(1024)
    assert [path.name for path in tmp_path.iterdir()] == ["one.parquet"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert (summary.files, summary.rows, summary.bytes) == (1, 2, target.stat().st_size)
    with Index.open(target) as index:
        assert index.facts.step is None
        assert index.end == 1024


def test_an_abandoned_one_leaves_nothing(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "one.parquet", OBJECT, "docs")
    writer.add(batch_of({b"a": Entry()}))
    writer.abandon()
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_into_an_open_file() -> None:
    with tempfile.TemporaryFile() as file:
        for target in (file, file.fileno()):
            file.truncate(0)
            write(target, {b"a": Entry()})
            assert not file.closed
            with Index.open(open(file.fileno(), "rb", closefd=False)) as index:
                assert index.find(b"a")


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ([b"a", b"a"], "name 'a' twice"),
        ([b"a.b", b"a/b"], "'a.b' stands before 'a/b'"),
        ([*(b"%02d" % n for n in range(9)), b"1"], "'08' stands before '1'"),
        ([b"a", b"b", b"c", b"d", b"e", b"b"], "'e' stands before 'b'"),
    ],
)
def test_disorder_is_the_indexs_trouble_alone(
    small_groups: None, tmp_path: Path, paths: list[bytes], said: str
) -> None:
    if paths[-1] == b"1":
        paths[-1] = b"07"
        said = "'08' stands before '07'"
    writer = IndexWriter(tmp_path / "one", OBJECT, "docs")
    for path in paths:
        writer.add(batch_of({path: Entry()}))
    for n in range(50):
        writer.add(batch_of({b"x%d" % n: Entry()}))
    with pytest.raises(FormatError, match=said):
        writer.finish(0)
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_no_room_is_the_indexs_trouble_alone() -> None:
    """Also where it runs out only in the end, when the footer is written."""
    with open("/dev/full", "r+b", buffering=0) as full:
        writer = IndexWriter(full, OBJECT, "docs")
        writer.add(batch_of({b"a": Entry()}))
        with pytest.raises(CatalogError, match=rf"object {OBJECT} of docs cannot be .*{os.strerror(errno.ENOSPC)}"):
            writer.finish(512)


@pytest.mark.parametrize(
    ("error", "said"),
    [(pyarrow.ArrowInvalid("no such column"), "no such column"), (MemoryError(), "no memory is left")],
)
def test_what_arrow_cannot_do_is_the_indexs_trouble_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, said: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", fails)
    writer = IndexWriter(tmp_path / "one", OBJECT, "docs")
    writer.add(batch_of({b"a": Entry()}))
    with pytest.raises(CatalogError, match=f"object {OBJECT} of docs cannot be made: {said}"):
        writer.finish(512)
    assert not list(tmp_path.iterdir())


def test_no_folder_for_it(tmp_path: Path) -> None:
    writer = IndexWriter(tmp_path / "none" / "one", OBJECT, "docs")
    for n in range(20):
        writer.add(batch_of({b"%02d" % n: Entry()}))
    with pytest.raises(CatalogError, match=r"cannot be written at .*none/one: No such file"):
        writer.finish(0)


# Damage


@pytest.fixture(scope="module")
def whole() -> bytes:
    return stored({b"folder/file %d" % n: Entry(size=n) for n in range(300)})


@FEW
@given(at=st.integers(0, 2**32), bit=st.integers(0, 7))
def test_a_flipped_bit_never_makes_another_answer(whole: bytes, at: int, bit: int) -> None:
    """Either it is said, or nothing of the answer is in what was damaged."""
    damaged = bytearray(whole)
    damaged[at % len(whole)] ^= 1 << bit
    read, said = _read_or_told(bytes(damaged))
    if said is not None:
        assert "no whole file index" in said
        assert "\n" not in said
        return
    with Index.open(io.BytesIO(whole)) as index:
        for one, other in zip(read, index.matching(), strict=True):
            assert one.paths == other.paths
            assert one.offset.tolist() == other.offset.tolist()


def _read_or_told(packed: bytes) -> tuple[list[RowBatch], str | None]:
    try:
        with Index.open(io.BytesIO(packed)) as index:
            return list(index.matching()), None
    except IndexDamaged as error:
        return [], str(error)


@FEW
@given(length=st.integers(0, 2**32))
def test_a_cut_file_is_refused(whole: bytes, length: int) -> None:
    with pytest.raises(IndexDamaged):
        Index.open(io.BytesIO(whole[: length % len(whole)]))


def test_foreign_files(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    text = tmp_path / "text"
    text.write_bytes(b"no index at all\n" * 10)
    with pytest.raises(IndexDamaged, match="text is no whole file index"):
        Index.open(text)
    foreign = tmp_path / "foreign"
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a"]}), foreign)
    with pytest.raises(IndexDamaged, match="another program"):
        Index.open(foreign)
    with foreign.open("r+b") as file:
        guard_footer(file)
    with pytest.raises(IndexDamaged):
        Index.open(foreign)
    with pytest.raises(NotFound, match=r"no index .*nowhere"):
        Index.open(tmp_path / "nowhere")


def test_of_a_newer_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "VERSION", 2)
    newer = stored({b"a": Entry()})
    monkeypatch.undo()
    with pytest.raises(VersionTooNew, match="newer tapeloom"):
        Index.open(io.BytesIO(newer))


def test_any_reader_of_parquet_reads_it(tmp_path: Path) -> None:
    import pyarrow.parquet

    target = tmp_path / "one.parquet"
    write(target, {b"a/b": Entry(), b"c": Entry(size=5)}, object_id=UUID(int=1))
    table = pyarrow.parquet.read_table(target)
    assert table.column("path").to_pylist() == [b"a/b", b"c"]
    assert table.column("size").to_pylist() == [0, 5]


def test_arrow_is_loaded_late() -> None:
    program = "import sys, tapeloom.index; sys.exit('pyarrow' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == 0
