"""The configuration: one TOML file, checked as a whole.

::

    units, devices, values, form, origins, selecting, forms
                            what a key may hold (pydantic)
    schema                  the JSON Schema for editors
    places                  the line of every key
    wired, check, chains, libraries
                            names, drives, libraries and chains: what fits together
    wording                 pydantic's findings as sentences
    loading                 load(): the file -> Config, or ConfigError with all mistakes
    starter                 the file that `tapeloom init` writes

What judges is loaded when it is first asked for: most jobs run on what was judged before (`tapeloom.kept`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeloom.config.model import Agent, Config, Drive, Group, Library, Pool, Selection, Server, Source
from tapeloom.config.starter import starter

if TYPE_CHECKING:
    from tapeloom.config.loading import load, missing_paths
    from tapeloom.config.schema import json_schema

__all__ = [
    "Agent",
    "Config",
    "Drive",
    "Group",
    "Library",
    "Pool",
    "Selection",
    "Server",
    "Source",
    "json_schema",
    "load",
    "missing_paths",
    "starter",
]

_MODULES = {"json_schema": "schema", "load": "loading", "missing_paths": "loading"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
