"""From configured names of keys and levels to what blocks are compressed and sealed with.

The libraries behind it are loaded only where a source asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeloom.errors import SnapshotError

if TYPE_CHECKING:
    from pathlib import Path

    from tapeloom.agent.snapshot import Snapshot
    from tapeloom.config import Config, Source
    from tapeloom.runtime.coding import Coding


def coding_of(config: Config, source: Source) -> Coding | None:
    """How the blocks of a source's objects are made; None: as they come.

    Raises
    ------
    SealError
        Its key cannot be read.
    UsageError
        A library that it takes is not installed.
    """
    if source.compress is None and source.encrypt is None:
        return None
    from tapeloom.runtime.coding import Coding
    from tapeloom.seal import KeyRing

    key = None if source.encrypt is None else KeyRing.load(config.keys).named(source.encrypt)
    return Coding(zstd_level=source.compress, key=key, digest=source.digest)


def open_snapshot(config: Config, path: Path) -> Snapshot:
    """The snapshot that is kept under `path`, sealed or not.

    Raises
    ------
    TapeloomError
        It is not there, not whole, or its key is not.
    """
    import os

    from tapeloom.agent.snapshot import Snapshot
    from tapeloom.catalog.beside import SEALED

    if path.suffix != SEALED:
        return Snapshot.open(path)
    from tapeloom.seal import KeyRing
    from tapeloom.seal.files import unsealed_fd

    try:
        fd = unsealed_fd(path, KeyRing.load(config.keys))
    except OSError as error:
        raise SnapshotError(f"its snapshot {path} cannot be read: {error.strerror}") from None
    try:
        return Snapshot.open(fd)
    finally:
        os.close(fd)
