"""Canonical order as keys: a path whose slashes are NULs. Compared as bytes, keys stand as their entries do in an
archive: component by component, a folder before its content. No name holds a NUL or a slash, so nothing is lost.
"""

from __future__ import annotations

Range = tuple[bytes, bytes | None]
"""Keys from the first to before the second; None is behind all of them."""

_FROM, _TO = b"/", b"\0"

EVERYTHING: Range = (b"", None)


def key_of(path: bytes) -> bytes:
    return path.replace(_FROM, _TO)


def path_of(key: bytes) -> bytes:
    return key.replace(_TO, _FROM)


def one(key: bytes) -> Range:
    """The key itself and nothing else."""
    return key, key + b"\0"


def below(key: bytes) -> Range:
    """The key and all keys of what lies below: no name begins with a byte less than 1.

    >>> first, last = below(key_of(b"a/b"))
    >>> [first <= key_of(path) < last for path in (b"a/a", b"a/b", b"a/b/c", b"a/b/\\x01", b"a/b.c", b"a/b\\x01")]
    [False, True, True, True, False, False]
    """
    return (key, key + b"\1") if key else EVERYTHING


def beginning_with(prefix: bytes) -> Range:
    """All keys that begin so, be it in the middle of a name."""
    stem = prefix.rstrip(b"\xff")
    return prefix, stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def folders_above(key: bytes) -> list[bytes]:
    """
    >>> folders_above(key_of(b"a/b/c"))
    [b'', b'a', b'a\\x00b']
    """
    if not key:
        return []
    parts = key.split(b"\0")
    return [b"", *(b"\0".join(parts[:depth]) for depth in range(1, len(parts)))]


def overlap(one: Range, other: Range) -> bool:
    return (one[1] is None or other[0] < one[1]) and (other[1] is None or one[0] < other[1])


def joined(ranges: list[Range]) -> list[Range]:
    """The same keys as ascending ranges that neither meet nor touch."""
    done: list[Range] = []
    for first, last in sorted(ranges, key=lambda each: each[0]):
        if done and (done[-1][1] is None or first <= done[-1][1]):
            if done[-1][1] is not None and (last is None or last > done[-1][1]):
                done[-1] = done[-1][0], last
        else:
            done.append((first, last))
    return done
