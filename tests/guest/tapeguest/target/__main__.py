"""The server: `python -m tapeguest.target`. It listens on a socket that it is started with, and carries out the
requests that come as files into a folder."""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import threading
import time
from pathlib import Path

from tapeguest.target.iscsi import Session
from tapeguest.target.library import Library, Plan

LOOK_SECONDS = 0.003


def carry_out(library: Library, request: dict[str, object]) -> dict[str, object]:
    """One request: {"do": a public method of Library, and its arguments}."""
    name = str(request.pop("do"))
    try:
        if name.startswith("_"):
            raise AttributeError(name)
        return {"result": getattr(library, name)(**request)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def watch(library: Library, folder: Path) -> None:
    """Answers NAME.request with NAME.answer, for ever."""
    while True:
        for path in sorted(folder.glob("*.request")):
            answer = carry_out(library, json.loads(path.read_text()))
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(answer))
            path.unlink()
            unfinished.rename(path.with_suffix(".answer"))
        time.sleep(LOOK_SECONDS)


def serve(connection: socket.socket, library: Library) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError, BrokenPipeError):
        Session(connection, library).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--requests", type=Path, required=True, help="the folder that requests come into")
    for name in ("drives", "tapes", "capacity", "early-warning", "block-bytes-max"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--changer", action="store_true")
    given = vars(parser.parse_args())
    listening, requests = given.pop("socket"), given.pop("requests")
    library = Library(Plan(**given))
    threading.Thread(target=watch, args=(library, requests), daemon=True).start()
    with socket.socket(fileno=listening) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, library), daemon=True).start()


if __name__ == "__main__":
    main()
