"""File indexes as they are kept beside the catalog, in the clear or sealed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from tapeloom.errors import CatalogError, FormatError, IndexDamaged, KeyUnfit, VersionTooNew
from tapeloom.index import EmptyIndex, Index
from tapeloom.limits import KIB

if TYPE_CHECKING:
    from tapeloom.catalog import Catalog, Object
    from tapeloom.ops.fetching import FromTape
    from tapeloom.seal import KeyRing

SEALED_BUFFER_BYTES = 64 * KIB


def open_index(
    catalog: Catalog, item: Object, keys: KeyRing | None = None, tapes: FromTape | None = None
) -> Index | None:
    """The file index of an object, to be closed by the caller; None where it has none here. `keys` are needed for one
    that is sealed. An archive without a single entry has one without rows, and needs no file for it. `tapes` brings one
    back that is lost or damaged.

    Raises
    ------
    SealError
        It is sealed, and its key is not among `keys`.
    CatalogError
        It cannot be read.
    FormatError
        It is damaged, or that of another object (IndexDamaged), or a newer tapeloom wrote it.
    """
    if tapes is None:
        return _open_here(catalog, item, keys)
    try:
        found = _open_here(catalog, item, keys)
    except (KeyUnfit, VersionTooNew):
        raise
    except FormatError:
        if not tapes.bring(item):
            raise
    else:
        if found is not None or not tapes.bring(item):
            return found
    return _open_here(catalog, item, keys)


def _open_here(catalog: Catalog, item: Object, keys: KeyRing | None) -> Index | None:
    path = catalog.index_path(item)
    if not path.exists():
        return EmptyIndex(item.id, item.source) if item.is_empty_archive else None
    index = Index.open(path) if item.key is None else _open_sealed(path, keys)
    if index.object_id != item.id:
        index.close()
        raise IndexDamaged(f"{path} is the file index of object {index.object_id}, not of the one it is named by")
    return index


def _open_sealed(path: Path, keys: KeyRing | None) -> Index:
    from tapeloom.seal import KeyRing
    from tapeloom.seal.files import open_sealed

    try:
        file = open_sealed(path, KeyRing() if keys is None else keys)
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror or error}") from None
    return Index.open(io.BufferedReader(file, SEALED_BUFFER_BYTES), str(path))
