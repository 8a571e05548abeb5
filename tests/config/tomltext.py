"""Writes a tree of tables as TOML in one of many possible ways, and knows the line of every key it writes."""

from __future__ import annotations

import random
from typing import Any

Tree = dict[str, Any]


class Written:
    """`text` and `lines`: of each key and array item, and of each table that has a header or a key of its own."""

    def __init__(self, tree: Tree, chance: random.Random):
        self._chance = chance
        self._parts: list[str] = []
        self._line = 1
        self.lines: dict[tuple[str | int, ...], int] = {}
        self._table(tree, ())
        self.text = "".join(self._parts)

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._line += text.count("\n")

    def _mark(self, path: tuple[str | int, ...]) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self._line)

    def _table(self, table: Tree, path: tuple[str, ...]) -> None:
        below: list[str] = []
        for key, value in table.items():
            if isinstance(value, dict) and self._chance.random() < 0.6:
                below.append(key)
            else:
                self._noise()
                self._pair((*path, key), value, (key,))
                self._put(self._chance.choice(["\n", "  # a = [1]\n", "\r\n"]))
        self._chance.shuffle(below)
        for key in below:
            self._noise()
            here = (*path, key)
            self._mark(here)
            self.lines[here] = self._line
            self._put("[" + " . ".join(self._key(part) for part in here) + self._chance.choice(["]\n", " ] # [x]\n"]))
            self._table(table[key], here)

    def _noise(self) -> None:
        self._put(self._chance.choice(["", "", "\n", "# x = 'y'\n", '\t# """\n', " "]))

    def _pair(self, path: tuple[str | int, ...], value: Any, keys: tuple[str, ...]) -> None:
        while isinstance(value, dict) and len(value) == 1 and self._chance.random() < 0.5:
            [(key, value)] = value.items()
            path, keys = (*path, key), (*keys, key)
        self._mark(path)
        self._put(self._chance.choice([".", " . "]).join(self._key(key) for key in keys))
        self._put(self._chance.choice([" = ", "=", "\t= "]))
        self._value(path, value)

    def _value(self, path: tuple[str | int, ...], value: Any) -> None:
        if isinstance(value, dict):
            self._put("{ ")
            for number, (key, below) in enumerate(value.items()):
                self._put(", " if number else "")
                self._pair((*path, key), below, (key,))
            self._put(" }")
        elif isinstance(value, list):
            self._put("[")
            for number, below in enumerate(value):
                self._put(self._chance.choice(["", "\n", " # ]\n  "]))
                self._mark((*path, number))
                self._value((*path, number), below)
                self._put(self._chance.choice([",", " ,"]))
            self._put("]")
        elif isinstance(value, bool):
            self._put(str(value).lower())
        elif isinstance(value, str):
            self._put(self._string(value))
        else:
            self._put(str(value))

    def _key(self, key: str) -> str:
        bare = key != "" and key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        return key if bare and self._chance.random() < 0.7 else self._chance.choice([_basic(key), self._plain(key)])

    def _string(self, text: str) -> str:
        several = (
            f'"""{self._chance.choice(["", chr(10)]) if not text.startswith(chr(10)) else chr(10)}{_escaped(text)}"""'
        )
        return self._chance.choice([_basic(text), several, self._plain(text)])

    def _plain(self, text: str) -> str:
        literal = "'" not in text and all(character.isprintable() for character in text)
        return f"'{text}'" if literal else _basic(text)


def _basic(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return "".join(
        character if character.isprintable() and character not in '"\\' else f"\\U{ord(character):08x}"
        for character in text
    )
