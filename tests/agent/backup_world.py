"""A tree and its backups, one against another."""

from __future__ import annotations

import errno
import io
import tarfile
from pathlib import Path
from uuid import UUID

from agent_world import MemorySink

from tapeloom.agent import tree
from tapeloom.agent.rows import RowBatch
from tapeloom.agent.snapshot import Snapshot, SnapshotWriter
from tapeloom.agent.tree import TreeSource

OBJECT = UUID("0192f0c4-0000-7000-8000-000000000001")


class Rows:
    def __init__(self) -> None:
        self.found: list[tuple[bytes, int]] = []

    def add(self, batch: RowBatch) -> None:
        begin = 0
        for end, kind in zip(batch.path_ends.tolist(), batch.kind.tolist(), strict=True):
            self.found.append((bytes(batch.paths[begin:end]), kind))
            begin = end


class World:
    """A tree, and the backups of it: each number stands for the snapshot of one."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.tree = folder / "tree"
        self.tree.mkdir()

    def backup(self, number: int, since: int | None = None, sink: MemorySink | None = None, source=None, rows=None):
        sink = sink or MemorySink()
        keep = SnapshotWriter.create(self.folder / f"snapshot{number}", OBJECT)
        old = Snapshot.open(self.folder / f"snapshot{since}") if since is not None else None
        report = (source or TreeSource([self.tree])).run(sink, since=old, keep=keep, rows=rows)
        keep.finish()
        return bytes(sink.data), [(trouble.path, trouble.what) for trouble in report.troubles]

    def marks(self, number: int, *path: bytes) -> int:
        with Snapshot.open(self.folder / f"snapshot{number}") as snapshot:
            (record,) = snapshot.level()
            for name in path:
                record = next(r for r in snapshot.level(record[10], record[11]) if r[0] == name)
            return record[2]


def members(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        return [member.name for member in found]


def unreachable(monkeypatch, path: bytes) -> None:
    """The folder that *path* needs cannot be opened again when its turn comes."""
    odd = tree._Taking._odd

    def handle(reading, skip, what, found, name, fd, error, *rest):
        gone = found == path
        odd(reading, skip, what, found, name, -1 if gone else fd, errno.ESTALE if gone else error, *rest)

    monkeypatch.setattr(tree._Taking, "_odd", handle)
