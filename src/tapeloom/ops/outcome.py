"""What became of a backup, for those who asked for it and for the catalog's record of the job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from tapeloom import _kernel
from tapeloom.catalog import JobRow, JobStatus
from tapeloom.ops.limited import Fed, fed
from tapeloom.ops.tapes import drive_of, group_of
from tapeloom.runtime import AgentResult, Ending, Job, JobObject

if TYPE_CHECKING:
    from tapeloom.runtime.splitting import ReadResult
    from tapeloom.runtime.spool import SpoolStatistics


class AgentEnd(Struct, frozen=True):
    """How one media agent ended, by name."""

    agent: str
    group: str
    drive: str
    ending: Ending
    why: str | None
    fed: Fed | None = None
    """How fast its drive was, and what it was limited by; None where there is nothing to say."""


class BackupResult(Struct, frozen=True):
    """What became of a backup. `table` has a row for each copy; `untouched` names sources that were never begun;
    `remarks` say what sources left out on purpose."""

    job: UUID
    status: JobStatus
    objects: list[JobObject]
    agents: list[AgentEnd]
    table: list[JobRow]
    untouched: list[str]
    stopped: bool
    seconds: float
    remarks: list[str]

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.objects)

    @property
    def exit_status(self) -> int:
        if self.status is JobStatus.COMPLETE:
            return 0
        return 3 if not any(row.blocks_safe for row in self.table) else 1


def agent_ends(job: Job, results: Iterable[AgentResult | ReadResult]) -> list[AgentEnd]:
    schedule = job.schedule
    return [
        AgentEnd(
            agent=str(schedule.agent_names[one.agent]),
            group=group_of(schedule, one.agent),
            drive=drive_of(schedule, one.agent),
            ending=one.ending,
            why=one.why,
            fed=None if (pace := job.pace(one.agent)) is None else fed(schedule, one.agent, pace),
        )
        for one in results
    ]


def agents_report(job: Job, ends: Sequence[AgentEnd]) -> list[dict[str, object]]:
    """For the catalog's record of the job: how each media agent ended, and what it did."""
    rows = {str(name): row for row, name in enumerate(job.schedule.agent_names)}
    return [
        {
            "agent": one.agent,
            "group": one.group,
            "drive": one.drive,
            "ending": one.ending.value,
            "why": one.why,
            **_run_figures(job.agent_statistics(rows[one.agent])),
            **_spool_figures(job.spooled(rows[one.agent])),
            **({} if one.fed is None else one.fed.as_json()),
        }
        for one in ends
    ]


def _run_figures(statistics: _kernel.AgentStatistics) -> dict[str, object]:
    """What an agent did, for reports: run lengths reached, calls, time inside the drive."""
    return {
        "blocks": statistics.blocks,
        "bytes": statistics.bytes,
        "runs": statistics.runs,
        "short_runs": statistics.short_runs,
        "blocks_per_run": round(statistics.blocks / statistics.runs, 1) if statistics.runs else None,
        "device_calls": statistics.calls,
        "device_seconds": round(statistics.device_ns / 1e9, 3),
        "sleeps": statistics.sleeps,
        "sleep_seconds": round(statistics.sleep_ns / 1e9, 3),
        "starvations": statistics.starvations,
    }


def troubles_by_source(objects: Sequence[JobObject]) -> dict[str, list[str]]:
    """By source. A file index has the source of its object."""
    troubles: dict[str, list[str]] = {}
    for item in objects:
        if item.troubles:
            troubles.setdefault(item.source, []).extend(kept_troubles(item))
    return troubles


def kept_troubles(item: JobObject) -> list[str]:
    """An object's troubles as the catalog keeps them. Those of a sealed one name files, which nobody is to read without
    its key: how many there were has to do."""
    if item.key is None or not item.troubles:
        return item.troubles
    return [f"{len(item.troubles)} troubles, told when the job ended: the source is sealed, so no names are kept"]


def _spool_figures(statistics: SpoolStatistics | None) -> dict[str, object]:
    return {} if statistics is None else {"spooled_blocks": statistics.blocks, "spooled_bytes": statistics.bytes}
