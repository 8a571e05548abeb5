"""A small installation to run command lines in, in this process and in others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tapeloom.cli.main import main

CONFIGURATION = """\
[server]
state = "state"
block = "16KiB"
memory = "4MiB"

[drives]
R1 = "vtape:tapes/R1"
R2 = "vtape:tapes/R2"
R3 = "vtape:tapes/R3"

[sources]
docs = "data/docs"
mail = "data/mail"

[backup.nightly.BMA1]
drive = "R1"
buffers = { B1 = "docs", B2 = "mail" }

[mirror.1.BMA2]
drive = "R2"
buffers = { B1 = "BMA1.B1" }
"""


@dataclass(frozen=True)
class Said:
    """What a command line said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Site:
    """A folder with a configuration, and two sources with data in them."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "tapeloom.toml"

    def configure(self, *changes: tuple[str, str]) -> None:
        text = CONFIGURATION
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        self.file.write_text(text, encoding="utf-8")

    def run(self, *words: str) -> Said:
        """In this process."""
        self.capture.readouterr()
        status = main(["-c", str(self.file), *words])
        said = self.capture.readouterr()
        return Said(status, said.out, said.err)

    def good(self, *words: str) -> Said:
        said = self.run(*words)
        assert said.status == 0, said
        return said

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """In a process of its own, which is killed at the end of the test if it still runs."""
        command = [sys.executable, "-m", "tapeloom.cli.main", "-c", str(self.file), *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        process = subprocess.Popen(command, text=True, env=environment, **pipes)
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            with process:  # closes its pipes and waits
                pass
