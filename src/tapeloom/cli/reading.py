"""`restore` and `cat`: getting objects back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tapeloom.cli.options import called, one_copy, refuse_both
from tapeloom.cli.screen import bounded, counted, duration, local_time, put_text, say, short_id, size
from tapeloom.errors import BlockDamaged, DeviceError, RestoreError, UsageError

if TYPE_CHECKING:
    from tapeloom.catalog import Object
    from tapeloom.config import Config
    from tapeloom.ops.restore import RestoreResult
    from tapeloom.runtime.reading import Reading


@click.command()
@click.argument("name", metavar="OBJECT|SOURCE")
@click.option("--to", "target", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Into this folder.")
@one_copy
@click.option("--partial", is_flag=True, help="Also of copies that are not complete: as much as there is.")
@click.option("--in-place", is_flag=True, help="Into a folder that is not empty.")
@click.option(
    "--existing",
    type=click.Choice(["skip", "replace", "newer", "fail"]),
    help="With --in-place, where a file stands already: leave it, replace it, replace it if it is older, or give up"
    " (as without this option).",
)
@click.option("--numeric-owner", is_flag=True, help="Owners by number alone, not by name first.")
@click.pass_obj
def restore(
    file: Path,
    name: str,
    target: Path,
    copy: str | None,
    volume: str | None,
    partial: bool,
    in_place: bool,
    existing: Literal["skip", "replace", "newer", "fail"] | None,
    numeric_owner: bool,
) -> int:
    """Restore an object into a folder, whole and checked as it is read.

    A source's name means its newest object with a complete copy; an object's id may be cut short. The source's root
    becomes DIR itself. A damaged block is taken from another copy, unless one was named.
    """
    refuse_both(copy, volume)
    if existing is not None and not in_place:
        raise UsageError("--existing goes with --in-place: without it the folder has to be empty")
    from tapeloom.config import load
    from tapeloom.ops import restore as op

    config = load(file)
    begin = time.monotonic()
    with _bar() as on_open, _told_of_others(config, name, copy, volume, partial):
        result = op.restore(
            config,
            name,
            target,
            copy=copy,
            volume=volume,
            partial=partial,
            existing=existing or "fail",
            in_place=in_place,
            numeric_owner=numeric_owner,
            on_open=on_open,
        )
    _say_faults(result, _not_asked(result.object, copy, volume))
    report, item = result.report, result.object
    for unset in report.unset:
        say(str(unset))
    for line in bounded([str(trouble) for trouble in report.troubles]):
        say(line)
    if report.troubles_beyond:
        say(f"and {counted(report.troubles_beyond, 'further trouble')}")
    if item.troubles:
        more = f" (and more: {called('jobs', short_id(item.job))})" if len(item.troubles) > 1 else ""
        say(f"When it was backed up, there was trouble: {item.troubles[0]}{more}")
    skipped = f", {counted(report.skipped, 'entry', 'entries')} left as they were" if report.skipped else ""
    put_text(
        f"{item.source} of {local_time(item.as_of)} ({short_id(item.id)}) is in {target}: "
        f"{counted(report.files, 'file')}, {size(report.bytes)}{skipped}, in {duration(time.monotonic() - begin)}."
    )
    return result.exit_status


@click.command()
@click.argument("name", metavar="OBJECT|SOURCE")
@one_copy
@click.option("--partial", is_flag=True, help="Also of copies that are not complete: as much as there is.")
@click.pass_obj
def cat(file: Path, name: str, copy: str | None, volume: str | None, partial: bool) -> int:
    """Write an object's sequence to standard output: a pax archive for `tar x`, or what a command had written."""
    refuse_both(copy, volume)
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal; `| tar x` or `> FILE` behind it takes the sequence")
    from tapeloom.config import load
    from tapeloom.ops import restore as op

    config = load(file)
    with _told_of_others(config, name, copy, volume, partial):
        result = op.cat(config, name, sys.stdout.fileno(), copy=copy, volume=volume, partial=partial)
    _say_faults(result, _not_asked(result.object, copy, volume))
    return result.exit_status


@contextmanager
def _bar() -> Iterator[Callable[[Object, Reading], None]]:
    """A bar on a terminal, nothing elsewhere. It looks for itself how far the object is."""
    if not sys.stderr.isatty():
        yield lambda item, reading: None
        return
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    class Bar(Progress):
        reading: Reading | None = None

        def get_renderables(self) -> Iterable[RenderableType]:
            for task in self.task_ids:
                if self.reading is not None:
                    self.update(task, completed=self.reading.sequence.offset)
            return super().get_renderables()

    columns = (BarColumn(bar_width=24), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    named = TextColumn("{task.description}", markup=False)
    with Bar(named, *columns, console=Console(stderr=True), transient=True) as bar:

        def on_open(item: Object, reading: Reading) -> None:
            bar.reading = reading
            bar.add_task(item.source, total=item.bytes)

        yield on_open
        bar.reading = None


@contextmanager
def _told_of_others(config: Config, name: str, copy: str | None, volume: str | None, partial: bool) -> Iterator[None]:
    """What meets damage on the copy that was named says where help is."""
    try:
        yield
    except (RestoreError, BlockDamaged, DeviceError) as error:
        if isinstance(error, RestoreError) and not isinstance(error.__context__, BlockDamaged):
            raise  # about the target, or the choice
        from tapeloom.catalog import Catalog
        from tapeloom.ops.choose import choose_object

        with Catalog.open(config.server.state, readonly=True) as catalog:
            item = choose_object(catalog, name, partial=partial)
        raise RestoreError(f"{error}{_not_asked(item, copy, volume)}") from None


def _not_asked(item: Object, copy: str | None, volume: str | None) -> str:
    """The clause on complete copies that might help, where the user kept them out of it."""
    if copy is None and volume is None:
        return ""
    others = [
        one.agent
        for one in item.copies
        if one.status == "complete" and one.agent != copy and (volume is None or volume not in one.volumes)
    ]
    option = "--volume" if copy is None else "--copy"
    return f"; {', '.join(others)} not asked, because of {option}: leave it out" if others else ""


def _say_faults(result: RestoreResult, not_asked: str) -> None:
    for line in bounded([str(fault) for fault in result.faults]):
        say(line)
    if result.faults and not result.lost:
        blocks = counted(len(result.faults), "block")
        say(f"{blocks} taken from another copy; {called('verify')} says what each copy still has")
    if result.lost:
        say(f"tapeloom: object {result.object.id} of {result.object.source}: {result.lost}{not_asked}")
    if result.broken_off:
        named = f"{result.object.id} of {result.object.source}"
        say(f"tapeloom: object {named} is not whole: it ends where its source broke off")
