"""`demux`: each object of some volumes goes onto other drives in one piece."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.attending import enter_when_free, may_not_wait, may_wait
from tapeloom.cli.copying import dry_run, watching
from tapeloom.cli.options import as_json
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.ops.demuxplan import DemuxPass, DemuxPlan, DemuxResult


@click.command()
@click.argument("volumes", metavar="VOLUME...", nargs=-1, required=True)
@click.option(
    "--to", "targets", metavar="DRIVE", multiple=True, required=True, help="Where objects go to; may come again."
)
@click.option(
    "--spool", metavar="SIZE", help="What may wait at once; 0: nothing. Without it: spool_max of the configuration."
)
@click.option("--in-memory", is_flag=True, help="What waits is in memory, and not in the spool folder.")
@click.option("--retire", is_flag=True, help="Retire each volume when all of it has its receipts elsewhere.")
@dry_run
@may_not_wait
@may_wait
@as_json("the plan or the outcome")
@click.pass_obj
def demux(
    file: Path,
    volumes: tuple[str, ...],
    targets: tuple[str, ...],
    spool: str | None,
    in_memory: bool,
    retire: bool,
    dry_run: bool,
    no_wait: bool,
    wait_seconds: float,
    json_wanted: bool,
) -> int:
    """Carry each object of VOLUMEs to other drives in one piece.

    In one pass over the volumes where the spool holds what has to wait, or where there is a drive for each object; in
    the fewest passes otherwise.
    """
    from tapeloom import kept
    from tapeloom.ops.demux import open_demux

    config = kept.config(file)
    size = None if spool is None else _size(spool)
    with ExitStack() as stack:
        opening = enter_when_free(
            stack,
            lambda: open_demux(config, volumes, targets, spool_bytes=size, in_memory=in_memory, retire=retire),
            wait_seconds,
        )
        if dry_run:
            _put_plan(opening.plan(), json_wanted)
            return 0
        result = opening.run(watching, patient=not no_wait)
    _put_result(result, json_wanted)
    return result.exit_status


def _size(text: str) -> int:
    from tapeloom.config.units import parse_bytes

    try:
        return parse_bytes(int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise UsageError(f"--spool: {error}") from error


def _put_plan(plan: DemuxPlan, json_wanted: bool) -> None:
    from tapeloom.cli.screen import counted, duration, put, put_json, put_section, put_text, size

    if json_wanted:
        put_json(plan.as_json())
        return
    for count, one in enumerate(plan.passes, 1):
        if count > 1:
            put()
        put_text(f"Pass {count}, about {duration(one.seconds)}, {size(one.spool_bytes_max)} wait at most")
        _put_pass(one)
    put_section("Remarks", plan.remarks)
    put_section("Afterwards", plan.afterwards)
    if plan.passes or plan.remarks or plan.afterwards:
        put()
    already = f" {counted(plan.already, 'object')} in one piece already." if plan.already else ""
    if not plan.passes:
        put_text(f"There is nothing to unweave.{already}")
        return
    put_text(f"{plan.reason[0].upper()}{plan.reason[1:]}.")
    where = "memory" if plan.spool is None else plan.spool
    waits = f", a spool of {size(plan.spool_bytes_max)} in {where}" if plan.spool_bytes_max else ""
    put_text(
        f"{size(plan.bytes)} to read, about {duration(plan.seconds)}, memory {size(plan.memory)}{waits}.{already} "
        "Nothing has moved."
    )


def _put_pass(one: DemuxPass) -> None:
    from tapeloom.cli.screen import number, put, size
    from tapeloom.cli.tables import put_table

    put_table(
        ("reads", "bytes", "wanted", "seeks", "seconds"),
        [
            (
                visit.name,
                size(visit.bytes_read),
                size(visit.bytes_wanted),
                number(len(visit.stretches) - 1),
                f"{visit.seconds:.1f}",
            )
            for visit in one.visits
        ],
        right=("bytes", "wanted", "seeks", "seconds"),
    )
    put()
    put_table(
        ("drive", "writes", "blocks", "bytes", "of them wait"),
        [
            (drive, item.source, number(item.blocks), size(item.bytes), size(item.spooled))
            for drive, objects in one.targets
            for item in objects
        ],
        right=("blocks", "bytes", "of them wait"),
    )


def _put_result(result: DemuxResult, json_wanted: bool) -> None:
    from tapeloom.cli.copied import copied_as_json, put_copied
    from tapeloom.cli.screen import counted, put_json, put_text, size

    if json_wanted:
        put_json(
            copied_as_json(result.copied)
            | {
                "passes": result.passes,
                "spool_bytes_most": result.spool_bytes_most,
                "retired": result.retired,
                "kept": result.kept,
            }
        )
        return
    put_copied(result.copied, json_wanted=False)
    if result.passes:
        put_text(f"{counted(result.passes, 'pass', 'passes')}; {size(result.spool_bytes_most)} waited at most.")
    if result.retired:
        put_text(f"Out of use, retired: {', '.join(result.retired)}.")
    if result.kept:
        put_text(f"Kept, since they hold what nothing else gives, or not yet: {', '.join(result.kept)}.")
