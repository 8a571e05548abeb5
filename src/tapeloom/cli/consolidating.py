"""`consolidate`: the objects of a chain become one new full object."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from tapeloom.cli.attending import enter_when_free, may_not_wait, may_wait, signals
from tapeloom.cli.copying import dry_run
from tapeloom.cli.endings import begun, key_files
from tapeloom.cli.moments import moment
from tapeloom.cli.options import as_json, one_target
from tapeloom.cli.screen import counted, duration, local_time, put, put_json, put_section, put_text, short_id, size
from tapeloom.cli.tables import put_table

if TYPE_CHECKING:
    from tapeloom.config import Config
    from tapeloom.ops.consolidate import Consolidating
    from tapeloom.ops.mergeplan import Consolidation
    from tapeloom.ops.outcome import BackupResult


@click.command()
@click.argument("source")
@one_target("Where the new object goes to, on volumes of this drive.")
@click.option(
    "--at",
    metavar="TIME",
    callback=moment,
    help="The state of that time instead of the newest: 2026-11-20 (the end of that day), '2026-11-20 03:00:00'.",
)
@key_files
@dry_run
@may_not_wait
@may_wait
@as_json("the plan or the outcome")
@click.pass_obj
def consolidate(
    file: Path,
    source: str,
    to: str,
    at: int | None,
    keys: tuple[Path, ...],
    dry_run: bool,
    no_wait: bool,
    wait_seconds: float,
    json_wanted: bool,
) -> int:
    """Make one new full object of SOURCE's full one and the increments on it, from tape alone.

    It is what a full backup of that time would have been, and stands for the last of them: restores take it instead,
    and further increments build on it. The others stay. `objects --retire ID --with-increments`, with the id of
    the full one, takes them out of use up to the state that the new one stands for; states before that are gone then.
    """
    from tapeloom import kept
    from tapeloom.ops.mergeplan import plan_consolidation

    config = kept.config(file)
    if dry_run:
        put_plan(plan_consolidation(config, source, to, at=at, key_files=keys), json_wanted)
        return 0
    from tapeloom.ops.consolidate import open_consolidation

    def opening() -> AbstractContextManager[Consolidating]:
        plan = plan_consolidation(config, source, to, at=at, key_files=keys)
        return open_consolidation(config, plan, patient=not no_wait)

    with ExitStack() as stack:
        running = enter_when_free(stack, opening, wait_seconds)
        result = _run(running)
    _put_outcome(config, running, result, json_wanted)
    return result.exit_status


def _run(running: Consolidating) -> BackupResult:
    from tapeloom.cli.progress import watch

    expected = dict.fromkeys(range(len(running.schedule.agents)), running.plan.result_bytes)
    with watch(running, expected) as progress, signals(running.job, progress.say) as look:
        told: list[str] = []

        def tick() -> None:
            look()
            now = running.waiting_for
            for sentence in now:
                if sentence not in told:
                    progress.say(f"Waiting: {sentence}")
            told[:] = now
            progress.tick()

        waiting = sum(link.waits for link in running.plan.links)
        if waiting:
            progress.say(f"{counted(waiting, 'object')}, {size(running.plan.spool_bytes)}, into the spool first")
        begun()
        return running.run(tick)


def _put_outcome(config: Config, running: Consolidating, result: BackupResult, json_wanted: bool) -> None:
    from tapeloom.cli.outcome import put_outcome, put_outcome_json

    if json_wanted:
        put_outcome_json(config, result)
        return
    remarks = [*result.remarks, *map(str, running.faults), *running.remarks]
    put_outcome(config, replace(result, remarks=remarks))


def put_plan(plan: Consolidation, json_wanted: bool) -> None:
    """What would be read and written."""
    if json_wanted:
        put_json(plan.as_json())
        return
    put_table(
        ("object", "level", "as of", "bytes", "drives", "read"),
        [
            (
                short_id(link.item.id),
                link.item.level.name.lower(),
                local_time(link.item.as_of),
                size(link.item.bytes or 0),
                ", ".join(sorted(link.drives)),
                "first, into the spool" if link.waits else "while it is merged",
            )
            for link in plan.links
        ],
        right=("bytes",),
    )
    put()
    put_table(
        ("volume", "drive", "cartridge", "blocks", "passed", "seeks", "passes", "seconds"),
        [
            (
                run.label,
                run.drive,
                run.cartridge,
                f"{run.blocks:,}",
                f"{run.passed:,}",
                f"{run.seeks:,}",
                f"{run.passes:,}",
                "-" if run.seconds is None else f"{run.seconds:.1f}",
            )
            for run in plan.runs
        ],
        right=("blocks", "passed", "seeks", "passes", "seconds"),
    )
    put_section("Remarks", plan.remarks)
    put()
    time = "a time that nobody knows" if plan.seconds is None else f"about {duration(plan.seconds)}"
    put_text(
        f"{counted(plan.passes, 'pass', 'passes')} of a volume, {size(plan.bytes)} to read, of it "
        f"{size(plan.spool_bytes)} into the spool, about {size(plan.result_bytes)} to write to {plan.to}, {time}, "
        f"memory {size(plan.memory)}. Nothing has moved."
    )
