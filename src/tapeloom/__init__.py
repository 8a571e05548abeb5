"""tapeloom: tape backup and copying at full drive speed.

The public functions are those of `tapeloom.api`, loaded when one is first asked for; `tapeloom.attach` is for programs
that write an object into a job of another process; `tapeloom.errors` has all exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tapeloom.api import backup, objects, open_job, open_object, restore, verify

__all__ = ["__version__", "backup", "objects", "open_job", "open_object", "restore", "verify"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from tapeloom import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
