"""File indexes that are lost or damaged beside the catalog, brought back from tape, where each has an object of its
own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

from tapeloom.catalog.beside import bringing, make_folder
from tapeloom.errors import IndexDamaged, NotFound, TapeloomError
from tapeloom.ops.choose import block_bytes_max, blocks_of, choose_copies, layers
from tapeloom.ops.mounts import Mounts

if TYPE_CHECKING:
    from tapeloom.catalog import Catalog, Object
    from tapeloom.config import Config
    from tapeloom.seal import KeyRing
    from tapeloom.volume.waiting import Waiting

_REST = 1 << 62


class FromTape:
    """Drives are opened when the first index is asked for, and left at the end of the `with` block. `say` is told, once
    for each index, from which volumes it is read, or why it cannot be. With `waiting`, cartridges that are not there
    are waited for. `missed`: objects whose indexes are on tape, and cannot be brought back now."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        keys: KeyRing | None,
        say: Callable[[str], None],
        waiting: Waiting | None = None,
    ):
        self._catalog = catalog
        self._keys = keys
        self._say = say
        self._mounts = Mounts(config, catalog.volume, waiting=waiting)
        self._asked: dict[UUID, bool] = {}
        self.missed: set[UUID] = set()

    def __enter__(self) -> FromTape:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mounts.__exit__(kind, error, trace)

    def bring(self, item: Object) -> bool:
        """Puts the index of an object back beside the catalog, sealed where the object is. False: it is not on tape, or
        cannot be had now; what stood there before is as it was."""
        if item.id not in self._asked:
            self._asked[item.id] = self._bring(item)
        return self._asked[item.id]

    def _bring(self, item: Object) -> bool:
        index = self._catalog.index_of(item.id)
        if index is None:
            return False
        named = f"the file index of object {item.id} of {item.source}"
        try:
            labels = self._put_back(item, index)
        except (TapeloomError, OSError) as error:
            self._say(f"{named} cannot be brought back from tape: {error}")
            self.missed.add(item.id)
            return False
        self._say(f"{named} was lost or damaged here: it was read from {', '.join(labels)}, and put back")
        return True

    def _put_back(self, item: Object, index: Object) -> list[str]:
        """Gives the labels of the volumes."""
        path = self._catalog.index_path(item)
        make_folder(path)
        if item.key is not None:
            from tapeloom.runtime.coding import Coding
            from tapeloom.seal.files import seal_file

            coding = Coding(key=self._ring.find(item.key))
            with bringing(path.parent), tempfile.TemporaryFile(dir=path.parent) as clear:
                labels = self._read(item, index, clear)
                seal_file(clear.fileno(), path, coding, item.id)
            return labels
        with bringing(path.parent):
            fd, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
            try:
                with open(fd, "w+b") as file:
                    labels = self._read(item, index, file)
                    os.fsync(fd)
                os.replace(unfinished, path)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(unfinished)
                raise
        return labels

    def _read(self, item: Object, index: Object, file: BinaryIO) -> list[str]:
        """Into `file`, proven to be an index of that object."""
        from tapeloom.index import Index
        from tapeloom.runtime.reading import Reading

        copies = layers(self._catalog, choose_copies(self._catalog, index))
        blocks = blocks_of(index, copies)
        if not blocks:
            raise NotFound(f"nothing of its object {index.id} is on tape")
        with Reading(
            index.id,
            blocks,
            copies,
            self._mounts,
            block_bytes_max(self._catalog, copies),
            keys=self._keys,
            digest=index.digest,
            sealed=index.key,
        ) as reading:
            reading.sequence.pump_to(file.fileno(), 0, _REST)
            reading.sequence.proof()
        with Index.open(open(os.dup(file.fileno()), "rb"), f"what was read of object {index.id}") as found:
            if found.object_id != item.id:
                raise IndexDamaged(f"object {index.id} is the file index of object {found.object_id}")
        return list(dict.fromkeys(part.label for part in copies[0]))

    @property
    def _ring(self) -> KeyRing:
        from tapeloom.seal import KeyRing

        return KeyRing() if self._keys is None else self._keys
