"""Runs in the guest: command lines of tapeloom, each in a process of its own that has its modules already. An emulated
processor takes longer to import them than a scene takes to play."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from pathlib import Path
from typing import NoReturn

import tapeloom

PROMPT = Path("/tmp/tapeloom-prompt")
UNUSED = (
    "tapeloom._devio_build",
    "tapeloom.agent",
    "tapeloom.ops.bench",
    "tapeloom.ops.demo",
    "tapeloom.picture",
    "tapeloom.plan",
    "tapeloom.seal",
)
ASK = f'f=/tmp/answer.$$; mkfifo $f; echo "$$ $f $REQUEST" > {PROMPT}; read status < $f; exit $status'
"""For a shell: has the command line in the file $REQUEST run, a list in JSON, and ends as it ends."""


def main() -> NoReturn:
    for module in pkgutil.walk_packages(tapeloom.__path__, "tapeloom."):
        if not module.name.startswith(UNUSED):
            importlib.import_module(module.name)
    os.mkfifo(PROMPT)
    with open(os.open(PROMPT, os.O_RDWR)) as prompt:
        while True:
            asker, answer, request = prompt.readline().split()
            child = os.fork()
            if child == 0:
                _become(asker, Path(request))
            Path(f"{request}.pid").write_text(str(child))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            Path(answer).write_text(f"{status if status >= 0 else 128 - status}\n")


def _become(asker: str, request: Path) -> NoReturn:
    output = os.open(f"/proc/{asker}/fd/1", os.O_WRONLY | os.O_APPEND)
    for fd in (1, 2):
        os.dup2(output, fd)
    sys.argv = ["tapeloom", *json.loads(request.read_text())]
    from tapeloom.cli.main import run

    status: object = 0
    try:
        run()
    except SystemExit as end:
        status = end.code
    finally:
        sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
