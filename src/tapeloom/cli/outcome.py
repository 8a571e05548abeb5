"""What became of a backup: a table of its copies, who ended how, and the troubles by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tapeloom.catalog import Catalog, Job, JobRow
from tapeloom.cli.options import called
from tapeloom.cli.screen import (
    counted,
    duration,
    number,
    put,
    put_json,
    put_section,
    put_text,
    rate,
    short_id,
    size,
)
from tapeloom.cli.tables import put_table, volume_runs
from tapeloom.runtime import Ending

if TYPE_CHECKING:
    from tapeloom.config import Config
    from tapeloom.ops.outcome import AgentEnd, BackupResult


def put_outcome(config: Config, result: BackupResult) -> None:
    """For people."""
    put_copies(result.table)
    put_troubles(result)
    troubles = [f"{item.source}: {trouble}" for item in result.objects for trouble in item.troubles]
    put_section("Troubles of sources", troubles, more=called("jobs", short_id(result.job), "--json"))
    put_section("Sources that were never begun", result.untouched)
    put_section("Remarks", result.remarks)
    put_fed(result.agents)
    put()
    fast = f", {rate(result.bytes / result.seconds)}" if result.seconds > 0 else ""
    put_text(
        f"Job {short_id(result.job)} is {result.status}{', stopped before its end' if result.stopped else ''}: "
        f"{counted(len(result.objects), 'object')}, {size(result.bytes)} in {duration(result.seconds)}{fast}."
    )


def put_troubles(result: BackupResult) -> None:
    """Which media agents did not come to their end, and why."""
    put_section(
        "Media agents that did not come to their end",
        [
            f"{one.agent} (drive {one.drive}) {one.ending}: {one.why}"
            for one in result.agents
            if one.ending is not Ending.COMPLETE
        ],
    )


def put_fed(agents: Iterable[AgentEnd]) -> None:
    """How fast each drive was, and what limited it."""
    put_section("Drives", [str(one.fed) for one in agents if one.fed is not None])


def put_outcome_json(config: Config, result: BackupResult, *, exported: BackupResult | None = None) -> None:
    """The job as `jobs ID --json` gives it, and its objects as `objects --json` does. `exported`: the job that wrote
    the catalog afterwards."""
    more = {} if exported is None else {"exported": {"job": str(exported.job), "status": str(exported.status)}}
    with Catalog.open(config.server.state, readonly=True) as catalog:
        put_json(job_as_json(catalog, catalog.job(result.job)) | {"exit_status": result.exit_status} | more)


def job_as_json(catalog: Catalog, job: Job) -> dict[str, Any]:
    table = catalog.job_table(job.id)
    objects = [catalog.object(one) for one in {row.object for row in table}]
    objects.sort(key=lambda one: (one.as_of, one.id))
    return {
        "job": job.as_json(),
        "copies": [
            {
                "object": str(row.object),
                "source": row.source,
                **row.copy.as_json(),
                "blocks_safe": row.blocks_safe,
                "blocks": row.blocks,
            }
            for row in table
        ],
        "objects": [one.as_json() for one in objects],
    }


def put_copies(table: Sequence[JobRow]) -> None:
    """What is complete, incomplete and missing, per copy; with objects, where a source has more than one."""
    if not table:
        return
    objects = {(row.source, row.object) for row in table}
    several = len(objects) > len({row.source for row in table})
    put_table(
        (*(("object",) if several else ()), "source", "copy", "group", "drive", "status", "blocks", "volumes"),
        [
            (
                *((short_id(row.object),) if several else ()),
                row.source,
                row.copy.agent,
                row.copy.group,
                row.copy.drive,
                row.copy.status.value,
                f"{number(row.blocks_safe)}/{number(row.blocks)}",
                volume_runs(row.copy.volumes) or "-",
            )
            for row in sorted(table, key=lambda row: (row.source, row.object))
        ],
        right=("blocks",),
    )
