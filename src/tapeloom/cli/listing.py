"""`objects`, `jobs`: what the catalog knows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from tapeloom import numerics
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import (
    counted,
    duration,
    local_time,
    number,
    put,
    put_json,
    put_section,
    say,
    short_id,
    size,
)
from tapeloom.cli.tables import put_table
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from uuid import UUID

    from tapeloom.catalog import Catalog, Copy, Job, Object


def open_catalog(file: Path) -> Catalog:
    from tapeloom import kept
    from tapeloom.catalog import Catalog

    return Catalog.open(kept.config(file).server.state, readonly=True)


def _dead(catalog: Catalog) -> set[UUID]:
    """Jobs whose process was gone before it could say how they ended; the next writer records it.

    A job holds the state folder's lock from its begin to its end. So one that was running before the lock was found
    free, and is when it is looked at again, does not run.
    """
    from tapeloom.catalog import JobStatus
    from tapeloom.catalog.database import LOCK_NAME
    from tapeloom.catalog.lock import is_held

    running = {job.id for job in catalog.jobs() if job.status is JobStatus.RUNNING}
    return set() if running and is_held(catalog.path.parent / LOCK_NAME) else running


def _objects(catalog: Catalog, source: str | None) -> list[Object]:
    from tapeloom.catalog import Outcome

    dead = _dead(catalog)
    return [
        replace(one, outcome=Outcome.INTERRUPTED) if one.job in dead and one.outcome is Outcome.READING else one
        for one in catalog.objects(source)
    ]


def _jobs(catalog: Catalog, id: str | None) -> list[Job]:
    from tapeloom.catalog import JobStatus

    dead = _dead(catalog)
    return [
        replace(one, status=JobStatus.INTERRUPTED) if one.id in dead and one.status is JobStatus.RUNNING else one
        for one in (catalog.jobs() if id is None else [catalog.job(id)])
    ]


@click.command()
@click.argument("names", metavar="[SOURCE]", nargs=-1)
@click.option("--retire", is_flag=True, help="Retire the objects whose IDs are given instead: nobody wants them.")
@click.option("--with-increments", is_flag=True, help="With --retire: and all that builds on them.")
@click.option("--yes", is_flag=True, help="With --retire: on a terminal, too, do not ask.")
@as_json("the objects, as a list")
@click.pass_obj
def objects(
    file: Path, names: tuple[str, ...], retire: bool, with_increments: bool, yes: bool, json_wanted: bool
) -> None:
    """List what is on tape: objects and their copies, oldest first. A retired copy is shown where no other is left.

    With --retire ID... all copies of these objects are retired: they are not restored any more, and `compact` leaves
    them behind. That is refused where an object that is kept builds on one of them.
    """
    if retire:
        if not names:
            raise UsageError("--retire needs the IDs of objects; the verb `objects` lists them")
        found = _retire_objects(file, names, with_increments, yes)
    else:
        if with_increments or yes:
            raise UsageError("--with-increments and --yes go with --retire")
        if len(names) > 1:
            raise UsageError(f"one source or none, not {len(names)}: {', '.join(names)}")
        with open_catalog(file) as catalog:
            found = _objects(catalog, names[0] if names else None)
    if json_wanted:
        put_json([one.as_json() for one in found])
        return
    put_table(
        ("object", "source", "level", "as of", "bytes", "status", "copies"),
        [
            (
                short_id(one.id),
                one.source,
                one.level.name.lower(),
                local_time(one.as_of),
                size(one.bytes),
                one.status,
                ", ".join(map(_where, _counted_on(one))),
            )
            for one in found
        ],
        right=("bytes",),
    )
    put_section(
        "Damaged",
        [
            f"{short_id(one.id)} of {one.source}: copy of {copy.agent}, {harmed}"
            for one in found
            for copy in one.copies
            for harmed in copy.damage
        ],
        more=called("objects", "--json"),
    )


def _counted_on(item: Object) -> Sequence[Copy]:
    """Retired copies are history, but of an object that has no other."""
    return [copy for copy in item.copies if copy.status != "retired"] or item.copies


def _retire_objects(file: Path, ids: Sequence[str], with_increments: bool, yes: bool) -> list[Object]:
    numerics.load()
    from tapeloom import kept
    from tapeloom.ops.retiring import open_retiring

    with open_retiring(kept.config(file), ids, with_increments=with_increments) as retiring:
        if not yes and sys.stdin.isatty():
            for one in retiring.objects:
                say(f"{one.id}  {one.source}  {one.level.name.lower()}  {local_time(one.as_of)}")
            what = counted(len(retiring.objects), "object")
            click.confirm(f"Retire {what}, with all copies? That is not taken back", abort=True, err=True)
        return retiring.run()


def _where(copy: Copy) -> str:
    return copy.agent if copy.status == "complete" else f"{copy.agent} ({copy.status})"


@click.command()
@click.argument("id", metavar="[ID]", required=False)
@as_json("the jobs, as a list; with ID one job, its copies and objects")
@click.pass_obj
def jobs(file: Path, id: str | None, json_wanted: bool) -> None:
    """List the jobs, oldest first; with ID, or a beginning of it, show one: its copies and its troubles."""
    with open_catalog(file) as catalog:
        found = _jobs(catalog, id)
        if id is None:
            if json_wanted:
                put_json([one.as_json() for one in found])
            else:
                _put_jobs(found)
            return
        numerics.load()
        from tapeloom.cli.outcome import job_as_json, put_copies

        (job,) = found
        if json_wanted:
            put_json(job_as_json(catalog, job))
            return
        _put_jobs([job])
        put()
        put_copies(catalog.job_table(job.id))
    report = job.report
    put_section(
        "Media agents",
        [
            f"{one['agent']} (drive {one['drive']}) {one['ending']}"
            + (f": {one['why']}" if one["why"] else "")
            + f"; {number(one['blocks'])} blocks, {one['blocks_per_run'] or '-'} a run, "
            + f"{duration(one['device_seconds'])} in the drive"
            for one in report.get("agents", ())
        ],
    )
    troubles = [f"{source}: {trouble}" for source, each in report.get("troubles", {}).items() for trouble in each]
    put_section("Troubles of sources", troubles, more=called("jobs", short_id(job.id), "--json"))
    put_section("Sources that were never begun", report.get("untouched", ()))
    put_section("Blocks that could not be read where they were wanted", report.get("left", ()))
    put_section("Remarks", report.get("remarks", ()))


def _put_jobs(found: list[Job]) -> None:
    put_table(
        ("job", "kind", "status", "started", "took", "groups"),
        [
            (
                short_id(one.id),
                one.kind,
                one.status.value,
                local_time(one.started_at),
                "-" if one.ended_at is None else duration((one.ended_at - one.started_at) / 1e9),
                ", ".join(one.groups),
            )
            for one in found
        ],
    )
