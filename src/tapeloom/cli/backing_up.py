"""`backup`: runs a job, and ends it in order when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from tapeloom.cli.attending import enter_when_free, may_not_wait, may_wait, signals
from tapeloom.cli.endings import begun
from tapeloom.cli.options import as_json

if TYPE_CHECKING:
    from tapeloom.config import Config
    from tapeloom.ops.backup import Backup


@click.command()
@click.argument("groups", metavar="[GROUP]...", nargs=-1)
@click.option(
    "--level",
    type=click.Choice(["full", "incremental", "differential"]),
    help="What the objects of files are to be, instead of what their groups say. A source's first is always full.",
)
@may_not_wait
@may_wait
@as_json("the job and its objects")
@click.pass_obj
def backup(
    file: Path, groups: tuple[str, ...], level: str | None, no_wait: bool, wait_seconds: float, json_wanted: bool
) -> int:
    """Run backup groups and the mirrors that they feed.

    Without GROUP: all backup groups, in one job. Ctrl-C or SIGTERM ends the job in order (what is buffered is written,
    with filemark and receipts), a second one at once.
    """
    from tapeloom import kept

    config = kept.config(file)
    attachable: SimpleQueue[str] = SimpleQueue()
    with ExitStack() as stack:
        running = _open(stack, config, list(groups) or None, level, wait_seconds, attachable.put, patient=not no_wait)
        from tapeloom.cli.progress import watch_backup

        with watch_backup(running) as progress, signals(running.job, progress.say) as look:

            def tick() -> None:
                look()
                while not attachable.empty():
                    progress.say(f"{attachable.get()} waits for its program")
                progress.tick()

            begun()
            result = running.run(tick)
    from tapeloom.cli.exported import export_after
    from tapeloom.cli.outcome import put_outcome, put_outcome_json

    if not json_wanted:
        put_outcome(config, result)
    after = export_after(config, result, wait_seconds, patient=not no_wait)
    if json_wanted:
        put_outcome_json(config, result, exported=after.result)
    return max(result.exit_status, after.exit_status)


def _open(
    stack: ExitStack,
    config: Config,
    groups: Sequence[str] | None,
    level: str | None,
    wait_seconds: float,
    on_waiting: Callable[[str], None],
    *,
    patient: bool,
) -> Backup:
    """Opens the backup, and again and again while another process holds something of it."""
    from tapeloom.ops.beginning import begin
    from tapeloom.volume.header import Level

    wanted = None if level is None else Level[level.upper()]
    waits = False

    @contextmanager
    def opening() -> Iterator[Backup]:
        nonlocal waits
        ahead, waits = not waits, True  # who waits for a drive reads no tree each time that he looks
        with begin(config, groups, wanted, ahead=ahead) as begun:
            from tapeloom.ops.backup import open_backup  # while trees are read, and the system finds the memory

            with open_backup(
                config, groups, on_waiting=on_waiting, level=wanted, beginning=begun, patient=patient
            ) as backup:
                yield backup

    return enter_when_free(stack, opening, wait_seconds)
