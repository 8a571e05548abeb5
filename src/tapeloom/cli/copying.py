"""`copy`: runs restore groups and the copy groups chained to them, and completes what copies owe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.attending import enter_when_free, may_not_wait, may_wait, signals
from tapeloom.cli.endings import begun
from tapeloom.cli.options import as_json
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.ops.copying import Copying
    from tapeloom.ops.rounds import Round


def dry_run(verb: Callable[..., int]) -> Callable[..., int]:
    """--dry-run."""
    return click.option(
        "--dry-run",
        is_flag=True,
        help="Show what would be read and written, volume by volume, and how long that should take; nothing moves.",
    )(verb)


@click.command()
@click.argument("groups", metavar="[GROUP]...", nargs=-1)
@click.option("--missing", is_flag=True, help="Complete what mirrors and copies of all jobs lack, from any good copy.")
@click.option(
    "--copies", metavar="N", type=click.IntRange(min=1), help="With --missing: only of objects with fewer good copies."
)
@click.option("--resume", is_flag=True, help="Complete what jobs that copied have begun and not come to the end of.")
@click.option("--single", is_flag=True, help="Objects alone, without those that they build on.")
@dry_run
@may_not_wait
@may_wait
@as_json("the plan or the outcome")
@click.pass_obj
def copy(
    file: Path,
    groups: tuple[str, ...],
    missing: bool,
    copies: int | None,
    resume: bool,
    single: bool,
    dry_run: bool,
    no_wait: bool,
    wait_seconds: float,
    json_wanted: bool,
) -> int:
    """Run restore groups and the copy groups chained to them.

    Without GROUP: all restore groups. What a copy group has already is not written again; what it has in part is
    completed, block by block.
    """
    if sum((bool(groups), missing, resume)) > 1:
        raise UsageError("GROUP, --missing and --resume each say what to copy: give one of them")
    if copies is not None and not missing:
        raise UsageError("--copies goes with --missing")
    if single and (missing or resume):
        raise UsageError("--single goes with GROUP, or stands alone")
    from tapeloom import kept
    from tapeloom.ops.copying import open_copying, open_missing

    config = kept.config(file)

    def opening() -> AbstractContextManager[Copying]:
        if missing or resume:
            return open_missing(config, copies=copies, of_copying=resume)
        return open_copying(config, list(groups) or None, single=single)

    with ExitStack() as stack:
        copying = enter_when_free(stack, opening, wait_seconds)
        from tapeloom.cli.copied import put_copied, put_copy_plan

        if dry_run:
            return put_copy_plan(copying.plan(), json_wanted)
        result = copying.run(watching, patient=not no_wait)
    put_copied(result, json_wanted)
    return result.exit_status


@contextmanager
def watching(running: Round) -> Iterator[Callable[[], None]]:
    """Shows a round while it runs, and ends it in order when it is told to."""
    from tapeloom.cli.progress import watch

    with watch(running, running.expected) as progress, signals(running.job, progress.say) as look:

        def tick() -> None:
            look()
            progress.tick()

        begun()
        yield tick
