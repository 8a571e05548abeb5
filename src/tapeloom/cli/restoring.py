"""What a restore would read, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tapeloom.cli.screen import counted, duration, local_time, number, put, put_section, put_text, short_id, size
from tapeloom.cli.tables import put_table

if TYPE_CHECKING:
    from pathlib import Path

    from tapeloom.ops.foreseeing import Changes, Names
    from tapeloom.ops.planning import RestorePlan


def put_plan(plan: RestorePlan) -> None:
    """The chain, the volumes in the order in which they are read, and what it comes to."""
    stages = {stage.item.id: stage for stage in plan.stages}
    rows = []
    for item in plan.chain.objects:
        stage = stages.get(item.id)
        entries = "-" if stage is not None and stage.entries is None else number(stage.entries if stage else 0)
        rows.append(
            (
                short_id(item.id),
                item.level.name.lower(),
                local_time(item.as_of),
                entries,
                number(stage.blocks_wanted if stage else 0),
                size(stage.bytes if stage else 0),
            )
        )
    put_table(("object", "level", "as of", "entries", "blocks", "bytes"), rows, right=("entries", "blocks", "bytes"))
    put()
    put_table(
        ("volume", "drive", "cartridge", "blocks", "passed", "seeks", "seconds"),
        [
            (
                run.label,
                run.drive,
                run.cartridge,
                number(run.blocks),
                number(run.passed),
                number(run.seeks),
                "-" if run.seconds is None else f"{run.seconds:.1f}",
            )
            for run in plan.volumes
        ],
        right=("blocks", "passed", "seeks", "seconds"),
    )
    put_section("Remarks", plan.remarks)
    put()
    time = "a drive is not in the configuration" if plan.seconds is None else f"about {duration(plan.seconds)}"
    put_text(
        f"{counted(plan.blocks, 'block')} with {size(plan.bytes)} from {counted(len(plan.volumes), 'volume')}, "
        f"{counted(plan.seeks, 'seek')}: {time}. Nothing was read."
    )


def put_changes(target: Path, changes: Changes | str) -> None:
    """What would become of what stands in the folder *target*."""
    if isinstance(changes, str):
        put_text(f"{changes[:1].upper()}{changes[1:]}.")
        return
    if changes.refused is not None:
        put_text(f"The restore would be refused: {changes.refused}.")
    told = (
        ("would be replaced", changes.replaced),
        ("would stay as they are, though the state has them too", changes.left),
        ("would be removed, each with all below it", changes.removed),
    )
    said = False
    for what, names in told:
        if names.count:
            put_text(f"{counted(names.count, 'entry', 'entries')} in {target} {what}: {_listed(names)}.")
            said = True
    if not said and changes.refused is None:
        put_text(f"Nothing that is in {target} would change.")


def _listed(names: Names) -> str:
    more = f", and {number(names.count - len(names.first))} more" if names.count > len(names.first) else ""
    return ", ".join(names.first) + more
