"""Whole processes, from the shell's point of view: starting and ending count."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from usage import Cost, cost_of_child

_COMMAND = "from tapeloom.cli.main import run; run()"
_WITH_PEAK = """
import sys
from tapeloom.cli.main import main
status = main()
print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1], file=sys.stderr)
sys.exit(status)
"""


def environment() -> dict[str, str]:
    """Ours, but for what keeps Python from keeping its bytecode: an installed program has it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def cost_of(command: list[str], **options: Any) -> Cost:
    """Runs a command to its end. It has to end well. Its bytes are counted as one: its seconds matter."""
    return cost_of_child(command, 1, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


@dataclass(frozen=True, slots=True)
class Site:
    """A configuration with one source, one drive and its state, in a folder of its own."""

    folder: Path
    root: Path
    drive: str = "vtape:tapes/R"
    server: dict[str, str] = field(default_factory=dict)
    """Further keys of [server]. Memory is the default."""

    @property
    def file(self) -> Path:
        return self.folder / "tapeloom.toml"

    def write(self) -> Site:
        self.folder.mkdir(exist_ok=True)
        server = "".join(f'{key} = "{value}"\n' for key, value in self.server.items())
        self.file.write_text(
            f'[server]\nstate = "state"\n{server}[drives]\nR = "{self.drive}"\n[sources]\nS = "{self.root}"\n'
            '[backup.n.A]\ndrive = "R"\nbuffers = { B = "S" }\n'
        )
        return self

    def run(self, *words: str) -> Cost:
        """`tapeloom WORDS`."""
        return cost_of([sys.executable, "-c", _COMMAND, "-c", str(self.file), *words], env=environment())

    def peak_bytes(self, *words: str) -> int:
        """The most memory that `tapeloom WORDS` had at once."""
        command = [sys.executable, "-c", _WITH_PEAK, "-c", str(self.file), *words]
        ended = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
        return int(ended.stderr.splitlines()[-1]) * 1024

    def forget(self) -> None:
        """No tape and no object, but what was judged and compiled before is kept."""
        shutil.rmtree(self.folder / "tapes", ignore_errors=True)
        for path in (self.folder / "state").glob("*"):
            if path.is_file():
                path.unlink()
            elif path.name != "cache":
                shutil.rmtree(path)


class Floor:
    """The bare walk of floor.c."""

    def __init__(self, folder: Path):
        compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise RuntimeError("the benchmarks compile their plain loops: install a C compiler")
        self._program = folder / "floor"
        source = Path(__file__).with_name("floor.c")
        command = [compiler, "-std=c11", "-O2", "-D_GNU_SOURCE", "-pthread", str(source), "-o", str(self._program)]
        subprocess.run(command, check=True)

    def walk(self, folders: list[Path], threads: int) -> Cost:
        listed = "".join(f"{folder}\n" for folder in folders).encode()
        return cost_of([str(self._program), str(threads)], input=listed)
