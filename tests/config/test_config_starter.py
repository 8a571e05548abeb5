from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tapeloom.config import Config, json_schema, starter

Loaded = Callable[[str], Config]

SHOWN = re.compile(r"^# (?=\[|\w+ = )", re.MULTILINE)
"""What stands in front of a line that is only shown."""


def test_it_loads_and_is_what_it_says(loaded: Loaded) -> None:
    config = loaded(starter())
    assert {name: drive.device for name, drive in config.drives.items()} == {
        "R1": f"vtape:{config.folder}/tapes/R1",
        "R2": f"vtape:{config.folder}/tapes/R2",
    }
    assert config.sources["docs"].paths == (config.folder / "data",)
    assert [(agent.kind, agent.buffers) for agent in config.agents.values()] == [
        ("backup", {"B1": ("docs",)}),
        ("mirror", {"B1": ("BMA1.B1",)}),
    ]


def test_what_is_only_shown_loads_too(loaded: Loaded) -> None:
    config = loaded(SHOWN.sub("", starter()))
    assert list(config.drives) == ["R1", "R2", "R3", "R4", "R5", "R6"]
    assert list(config.sources) == ["docs", "mail", "db", "disk", "camera"]
    assert list(config.groups) == [("backup", "nightly"), ("mirror", "1"), ("restore", "vault"), ("copy", "1")]


def test_defaults_are_shown_as_they_are(loaded: Loaded) -> None:
    short, long = loaded(starter()), loaded(SHOWN.sub("", starter()))
    assert short.server == loaded('[drives]\nR = "null:"').server
    assert short.agents == {name: long.agents[name] for name in short.agents}


def test_every_key_is_shown() -> None:
    text = starter()
    missing = [key for key in keys_of(json_schema()) if not re.search(rf"\b{key}\b", text)]
    assert missing == []


def keys_of(schema: Any) -> set[str]:
    """All names of properties anywhere in a schema."""
    if isinstance(schema, list):
        return set().union(*map(keys_of, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())) | set().union(*map(keys_of, schema.values()))


@pytest.mark.parametrize("text", [starter(), SHOWN.sub("", starter())], ids=["as it is", "all of it"])
def test_editors_accept_it(text: str) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(tomllib.loads(text))


def test_one_line_a_key() -> None:
    assert max(map(len, starter().splitlines())) <= 120
    assert starter().isascii()
