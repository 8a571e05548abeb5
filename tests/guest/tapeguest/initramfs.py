"""The archive that a kernel starts from (cpio, "newc"), written without any tool."""

from __future__ import annotations

import stat
from pathlib import PurePosixPath


class Initramfs:
    """Add files, then take `content()`."""

    def __init__(self) -> None:
        self._entries: list[bytes] = []
        self._folders: set[PurePosixPath] = {PurePosixPath(".")}

    def folder(self, name: str) -> None:
        path = PurePosixPath(name)
        for folder in (*reversed(path.parents), path):
            if folder not in self._folders:
                self._folders.add(folder)
                self._entry(str(folder), stat.S_IFDIR | 0o755)

    def file(self, name: str, content: bytes, *, executable: bool = False) -> None:
        self._parent(name)
        self._entry(name, stat.S_IFREG | (0o755 if executable else 0o644), content)

    def link(self, name: str, target: str) -> None:
        self._parent(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        self._parent(name)
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def content(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        return b"".join(self._entries)

    def _parent(self, name: str) -> None:
        self.folder(str(PurePosixPath(name).parent))

    def _entry(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        path = name.encode() + b"\0"
        fields = (len(self._entries) + 1, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        self._entries.append(head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4))
