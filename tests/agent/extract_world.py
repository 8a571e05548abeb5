"""Sequences whose bytes can be looked at, archives as others write them, and chains of them."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

from agent_world import MemorySequence

from tapeloom.agent.sink import BytesLike


class ViewedSequence(MemorySequence):
    """As the engine's: bytes lie together in blocks of *block* bytes, and can be looked at there. Counts both ways."""

    def __init__(self, data: BytesLike, block: int = 1 << 20):
        super().__init__(data)
        self._block = block
        self._shown = 0
        self.read_bytes = self.passed_bytes = 0

    def read(self, bytes: int) -> BytesLike:
        data = super().read(bytes)
        self.read_bytes += len(data)
        return data

    def peek(self) -> memoryview:
        end = self._at - self._at % self._block + self._block
        view = self._data[self._at : end].toreadonly()
        self._shown = len(view)
        return view

    def consume(self, bytes: int) -> None:
        if not 0 <= bytes <= self._shown:
            raise ValueError("more than was shown")
        self._at += bytes
        self.passed_bytes += bytes

    def go_to(self, offset: int) -> None:
        if offset < self._at:
            raise ValueError("backwards")
        self._at = offset


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"", **fields) -> tuple:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    info.uid, info.gid = os.getuid(), os.getgid()
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def folder(name: str, listing: str | None = None, **fields) -> tuple:
    """A folder's entry; *listing* as in "Ya Nb Dc", one item a word."""
    info, data = member(name, tarfile.DIRTYPE, **fields)
    if listing is not None:
        info.pax_headers = {
            **info.pax_headers,
            "GNU.dumpdir": "".join(f"{item}\0" for item in listing.split()) + "\0",
        }
    return info, data


def archive_of(*members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def parts_of(archive: bytes, *wanted: str) -> list[tuple[int, int]]:
    """Where the entries of these names stand in *archive*."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        members = opened.getmembers()
    begins = [entry.offset for entry in members] + [members[-1].offset_data + (members[-1].size + 511) // 512 * 512]
    return [
        (begin, end) for entry, begin, end in zip(members, begins, begins[1:], strict=False) if entry.name in wanted
    ]


def below(root: Path) -> dict[str, str | None]:
    """Every path below *root*, with the text of files."""
    return {
        str(path.relative_to(root)): path.read_text() if path.is_file() else None for path in sorted(root.rglob("*"))
    }
