"""The configuration: one TOML file, checked as a whole.

::

    units, devices, values, forms
                            what a key may hold (pydantic), and the JSON Schema for editors
    places                  the line of every key
    check                   names, chains and drives: what fits together
    wording                 pydantic's findings as sentences
    loading                 load(): the file -> Config, or ConfigError with all mistakes
    starter                 the file that `tapeloom init` writes
"""

from __future__ import annotations

from tapeloom.config.forms import json_schema
from tapeloom.config.loading import load, missing_paths
from tapeloom.config.model import Agent, Config, Drive, Group, Server, Source
from tapeloom.config.starter import starter

__all__ = ["Agent", "Config", "Drive", "Group", "Server", "Source", "json_schema", "load", "missing_paths", "starter"]
