"""Options that several verbs have, and command lines in hints."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tapeloom.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

FILE_DEFAULT = Path("tapeloom.toml")


def called(*words: str) -> str:
    """A command line for a hint, with the `-c FILE` that the present one was given."""
    context = click.get_current_context(silent=True)
    file = FILE_DEFAULT if context is None else context.obj
    return f"`{shlex.join(['tapeloom', *(() if file == FILE_DEFAULT else ('-c', str(file))), *words])}`"


def as_json(what: str) -> Callable[[F], F]:
    return click.option("--json", "json_wanted", is_flag=True, help=f"Print {what}, as JSON on standard output.")


def one_target(what: str) -> Callable[[F], F]:
    """--to DRIVE, once: a second one is a mistake, and not silently put in the place of the first."""

    def only(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> str:
        if len(given) > 1:
            raise UsageError(f"--to is given {len(given)} times, and all goes to one drive: leave one")
        return given[0]

    return click.option("--to", metavar="DRIVE", required=True, multiple=True, callback=only, help=what)


def one_copy(verb: F) -> F:
    """--copy or --volume: which of an object's copies is read."""
    volume = click.option("--volume", metavar="LABEL", help="Read from this volume.")
    copy = click.option("--copy", metavar="AGENT", help="Read the copy that this media agent wrote.")
    return copy(volume(verb))


def refuse_both(copy: str | None, volume: str | None) -> None:
    if copy is not None and volume is not None:
        raise UsageError("--copy and --volume both say where to read: leave one of them out")
