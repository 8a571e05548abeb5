"""`files` and `find`, on indexes put beside a catalog by hand."""

from __future__ import annotations

from uuid import UUID, uuid4

import click
import numpy as np
import pytest
from cli_world import Said, Site

from tapeloom.agent.rows import FILE, FOLDER, GONE, HARDLINK, RowBatch
from tapeloom.catalog import Catalog
from tapeloom.cli.finding import files, find
from tapeloom.errors import NotFound
from tapeloom.index import IndexWriter
from tapeloom.volume.header import Content

Row = tuple[bytes, int, int, bytes]


def batch(rows: list[Row]) -> RowBatch:
    paths, kinds, sizes, links = zip(*rows, strict=True)
    many = len(rows)
    return RowBatch(
        paths=b"".join(paths),
        path_ends=np.cumsum([len(path) for path in paths], dtype=np.uint64),
        kind=np.array(kinds, np.uint8),
        mode=np.full(many, 0o640, np.uint32),
        uid=np.zeros(many, np.uint32),
        gid=np.zeros(many, np.uint32),
        size=np.array(sizes, np.uint64),
        mtime=np.full(many, -5 * 10**9, np.int64),
        offset=np.zeros(many, np.uint64),
        links=b"".join(links),
        link_ends=np.cumsum([len(link) for link in links], dtype=np.uint64),
    )


OLD: list[Row] = [
    (b"", FOLDER, 0, b""),
    (b"a.txt", FILE, 5, b""),
    (b"b\xff\n.txt", FILE, 6, b""),
    (b"link", HARDLINK, 0, b"./a.txt"),
]
NEW: list[Row] = [(b"a.txt", GONE, 0, b""), (b"b\xff\n.txt", FILE, 7, b"")]


@pytest.fixture
def indexed(site: Site) -> tuple[Site, list[UUID]]:
    """Two objects of docs with indexes, one of mail with none."""
    ids = [uuid4() for _ in range(3)]
    with Catalog.open(site.folder / "state") as catalog:
        job = uuid4()
        catalog.begin_job(job, kind="backup", groups=["nightly"])
        for n, (id, source) in enumerate(zip(ids, ["docs", "docs", "mail"], strict=True)):
            catalog.add_object(id, source=source, job=job, as_of=n * 10**9, content=Content.PAX, copies=())
        for id, rows in zip(ids, (OLD, NEW), strict=False):
            path = catalog.index_path(catalog.object(id))
            path.parent.mkdir(exist_ok=True)
            writer = IndexWriter(path, id, "docs")
            writer.add(batch(rows))
            writer.finish(0)
    return site, ids


def said(site: Site, verb: click.Command, *words: str) -> Said:
    site.capture.readouterr()
    status = verb.main([*words], obj=site.file, standalone_mode=False)
    return Said(status or 0, *site.capture.readouterr())


def test_files_of_an_object(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    lines = said(site, files, str(ids[0])).out.splitlines()
    assert [line.split()[0] for line in lines] == ["drw-r-----", "-rw-r-----", "-rw-r-----", "-rw-r-----"]
    assert lines[0].endswith("  .")
    assert lines[1].endswith("  a.txt")
    assert lines[2].endswith("  b\\udcff\\n.txt")
    assert lines[3].endswith("  link = ./a.txt")
    assert "1970-01-01" in lines[1] or "1969-12-31" in lines[1]


def test_files_of_a_source_are_its_newest_objects(indexed: tuple[Site, list[UUID]]) -> None:
    site, _ = indexed
    lines = said(site, files, "docs").out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("deleted")
    assert [one["path"] for one in said(site, files, "docs", "b*", "--json").json] == ["b\udcff\n.txt"]
    assert said(site, files, "docs", "none*", "--json").json == []


def test_files_without_an_index(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    with pytest.raises(NotFound, match=f"object {ids[2]} of mail has no file index here"):
        said(site, files, "mail")


def test_find_gives_the_newest_version_that_is_one(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    found = said(site, find, "*.txt", "--json")
    assert [(one["object"], one["path"], one["size"]) for one in found.json] == [
        (str(ids[0]), "a.txt", 5),
        (str(ids[1]), "b\udcff\n.txt", 7),
    ]
    assert "1 object without a file index not searched" in found.err


def test_find_all_versions(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    found = said(site, find, "*.txt", "--versions", "--source", "docs", "--json")
    assert [(one["object"], one["kind"]) for one in found.json] == [
        (str(ids[1]), "deleted"),
        (str(ids[0]), "file"),
        (str(ids[1]), "file"),
        (str(ids[0]), "file"),
    ]
    assert not found.err
    lines = said(site, find, "/a.txt", "--versions").out.splitlines()
    assert [line.split()[0] for line in lines] == ["docs", "docs"]
    assert str(ids[1])[:18] in lines[0]
    assert "deleted" in lines[0]


def test_a_damaged_index_is_said_and_the_others_searched(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    with Catalog.open(site.folder / "state", readonly=True) as catalog:
        catalog.index_path(catalog.object(ids[1])).write_bytes(b"nothing")
    found = said(site, find, "*", "--source", "docs")
    assert found.status == 1
    assert len(found.out.splitlines()) == 4
    assert f"{ids[1]}.parquet is no whole file index" in found.err


def test_another_objects_index_is_refused(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    with Catalog.open(site.folder / "state", readonly=True) as catalog:
        one, other = (catalog.index_path(catalog.object(id)) for id in ids[:2])
    one.rename(other)
    assert f"is the file index of object {ids[0]}, not of" in said(site, find, "*", "--source", "docs").err


def test_a_terminal_gets_so_many_lines(indexed: tuple[Site, list[UUID]], monkeypatch: pytest.MonkeyPatch) -> None:
    site, ids = indexed
    monkeypatch.setattr("tapeloom.cli.finding.LINES_MAX", 1)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    found = said(site, files, str(ids[0]))
    assert len(found.out.splitlines()) == 1
    assert "and 3 more" in found.err
