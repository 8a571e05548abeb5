"""The entry point: the group of verbs."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

import click

import tapeloom
from tapeloom import news, numerics
from tapeloom.cli.endings import WELL, WRONG_USE, ending
from tapeloom.cli.options import FILE_DEFAULT
from tapeloom.cli.screen import say

VERBS: Final = {
    "init": "setting_up",
    "config": "setting_up",
    "key": "keys",
    "plan": "planning",
    "backup": "backing_up",
    "objects": "listing",
    "files": "finding",
    "find": "finding",
    "restore": "reading",
    "cat": "reading",
    "verify": "verifying",
    "copy": "copying",
    "compact": "moving",
    "refresh": "moving",
    "migrate": "moving",
    "demux": "unweaving",
    "consolidate": "consolidating",
    "volumes": "volumes",
    "drives": "drives",
    "inventory": "libraries",
    "mount": "libraries",
    "unmount": "libraries",
    "import-export": "libraries",
    "label": "handling",
    "relabel": "handling",
    "load": "handling",
    "unload": "handling",
    "retire": "freeing",
    "scratch": "freeing",
    "import": "importing",
    "export-catalog": "importing",
    "jobs": "listing",
    "demo": "trying",
    "bench": "trying",
}
"""In the order in which one meets them, and the module that each is in: loaded when it is asked for."""

LIGHT: Final = {"init", "key", "backup", "objects", "volumes", "jobs"}
"""Verbs that do without numpy, or load it themselves when it is wanted; for all others it is loaded at once."""

GARBAGE_MIN: Final = 10_000
"""So many more objects made than let go, and circles are looked for: what is loaded at the start has none to find."""


class Verbs(click.Group):
    """Knows all verbs by name, and the nearest one for a name that is none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = getattr(import_module(f"tapeloom.cli.{VERBS[cmd_name]}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(VERBS)}"
            raise click.UsageError(f"there is no verb {args[0]!r} ({hint})", ctx)
        if args and args[0] not in LIGHT:
            numerics.load()
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "file",
    metavar="FILE",
    default=str(FILE_DEFAULT),
    show_default=True,
    type=click.Path(path_type=Path),
    help="The configuration.",
)
@click.version_option(tapeloom.__version__, message="tapeloom %(version)s")
@click.pass_context
def tapeloom_command(ctx: click.Context, file: Path) -> None:
    """Weaves many data streams onto tape, and unweaves them again.

    Exit status: 0 all well, 1 some objects or copies are not, 2 wrong use or an unknown name, 3 nothing done.
    """
    ctx.obj = file


def _open_outputs() -> None:
    """Both outputs are there, also where the caller has closed them, and take names that the locale cannot write."""
    for name in ("stdout", "stderr"):
        output = getattr(sys, name)
        if output is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit status. Raises nothing."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    _open_outputs()
    news.listener = say
    meta: dict[str, Any] = {}
    try:
        if not words:
            click.echo(tapeloom_command.get_help(click.Context(tapeloom_command, info_name="tapeloom")), err=True)
            return WRONG_USE
        with tapeloom_command.make_context("tapeloom", words) as context:
            meta = context.meta
            status = tapeloom_command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as left:  # --help and --version have said it all
        return left.exit_code
    except BaseException as error:
        return ending(error, meta)
    return WELL if status is None else int(status)


def run() -> NoReturn:
    """The whole process: one command line."""
    gc.set_threshold(GARBAGE_MIN)
    status = main()
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # where nobody listens any more, `main` has noticed it
            output.flush()
    os._exit(status)  # the system takes everything back at once: taking it apart first lasts as long as a small command


if __name__ == "__main__":
    run()
