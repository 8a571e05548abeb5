"""`init` and `config`: from nothing to a file without mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.endings import SOME, WELL
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, put, put_json, say
from tapeloom.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:
    from tapeloom.config import Config


@click.command()
@click.pass_obj
def init(file: Path) -> None:
    """Write a commented configuration to start from.

    It is ./tapeloom.toml, or the FILE of `-c FILE`; one that is there already is left alone.
    """
    from tapeloom.config import starter

    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(starter())
    except FileExistsError:
        raise UsageError(
            f"{file} is there already, and stays as it is; `tapeloom -c FILE init` writes another"
        ) from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    data = file.parent / "data"
    if data.exists():
        say(f"{file} is made. It backs up the folder {data}, which is there.")
    else:
        data.mkdir()
        say(f"{file} is made, and the folder {data}, which it backs up: put something into it.")
    say(f"Next: {called('config', 'check')}, {called('plan')}, {called('backup')}.")


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@as_json("the problems, as a list")
@click.pass_obj
def check(file: Path, json_wanted: bool) -> int:
    """Say whether the configuration is right: all mistakes at once.

    Exit status 2 for mistakes; 1 where the file is right, but a path that it names does not exist now.
    """
    from tapeloom.compile import problems
    from tapeloom.config import load, missing_paths

    try:
        found = load(file)
        mistakes = problems(found)
        if mistakes:
            raise ConfigError(mistakes)
    except ConfigError as wrong:
        if json_wanted:
            put_json([_as_json(problem) for problem in wrong.problems])
            return wrong.exit_status
        raise
    missing = missing_paths(found)
    if json_wanted:
        put_json([_as_json(problem) for problem in missing])
        return SOME if missing else WELL
    for problem in missing:
        say(f"tapeloom: {problem}")
    if missing:
        say(f"Otherwise {_right(found)}; `backup` would fail these sources alone.")
        return SOME
    put(_right(found))
    return WELL


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from tapeloom.config import json_schema

    put_json(json_schema())


def _right(config: Config) -> str:
    parts = [
        counted(len(config.drives), "drive"),
        counted(len(config.sources), "source"),
        counted(len(config.agents), "media agent"),
        f"in {counted(len(config.groups), 'group')}",
    ]
    return f"{config.shown} is right: {', '.join(parts[:3])} {parts[3]}"


def _as_json(problem: Problem) -> dict[str, object]:
    return {"file": problem.file, "line": problem.line, "what": problem.what, "hint": problem.hint}
