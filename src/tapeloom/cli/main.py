"""The entry point: the group of verbs."""

from __future__ import annotations

import difflib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import tapeloom
from tapeloom.cli import backing_up, listing, planning, reading, setting_up, trying, verifying
from tapeloom.cli.endings import WELL, WRONG_USE, ending
from tapeloom.cli.options import FILE_DEFAULT


class Verbs(click.Group):
    """Verbs in the order in which one meets them, and the nearest one for a name that is none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.commands)}"
            raise click.UsageError(f"there is no verb {args[0]!r} ({hint})", ctx)
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

    Exit status: 0 all well, 1 some objects or copies are not, 2 wrong use, 3 nothing done.
    """
    ctx.obj = file


for verb in (
    setting_up.init,
    setting_up.config,
    planning.plan,
    backing_up.backup,
    listing.objects,
    reading.restore,
    reading.cat,
    verifying.verify,
    listing.volumes,
    listing.jobs,
    trying.demo,
    trying.bench,
):
    tapeloom_command.add_command(verb)


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
    try:
        if not words:
            click.echo(tapeloom_command.get_help(click.Context(tapeloom_command, info_name="tapeloom")), err=True)
            return WRONG_USE
        with tapeloom_command.make_context("tapeloom", words) as context:
            status = tapeloom_command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as left:  # --help and --version have said it all
        return left.exit_code
    except BaseException as error:
        return ending(error)
    return WELL if status is None else int(status)


if __name__ == "__main__":
    sys.exit(main())
