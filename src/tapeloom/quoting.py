"""Paths as text: one form in all that is printed, from which the bytes can be had again. A leaf: imports nothing of
tapeloom.

A path goes as it is where that says it all. Else it stands in double quotes, with the escapes of C: `"new\\nline"`,
`"no UTF-8: \\377"`. So what begins with a quote is quoted, and nothing else is.
"""

from __future__ import annotations

_LETTERS = {
    ord("\a"): "\\a",
    ord("\b"): "\\b",
    ord("\t"): "\\t",
    ord("\n"): "\\n",
    ord("\v"): "\\v",
    ord("\f"): "\\f",
    ord("\r"): "\\r",
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}
_APART = (" -> ", " = ")
"""What stands between a name and its link's target in a list."""


def shown(path: bytes) -> str:
    """*path* on one line; "." for the root, which is b"".

    >>> print(shown(b"a b/c"), shown(b""), shown(b'"a\\\\b"'), shown(b"b\\xff\\n"), shown("\\u00fc\\u202e".encode()))
    a b/c . "\\"a\\\\b\\"" "b\\377\\n" "ü\\342\\200\\256"
    """
    if not path:
        return "."
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and not _is_doubtful(text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _is_doubtful(text: str) -> bool:
    return '"' in text or "\\" in text or text != text.strip() or any(apart in text for apart in _APART)


def _escaped(letter: str) -> str:
    if (known := _LETTERS.get(ord(letter))) is not None:
        return known
    if letter.isprintable():
        return letter
    return "".join(f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape"))


def in_json(name: str, path: bytes) -> dict[str, str]:
    """*path* as a member of a JSON object, the root as ".". Where it is no UTF-8, `name` has U+FFFD for what cannot be
    said, and `name_bytes` its bytes in base64.

    >>> in_json("path", b"a"), in_json("path", b"a\\xff")["path_bytes"]
    ({'path': 'a'}, 'Yf8=')
    """
    path = path or b"."
    try:
        return {name: path.decode()}
    except UnicodeDecodeError:
        import base64

        return {name: path.decode("utf-8", "replace"), f"{name}_bytes": base64.b64encode(path).decode()}
