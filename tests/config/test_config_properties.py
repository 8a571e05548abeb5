"""Drawn configurations: valid ones come back as they were meant, spoilt ones give a ConfigError and nothing else."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tomltext import Tree, Written

from tapeloom.config import json_schema, load, units
from tapeloom.errors import ConfigError

HERE = Path(__file__).parent
FIGURES = [(HERE / name).read_text() for name in ("fig2.toml", "fig5.toml")]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

NAMES = st.from_regex(r"[A-Za-z0-9_äß -]{1,6}", fullmatch=True).filter(
    lambda name: name == name.strip() and name not in ("run_blocks", "on_lag", "lag_max", "checkpoint", "level")
)
SIZES = st.integers(1, 2**50)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, object]:
    """A size, and a way to write it."""
    size = draw(SIZES)
    return size, draw(st.sampled_from([size, units.show_bytes(size), f"{size} B"]))


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """The tables of a valid configuration: one backup group or one restore group, and chains of any depth behind it."""
    names = draw(st.lists(NAMES, min_size=3, max_size=8, unique=True))
    drives = {
        f"{name} drive": {"device": f"vtape:{name}"} if number % 2 else f"vtape:{name}"
        for number, name in enumerate(names)
    }
    backup = draw(st.booleans())
    tree: Tree = {"drives": drives}
    feeds = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    if backup:
        tree["sources"] = {feed: draw(source_values()) for feed in feeds}
    head, chained = ("backup", "mirror") if backup else ("restore", "copy")
    heads = draw(st.integers(1, len(names) - 1))
    buffers: dict[tuple[str, str], tuple[str, str]] = {}  # each buffer, and the head of its chain
    for number, name in enumerate(names):
        agent: dict[str, Any] = {"drive": f"{name} drive", "buffers": {}}
        if number < heads:
            group = tree.setdefault(head, {}).setdefault("g", {})
            mine = feeds[number::heads] or ([] if backup else ["x"])
            if not mine:
                continue
            agent["buffers"] = {f"b{at}": draw(st.sampled_from([feed, [feed]])) for at, feed in enumerate(mine)}
            buffers |= {(name, buffer): (name, buffer) for buffer in agent["buffers"]}
        else:
            group = tree.setdefault(chained, {}).setdefault(draw(NAMES), {})
            upstream = draw(
                st.lists(st.sampled_from(sorted(buffers)), min_size=1, max_size=4, unique_by=buffers.__getitem__)
            )
            agent["buffers"] = {f"c{at}": ".".join(above) for at, above in enumerate(upstream)}
            buffers |= {(name, f"c{at}"): buffers[above] for at, above in enumerate(upstream)}
        if group is not tree.get("restore", {}).get("g"):
            agent |= draw(settings_values())
        group[name] = agent
    return tree


def source_values() -> st.SearchStrategy[Any]:
    path = st.sampled_from(["a", "/b", "../c", "x/~y"])
    return st.one_of(
        path,
        st.fixed_dictionaries(
            {"path": path}, optional={"exclude": st.just(["*.o", "!x"]), "digest": st.just("sha256")}
        ),
        st.fixed_dictionaries(
            {"paths": st.lists(path, min_size=1, max_size=3)}, optional={"one_file_system": st.booleans()}
        ),
        st.sampled_from([{"command": "x | y"}, {"command": ["x", ""]}, {"producer": True}]),
    )


def settings_values() -> st.SearchStrategy[Tree]:
    size = SIZES.map(units.show_bytes)
    time = st.integers(1, 1000).map("{}min".format)
    limit = st.one_of(size, time, st.fixed_dictionaries({}, optional={"bytes": size, "time": time}))
    return st.fixed_dictionaries(
        {},
        optional={
            "run_blocks": st.integers(1, 1000),
            "on_lag": st.sampled_from(["wait", "detach", "spool"]),
            "lag_max": limit,
            "checkpoint": limit,
        },
    )


def as_list(feeds: Any) -> tuple[str, ...]:
    return (feeds,) if isinstance(feeds, str) else tuple(feeds)


@SAME_FOLDER
@given(tree=trees(), chance=st.randoms(use_true_random=False))
def test_valid_configurations_come_back(tmp_path: Path, tree: Tree, chance: random.Random) -> None:
    written = Written(tree, chance)
    file = tmp_path / "t.toml"
    file.write_bytes(written.text.encode())
    config = load(file)
    assert list(VALIDATOR.iter_errors(tree)) == []
    meant = {
        (kind, group, agent): (table["drive"], {buffer: as_list(feeds) for buffer, feeds in table["buffers"].items()})
        for kind in ("backup", "mirror", "restore", "copy")
        for group, agents in tree.get(kind, {}).items()
        for agent, table in agents.items()
    }
    assert {(a.kind, a.group, a.name): (a.drive, a.buffers) for a in config.agents.values()} == meant
    assert set(config.drives) == set(tree["drives"])
    assert set(config.sources) == set(tree.get("sources", ()))
    for keys in meant:
        assert config.where(*keys) == written.lines[keys]
    places = [config.where(agent.kind, agent.group, agent.name) or 0 for agent in config.agents.values()]
    assert places == sorted(places)


@given(sizes())
def test_sizes_in_any_spelling(drawn: tuple[int, object]) -> None:
    size, said = drawn
    assert units.parse_bytes(said) == size


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-3, 3),
        st.floats(),
        st.integers(),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.sampled_from(
            ["R1", "D1", "BMA124.B1", "BMA138.B2", "vtape:x", "512KiB", "60s", "~", "\0", "a.b.c", "/dev/st0"]
        ),
    ),
    lambda below: st.one_of(
        st.lists(below, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ["drive", "buffers", "B1", "device", "path", "command", "checkpoint", "bytes", "x", "__class__", ""]
            ),
            below,
            max_size=3,
        ),
    ),
    max_leaves=4,
)


def loads_or_says(file: Path, text: bytes) -> None:
    """The only two ends: a configuration, or problems that a user can find and read."""
    file.write_bytes(text)
    try:
        load(file)
        return
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.file == str(file)
        assert problem.line is None or 1 <= problem.line <= text.count(b"\n") + 1
        assert problem.what
        assert str(problem).isprintable(), problem


@SAME_FOLDER
@given(figure=st.sampled_from(FIGURES), data=st.data(), chance=st.randoms(use_true_random=False))
def test_spoilt_values(tmp_path: Path, figure: str, data: st.DataObject, chance: random.Random) -> None:
    tree = tomllib.loads(figure)
    for _ in range(data.draw(st.integers(1, 4))):
        table: Any = tree
        while True:
            key = data.draw(st.sampled_from(sorted(table) or ["x"]))
            below = table.get(key)
            if not isinstance(below, dict) or data.draw(st.integers(0, 3)) == 0:
                break
            table = below
        change = data.draw(st.sampled_from(["drop", "set", "add", "rename"]))
        if change == "drop":
            table.pop(key, None)
        elif change == "rename" and key in table:
            table[data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=3))] = table.pop(key)
        else:
            table[key if change == "set" else data.draw(st.sampled_from(["B9", "checkpoint", "x", "copy"]))] = (
                data.draw(VALUES)
            )
    loads_or_says(tmp_path / "t.toml", Written(tree, chance).text.encode())


@SAME_FOLDER
@given(
    figure=st.sampled_from(FIGURES),
    cuts=st.lists(
        st.tuples(
            st.integers(0, 1500),
            st.integers(0, 12),
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from([b"[", b"]]", b"{", b'"', b"'''", b"=", b".", b"#", b"\n", b"R1", b"\\"]),
            ),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_spoilt_bytes(tmp_path: Path, figure: str, cuts: list[tuple[int, int, bytes]]) -> None:
    text = figure.encode()
    for start, length, new in cuts:
        text = text[:start] + new + text[start + length :]
    loads_or_says(tmp_path / "t.toml", text)


@pytest.mark.parametrize(
    "name", ["__class__", "__dict__", "__pydantic_extra__", "model_config", "agents", "self", "copy"]
)
def test_names_that_python_knows(tmp_path: Path, name: str) -> None:
    file = tmp_path / "t.toml"
    tree = {
        "drives": {name: "null:"},
        "sources": {name: "x"},
        "backup": {name: {name: {"drive": name, "buffers": {name: name}}}},
    }
    file.write_text(Written(tree, random.Random(1)).text)
    config = load(file)
    assert config.agents[name].buffers == {name: (name,)}
    assert config.groups["backup", name].agents == (name,)
