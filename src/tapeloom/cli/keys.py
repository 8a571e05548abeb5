"""`key`: files with the keys that objects are sealed with."""

from __future__ import annotations

from pathlib import Path

import click

from tapeloom.cli.screen import put, say


@click.group()
def key() -> None:
    """Make and look at key files."""


@key.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What you call it; messages then name it so.")
def new(file: Path, name: str | None) -> None:
    """Make a key in a new FILE.

    Whoever has the file can read what is sealed with the key; without it nobody can. Name the file in the
    configuration's [keys], and keep a second one where neither this machine nor the tapes are.
    """
    from tapeloom.seal import new_key_file

    made = new_key_file(file, name)
    put(made.shown)
    say(f"{file} is made, for its owner alone. What is sealed with it is lost with it: keep a second one elsewhere.")


@key.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Say which key is in FILE: its id and its name, and never the key."""
    from tapeloom.seal import KeyRing
    from tapeloom.seal.keys import read_key_file

    found = read_key_file(file)
    for remark in KeyRing.load([file]).remarks:
        say(f"tapeloom: {remark}")
    put(found.shown if found.name is None else f"{found.shown}  {found.name}")
