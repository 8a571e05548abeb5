"""`import` and `export-catalog`: the catalog made again from volumes, and itself put on one."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tapeloom.cli.attending import may_wait
from tapeloom.cli.endings import begun
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, local_time, number, put, put_json, put_section, put_text, say, short_id
from tapeloom.cli.tables import put_table

if TYPE_CHECKING:
    from tapeloom.ops.cartridges import Asked, Operator
    from tapeloom.ops.importing import Imported, ImportResult, Short

POLL_SECONDS = 1.0
"""How often a drive is asked whether somebody has put something in."""


@click.command(name="import")
@click.option("--volume", "volumes", metavar="LABEL", multiple=True, help="This volume alone. May be given again.")
@click.option("--drive", "drives", metavar="DRIVE", multiple=True, help="What this drive can load. May be given again.")
@click.option("--scan", is_flag=True, help="Read every block, whatever the tables on the volumes say.")
@click.option("--appendable", is_flag=True, help="The next job goes on with volumes whose state nobody can tell.")
@click.option("--indexes", is_flag=True, help="Bring all file indexes back at once, and not when they are needed.")
@click.option("--without-export", is_flag=True, help="Do not begin an empty catalog with the newest exported one.")
@as_json("what came of each volume")
@click.pass_obj
def import_(
    file: Path,
    volumes: tuple[str, ...],
    drives: tuple[str, ...],
    scan: bool,
    appendable: bool,
    indexes: bool,
    without_export: bool,
    json_wanted: bool,
) -> int:
    """Make the catalog again, or complete it, from what is on the volumes.

    Without --volume and --drive: from every cartridge that the drives can load. A library is read by all of its drives
    that are free; for a drive that stands alone somebody at the terminal puts one cartridge in after another, in any
    order, and says when that was all.

    Volumes come in any order and as often as one likes. Where the tables on a volume are whole it is gone over from
    filemark to filemark, else its blocks are read between those filemarks whose table is damaged. What the catalog
    knows already stays: conflicts are named.

    What became of a volume after it was last written is on no tape, unless a later one tells: its state is unknown, and
    no job goes on with it, but with --appendable.
    """
    from tapeloom import kept
    from tapeloom.ops.importing import Wanted, import_volumes

    config = kept.config(file)
    wanted = Wanted(volumes, drives, scan, appendable, indexes, exported=not without_export)
    with _bar() as on_progress:
        result = import_volumes(config, wanted, on_progress=on_progress, operator=_operator())
    if json_wanted:
        put_json(_as_json(result))
    else:
        _put(result)
    return result.exit_status


@click.command(name="export-catalog")
@click.option("--to", metavar="DRIVE|GROUP", help="Where to; a group's drives and mirrors get a copy each.")
@may_wait
@as_json("the job and its object")
@click.pass_obj
def export_catalog(file: Path, to: str | None, wait_seconds: float, json_wanted: bool) -> int:
    """Write the catalog itself to tape, so that one step of `import` brings it back.

    Without --to: to the drives of the first backup group. Once it is there, exports before it are retired.
    """
    from tapeloom import kept
    from tapeloom.cli.exported import export
    from tapeloom.cli.outcome import put_outcome, put_outcome_json

    config = kept.config(file)
    result = export(config, to, wait_seconds)
    (put_outcome_json if json_wanted else put_outcome)(config, result)
    return result.exit_status


globals().update({"import": import_, "export-catalog": export_catalog})  # as the verbs are called


def _operator() -> Operator | None:
    """None: nobody is there."""
    return _ask if sys.stdin.isatty() else None


def _ask(asked: Asked) -> bool:
    """A cartridge that is put in is noticed, Enter looks at once, q or the end of input says that this was all."""
    say(f"Drive {asked.drive}: {asked.said}.")
    if asked.wanted:
        say(f"Not in yet: {', '.join(asked.wanted)}.")
    say("Put in the next cartridge (Enter: it is in), or type q: that was all.")
    while True:
        if select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
            line = sys.stdin.readline()
            word = line.strip().lower()
            if not line or word in ("q", "quit"):
                return False
            if not word:
                return True
            say("Enter: it is in. q: that was all.")
        elif asked.is_there():
            return True


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each cartridge on a terminal, nothing elsewhere. It counts positions of the tape."""
    if not sys.stderr.isatty():
        yield lambda cartridge, done, total: begun()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(cartridge: str, done: int, total: int) -> None:
            begun()
            if cartridge not in tasks:
                tasks[cartridge] = bars.add_task(cartridge, total=total)
            bars.update(tasks[cartridge], completed=done, total=total)

        yield on_progress


def _put(result: ImportResult) -> None:
    read = [one for one in result.volumes if one.id is not None]
    if read:
        put_table(
            ("volume", "drive", "cartridge", "by", "objects", "receipts", "state"),
            [
                (
                    one.label or "?",
                    one.drive,
                    one.cartridge,
                    one.way + (f", {counted(one.scanned, 'block')}" if one.scanned else ""),
                    number(one.objects),
                    number(one.receipts),
                    "-" if one.state is None else one.state.value,
                )
                for one in read
            ],
            right=("objects", "receipts"),
        )
    put_section(
        "Not imported",
        [f"{_in_drive(one)}: {one.why}" for one in result.volumes if _gave_nothing(one) or (one.why and not read)],
    )
    put_section("Damaged", [f"{one.label}: {remark}" for one in read for remark in one.remarks])
    put_section(
        "Behind the last filemark that proves anything, and not taken",
        [f"{one.label}: {counted(one.left, 'position')} of a job that broke off" for one in read if one.left],
    )
    put_section("Conflicts: the catalog was left as it was", result.conflicts)
    put_section("Copies that are not complete", [_in_words(one) for one in result.short], more="--json lists them")
    put_section("Volumes that records speak of, and that were not read", result.unseen)
    put_section(
        f"Volumes whose state nobody can tell: no job goes on with them, but after {called('import', '--appendable')}",
        result.unknown,
    )
    put_section("Remarks", result.remarks)
    put()
    begin = "" if result.restored is None else f" Begun with the catalog of {local_time(result.restored.as_of)}."
    put_text(
        f"{counted(len(read), 'volume')}: {counted(sum(one.objects for one in read), 'object')}, file indexes counted, "
        f"and {counted(sum(one.receipts for one in read), 'receipt')} that the catalog did not know.{begin}"
    )


def _gave_nothing(one: Imported) -> bool:
    return one.why is not None and not one.blank


def _in_drive(one: Imported) -> str:
    return f"cartridge {one.cartridge} of drive {one.drive}" if one.cartridge else f"drive {one.drive}"


def _in_words(short: Short) -> str:
    missing = sum(last - first + 1 for first, last in short.missing)
    what = f"lacks {counted(missing, 'block')}" if missing else short.copy.status.value
    return f"{short_id(short.object.id)} of {short.object.shown}: copy of {short.copy.agent} {what}"


def _as_json(result: ImportResult) -> dict[str, Any]:
    return {
        "volumes": [
            {
                "label": one.label,
                "id": None if one.id is None else str(one.id),
                "drive": one.drive,
                "cartridge": one.cartridge,
                "by": one.way,
                "scanned": one.scanned,
                "objects": one.objects,
                "receipts": one.receipts,
                "left": one.left,
                "state": None if one.state is None else one.state.value,
                "remarks": list(one.remarks),
                "conflicts": list(one.conflicts),
                "why": one.why,
            }
            for one in result.volumes
        ],
        "incomplete": [
            {
                "object": str(one.object.id),
                "source": one.object.source,
                "agent": one.copy.agent,
                "status": one.copy.status.value,
                "missing": [list(span) for span in one.missing],
            }
            for one in result.short
        ],
        "unseen": result.unseen,
        "unknown": result.unknown,
        "restored": None if result.restored is None else str(result.restored.object),
        "remarks": result.remarks,
    }
