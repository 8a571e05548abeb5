"""The kernel of an unpacked Debian package: its image, and its modules in the order in which they can be loaded."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable
from pathlib import Path


class Kernel:
    """`root` holds an unpacked package linux-image-*."""

    def __init__(self, root: Path) -> None:
        self.image = next((root / "boot").glob("vmlinuz-*"))
        base = next(folder for folder in (root / "lib/modules", root / "usr/lib/modules") if folder.is_dir())
        self._files = {_name(path.name): path for path in base.rglob("*.ko*")}
        built_in = next(base.glob("*/modules.builtin")).read_text().split()
        self._built_in = {_name(Path(line).name) for line in built_in}

    def modules(self, wanted: Iterable[str]) -> dict[str, bytes]:
        """The modules and all that they need, each behind what it needs."""
        loaded: dict[str, bytes] = {}
        for name in wanted:
            self._add(name, loaded)
        return loaded

    def _add(self, name: str, loaded: dict[str, bytes]) -> None:
        if name in loaded or name in self._built_in:
            return
        content = self._read(name)
        for needs in re.findall(rb"\0depends=([^\0]*)", content):
            for other in filter(None, needs.decode().split(",")):
                self._add(_name(other), loaded)
        loaded[name] = content

    def _read(self, name: str) -> bytes:
        path = self._files[name]
        content = path.read_bytes()
        return lzma.decompress(content) if path.suffix == ".xz" else content


def _name(file_name: str) -> str:
    return file_name.split(".ko")[0].replace("-", "_")
