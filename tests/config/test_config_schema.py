"""The JSON Schema accepts what `load` accepts, and refuses what it refuses by its form."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tapeloom.config import json_schema
from tapeloom.errors import Problem

HERE = Path(__file__).parent
VALIDATOR = jsonschema.Draft202012Validator(json_schema())
AGENT = '[backup.g.A]\ndrive = "R"\nbuffers = { B = "D" }\n'
REST = '[drives]\nR = "null:"\n[sources]\nD = "d"\n'


def test_it_is_a_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema
    assert "null" not in types_in(schema)


def types_in(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for item in schema for found in types_in(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["type"]] if isinstance(schema.get("type"), str) else []
    return own + [found for item in schema.values() for found in types_in(item)]


def test_each_key_is_described_for_the_editor() -> None:
    nameless: list[str] = []

    def walk(schema: Any) -> None:
        if isinstance(schema, list):
            for item in schema:
                walk(item)
        elif isinstance(schema, dict):
            properties = schema.get("properties", {})
            nameless.extend(key for key, found in properties.items() if not found.get("description", "").endswith("."))
            for item in schema.values():
                walk(item)

    walk(json_schema())
    assert nameless == []


def test_its_examples_are_valid() -> None:
    """Each field's examples fit that field."""
    schema = json_schema()
    count = 0

    def walk(found: Any) -> None:
        nonlocal count
        if isinstance(found, list):
            for item in found:
                walk(item)
        elif isinstance(found, dict):
            for example in found.get("examples", ()):
                jsonschema.Draft202012Validator({**found, "$defs": schema["$defs"]}).validate(example)
                count += 1
            for item in found.values():
                walk(item)

    walk(schema)
    assert count > 20


@pytest.mark.parametrize("name", ["fig2.toml", "fig5.toml"])
def test_figures(name: str) -> None:
    VALIDATOR.validate(tomllib.loads((HERE / name).read_text()))


@pytest.mark.parametrize(
    "text",
    [
        '[server]\nblock = "512Kib"\n' + REST,
        "[server]\nblok = 1\n" + REST,
        '[server]\nstate = "~/x"\n' + REST,
        "server = 1\n" + REST,
        "",
        "[drives]\n",
        '[drives]\nR = "tapes/R"\n',
        '[drives]\nR = "/dev/st0"\n',
        "[drives]\nR = { rate = 1 }\n",
        '[drives]\nR = { device = "null:", rate = "9MB" }\n',
        '[drives]\nR = { device = "null:", rate = 0 }\n',
        '[drives]\nR = { device = "null:", capacity = -1 }\n',
        '[drives]\n"R.1" = "null:"\n',
        REST + "S = 5\n",
        REST + 'S = { path = "x", digest = "md5" }\n',
        REST + "S = { paths = [] }\n",
        REST + 'S = { path = "x", colour = "red" }\n',
        REST + '"a/b" = "x"\n',
        REST + AGENT + "run_blocks = 0\n",
        REST + AGENT + 'on_lag = "wiat"\n',
        REST + AGENT + 'lag_max = "60"\n',
        REST + AGENT + "lag_max = { secs = 1 }\n",
        REST + AGENT + "checkpoint = 5\n",
        REST + AGENT + "colour = 5\n",
        REST + AGENT.replace("{ B", '{ "B.1"'),
        REST + AGENT.replace('"D"', "[]"),
        REST + AGENT.replace('{ B = "D" }', "{}"),
        REST + AGENT.replace('drive = "R"', ""),
        REST + AGENT + "[backup.g]\nrun_block = 3\n",
        REST + AGENT + '[mirror.1.M]\ndrive = "R"\nbuffers = { B = "A" }\n',
        REST + AGENT + '[mirror.1.M]\ndrive = "R"\nbuffers = { B = ["A.B", "A.B"] }\n',
        REST + AGENT.replace("backup", "restore") + "run_blocks = 3\n",
    ],
)
def test_both_refuse(mistakes: Callable[[str], list[Problem]], text: str) -> None:
    assert mistakes(text)
    assert list(VALIDATOR.iter_errors(tomllib.loads(text)))
