"""Runs a command in a guest: `python -m tapeguest [--drives N] [--tapes N] [--changer] -- COMMAND...`"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tapeguest.boot import Guest, GuestError, Shape
from tapeguest.packages import Unavailable


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tapeguest", description="Runs a command in a guest with tape drives."
    )
    usual = Shape()
    parser.add_argument("--drives", type=int, default=usual.drives)
    parser.add_argument("--tapes", type=int, default=usual.tapes)
    parser.add_argument("--changer", action="store_true")
    parser.add_argument("--processors", type=int, default=usual.processors)
    parser.add_argument("--timeout", type=float, default=300, help="seconds")
    parser.add_argument("command", nargs="+")
    given = vars(parser.parse_args())
    command, timeout = given.pop("command"), given.pop("timeout")
    try:
        with tempfile.TemporaryDirectory(prefix="tapeguest-") as folder, Guest(Path(folder), Shape(**given)) as guest:
            result = guest.run(command, timeout=timeout)
    except (Unavailable, GuestError) as error:
        print(error, file=sys.stderr)
        return 125
    print(result.output, end="")
    return result.status


if __name__ == "__main__":
    sys.exit(main())
