"""How a program in another process and a job find one another: where the socket stands, and the first words on it.

A leaf: both sides import it. The program sends HELLO; the job answers with WELCOME and the descriptor of the segment,
or with REFUSED and a sentence. After that only wake-ups pass, one byte each (csrc/segment.h).
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "producers"
"""In the state folder: the sockets on which a job waits for producers."""

HELLO = struct.Struct("<8sI")
"""Magic, version of the segment."""
HELLO_MAGIC = b"TLHELLO\0"

WELCOME = struct.Struct("<8sII")
"""Magic, slots, bytes of payload that a slot takes."""
WELCOME_MAGIC = b"TLWELCOM"

REFUSED_MAGIC = b"TLREFUSE"
"""Followed by a sentence in UTF-8."""

MESSAGE_BYTES_MAX = 1024


def socket_path(state: str | os.PathLike[str], source: str) -> Path:
    """Where a job with this state folder waits for the producer of `source`."""
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", source):
        name = source
    else:
        name = "+" + hashlib.sha256(source.encode()).hexdigest()[:32]
    return Path(state) / FOLDER / f"{name}.sock"


@contextmanager
def address(path: Path) -> Iterator[str]:
    """An address for bind() or connect() that fits into a socket's 108 bytes, however long the path is."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def printable(text: bytes) -> str:
    """Words from another program, fit to be shown on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text.split(b"\0")[0].decode("utf-8", "replace"))
