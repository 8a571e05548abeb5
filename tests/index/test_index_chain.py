"""The final state of a chain equals that of trees that were really changed, and that of a merge row by row."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_world import (
    FILE,
    FOLDER,
    GONE,
    HARDLINK,
    Entry,
    Rows,
    end_of,
    is_below,
    key,
    layout,
    opened,
    state_after,
)

from tapeloom.errors import IndexDamaged
from tapeloom.index import Pulled, Share, Wanted, final_rows, final_state

NAMES = [b"a", b"b", b"c", b"a.b", b"a\x01", b"\xff"]
FEW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Tree = dict[bytes, Entry]


class Gardener:
    """Changes a tree as people do, and says what an increment on the old one has to hold."""

    def __init__(self, seed: int):
        self._chance = random.Random(seed)
        self._version = 0

    def planted(self) -> Tree:
        tree: Tree = {b"": Entry(FOLDER)}
        for _ in range(self._chance.randrange(25)):
            self._put(tree)
        return tree

    def changed(self, tree: Tree) -> Tree:
        self._version += 1
        made = dict(tree)
        for _ in range(self._chance.randrange(6)):
            self._chance.choice([self._put, self._put, self._touch, self._remove, self._replace, self._replace])(made)
        return made

    def increment(self, before: Tree, now: Tree) -> Rows:
        rows: Tree = {path: entry for path, entry in now.items() if before.get(path) != entry}
        for path in before:
            above = path.rpartition(b"/")[0]
            if path and path not in now and above in now and now[above].kind == FOLDER == before[above].kind:
                rows[path] = Entry(GONE)
        return rows

    def _new(self, kind: int) -> Entry:
        return Entry(kind, self._chance.choice([0, 1, 700]) if kind == FILE else 0, version=self._version)

    def _some(self, tree: Tree, *, root: bool = False) -> bytes | None:
        paths = sorted(path for path in tree if path or root)
        return self._chance.choice(paths) if paths else None

    def _put(self, tree: Tree) -> None:
        folder = self._chance.choice(sorted(path for path, entry in tree.items() if entry.kind == FOLDER))
        path = folder + b"/" * bool(folder) + self._chance.choice(NAMES)
        if path not in tree and path.count(b"/") < 4:
            tree[path] = self._new(self._chance.choice([FILE, FOLDER, FOLDER]))

    def _touch(self, tree: Tree) -> None:
        path = self._some(tree, root=True)
        if path is not None:
            tree[path] = self._new(tree[path].kind)

    def _remove(self, tree: Tree) -> None:
        path = self._some(tree)
        for each in [each for each in tree if path is not None and (each == path or is_below(each, path))]:
            del tree[each]

    def _replace(self, tree: Tree) -> None:
        """By something of another kind, or by a folder of the same name with other content."""
        path = self._some(tree)
        if path is None:
            return
        kind = self._chance.choice([FILE, FOLDER])
        for each in [each for each in tree if is_below(each, path)]:
            del tree[each]
        tree[path] = self._new(kind)
        if kind == FOLDER:
            for name in self._chance.sample(NAMES, 2):
                tree[path + b"/" + name] = self._new(self._chance.choice([FILE, FOLDER]))


def pieces(rows: Rows, paths: Sequence[bytes]) -> list[list[int]]:
    """The byte ranges of some entries, those that touch made one."""
    found: list[list[int]] = []
    for begin, end in sorted(layout(rows)[path] for path in paths):
        if found and found[-1][1] == begin:
            found[-1][1] = end
        elif begin < end:
            found.append([begin, end])
    return found


def check(chain: Sequence[Rows], expected: dict[bytes, tuple[int, Entry]], patterns: Sequence[bytes] | None) -> None:
    wanted = None if patterns is None else Wanted.parse(patterns)
    if wanted is not None:
        expected = {path: have for path, have in expected.items() if wanted.matches(path)}
    with opened(*chain) as indexes:
        shares = final_rows(indexes, wanted)
        state = list(final_state(indexes, wanted))
    assert state == [(path, expected[path][1].kind) for path in sorted(expected, key=key)]
    for level, (rows, share) in enumerate(zip(chain, shares, strict=True)):
        mine = [path for path, (of, _) in expected.items() if of == level]
        parts = pieces(rows, mine)
        assert share.parts.tolist() == parts
        assert share.entries == len(mine)
        files = [rows[path].size for path in mine if rows[path].kind == FILE]
        assert (share.files, share.bytes) == (len(files), sum(files))
        assert share.sequence_bytes == sum(end - begin for begin, end in parts)
        assert share.whole == (parts == ([[0, end_of(rows)]] if end_of(rows) else []))
        assert share.pulled == ()


PATTERNS = st.none() | st.lists(
    st.lists(st.sampled_from([*NAMES, b"*", b"?", b"**", b"a*"]), min_size=1, max_size=3).map(b"/".join), max_size=3
)


@FEW
@given(seed=st.integers(0, 2**32), length=st.integers(0, 4), patterns=PATTERNS)
def test_trees_that_were_changed(small_groups: None, seed: int, length: int, patterns: list[bytes] | None) -> None:
    gardener = Gardener(seed)
    tree = gardener.planted()
    chain: list[Rows] = [tree]
    has = {path: (0, entry) for path, entry in tree.items()}
    for level in range(1, length + 1):
        before, tree = tree, gardener.changed(tree)
        chain.append(gardener.increment(before, tree))
        has = {path: (level, entry) if path in chain[-1] else has[path] for path, entry in tree.items()}
    check(chain, has, patterns)


ANY_ROWS = st.dictionaries(
    st.lists(st.sampled_from(NAMES), max_size=4).map(b"/".join),
    st.builds(Entry, kind=st.sampled_from([FILE, FOLDER, GONE]), size=st.sampled_from([0, 700])),
    max_size=12,
)


@FEW
@given(chain=st.lists(ANY_ROWS, max_size=4), patterns=PATTERNS)
def test_any_rows_whatever(small_groups: None, chain: list[Rows], patterns: list[bytes] | None) -> None:
    """Also rows that no tree could give: the newest wins, and what is no folder hides what is older and below."""
    check(chain, state_after(chain), patterns)


def test_one_file_of_a_large_tree_decodes_little(small_groups: None, monkeypatch: pytest.MonkeyPatch) -> None:
    full = {b"": Entry(FOLDER)} | {b"d%03d" % n: Entry(FOLDER) for n in range(400)}
    full |= {b"d%03d/f" % n: Entry() for n in range(400)}
    with opened(full, {b"d200/f": Entry(version=1)}) as indexes:
        decoded = []
        table = indexes[0]._table
        monkeypatch.setattr(indexes[0], "_table", lambda group, names: decoded.append(group) or table(group, names))
        old, new = final_rows(indexes, Wanted.parse([b"d200/f"]))
    assert (old.entries, new.entries) == (0, 1)
    assert len(set(decoded)) <= 3  # the file's, and those of the folders above it


# Hard links


LINKED: Rows = {
    b"": Entry(FOLDER),
    b"a": Entry(FOLDER),
    b"a/data": Entry(size=600),
    b"b": Entry(HARDLINK, link=b"./a/data"),
    b"c": Entry(FOLDER),
    b"c/one": Entry(HARDLINK, link=b"./a/data"),
    b"c/two": Entry(HARDLINK, link=b"a/data"),
}


def shares_of(chain: Sequence[Rows], *patterns: bytes) -> list[Share]:
    with opened(*chain) as indexes:
        return final_rows(indexes, Wanted.parse(patterns))


def test_a_link_pulls_its_target_in(small_groups: None) -> None:
    (share,) = shares_of([LINKED], b"c")
    begin, end = layout(LINKED)[b"a/data"]
    assert set(share.pulled) == {Pulled(b"c/one", b"a/data", begin, end), Pulled(b"c/two", b"a/data", begin, end)}
    assert share.entries == 3
    assert share.parts.tolist() == pieces(LINKED, [b"c", b"c/one", b"c/two"])
    assert not share.whole


def test_a_target_that_is_wanted_is_not_pulled_in(small_groups: None) -> None:
    (share,) = shares_of([LINKED], b"c/one", b"a")
    assert share.pulled == ()
    assert share.parts.tolist() == pieces(LINKED, [b"a", b"a/data", b"c/one"])


def test_links_of_an_increment_have_their_target_there(small_groups: None) -> None:
    newer: Rows = {b"b": Entry(size=100, version=1), b"c": Entry(FOLDER), b"c/one": Entry(HARDLINK, link=b"./b")}
    old, new = shares_of([LINKED, newer], b"c")
    begin, end = layout(newer)[b"b"]
    assert new.pulled == (Pulled(b"c/one", b"b", begin, end),)
    assert [pulled.link for pulled in old.pulled] == [b"c/two"]


@pytest.mark.parametrize("patterns", [None, [b"a", b"b", b"c"], [b"b", b"c"], [b"c"]])
@pytest.mark.parametrize(
    "newer",
    [
        {b"": Entry(FOLDER), b"a": Entry(FOLDER), b"a/data": Entry(size=100, version=1)},
        {b"": Entry(FOLDER), b"a": Entry(FOLDER), b"a/data": Entry(GONE)},
        {b"": Entry(FOLDER), b"a": Entry(GONE)},
        {b"": Entry(FOLDER), b"a": Entry(size=100)},
    ],
)
def test_a_target_that_is_hidden_is_pulled_in(small_groups: None, newer: Rows, patterns: list[bytes] | None) -> None:
    """The other names could not be read when the increment was made."""
    with opened(LINKED, newer) as indexes:
        old, new = final_rows(indexes, None if patterns is None else Wanted.parse(patterns))
    begin, end = layout(LINKED)[b"a/data"]
    links = [b"b", b"c/one", b"c/two"] if patterns is None or b"b" in patterns else [b"c/one", b"c/two"]
    assert old.pulled == tuple(Pulled(link, b"a/data", begin, end) for link in links)
    assert not old.whole
    assert new.pulled == ()


def test_what_the_sieve_lets_through_is_looked_at(small_groups: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapeloom.index.chain._Sharing._sieve_of", lambda self, path: 0)
    full = {b"0": Entry(), **LINKED}
    with opened(full, {b"0": Entry(version=1)}) as indexes:
        old, _ = final_rows(indexes)
    assert old.pulled == ()
    assert old.parts.tolist() == pieces(full, list(LINKED))


def test_a_link_without_its_target_is_damage(small_groups: None) -> None:
    with pytest.raises(IndexDamaged, match="hard link to gone,"):
        shares_of([{b"x": Entry(HARDLINK, link=b"gone")}], b"x")


def test_no_chain_at_all() -> None:
    assert final_rows([], None) == []
    assert final_rows([], Wanted.parse([b"x"])) == []
    assert list(final_state([])) == []
