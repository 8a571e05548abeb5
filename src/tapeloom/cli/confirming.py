"""Asking before something is done that is not taken back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tapeloom.errors import Declined, UsageError

F = TypeVar("F", bound=Callable[..., Any])


def asks_first(verb: F) -> F:
    """The option --yes."""
    return click.option("--yes", is_flag=True, help="Do not ask. Without a terminal nothing is done without it.")(verb)


def confirm(question: str, yes: bool) -> None:
    """Comes back where the answer is yes. Declined: it is no. UsageError: there is nobody to ask."""
    if not yes:
        _somebody_there(question)
        if not click.confirm(question, err=True):
            raise Declined("the answer was no: nothing was done")


def confirm_by_name(question: str, name: str, yes: bool) -> bool:
    """Whether somebody has typed `name`, so that nobody says yes by habit."""
    if yes:
        return True
    _somebody_there(question)
    return bool(click.prompt(f"{question} Type {name} to say so", err=True) == name)


def there_is_a_terminal() -> bool:
    return sys.stdin.isatty()


def _somebody_there(question: str) -> None:
    if not there_is_a_terminal():
        raise UsageError(f"{question} There is no terminal to ask on: --yes says so. Nothing was done")
