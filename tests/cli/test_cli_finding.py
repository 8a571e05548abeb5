"""`files` and `find`, on indexes put beside a catalog by hand."""

from __future__ import annotations

import os
import sqlite3
from base64 import b64decode
from contextlib import closing
from uuid import UUID, uuid4

import click
import numpy as np
import pytest
from cli_world import Said, Site

from tapeloom.agent.rows import FILE, FOLDER, GONE, HARDLINK, RowBatch
from tapeloom.catalog import Catalog, CopyStatus, Outcome, Place
from tapeloom.cli.finding import files, find
from tapeloom.errors import NotFound
from tapeloom.index import IndexWriter
from tapeloom.volume.header import Content, Level

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


Objects = list[tuple[str, Level, int | None, list[Row] | None]]
"""Source, level, which of them it is an increment to, and its rows, None: there is no index."""


def made(site: Site, objects: Objects) -> list[UUID]:
    """Objects of one second after another, each with a complete copy."""
    ids = [uuid4() for _ in objects]
    with Catalog.open(site.folder / "state") as catalog:
        job = uuid4()
        catalog.begin_job(job, kind="backup", groups=["nightly"])
        for n, (source, level, parent, rows) in enumerate(objects):
            above = None if parent is None else ids[parent]
            about = {"source": source, "job": job, "as_of": n * 10**9, "level": level, "parent": above}
            catalog.add_object(ids[n], content=Content.PAX, copies=[Place("BMA1", "nightly", "R1")], **about)
            catalog.object_ended(ids[n], outcome=Outcome.WHOLE, blocks=0, bytes=1, files=0, troubles=[], step=None)
            if rows is not None:
                path = catalog.index_path(catalog.object(ids[n]))
                path.parent.mkdir(exist_ok=True)
                writer = IndexWriter(path, ids[n], source)
                writer.add(batch(rows))
                writer.finish(0)
        file = catalog.path
    with closing(sqlite3.connect(file)) as database, database:  # there is no tape to have receipts for
        database.execute("UPDATE copies SET status = ?", [CopyStatus.COMPLETE.value])
    return ids


@pytest.fixture
def indexed(site: Site) -> tuple[Site, list[UUID]]:
    """Two objects of docs with indexes, one of mail with none."""
    full, more = Level.FULL, Level.INCREMENTAL
    return site, made(site, [("docs", full, None, OLD), ("docs", more, 0, NEW), ("mail", full, None, None)])


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
    assert lines[2].endswith('  "b\\377\\n.txt"')
    assert lines[3].endswith("  link = a.txt")
    assert "1970-01-01" in lines[1] or "1969-12-31" in lines[1]


def test_files_of_a_source_are_its_newest_objects(indexed: tuple[Site, list[UUID]]) -> None:
    site, _ = indexed
    lines = said(site, files, "docs").out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("deleted")
    (one,) = said(site, files, "docs", "b*", "--json").json
    assert (one["path"], b64decode(one["path_bytes"])) == ("b\ufffd\n.txt", b"b\xff\n.txt")
    assert said(site, files, "docs", "none*", "--json").json == []


def test_files_without_an_index(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    with pytest.raises(NotFound, match=f"object {ids[2]} of mail has no file index here"):
        said(site, files, "mail")


def test_find_gives_what_is_in_the_newest_state(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    found = said(site, find, "*.txt", "--json")
    assert [(one["object"], b64decode(one["path_bytes"]), one["size"]) for one in found.json] == [
        (str(ids[1]), b"b\xff\n.txt", 7)
    ]
    assert "1 object without a file index not searched" in found.err
    then = said(site, find, "*.txt", "--json", "--at", "1970-01-01 00:00:00Z")
    assert [(one["object"], one["size"]) for one in then.json] == [(str(ids[0]), 5), (str(ids[0]), 6)]


def test_find_what_was_deleted(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    (one,) = said(site, find, "*", "--deleted", "--json", "--source", "docs").json
    assert (one["object"], one["path"], one["size"]) == (str(ids[0]), "a.txt", 5)
    assert one["deleted_as_of"] == "1970-01-01T00:00:01.000000Z" or one["deleted_as_of"].startswith(
        "1970-01-01T00:00:01"
    )
    assert "a.txt  (deleted, as of 19" in said(site, find, "*", "--deleted", "--source", "docs").out


def test_what_is_deleted_with_its_folder_or_missing_from_a_full_one(site: Site) -> None:
    full, more = Level.FULL, Level.INCREMENTAL
    tree: list[Row] = [(b"", FOLDER, 0, b""), (b"f", FOLDER, 0, b""), (b"f/x", FILE, 1, b""), (b"y", FILE, 1, b"")]
    gone: list[Row] = [(b"f", GONE, 0, b"")]
    ids = made(
        site,
        [
            ("docs", full, None, tree),
            ("docs", more, 0, gone),
            ("docs", more, 1, tree[1:3]),
            ("docs", full, None, tree[:1]),
        ],
    )
    kinds = {path: said(site, find, path, "--versions", "--json").json for path in ("/f/x", "/y")}
    assert [(ids.index(UUID(one["object"])), one["kind"]) for one in kinds["/f/x"]] == [
        (3, "deleted"),
        (2, "file"),
        (1, "deleted"),
        (0, "file"),
    ]
    assert [(ids.index(UUID(one["object"])), one["kind"]) for one in kinds["/y"]] == [(3, "deleted"), (0, "file")]
    assert said(site, find, "/f/x").out == ""


def test_the_state_of_a_source(indexed: tuple[Site, list[UUID]]) -> None:
    site, _ = indexed
    now = said(site, files, "docs", "--state")
    assert [line.rpartition("  ")[2] for line in now.out.splitlines()] == [".", '"b\\377\\n.txt"', "link = a.txt"]
    bare = said(site, files, "docs", "--state", "--null").out
    assert [bare.count("\0"), bare.startswith(".\0b"), bare.endswith("\n.txt\0link\0")] == [3, True, True]
    then = said(site, files, "docs", "--at", "1970-01-01 00:00:00Z", "*.txt", "--json").json
    assert [one["size"] for one in then] == [5, 6]


def test_paths_are_asked_for_by_their_bytes(indexed: tuple[Site, list[UUID]]) -> None:
    site, _ = indexed
    assert len(said(site, find, os.fsdecode(b"b\xff\n.txt")).out.splitlines()) == 1
    assert len(said(site, find, os.fsdecode(b"*\xff\n*")).out.splitlines()) == 1


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
    assert (found.status, found.out) == (1, "")
    assert len(said(site, find, "*", "--source", "docs", "--versions").out.splitlines()) == 4
    assert f"{ids[1]}.parquet is no whole file index" in found.err


def test_another_objects_index_is_refused(indexed: tuple[Site, list[UUID]]) -> None:
    site, ids = indexed
    with Catalog.open(site.folder / "state", readonly=True) as catalog:
        one, other = (catalog.index_path(catalog.object(id)) for id in ids[:2])
    one.rename(other)
    assert f"is the file index of object {ids[0]}, not of" in said(site, find, "*", "--source", "docs").err


def test_a_terminal_gets_so_many_lines(indexed: tuple[Site, list[UUID]], monkeypatch: pytest.MonkeyPatch) -> None:
    site, ids = indexed
    monkeypatch.setattr("tapeloom.cli.entries.LINES_MAX", 1)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    found = said(site, files, str(ids[0]))
    assert len(found.out.splitlines()) == 1
    assert "and 3 more" in found.err
