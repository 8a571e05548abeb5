"""`demo` and `bench`: trying it out, and measuring."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.options import as_json
from tapeloom.cli.screen import counted, put, put_json, rate, say
from tapeloom.cli.tables import put_table
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.ops.benchrows import BenchRow


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


@click.command()
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option(
    "--block", "blocks", metavar="SIZE", multiple=True, help="Size of a tape block; more than one may be given."
)
@click.option(
    "--streams", metavar="N", type=int, multiple=True, help="How many sources at once; more than one may be given."
)
@click.option(
    "--mirrors", metavar="N", type=int, multiple=True, help="How many mirror stages; more than one may be given."
)
@click.option("--seconds", metavar="S", type=float, help="How long each measurement takes.")
@click.option("--bytes", "bytes_max", metavar="SIZE", help="How much each measurement moves at most.")
@click.option("--memory", metavar="SIZE", help="For all slots, as in [server].")
@click.option("--overwrite", is_flag=True, help="Data on the cartridges may be lost.")
@as_json("the measurements")
def bench(
    devices: tuple[str, ...],
    blocks: tuple[str, ...],
    streams: tuple[int, ...],
    mirrors: tuple[int, ...],
    seconds: float | None,
    bytes_max: str | None,
    memory: str | None,
    overwrite: bool,
    json_wanted: bool,
) -> None:
    """Measure the engine on this machine and its drives.

    DEVICE is a drive as in a configuration, such as vtape:FOLDER: one for the original, and one for each mirror.
    Without one, null drives take everything and keep nothing. Every combination of block size, streams and mirrors is
    measured, with no more mirrors than there are drives for.
    """
    from tapeloom.limits import MEMORY_BYTES_DEFAULT
    from tapeloom.ops import bench as op

    wanted_blocks = [_size(block) for block in blocks] or op.BLOCKS_DEFAULT
    wanted_streams = streams or op.STREAMS_DEFAULT
    wanted_mirrors = mirrors or op.mirrors_for(devices)
    with _bar(len(wanted_blocks) * len(wanted_streams) * len(wanted_mirrors)) as on_row:
        result = op.run(
            devices or ("null:",),
            blocks=wanted_blocks,
            streams=wanted_streams,
            mirrors=wanted_mirrors,
            seconds=seconds,
            bytes=None if bytes_max is None else _size(bytes_max),
            memory=MEMORY_BYTES_DEFAULT if memory is None else _size(memory),
            overwrite=overwrite,
            on_row=on_row,
        )
    for remark in result.remarks:
        say(remark)
    if json_wanted:
        put_json(result.as_json())
        return
    titles, *rows = result.table()
    put_table(titles, rows, right=titles)
    put()
    processors = counted(result.processors, "processor")
    put(f"{processors}; checksum by {result.crc32c}, {rate(result.crc32c_bytes_per_second)} on one of them.")


def _size(text: str) -> int:
    from tapeloom.config.faults import Malformed
    from tapeloom.config.units import parse_bytes

    try:
        return parse_bytes(text)
    except Malformed as wrong:
        raise UsageError(f"{wrong}" + (f" ({wrong.hint})" if wrong.hint else "")) from None


@contextmanager
def _bar(measurements: int) -> Iterator[Callable[[BenchRow], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda row: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("measurements"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=measurements)
        yield lambda row: bar.advance(task)
