"""The file index and the snapshot of one object, made while it is written and kept beside the catalog.

What goes wrong with them never breaks the object: it becomes one of its troubles. Those of sealed objects never lie on
a disk in the clear under a name: they are made in files without one, and sealed when they are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import UUID

from tapeloom.agent.snapshot import SnapshotWriter
from tapeloom.catalog.beside import index_path, make_folder, snapshot_path
from tapeloom.errors import TapeloomError

if TYPE_CHECKING:
    from tapeloom.index import IndexWriter
    from tapeloom.runtime.coding import Coding


class Keeping:
    """Of one object. `rows` and `snapshot` are None until they are begun, and where they could not be; `troubles` say
    why."""

    def __init__(self, state: Path, source: str, object_id: UUID, coding: Coding | None):
        self.troubles: list[str] = []
        self.index: Path | None = None
        """Where the whole index can be read in the clear, after `finish` and until `close`; None where it has no
        rows."""
        self.rows: IndexWriter | None = None
        self.snapshot: SnapshotWriter | None = None
        self._source = source
        self._id = object_id
        self._coding = coding if coding is not None and coding.key_id is not None else None
        self._unnamed: dict[Path, IO[bytes]] = {}
        self._open = ExitStack()
        sealed = self._coding is not None
        self._index_path = index_path(state, object_id, sealed=sealed)
        self._snapshot_path = snapshot_path(state, object_id, sealed=sealed)

    def begin_index(self) -> None:
        from tapeloom.index import IndexWriter  # the snapshot may be begun long before

        with self._telling("file index"):
            file = self._place(self._index_path)
            self.rows = IndexWriter(file or self._index_path, self._id, self._source)

    def begin_snapshot(self) -> None:
        with self._telling("snapshot"):
            file = self._place(self._snapshot_path)
            self.snapshot = SnapshotWriter.create(file.fileno() if file else self._snapshot_path, self._id)

    def finish(self, end: int) -> None:
        """The object is whole; its last entry ends at byte `end` of its sequence."""
        if self.rows is not None:
            with self._telling("file index"):
                if self.rows.finish(end).rows:
                    self.index = self._sealed(self._index_path)
        if self.snapshot is not None:
            with self._telling("snapshot"):
                self.snapshot.finish()
                self._sealed(self._snapshot_path)

    def abandon(self) -> None:
        """Of a broken-off object nothing is kept: neither would be right."""
        for writer in (self.rows, self.snapshot):
            if writer is not None:
                writer.abandon()
        self.close()

    def close(self) -> None:
        self._open.close()

    def _place(self, path: Path) -> IO[bytes] | None:
        """Makes the folder of `path`; where that must not hold anything in the clear, gives a file without a name."""
        make_folder(path)
        if self._coding is None:
            return None
        import tempfile  # which only sealed objects need

        file = self._open.enter_context(tempfile.TemporaryFile(dir=path.parent))  # noqa: SIM115
        self._unnamed[path] = file
        return file

    def _sealed(self, path: Path) -> Path:
        """Where the finished file can be read in the clear. A file without a name gets its sealed likeness under
        `path`."""
        file = self._unnamed.get(path)
        if file is None:
            return path
        assert self._coding is not None
        from tapeloom.seal.files import seal_file  # with libraries that only few jobs need

        seal_file(file.fileno(), path, self._coding, self._id)
        return Path(f"/proc/self/fd/{file.fileno()}")

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        try:
            yield
        except (TapeloomError, OSError) as error:
            self.troubles.append(f"its {what} cannot be kept: {error}")
