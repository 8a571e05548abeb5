"""A path that is shown says its bytes."""

from __future__ import annotations

import ast
import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeloom.quoting import in_json, shown

PATHS = st.one_of(st.binary(min_size=1, max_size=20), st.text('a"\\\n é\u202e->=', min_size=1).map(str.encode))


@given(PATHS)
def test_what_is_shown_says_the_bytes(path: bytes) -> None:
    text = shown(path)
    assert text.isprintable()
    if not text.startswith('"'):
        assert text.encode() == path
        return
    plain = "".join(
        letter if letter.isascii() else "".join(f"\\{byte:03o}" for byte in letter.encode()) for letter in text
    )
    assert ast.literal_eval("b" + plain) == path


@pytest.mark.parametrize("path", [b" a", b"a -> b", b"a = b", b'"', b"a\\n", b"\x7f", b"\xc3"])
def test_what_would_be_doubtful_is_quoted(path: bytes) -> None:
    assert shown(path).startswith('"')


@given(PATHS)
def test_json_says_the_bytes(path: bytes) -> None:
    said = json.loads(json.dumps(in_json("path", path)))
    said["path"].encode()  # no lone surrogates
    assert (b64decode(said["path_bytes"]) if "path_bytes" in said else said["path"].encode()) == path
