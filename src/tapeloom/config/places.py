"""The line of every key in a TOML file.

`tomllib` parses the file and is the judge of what is valid, but it does not tell where it found a key. So this module
walks a text that `tomllib` has accepted, and needs to know of TOML only what separates keys from values. A test holds
it to `tomllib`: for any valid text, both see the same tree of keys.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final, NamedTuple

from tapeloom.config.faults import Path

# Possessive quantifiers: on text that is valid there is nothing to go back for.
_TOKEN: Final = re.compile(
    r'''
      (?P<string> """ (?: [^"\\] | \\. | "{1,2}(?!") )*+ """ "{0,2}
                | \'\'\' (?: [^'] | '{1,2}(?!') )*+ \'\'\' '{0,2}
                | " (?: [^"\\\n] | \\. )*+ "
                | ' [^'\n]*+ ' )
    | (?P<blank> [ \t\r]++ | \#[^\n]*+ )
    | (?P<newline> \n )
    | (?P<mark> [][{}=,.] )
    | (?P<word> [^][{}=,.\s"'\#]++ | . )
    ''',
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


_END: Final = _Token("end", "", 0)


def key_lines(text: str) -> dict[Path, int]:
    """Line (from 1) of each key, table and array item in a text that `tomllib` accepts.

    A table that several headers open (`[a.b]`, then `[a]`) is where its own header stands. Raises RecursionError where
    arrays are nested deeper than the interpreter follows.
    """
    return _Walk(text).lines


class _Walk:
    def __init__(self, text: str):
        self.lines: dict[Path, int] = {}
        self._tables_in: dict[Path, int] = {}  # arrays of tables, and how many tables they have so far
        self._tokens = _tokens(text)
        self._next = 0
        self._document()

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token is not _END
        return token

    def _document(self) -> None:
        table: Path = ()
        while (token := self._peek()) is not _END:
            if token.kind == "newline":
                self._take()
            elif token.text == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self._take().line
        of_array = self._peek().text == "["
        if of_array:
            self._take()
        keys = self._key()
        table: Path = ()
        for key in keys[:-1]:
            table = self._inside((*table, key))
            self.lines.setdefault(table, line)
        table = (*table, keys[-1])
        if of_array:
            self.lines.setdefault(table, line)
            self._tables_in[table] = self._tables_in.get(table, 0) + 1
            table = self._inside(table)
        self.lines[table] = line
        while self._peek().text == "]":
            self._take()
        return table

    def _inside(self, path: Path) -> Path:
        """An array of tables is entered at its last table."""
        count = self._tables_in.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: Path) -> None:
        line = self._peek().line
        for key in self._key():
            table = (*table, key)
            self.lines.setdefault(table, line)
        self._take()  # the equals sign
        self._value(table)

    def _key(self) -> list[str]:
        keys = [_name(self._take())]
        while self._peek().text == ".":
            self._take()
            keys.append(_name(self._take()))
        return keys

    def _value(self, path: Path) -> None:
        token = self._take()
        if token.text == "[":
            self._items(path)
        elif token.text == "{":
            self._pairs(path)
        else:
            while not self._value_ends():
                self._take()

    def _value_ends(self) -> bool:
        token = self._peek()
        return token.kind in ("newline", "end") or token.text in ("]", "}", ",")

    def _items(self, path: Path) -> None:
        count = 0
        while (token := self._peek()) is not _END and token.text != "]":
            if token.kind == "newline" or token.text == ",":
                self._take()
            else:
                item = (*path, count)
                self.lines[item] = token.line
                self._value(item)
                count += 1
        self._take()

    def _pairs(self, path: Path) -> None:
        while (token := self._peek()) is not _END and token.text != "}":
            if token.kind == "newline" or token.text == ",":
                self._take()
            else:
                self._pair(path)
        self._take()


def _tokens(text: str) -> list[_Token]:
    tokens, line = [], 1
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup or "", match.group()
        if kind != "blank":
            tokens.append(_Token(kind, found, line))
        line += found.count("\n")
    return [*tokens, _END]


def _name(token: _Token) -> str:
    if token.kind != "string":
        return token.text
    return str(tomllib.loads(f"name = {token.text}")["name"])
