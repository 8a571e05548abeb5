"""File indexes: what entries an object has, and where in its sequence each of them stands.

::

    keys      canonical order as keys, and ranges of them
    form      the stored form: columns, metadata, guard
    writer    IndexWriter: rows in while the object is written, a file out
    paths     many paths at once
    wanted    Wanted: paths and globs, asked for many rows at once
    reader    Index: one path, a folder, everything that matches; EmptyIndex: of an object without rows
    chain     what a full object and its increments give to the state at their end: newest wins
    state     that state, entry by entry

Each name is loaded when it is first asked for, and pyarrow when an index is made or opened.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chain import Pulled, Share, final_rows
    from .form import Facts
    from .reader import EmptyIndex, Index, Row
    from .state import Entry, final_entries, final_state
    from .wanted import Wanted
    from .writer import IndexSummary, IndexWriter

_HOME = {
    "EmptyIndex": "reader",
    "Entry": "state",
    "Facts": "form",
    "Index": "reader",
    "IndexSummary": "writer",
    "IndexWriter": "writer",
    "Pulled": "chain",
    "Row": "reader",
    "Share": "chain",
    "Wanted": "wanted",
    "final_entries": "state",
    "final_rows": "chain",
    "final_state": "state",
}

__all__ = [
    "EmptyIndex",
    "Entry",
    "Facts",
    "Index",
    "IndexSummary",
    "IndexWriter",
    "Pulled",
    "Row",
    "Share",
    "Wanted",
    "final_entries",
    "final_rows",
    "final_state",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
