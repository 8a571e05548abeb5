"""File indexes as they are kept beside the catalog, in the clear or sealed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from tapeloom.errors import CatalogError, IndexDamaged
from tapeloom.index import Index
from tapeloom.limits import KIB

if TYPE_CHECKING:
    from tapeloom.catalog import Catalog, Object
    from tapeloom.seal import KeyRing

SEALED_BUFFER_BYTES = 64 * KIB


def open_index(catalog: Catalog, item: Object, keys: KeyRing | None = None) -> Index | None:
    """The file index of an object, to be closed by the caller; None where it has none here. `keys` are needed for one
    that is sealed.

    Raises
    ------
    SealError
        It is sealed, and its key is not among `keys`.
    CatalogError
        It cannot be read.
    IndexDamaged
        It is damaged, or that of another object.
    """
    path = catalog.index_path(item)
    if not path.exists():
        return None
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
