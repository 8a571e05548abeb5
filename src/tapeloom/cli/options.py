"""Options that several verbs have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tapeloom.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def as_json(what: str) -> Callable[[F], F]:
    return click.option("--json", "json_wanted", is_flag=True, help=f"Print {what}, as JSON on standard output.")


def one_copy(verb: F) -> F:
    """--copy or --volume: which of an object's copies is read."""
    volume = click.option("--volume", metavar="LABEL", help="Read from this volume.")
    copy = click.option("--copy", metavar="AGENT", help="Read the copy that this media agent wrote.")
    return copy(volume(verb))


def refuse_both(copy: str | None, volume: str | None) -> None:
    if copy is not None and volume is not None:
        raise UsageError("--copy and --volume both say where to read: leave one of them out")
