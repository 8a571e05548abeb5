"""`objects`, `volumes`, `jobs`: what the catalog knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.options import as_json
from tapeloom.cli.screen import duration, local_time, number, put, put_json, put_section, put_table, short_id, size

if TYPE_CHECKING:
    from tapeloom.catalog import Catalog, Copy, Job


def _catalog(file: Path) -> Catalog:
    from tapeloom.catalog import Catalog
    from tapeloom.config import load

    return Catalog.open(load(file).server.state, readonly=True)


@click.command()
@click.argument("source", metavar="[SOURCE]", required=False)
@as_json("the objects, as a list")
@click.pass_obj
def objects(file: Path, source: str | None, json_wanted: bool) -> None:
    """List what is on tape: objects and their copies, oldest first."""
    with _catalog(file) as catalog:
        found = catalog.objects(source)
    if json_wanted:
        put_json([one.as_json() for one in found])
        return
    put_table(
        ("object", "source", "as of", "bytes", "status", "copies"),
        [
            (
                short_id(one.id),
                one.source,
                local_time(one.as_of),
                size(one.bytes),
                one.status,
                ", ".join(map(_where, one.copies)),
            )
            for one in found
        ],
        right=("bytes",),
    )


def _where(copy: Copy) -> str:
    return copy.agent if copy.status == "complete" else f"{copy.agent} ({copy.status})"


@click.command()
@as_json("the volumes, as a list")
@click.pass_obj
def volumes(file: Path, json_wanted: bool) -> None:
    """List the volumes that jobs have written, in the order they were made."""
    with _catalog(file) as catalog:
        found = catalog.volumes()
    if json_wanted:
        put_json([one.as_json() for one in found])
        return
    put_table(
        ("volume", "drive", "cartridge", "status", "made", "block", "end position"),
        [
            (
                one.label,
                one.drive,
                one.cartridge,
                one.state.value,
                local_time(one.made_at),
                size(one.block_bytes),
                number(one.end_position),
            )
            for one in found
        ],
        right=("block", "end position"),
    )


@click.command()
@click.argument("id", metavar="[ID]", required=False)
@as_json("the jobs, as a list; with ID one job, its copies and objects")
@click.pass_obj
def jobs(file: Path, id: str | None, json_wanted: bool) -> None:
    """List the jobs, oldest first; with ID, or a beginning of it, show one: its copies and its troubles."""
    with _catalog(file) as catalog:
        if id is None:
            found = catalog.jobs()
            if json_wanted:
                put_json([one.as_json() for one in found])
            else:
                _put_jobs(found)
            return
        from tapeloom.cli.outcome import job_as_json, put_copies

        job = catalog.job(id)
        if json_wanted:
            put_json(job_as_json(catalog, str(job.id)))
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
    put_section("Troubles of sources", troubles, more=f"`tapeloom jobs {short_id(job.id)} --json`")
    put_section("Sources that were never begun", report.get("untouched", ()))


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
