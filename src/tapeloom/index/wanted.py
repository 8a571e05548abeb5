"""What is wanted: paths and globs, asked for one path or for many at once.

A pattern without `*`, `?` and `[` is a plain path. In a glob `*` and `?` stay within a name, `[...]` is one letter of a
name, a component `**` is any number of folders, and a backslash takes the next letter as it is. A glob without a slash
is about the last name of a path, at any depth; one with a slash, be it the first letter, about the whole path from the
root. A slash at the end says nothing. Upper and lower case are different. Each pattern also matches the path that it is
letter by letter, so that names with brackets need nothing done to them.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .keys import EVERYTHING, Range, beginning_with, below, joined, key_of, one, overlap
from .paths import Paths

_WILD = re.compile(rb"[*?\[]")
_CLASS = re.compile(rb"\[([!^]?)(\]?(?:[^\]\\]|\\.)*)\]", re.DOTALL)
_SLASH = ord("/")


class Wanted:
    """Paths that are wanted: all in some ranges of keys, and in others those that a regular expression matches."""

    def __init__(self, whole: Iterable[Range], globs: Iterable[tuple[Range, bytes]]):
        self._whole = joined(list(whole))
        self._starts = [first for first, _ in self._whole]
        globs = list(globs)
        self._globs = joined([range for range, _ in globs])
        self._glob_starts = [first for first, _ in self._globs]
        self._expression = b"(?s)(?:%b)" % b"|".join(dict.fromkeys(body for _, body in globs)) if globs else None
        self._compiled = re.compile(self._expression) if self._expression is not None else None
        self.ranges = joined([*self._whole, *self._globs])
        """Outside of them nothing is wanted."""

    @classmethod
    def parse(cls, patterns: Iterable[str | bytes], *, below: bool = True) -> Wanted:
        """`below`, for restoring: with each path that matches, everything below it; and a plain path is one from the
        root. Else a plain path without a slash is a name at any depth."""
        whole, globs = [], []
        for pattern in patterns:
            for range, body in _read(os.fsencode(pattern), below):
                if body is None:
                    whole.append(range)
                else:
                    globs.append((range, body))
        return cls(whole, globs)

    @classmethod
    def below(cls, path: bytes) -> Wanted:
        """The path and everything below it."""
        return cls([below(key_of(path))], [])

    def matches(self, path: bytes) -> bool:
        key = key_of(path)
        if _holds(self._whole, self._starts, key):
            return True
        if self._compiled is None or not _holds(self._globs, self._glob_starts, key):
            return False
        return self._compiled.fullmatch(path) is not None

    def may_match(self, keys: Range) -> bool:
        """Whether anything in this range could be wanted."""
        return bool(_touching(self.ranges, keys))

    def mask(self, paths: Paths) -> NDArray[np.bool_]:
        """Which of the paths, that are in canonical order, are wanted."""
        wanted = np.zeros(len(paths), np.bool_)
        if not len(paths):
            return wanted
        keys: Range = paths.key(0), paths.key(len(paths) - 1) + b"\0"
        for first, last in _touching(self._whole, keys):
            begin = paths.first_from(first)
            wanted[begin : len(paths) if last is None else paths.first_from(last, begin)] = True
        for first, last in _touching(self._globs, keys):
            begin = paths.first_from(first)
            end = len(paths) if last is None else paths.first_from(last, begin)
            wanted[begin:end] |= self.matching(paths.slice(begin, end))
        return wanted

    def matching(self, texts: Paths) -> NDArray[np.bool_]:
        """Which of the texts, in any order, the globs match."""
        import pyarrow.compute as compute  # type: ignore[import-untyped]

        assert self._expression is not None
        found = compute.match_substring_regex(texts.array, pattern=b"^" + self._expression + b"$")
        made: NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
        return made


def _holds(ranges: list[Range], starts: list[bytes], key: bytes) -> bool:
    at = bisect_right(starts, key) - 1
    if at < 0:
        return False
    last = ranges[at][1]
    return last is None or key < last


def _touching(ranges: list[Range], keys: Range) -> list[Range]:
    """Those of the ascending `ranges` that have keys in common with `keys`."""
    first = bisect_right(ranges, keys[0], key=lambda range: range[0])
    last = len(ranges) if keys[1] is None else bisect_left(ranges, keys[1], key=lambda range: range[0])
    return [range for range in ranges[max(first - 1, 0) : last] if overlap(range, keys)]


def _read(pattern: bytes, take_below: bool) -> list[tuple[Range, bytes | None]]:
    """What a pattern wants: ranges of keys, each whole (None) or with the expression that has to match there."""
    while pattern.startswith(b"./"):
        pattern = pattern[2:].lstrip(b"/")
    from_root = b"/" in pattern.rstrip(b"/")
    path = re.sub(rb"/+", b"/", pattern).strip(b"/")
    if path == b".":
        path = b""
    range_of = below if take_below else one
    itself = range_of(key_of(path))
    rest = b"(?:/.*)?" if take_below else b""
    if _WILD.search(path) is None:
        if take_below or from_root or not path:
            return [(itself, None)]
        return [(EVERYTHING, b"(?:.*/)?" + re.escape(path))]
    begin, body = _translated(path)
    if from_root:
        return [(itself, None), (beginning_with(key_of(begin)) if begin else EVERYTHING, body + rest)]
    return [(itself, None), (EVERYTHING, b"(?:.*/)?" + body + rest)]


def _translated(glob: bytes) -> tuple[bytes, bytes]:
    """The letters that every match begins with, and the expression, in the syntax that Python and RE2 share."""
    begin, body, at, plain = bytearray(), b"", 0, True
    while at < len(glob):
        letter = glob[at : at + 1]
        if letter == b"*":
            stars = len(glob) - at - len(glob[at:].lstrip(b"*"))
            behind = glob[at + stars : at + stars + 1]
            folders = stars > 1 and behind == b"/" and (at == 0 or glob[at - 1 : at] == b"/")
            body += b"(?:.*/)?" if folders else b".*" if stars > 1 else b"[^/]*"
            at += stars + folders
            plain = False
            continue
        if letter == b"?":
            body += b"[^/]"
            plain = False
        elif letter == b"[" and (found := _CLASS.match(glob, at)):
            body += _class(found[2], negated=bool(found[1]))
            at = found.end()
            plain = False
            continue
        else:
            if letter == b"\\" and at + 1 < len(glob):
                at += 1
                letter = glob[at : at + 1]
            body += re.escape(letter)
            if plain:
                begin += letter
        at += 1
    return bytes(begin), body


def _class(inside: bytes, *, negated: bool) -> bytes:
    """One letter out of a set, never a slash."""
    letters: set[int] = set()
    each = [(part[1:] or part)[0] if part[:1] == b"\\" else part[0] for part in re.findall(rb"(?s)\\.|.", inside)]
    escaped = [part[:1] == b"\\" for part in re.findall(rb"(?s)\\.|.", inside)]
    at = 0
    while at < len(each):
        if at + 2 < len(each) and each[at + 1] == ord("-") and not escaped[at + 1]:
            letters.update(range(each[at], each[at + 2] + 1))
            at += 3
        else:
            letters.add(each[at])
            at += 1
    if negated:
        letters = set(range(256)) - letters
    letters.discard(_SLASH)
    if not letters:
        return rb"[^\x00-\xff]"
    return b"[" + b"".join(rb"\x%02x" % letter for letter in sorted(letters)) + b"]"
