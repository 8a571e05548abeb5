"""Objects of a tree's versions, made from plain data: archives as stock tar reads them, and their file indexes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryFile
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from ops_world import World

from tapeloom.agent.rows import FILE, FOLDER, GONE, HARDLINK, RowBatch
from tapeloom.catalog import Object
from tapeloom.catalog.beside import index_path, make_folder
from tapeloom.index import IndexWriter
from tapeloom.ops.backup import open_backup
from tapeloom.ops.mounts import Mounts
from tapeloom.runtime.coding import Coding
from tapeloom.runtime.reading import Place
from tapeloom.runtime.stream import Facts
from tapeloom.seal.files import seal_file
from tapeloom.volume.header import Level

MTIME = 1_700_000_000


@dataclass(frozen=True)
class Link:
    """Another name of the file `to`."""

    to: str


Tree = Mapping[str, bytes | Link | None]
"""Paths without "./": a file's content, None for a folder, a hard link. The root is not in it."""


def key(path: str) -> bytes:
    return os.fsencode(path).replace(b"/", b"\0")


def names_in(tree: Tree, folder: str) -> dict[str, str]:
    """A folder's names, with D for a folder and Y for anything else."""
    found = {}
    for path, what in tree.items():
        above, _, name = path.rpartition("/")
        if above == folder:
            found[name] = "D" if what is None else "Y"
    return found


class Archive:
    """A pax archive in the making: a full one, or with `before` what has changed since then."""

    def __init__(self, tree: Tree, before: Tree | None):
        self.data = bytearray()
        self.rows: list[tuple[str, int, int, int, str]] = []  # path, kind, size, offset, link
        paths = sorted({"", *tree, *(before or {})}, key=key)
        gone = [path for path in paths if path and path not in tree]
        gone = [path for path in gone if path.rpartition("/")[0] not in gone]  # the topmost ones
        for path in paths:
            if path in gone and tree.get(path.rpartition("/")[0], None) is None:
                self.rows.append((path, GONE, 0, len(self.data), ""))
            elif path in tree or not path:
                self._entry(path, tree, before)
        self.end = len(self.data)
        self.data += bytes(1024)

    def _entry(self, path: str, tree: Tree, before: Tree | None) -> None:
        what = tree.get(path)
        new = before is None or (path not in before and bool(path))
        headers = {}
        if what is None:
            listing = names_in(tree, path)
            if not new and before is not None and before.get(path) is None and listing == names_in(before, path):
                return
            if before is not None:
                letters = {
                    name: letter if letter == "D" or self._written(f"{path}/{name}".lstrip("/"), tree, before) else "N"
                    for name, letter in listing.items()
                }
                ordered = sorted(letters, key=os.fsencode)
                headers["GNU.dumpdir"] = "".join(f"{letters[name]}{name}\0" for name in ordered) + "\0"
        elif not self._written(path, tree, before):
            return
        info = tarfile.TarInfo(f"./{path}/" if what is None and path else f"./{path}")
        info.mtime, info.pax_headers = MTIME, headers
        info.mode = 0o755 if what is None else 0o640
        content = b""
        if what is None:
            info.type, kind = tarfile.DIRTYPE, FOLDER
        elif isinstance(what, Link):
            info.type, info.linkname, kind = tarfile.LNKTYPE, f"./{what.to}", HARDLINK
        else:
            info.size, content, kind = len(what), what, FILE
        self.rows.append((path, kind, len(content), len(self.data), info.linkname))
        self.data += info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
        self.data += content + bytes(-len(content) % 512)

    @staticmethod
    def _written(path: str, tree: Tree, before: Tree | None) -> bool:
        def names(of: Tree, path: str) -> tuple[object, frozenset[str]]:
            what = of.get(path)
            first = what.to if isinstance(what, Link) else path
            return of.get(first), frozenset(p for p, w in of.items() if p == first or w == Link(first))

        return before is None or names(tree, path) != names(before, path)

    def batch(self) -> RowBatch:
        def texts(values: Sequence[str]) -> tuple[bytes, Any]:
            raw = [os.fsencode(value) for value in values]
            return b"".join(raw), np.cumsum([len(one) for one in raw], dtype=np.uint64)

        paths, path_ends = texts([row[0] for row in self.rows])
        links, link_ends = texts([row[4] for row in self.rows])
        many = len(self.rows)
        return RowBatch(
            paths,
            path_ends,
            np.array([row[1] for row in self.rows], np.uint8),
            np.full(many, 0o640, np.uint32),
            np.zeros(many, np.uint32),
            np.zeros(many, np.uint32),
            np.array([row[2] for row in self.rows], np.uint64),
            np.full(many, MTIME * 10**9, np.int64),
            np.array([row[3] for row in self.rows], np.uint64),
            links,
            link_ends,
        )


@dataclass
class Report:
    files: int
    troubles: Sequence[object] = ()
    troubles_beyond: int = 0


class Given:
    """A source whose next object is this archive."""

    content = 1
    index = None

    def __init__(
        self, name: str, archive: Archive, level: Level, parent: UUID | None, state: Path, coding: Coding | None
    ):
        self.name = name
        self._archive, self._level, self._parent, self._state = archive, level, parent, state
        self._coding = coding

    def begins(self, object_id: UUID, as_of_ns: int) -> Facts:
        self._id = object_id
        return Facts(int(self._level), self._parent, self._coding, digest="sha256")

    def run(self, sink: Any) -> Report:
        sink.write(bytes(self._archive.data))
        sealed = self._coding is not None and self._coding.key is not None
        path = index_path(self._state, self._id, sealed=sealed)
        make_folder(path)
        with TemporaryFile() as clear:
            index = IndexWriter(clear if sealed else path, self._id, self.name)
            index.add(self._archive.batch())
            index.finish(self._archive.end)
            if self._coding is not None and sealed:
                seal_file(clear.fileno(), path, self._coding, self._id)
        return Report(sum(row[1] == FILE for row in self._archive.rows))


@dataclass
class Chains:
    """Versions of one source D1, each an object on the tapes of `world`."""

    world: World
    trees: list[Tree] = field(default_factory=list)
    items: list[Object] = field(default_factory=list)
    coding: Coding | None = None

    def add(self, tree: Tree, *, level: Level | None = None, on: int = -1) -> Object:
        """The next version: by default the first is full, and each further one an increment to the one before, or
        to the version `on`."""
        if level is None:
            level = Level.INCREMENTAL if self.items else Level.FULL
        full = level is Level.FULL
        archive = Archive(tree, None if full else self.trees[on])
        given = Given("D1", archive, level, None if full else self.items[on].id, self.world.state, self.coding)
        with open_backup(self.world.config, None, {"D1": given}) as backup:  # type: ignore[dict-item]
            result = backup.run()
        assert result.exit_status == 0, result
        item = self.world.object("D1")
        assert item.level is level
        self.trees.append(tree)
        self.items.append(item)
        return item

    def index(self, n: int) -> Path:
        return index_path(self.world.state, self.items[n].id, sealed=False)


def read(target: Path) -> dict[str, bytes | Link | None]:
    """What stands in a folder, as a Tree."""
    found: dict[str, bytes | Link | None] = {}
    first: dict[int, str] = {}
    for path in sorted(target.rglob("*"), key=lambda p: key(str(p.relative_to(target)))):
        name = str(path.relative_to(target))
        there = path.lstat()
        if path.is_dir():
            found[name] = None
        elif there.st_nlink > 1 and there.st_ino in first:
            found[name] = Link(first[there.st_ino])
        else:
            first[there.st_ino] = name
            found[name] = path.read_bytes()
    return found


def content(size: int, seed: object) -> bytes:
    return Random(str(seed)).randbytes(size)


def week() -> Iterator[dict[str, bytes | Link | None]]:
    """A tree and what becomes of it: changed, new and removed files and folders, a folder that becomes a file and the
    other way round, hard links that come and go."""
    tree: dict[str, bytes | Link | None] = {"a": None, "a/sub": None, "b": None, "z-empty": None}
    tree |= {f"a/{n}": content(9_000, n) for n in range(30)}
    tree |= {f"a/sub/{n}": content(700, f"sub{n}") for n in range(20)}
    tree |= {f"b/{n}": content(40_000, f"b{n}") for n in range(8)}
    tree |= {"b/link": Link("b/1"), "kind": None, "kind/in it": b"old", "other": b"a file"}
    yield dict(tree)
    tree["a/7"] = content(9_500, "new 7")
    tree["a/new"] = content(3_000, "new")
    del tree["a/3"], tree["z-empty"]
    yield dict(tree)
    for path in [path for path in tree if path == "a/sub" or path.startswith("a/sub/")]:
        del tree[path]
    del tree["kind"], tree["kind/in it"]
    tree |= {"kind": b"a file now", "other": None, "other/file": content(20_000, "other"), "b/link2": Link("b/1")}
    yield dict(tree)
    tree |= {"a/sub": None, "a/sub/0": b"again", "a/7": content(12_000, "newest 7")}
    del tree["b/link"], tree["b/2"]
    yield dict(tree)


@dataclass
class Counted:
    """What drives were asked for: volumes that were mounted, locates, blocks read through."""

    mounted: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    @property
    def locates(self) -> int:
        return sum(place.locates for place in self.places)

    @property
    def read_through(self) -> int:
        return sum(place.read_through for place in self.places)


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    """Looks over the shoulder of all mounting."""
    counted = Counted()
    place = Mounts.place

    def looked_at(self: Mounts, volume: UUID) -> Place:
        before = len(self.labels)
        found = place(self, volume)
        counted.mounted += self.labels[before:]
        if not any(found is one for one in counted.places):
            counted.places.append(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Mounts, "place", looked_at)
        yield counted
