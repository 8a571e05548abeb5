from __future__ import annotations

import contextlib
import random
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tomltext import Tree, Written

from tapeloom.config.faults import Path
from tapeloom.config.places import key_lines

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), TEXT)
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    TEXT,
    st.recursive(
        LEAVES, lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(TEXT, below, max_size=3))
    ),
    max_size=5,
)


def paths(value: Any, above: Path = ()) -> set[Path]:
    """Every path in a tree of tables and arrays."""
    if isinstance(value, dict):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return set()
    return {path for key, below in items for path in {(*above, key)} | paths(below, (*above, key))}


@given(TREES, st.randoms(use_true_random=False))
def test_every_key_is_found_where_it_stands(tree: Tree, chance: random.Random) -> None:
    written = Written(tree, chance)
    parsed = tomllib.loads(written.text)
    assert parsed == tree
    lines = key_lines(written.text)
    assert set(lines) == paths(parsed)
    assert lines == written.lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", {}),
        ("a = 1", {("a",): 1}),
        ("\n\n[ a . 'b' ]\nc=1\n[a]\nd=2\n", {("a",): 5, ("a", "b"): 3, ("a", "b", "c"): 4, ("a", "d"): 6}),
        ("a.b = 1\na.c = 2\n", {("a",): 1, ("a", "b"): 1, ("a", "c"): 2}),
        ('a = """\n[x]\ny = 1\n"""\nb = 2\n', {("a",): 1, ("b",): 5}),
        ("a = '''\n'' [x]\n''''\nb = 2\n", {("a",): 1, ("b",): 4}),
        ('a = """"two" quotes"""""\nb = 2\n', {("a",): 1, ("b",): 2}),
        ('a = """\\"""x\n"""\nb = 2\n', {("a",): 1, ("b",): 3}),
        ('a = "#\\" = ["\nb = 2\n', {("a",): 1, ("b",): 2}),
        ("a = 1979-05-27 07:32:00.5 # b = 1\nb = 2\n", {("a",): 1, ("b",): 2}),
        (
            "a = [\n  1, # ]\n  [2,\n   3],\n]\nb = 1\n",
            {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, 0): 3, ("a", 1, 1): 4, ("b",): 6},
        ),
        (
            "a = { b.c = [\n{ d = 1 }\n] }\n",
            {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "b", "c", 0): 2, ("a", "b", "c", 0, "d"): 2},
        ),
        (
            "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3\n",
            {
                ("a",): 1,
                ("a", 0): 1,
                ("a", 0, "b"): 2,
                ("a", 1): 3,
                ("a", 1, "b"): 4,
                ("a", 1, "c"): 5,
                ("a", 1, "c", "d"): 6,
            },
        ),
        ('3.14 = 1\r\n"a.b".\'c"\' = 2\r\n', {("3",): 1, ("3", "14"): 1, ("a.b",): 2, ("a.b", 'c"'): 2}),
        ('"\\u0061" = 1\n"" = 2\n', {("a",): 1, ("",): 2}),
    ],
)
def test_awkward_texts(text: str, lines: dict[Path, int]) -> None:
    assert paths(tomllib.loads(text)) == set(lines)
    assert key_lines(text) == lines


@given(st.text(alphabet="[]{}=,.#'\"\\\n\r ab1"))
def test_any_text_ends(text: str) -> None:
    """What is no TOML never comes here; if it did, the walk would end all the same."""
    with contextlib.suppress(tomllib.TOMLDecodeError):
        key_lines(text)
