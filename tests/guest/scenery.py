"""Scenes of the command line in a guest: a configuration in a folder of its own, data, and what is to be seen."""

from __future__ import annotations

import compileall
import json
import shlex
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from random import Random
from typing import Any

from quickstart import ASK, PROMPT
from tapeguest import Guest, Result
from tapeguest.boot import Running

import tapeloom

KIB = 1024
WAITING_SECONDS = 120
COMMAND_SECONDS = 300
CHANGER = "/dev/sg0"


def until(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAITING_SECONDS
    while not happened():
        assert time.monotonic() < end, f"for {WAITING_SECONDS} s in vain: {what}"
        time.sleep(0.02)


def set_up(guest: Guest) -> None:
    """Once for each guest: what `Scene.run` needs."""
    if guest.run(["test", "-p", str(PROMPT)]).status != 0:
        compileall.compile_dir(Path(tapeloom.__file__).parent, quiet=1)
        server = shlex.join([sys.executable, str(Path(__file__).with_name("quickstart.py"))])
        ready = f"setsid {server} > /tmp/quickstart 2>&1 & while [ ! -p {PROMPT} ]; do kill -0 $! || exit 1; done"
        result = guest.run(f"{ready}; exit 0", timeout=COMMAND_SECONDS)
        assert result.status == 0, guest.run("cat /tmp/quickstart").output


def json_in(output: str) -> Any:
    """What is printed behind messages."""
    return json.loads(output[min(at for at in (output.find("[\n"), output.find("{\n")) if at >= 0) :])


def copies_in(outcome: Any) -> dict[tuple[str, str], str]:
    return {(one["source"], one["agent"]): one["status"] for one in outcome["copies"]}


class Scene:
    """A configuration `file` with its state and its sources in a folder that host and guest share.

    Parameters
    ----------
    drives : their nodes, by name.
    library : those of them that stand in library L1.
    sources : bytes of the one file that each has.
    agents : text of the groups.
    """

    def __init__(
        self,
        guest: Guest,
        name: str,
        *,
        drives: Mapping[str, str],
        sources: Mapping[str, int],
        agents: str,
        library: Collection[str] = (),
        block: str = "64KiB",
        memory: str = "8MiB",
    ):
        set_up(guest)
        self.guest = guest
        self.folder = guest.folder / name
        self.folder.mkdir()
        self.file = self.folder / "tapeloom.toml"
        self._drives, self._library, self._agents, self._block, self._memory = drives, library, agents, block, memory
        self._sources = list(sources)
        self._count = 0
        for source, size in sources.items():
            self.put(source, size)
        self.configure()

    def configure(
        self, agents: str | None = None, drives: Mapping[str, str] | None = None, state: str = "state"
    ) -> None:
        """Writes the configuration anew."""
        lines = ["[server]", f'state = "{state}"', f'block = "{self._block}"', f'memory = "{self._memory}"']
        lines += ["[libraries]", f'L1 = "{CHANGER}"'] if self._library else []
        for name, node in (drives or self._drives).items():
            lines += [f"[drives.{name}]", f'device = "{node}"']
            lines += ['library = "L1"'] if name in self._library else []
        lines += ["[sources]", *(f'{source} = "data/{source}"' for source in self._sources)]
        self.file.write_text("\n".join(lines) + "\n" + (agents or self._agents))

    def put(self, source: str, size: int, seed: int = 0) -> None:
        """Data of a source: noise, another one for each seed."""
        folder = self.folder / "data" / source
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(Random(f"{source} {seed}").randbytes(size))

    def start(self, *words: str, wrapped: str = "{}") -> Running:
        """A command line on its way. `wrapped`: shell words around it."""
        self._count += 1
        request = self.folder / f"{self._count}.request"
        request.write_text(json.dumps(["-c", str(self.file), *words]))
        return self.guest.start(wrapped.format(f"bash -c {shlex.quote(ASK)}"), env={"REQUEST": str(request)})

    @property
    def process(self) -> str:
        """Number of the process of the command line that was started last."""
        return (self.folder / f"{self._count}.request.pid").read_text()

    def run(self, *words: str, status: int = 0) -> str:
        """What a command line says."""
        return self.ended(self.start(*words).wait(COMMAND_SECONDS), status)

    @staticmethod
    def ended(result: Result, status: int = 0) -> str:
        assert result.status == status, result.output
        assert "bug in tapeloom" not in result.output
        assert "Traceback" not in result.output
        return result.output

    def json(self, *words: str, status: int = 0) -> Any:
        return json_in(self.run(*words, "--json", status=status))

    def backup(self, *words: str, status: int = 0) -> dict[tuple[str, str], str]:
        """Status of each copy of the job's objects, by source and agent."""
        return copies_in(self.json("backup", *words, status=status))

    def restored(self, source: str, *words: str) -> bool:
        """Whether it comes back as it is; `words` choose the copy."""
        self._count += 1
        target = self.folder / f"out{self._count}"
        self.run("restore", source, "--to", str(target), *words)
        return self.same(source, target)

    def same(self, source: str, target: Path) -> bool:
        came = [path for path in target.rglob("file") if path.is_file()]
        return [path.read_bytes() for path in came] == [(self.folder / "data" / source / "file").read_bytes()]
