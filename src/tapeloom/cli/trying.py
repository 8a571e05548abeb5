"""`demo`: trying it out."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Work in this folder, which must be empty or missing; else in a new one for temporary files.",
)
def demo(folder: Path | None) -> int:
    """See it work: six drives, two backup agents, four mirrors, one of which fails.

    Makes data, backs it up as in Figure 2 of the patent onto virtual tapes while one mirror fails half-way, which is
    part of the demonstration, restores every object from every whole copy, and compares.
    """
    from tapeloom.cli.demonstration import show

    return show(folder)
