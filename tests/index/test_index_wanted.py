"""Globs mean what they mean letter by letter, for one path and for many at once."""

from __future__ import annotations

from itertools import pairwise

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_world import Entry, key, opened, paths_of

from tapeloom.index import Wanted
from tapeloom.index.keys import Range, beginning_with, below, joined, key_of, path_of
from tapeloom.index.paths import Paths

WORDS = [b"a", b"ab", b"a.c", b"b", b"x[1]", b"-", b"\n", b"\xff", b"a*", b"\\", b"]", b"^"]
GLOB_WORDS = [
    *WORDS,
    b"*",
    b"**",
    b"?",
    b"a*",
    b"*.c",
    b"[ab]*",
    b"[!a]",
    b"[^-]",
    b"[]a]",
    b"[a-b]",
    b"[b-a]",
    b"\\*",
    b"[",
    b"**a",
    b"?b",
]
PATHS = st.lists(st.sampled_from(WORDS), max_size=4).map(b"/".join)
GLOBS = st.tuples(
    st.sampled_from([b"", b"/", b"./"]),
    st.lists(st.sampled_from(GLOB_WORDS), max_size=4).map(b"/".join),
    st.sampled_from([b"", b"/"]),
).map(b"".join)


def letters(glob: bytes) -> list[bytes]:
    """A glob cut into its signs: letters, wild cards, classes."""
    signs, at = [], 0
    while at < len(glob):
        end = at + 1
        if glob[at:end] == b"*":
            while glob[end : end + 1] == b"*":
                end += 1
        elif glob[at:end] == b"\\" and at + 1 < len(glob):
            end += 1
        elif glob[at:end] == b"[":
            inside = at + 1 + (glob[at + 1 : at + 2] in (b"!", b"^"))
            close = glob.find(b"]", inside + 1)
            end = close + 1 if close >= 0 else end
        signs.append(glob[at:end])
        at = end
    return signs


def fits(signs: list[bytes], path: bytes, before: bytes = b"/") -> bool:
    """Whether a path, letter by letter, fits a glob. `before` is the last sign taken."""
    if not signs:
        return not path
    sign, rest = signs[0], signs[1:]
    if sign.startswith(b"**"):
        if before == b"/" and rest[:1] == [b"/"]:
            return fits(rest[1:], path, b"/") or any(
                fits(rest[1:], path[n + 1 :], b"/") for n in range(len(path)) if path[n : n + 1] == b"/"
            )
        return any(fits(rest, path[n:], sign) for n in range(len(path) + 1))
    if sign == b"*":
        name = len(path.split(b"/")[0])
        return any(fits(rest, path[n:], sign) for n in range(name + 1))
    if not path:
        return False
    letter = path[:1]
    if sign == b"?":
        good = letter != b"/"
    elif len(sign) > 1 and sign.startswith(b"["):
        good = letter != b"/" and in_class(sign[1:-1], letter)
    else:
        good = letter == sign[-1:]
    return good and fits(rest, path[1:], sign)


def in_class(inside: bytes, letter: bytes) -> bool:
    if inside[:1] in (b"!", b"^"):
        return not in_class(inside[1:], letter)
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == b"-" and at + 2 < len(inside):
            if inside[at] <= letter[0] <= inside[at + 2]:
                return True
            at += 3
        else:
            if inside[at : at + 1] == letter:
                return True
            at += 1
    return False


def is_wanted(glob: bytes, path: bytes, *, below: bool) -> bool:
    while glob.startswith(b"./"):
        glob = glob[2:]
    from_root = b"/" in glob.rstrip(b"/")
    glob = glob.strip(b"/")
    while b"//" in glob:
        glob = glob.replace(b"//", b"/")
    wild = any(letter in glob for letter in (b"*", b"?", b"["))
    parts = path.split(b"/") if path else []
    candidates = [b"/".join(parts[:n]) for n in range(len(parts) + 1)] if below else [path]
    for candidate in candidates:
        if candidate == glob:
            return True
        if not wild and (below or from_root or not glob):
            continue
        name = candidate.rpartition(b"/")[2]
        if not from_root and (fits(letters(glob), name) if wild else name == glob):
            return True
        if wild and (from_root or b"**" in glob) and fits(letters(glob), candidate):
            return True
    return False


@settings(max_examples=400, deadline=None)
@given(globs=st.lists(GLOBS, max_size=3), paths=st.lists(PATHS, unique=True, max_size=30), below=st.booleans())
def test_globs_letter_by_letter(globs: list[bytes], paths: list[bytes], below: bool) -> None:
    paths.sort(key=key)
    wanted = Wanted.parse(globs, below=below)
    expected = [any(is_wanted(glob, path, below=below) for glob in globs) for path in paths]
    assert [wanted.matches(path) for path in paths] == expected
    assert wanted.mask(Paths(pyarrow.array(paths, pyarrow.large_binary()))).tolist() == expected


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("*.txt", ["docs/a.txt", "docs/old/b.txt", "top.txt"]),
        ("/*.txt", ["top.txt"]),
        ("docs/*.txt", ["docs/a.txt"]),
        ("docs/**/*.txt", ["docs/a.txt", "docs/old/b.txt"]),
        ("**/old/*", ["docs/old/b.txt"]),
        ("old", ["docs/old"]),
        ("/old", []),
        ("docs/", ["docs"]),
        ("?op.txt", ["top.txt"]),
        ("DOCS", []),
        ("a.txt", ["docs/a.txt"]),
        ("[a-b].txt", ["docs/a.txt", "docs/old/b.txt"]),
        ("docs/ol*/b.txt", ["docs/old/b.txt"]),
    ],
)
def test_examples(glob: str, found: list[str]) -> None:
    paths = [b"", b"docs", b"docs/a.txt", b"docs/old", b"docs/old/b.txt", b"docs.d", b"top.txt"]
    with opened(dict.fromkeys(paths, Entry())) as (index,):
        assert [path.decode() for path in paths_of(index.matching(Wanted.parse([glob], below=False)))] == found


def test_row_groups_that_cannot_match_are_passed_over(small_groups: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {b"%c/%02d" % (letter, n): Entry() for letter in b"abcdef" for n in range(20)}
    with opened(rows) as (index,):
        decoded: list[int] = []
        table = index._table
        monkeypatch.setattr(index, "_table", lambda group, names: decoded.append(group) or table(group, names))
        assert paths_of(index.matching(Wanted.parse(["c/0?", "c/1[0-4]"], below=False))) == [
            b"c/%02d" % n for n in range(15)
        ]
        assert set(decoded) == {7, 8, 9, 10, 11}  # the first of them only because of where it may end


@given(path=PATHS, other=PATHS, prefix=st.binary(max_size=3))
def test_ranges_of_keys(path: bytes, other: bytes, prefix: bytes) -> None:
    def holds(keys: Range, one: bytes) -> bool:
        return keys[0] <= one and (keys[1] is None or one < keys[1])

    assert path_of(key_of(path)) == path
    assert (key_of(path) < key_of(other)) == (key(path) < key(other))
    assert holds(below(key_of(path)), key_of(other)) == (key(other)[: len(key(path))] == key(path))
    assert holds(beginning_with(prefix), key_of(other)) == key_of(other).startswith(prefix)


@given(ranges=st.lists(st.tuples(st.binary(max_size=1), st.none() | st.binary(max_size=1))), one=st.binary(max_size=1))
def test_joined_ranges_hold_the_same(ranges: list[Range], one: bytes) -> None:
    def held(ranges: list[Range]) -> bool:
        return any(first <= one and (last is None or one < last) for first, last in ranges)

    ranges = [(first, last) for first, last in ranges if last is None or first < last]
    made = joined(ranges)
    assert held(made) == held(ranges)
    assert all(last is not None and last < first for (_, last), (first, _) in pairwise(made))
