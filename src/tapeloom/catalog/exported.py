"""The whole catalog as one file: written for an export, and taken over from one."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from ..errors import CatalogError
from .catalog import Catalog
from .database import FILE_NAME
from .model import Object


def newest_export(objects: Iterable[Object]) -> Object | None:
    """The exported catalog that counts: the newest of which there is a complete copy. Nobody wants those before it."""
    good = [one for one in objects if one.is_export and one.status == "complete"]
    return max(good, key=lambda one: one.as_of, default=None)


def write_copy(catalog: Catalog, path: Path) -> None:
    """The catalog as it is at this moment, compacted, and compressed by gzip, in a new file at `path`. CatalogError."""
    whole = path.with_suffix(".sqlite")
    try:
        whole.touch(0o600, exist_ok=False)  # names of files may be a secret, too
        with closing(sqlite3.connect(catalog.path)) as here:
            here.execute("VACUUM INTO ?", (str(whole),))
        with whole.open("rb") as plain, path.open("xb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)
    except (OSError, sqlite3.Error) as error:
        raise CatalogError(f"{path}: the catalog cannot be copied there: {error}") from error
    finally:
        whole.unlink(missing_ok=True)


def unpack(packed: BinaryIO, state: Path) -> None:
    """Makes what `write_copy` wrote the catalog of the new folder `state`. CatalogError: it is not what that writes."""
    try:
        with gzip.open(packed) as plain, (state / FILE_NAME).open("xb") as whole:
            shutil.copyfileobj(plain, whole, 1 << 20)
    except (OSError, EOFError) as error:
        raise CatalogError(f"an exported catalog cannot be unpacked: {error}") from error


def take_over(catalog: Catalog, state: Path) -> None:
    """All that the catalog in the folder `state` has, in the place of what `catalog` has; in one transaction."""
    try:
        with closing(sqlite3.connect(state / FILE_NAME)) as other:
            catalog._database.copy_from(other)
    except sqlite3.Error as error:
        raise CatalogError(f"the catalog {catalog.path}: {error}") from error
