"""What copying would do, and what became of it: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tapeloom.cli.outcome import put_copies, put_fed
from tapeloom.cli.screen import counted, duration, number, put, put_json, put_section, put_text, rate, short_id, size
from tapeloom.cli.tables import put_table
from tapeloom.runtime import Ending

if TYPE_CHECKING:
    from tapeloom.ops.copying import CopyResult
    from tapeloom.ops.copyplan import CopyPlan, PlannedRound
    from tapeloom.ops.moving import MoveResult
    from tapeloom.ops.owed import Unpaid


def put_copy_plan(plan: CopyPlan, json_wanted: bool) -> int:
    """Gives the exit status: 1 where something that is wanted cannot be had."""
    if json_wanted:
        put_json(plan.as_json())
    else:
        _put_copy_plan(plan)
    return 1 if plan.unpaid else 0


def _put_copy_plan(plan: CopyPlan) -> None:
    for count, one in enumerate(plan.rounds, 1):
        if count > 1:
            put()
        if len(plan.rounds) > 1:
            put_text(f"Round {count}, about {duration(one.seconds)}")
        _put_round(one)
    put_section("Cannot be had", _untold(plan.unpaid))
    put_section("Remarks", plan.remarks)
    put_section("Afterwards", plan.afterwards)
    if plan.rounds or plan.unpaid or plan.remarks or plan.afterwards:
        put()
    already = f" {_complete(plan.already)} already." if plan.already else ""
    if not plan.rounds:
        put_text(f"There is nothing {'that can be copied' if plan.unpaid else 'to copy'}.{already}")
        return
    passes = sum(len(one.reads) for one in plan.rounds)
    put_text(
        f"{counted(len(plan.rounds), 'round')}, {counted(passes, 'pass', 'passes')} of a volume, {size(plan.bytes)} to "
        f"read, about {duration(plan.seconds)}, memory {size(plan.memory)}.{already} Nothing has moved."
    )


def _put_round(one: PlannedRound) -> None:
    put_table(
        ("agent", "drive", "reads", "blocks", "bytes", "passed", "seeks", "seconds"),
        [
            (
                read.agent,
                read.drive,
                read.label,
                number(read.blocks),
                size(read.bytes),
                number(read.passed),
                number(read.seeks),
                f"{read.seconds:.1f}",
            )
            for read in one.reads
        ],
        right=("blocks", "bytes", "passed", "seeks", "seconds"),
    )
    put()
    put_table(
        ("agent", "drive", "writes", "blocks", "bytes", "seconds"),
        [
            (
                write.agent,
                write.drive,
                counted(write.objects, "object"),
                number(write.blocks),
                size(write.bytes),
                f"{write.seconds:.1f}",
            )
            for write in one.writes
        ],
        right=("blocks", "bytes", "seconds"),
    )


def put_copied(result: CopyResult, json_wanted: bool) -> None:
    if json_wanted:
        put_json(copied_as_json(result))
        return
    _put_copied(result)


def put_moved(result: MoveResult, json_wanted: bool) -> None:
    if json_wanted:
        put_json(
            copied_as_json(result.copied)
            | {
                "emptied": result.emptied,
                "kept": result.kept,
                "left_behind": [str(one.id) for one in result.left_behind],
                "exit_status": result.exit_status,
            }
        )
        return
    _put_copied(result.copied)
    if result.emptied:
        put_text(f"Out of use, {result.state}: {', '.join(result.emptied)}.")
    if result.kept:
        put_text(f"Kept as it is, since not all of it has gone on: {', '.join(result.kept)}.")
    if result.left_behind:
        names = ", ".join(f"{one.shown} {short_id(one.id)}" for one in result.left_behind[:10])
        put_text(f"{counted(len(result.left_behind), 'object')} left behind, which nobody wants: {names}.")


def _put_copied(result: CopyResult) -> None:
    put_copies(result.table)
    put_section(
        "Media agents that did not come to their end",
        [
            f"{one.agent} (drive {one.drive}) {one.ending}: {one.why}"
            for one in result.agents
            if one.ending is not Ending.COMPLETE
        ],
    )
    put_section("Blocks that could not be read where they were wanted", [str(left.fault) for left in result.left])
    put_section("What copies still lack", _untold(result.unpaid))
    put_section("Remarks", result.remarks)
    put_fed(result.agents)
    if result.table or result.unpaid or result.remarks:
        put()
    already = f"; {_complete(result.already)} before" if result.already else ""
    if not result.rounds:
        put_text(f"{'Nothing could be copied' if result.unpaid else 'There was nothing to copy'}{already}.")
        return
    fast = f", {rate(result.bytes / result.seconds)}" if result.seconds > 0 else ""
    ids = ", ".join(short_id(one.job) for one in result.rounds)
    name = "Job" if len(result.rounds) == 1 else "Jobs"
    stopped = ", stopped before the end" if result.stopped else ""
    put_text(
        f"{name} {ids}{stopped}: {size(result.bytes)} read in {duration(result.seconds)}{fast}{already}. "
        f"{_end(result)}."
    )


def _end(result: CopyResult) -> str:
    if result.well:
        return "All copies are complete"
    return f"Some copies are not complete{': the same command again goes on' if result.stopped else ''}"


def _complete(copies: int) -> str:
    return f"{counted(copies, 'copy', 'copies')} complete, file indexes counted,"


def _untold(unpaid: Sequence[Unpaid]) -> list[str]:
    """In words; the file index of an object that is told of goes without saying."""
    told = {(one.object.id, one.place) for one in unpaid}
    return [str(one) for one in unpaid if not (one.object.is_index and (one.object.parent, one.place) in told)]


def copied_as_json(result: CopyResult) -> dict[str, Any]:
    return {
        "jobs": [str(one.job) for one in result.rounds],
        "copies": [
            {
                "object": str(row.object),
                "source": row.source,
                **row.copy.as_json(),
                "blocks_safe": row.blocks_safe,
                "blocks": row.blocks,
            }
            for row in result.table
        ],
        "agents": [
            {
                "agent": one.agent,
                "drive": one.drive,
                "ending": one.ending.value,
                "why": one.why,
                **({} if one.fed is None else one.fed.as_json()),
            }
            for one in result.agents
        ],
        "unpaid": [one.as_json() for one in result.unpaid],
        "faults": [str(left.fault) for left in result.left],
        "already": result.already,
        "remarks": result.remarks,
        "bytes": result.bytes,
        "seconds": result.seconds,
        "exit_status": result.exit_status,
    }
