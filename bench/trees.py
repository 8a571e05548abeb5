"""Trees of files that are the same wherever and whenever they are made: what the benchmarks of many files read."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tapeloom.limits import MIB

SUBFOLDERS = 100
"""So many folders with files stand in one folder without."""


@dataclass(frozen=True, slots=True)
class Tree:
    """`files` files of `size` bytes each, spread evenly over `folders` folders. Their names and contents follow from
    `seed`."""

    files: int
    folders: int
    size: int
    seed: int = 0

    def made(self, below: Path) -> Path:
        """Its root. Made anew where it is not there, or was not finished; else as the last one who had it left it."""
        root = below / f"tree-{self.files}x{self.size}-{self.folders}-{self.seed}"
        whole = root.with_suffix(".whole")
        if not whole.exists():
            shutil.rmtree(root, ignore_errors=True)
            contents = random.Random(self.seed).randbytes(MIB + self.size)
            for folder in self._folders(root):
                folder.mkdir(parents=True)
            for number, path in enumerate(self.paths(root)):
                at = number * 4099 % MIB
                path.write_bytes(contents[at : at + self.size])
            whole.touch()
        return root

    def paths(self, root: Path) -> Iterator[Path]:
        """Of all files, folder by folder."""
        share, more = divmod(self.files, self.folders)
        for number, folder in enumerate(self._folders(root)):
            for file in range(share + (number < more)):
                yield folder / f"file{file:05}.dat"

    def _folders(self, root: Path) -> Iterator[Path]:
        for number in range(self.folders):
            yield root / f"part{number // SUBFOLDERS:03}" / f"folder{number:05}"

    def folders_of(self, root: Path) -> list[Path]:
        """Every folder of the tree, the root first."""
        inner = list(dict.fromkeys(folder.parent for folder in self._folders(root)))
        return [root, *inner, *self._folders(root)]

    def mutate(self, root: Path, share: float, seed: int) -> int:
        """Rewrites a share of the files, chosen by `seed`, with as many other bytes. How many."""
        chance = random.Random(seed)
        chosen = chance.sample(list(self.paths(root)), round(self.files * share))
        for path in chosen:
            path.write_bytes(chance.randbytes(self.size))
        return len(chosen)


def place_for_trees() -> Path:
    """Where trees are left for the next run: below TAPELOOM_BENCH_DIR, else below the folder for temporary files."""
    base = os.environ.get("TAPELOOM_BENCH_DIR") or tempfile.gettempdir()
    place = Path(base, f"tapeloom-bench-trees-{os.getuid()}")
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise RuntimeError(f"{place} is somebody else's")
    return place
