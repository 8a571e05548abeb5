"""A tree is read in a process of its own, in which calls to the system fail, or things happen just before them.

So it makes no difference how far ahead and in how many threads a tree is read: what happens, happens at the very call.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tapeloom
from tapeloom.agent.report import SourceReport

HERE = Path(__file__).parent
CC = shutil.which("cc")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. Names are the last components of paths. See faults.c."""

    library: Path
    lines: tuple[str, ...] = ()

    def fail(self, name: str, at: int, error: int = errno.EIO) -> Faults:
        """Reading *name* fails from byte *at* on."""
        return self._with(f"fail|{name}|{at}|{error}")

    def grow(self, name: str, by: int) -> Faults:
        """*name* grows by so many bytes before each read of it."""
        return self._with(f"grow|{name}|{by}|0")

    def unlistable(self, name: str, error: int = errno.EIO) -> Faults:
        return self._with(f"list|{name}|0|{error}")

    def on(self, name: str, magic: int) -> Faults:
        """The folder *name* is on a file system of the type *magic*."""
        return self._with(f"system|{name}|{magic}|0")

    def unopenable(self, name: str, error: int = errno.EIO) -> Faults:
        return self._with(f"open|{name}|0|{error}")

    def move(self, name: str, source: Path, target: Path) -> Faults:
        """Just before *name* is opened for the first time, *source* is renamed to *target*."""
        return self._with(f"move|{name}|0|0|{source}|{target}")

    def swap(self, name: str, one: Path, other: Path) -> Faults:
        """Just before *name* is opened for the first time, *one* and *other* change places."""
        return self._with(f"swap|{name}|0|0|{one}|{other}")

    def attribute(self, name: str, bytes: int) -> Faults:
        """*name* has an extended attribute `user.large` of so many bytes."""
        return self._with(f"attribute|{name}|{bytes}|0")

    def _with(self, line: str) -> Faults:
        return Faults(self.library, (*self.lines, line))

    def read(self, root: Path, archive: Path, *, since: Path | None = None, **rules: object) -> SourceReport:
        """Read the tree at *root* into the file *archive*: an increment, where *since* is a snapshot."""
        environment = os.environ | {
            "PYTHONPATH": str(Path(tapeloom.__file__).parents[1]),
            "LD_PRELOAD": str(self.library),
            "FAULTS": "\n".join(self.lines),
        }
        command = [sys.executable, __file__, root, archive, since or "", json.dumps(rules)]
        run = subprocess.run(command, env=environment, capture_output=True)
        assert run.returncode == 0, run.stderr.decode()
        return pickle.loads(run.stdout)


def compiled(folder: Path) -> Faults:
    """No fault yet: the library, built in *folder*."""
    made = folder / "faults.so"
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([*command, HERE / "faults.c", "-o", made, "-ldl"], check=True)
    return Faults(made)


def _read_here(root: Path, archive: Path, since: str, rules: dict[str, bool]) -> SourceReport:
    from agent_world import MemorySink

    from tapeloom.agent.snapshot import Snapshot
    from tapeloom.agent.tree import TreeSource

    sink = MemorySink()
    report = TreeSource([root], **rules).run(sink, since=Snapshot.open(Path(since)) if since else None)
    archive.write_bytes(sink.data)
    return report


if __name__ == "__main__":
    tree, to, against, ruled = sys.argv[1:]
    sys.stdout.buffer.write(pickle.dumps(_read_here(Path(tree), Path(to), against, json.loads(ruled))))
