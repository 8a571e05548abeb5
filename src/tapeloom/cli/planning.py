"""`plan`: what a backup would do, before it does it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from tapeloom.cli.options import as_json
from tapeloom.cli.screen import printable, put_json, say
from tapeloom.errors import UsageError


@click.command()
@click.argument("groups", metavar="[GROUP]...", nargs=-1)
@as_json("the plan")
@click.option("--svg", metavar="FILE", type=click.Path(path_type=Path), help="Draw it: groups, agents, chains, drives.")
@click.pass_obj
def plan(file: Path, groups: tuple[str, ...], json_wanted: bool, svg: Path | None) -> None:
    """Compile the configuration and show what would run.

    Chains, slots, memory, threads, and the bottleneck at the given rates. Without GROUP: all backup groups in one job.
    """
    from tapeloom import plan as plans
    from tapeloom.compile import compile_job
    from tapeloom.config import load, missing_paths

    config = load(file)
    schedule = compile_job(config, list(groups) or None)
    wanted = set(map(str, schedule.source_names))  # a restore group reads what may be no source of this file
    read = replace(config, sources={name: source for name, source in config.sources.items() if name in wanted})
    made = plans.make(config, schedule, [str(problem) for problem in missing_paths(read)])
    if svg is not None:
        from tapeloom.picture import svg as draw

        try:
            svg.write_text(draw(config, schedule), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{svg} cannot be written: {error.strerror}") from None
        say(f"The picture is in {svg}.")
    if json_wanted:
        put_json(plans.to_json(made))
        return
    for line in plans.to_text(made).splitlines():
        title = sys.stdout.isatty() and line[:1].strip()
        click.secho(printable(line), bold=bool(title))
