"""What became of a backup, for those who asked for it and for the catalog's record of the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tapeloom import _kernel
from tapeloom.catalog import JobRow, JobStatus
from tapeloom.runtime import Ending, JobObject
from tapeloom.runtime.spool import SpoolStatistics


@dataclass(frozen=True, slots=True)
class AgentEnd:
    """How one media agent ended, by name."""

    agent: str
    group: str
    drive: str
    ending: Ending
    why: str | None


@dataclass(frozen=True, slots=True)
class BackupResult:
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


def run_figures(statistics: _kernel.AgentStatistics) -> dict[str, object]:
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


def spool_figures(statistics: SpoolStatistics | None) -> dict[str, object]:
    return {} if statistics is None else {"spooled_blocks": statistics.blocks, "spooled_bytes": statistics.bytes}
