"""File indexes: what entries an object has, and where in its sequence each of them stands.

::

    keys      canonical order as keys, and ranges of them
    form      the stored form: columns, metadata, guard
    writer    IndexWriter: rows in while the object is written, a file out
    paths     many paths at once
    wanted    Wanted: paths and globs, asked for many rows at once
    reader    Index: one path, a folder, everything that matches
    chain     the final state of a full object and its increments: newest wins

Each name is loaded when it is first asked for, and pyarrow when an index is made or opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chain import Pulled, Share, final_rows, final_state
    from .form import Facts
    from .reader import Index, Row
    from .wanted import Wanted
    from .writer import IndexSummary, IndexWriter

_HOME = {
    "Facts": "form",
    "Index": "reader",
    "IndexSummary": "writer",
    "IndexWriter": "writer",
    "Pulled": "chain",
    "Row": "reader",
    "Share": "chain",
    "Wanted": "wanted",
    "final_rows": "chain",
    "final_state": "chain",
}

__all__ = [
    "Facts",
    "Index",
    "IndexSummary",
    "IndexWriter",
    "Pulled",
    "Row",
    "Share",
    "Wanted",
    "final_rows",
    "final_state",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
