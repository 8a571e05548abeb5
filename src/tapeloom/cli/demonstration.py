"""The words around `tapeloom demo`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tapeloom.cli.outcome import put_copies, put_troubles
from tapeloom.cli.screen import counted, number, put, put_section, put_text, size
from tapeloom.cli.tables import put_table
from tapeloom.ops import demo


def show(folder: Path | None) -> int:
    """Runs the demonstration and shows what comes of it."""
    result = demo.run(folder, put_text)
    put()
    put_copies(result.backup.table)
    put_troubles(result.backup)
    put()
    put_table(
        ("source", "restored from", "files", "bytes", "compared with the source"),
        [
            (
                one.source,
                one.agent,
                number(one.files),
                size(one.bytes),
                "the same" if not one.differences else counted(len(one.differences), "difference"),
            )
            for one in result.restored
        ],
        right=("files", "bytes"),
    )
    put_section("Not as it should be", result.surprises)
    put()
    if not result.surprises:
        put_text(
            f"All went as it should. {demo.FAILING_AGENT}'s copies on {demo.FAILING_DRIVE} are incomplete: that drive "
            "failed on purpose. The catalog knows what they miss, the stage below it got everything, and all "
            f"{counted(len(result.restored), 'complete copy', 'complete copies')} came back."
        )
    put(f"The picture:  {result.picture}")
    put(f"To look on:   {_called()} -c {shlex.quote(str(result.file))} objects")
    put(f"To clean up:  rm -r {shlex.quote(str(result.folder))}")
    return result.exit_status


def _called() -> str:
    """This program as its user called it: perhaps by a path into an environment that is not active."""
    return shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "tapeloom" else "tapeloom"
