"""`restore` and `cat`: getting objects back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from tapeloom.cli.attending import may_not_wait, waiting_told
from tapeloom.cli.endings import begun, has_begun, key_files
from tapeloom.cli.moments import moment
from tapeloom.cli.options import as_json, called, one_copy, refuse_both
from tapeloom.cli.screen import bounded, counted, duration, local_time, put_json, put_text, say, short_id, size
from tapeloom.errors import BlockDamaged, DeviceError, RestoreError, UsageError, VolumeWanted

if TYPE_CHECKING:
    from tapeloom.catalog import Object
    from tapeloom.config import Config
    from tapeloom.ops.feeding import OnOpen
    from tapeloom.ops.foreseeing import Changes
    from tapeloom.ops.planning import RestorePlan, Stage
    from tapeloom.ops.preparing import Request
    from tapeloom.ops.restore import RestoreResult
    from tapeloom.runtime.reading import Reading


@click.command()
@click.argument("name", metavar="OBJECT|SOURCE")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--to", "target", metavar="DIR", type=click.Path(path_type=Path), help="Into this folder.")
@click.option(
    "--onto",
    metavar="DEVICE",
    type=click.Path(path_type=Path),
    help="An image, which a `raw` source gives: onto this block device, or as this file.",
)
@click.option(
    "--at",
    metavar="TIME",
    callback=moment,
    help="The state of that time: 2026-11-20 (the end of that day), '2026-11-20 03:00:00', 2026-11-20T03:00:00Z.",
)
@click.option("--single", is_flag=True, help="What this object alone holds, though it may be an increment.")
@one_copy
@click.option("--partial", is_flag=True, help="Also of copies that are not complete: as much as there is.")
@click.option("--in-place", is_flag=True, help="Into a folder that is not empty.")
@click.option(
    "--existing",
    type=click.Choice(["skip", "replace", "newer", "fail"]),
    help="With --in-place, where a file stands already: leave it, replace it, replace it if it is older, or give up"
    " (as without this option).",
)
@click.option(
    "--delete",
    is_flag=True,
    help="With --in-place: remove what the state of that time does not have, also what its source leaves out.",
)
@click.option("--numeric-owner", is_flag=True, help="Owners by number alone, not by name first.")
@key_files
@may_not_wait
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only show what would be read, from where, how long it should take, and what in DIR would change.",
)
@as_json("what --dry-run shows")
@click.pass_obj
def restore(
    file: Path,
    name: str,
    paths: tuple[str, ...],
    target: Path | None,
    onto: Path | None,
    at: int | None,
    single: bool,
    copy: str | None,
    volume: str | None,
    partial: bool,
    in_place: bool,
    existing: Literal["skip", "replace", "newer", "fail"] | None,
    delete: bool,
    numeric_owner: bool,
    keys: tuple[Path, ...],
    no_wait: bool,
    dry_run: bool,
    json_wanted: bool,
) -> int:
    """Restore a state into a folder, checked as it is read.

    A source's name means its newest object with a complete copy; an object's id may be cut short. An increment is
    restored with all that it builds on. The source's root becomes DIR itself. A damaged block is taken from another
    copy, unless one was named.

    With PATHs, only what they name: paths below the source's root, with all below them, or patterns in quotes. In them
    * and ? stand for letters of one name, ** for any number of folders; a pattern without a slash is about the last
    name of a path.
    """
    refuse_both(copy, volume)
    if existing is not None and not in_place:
        raise UsageError("--existing goes with --in-place: without it the folder has to be empty")
    if json_wanted and not dry_run:
        raise UsageError("--json goes with --dry-run")
    if target is not None and onto is not None:
        raise UsageError("either --to DIR or --onto DEVICE")
    target = target or onto
    if target is None and not dry_run:
        raise UsageError("--to DIR has to say where to; --dry-run alone does without")
    from tapeloom import kept
    from tapeloom.ops import restore as op
    from tapeloom.ops.preparing import Request

    config = kept.config(file)
    wanted = Request(name, paths, at, single, copy, volume, partial, delete, keys)
    op.check_use(wanted, in_place=in_place, onto=onto is not None)
    if dry_run or target is None:
        plan = op.plan_restore(config, wanted)
        changes = None
        if target is not None and onto is None:
            from tapeloom.ops.foreseeing import foresee

            changes = foresee(config, wanted, target, existing=existing or "fail", in_place=in_place)
        _dry_run(plan, target, changes, json_wanted)
        return 0
    begin = time.monotonic()
    with _bar() as on_open, _told_of_others(config, wanted), _told_what_is_missing("restored"):
        if onto is not None:
            result = op.restore_onto(
                config,
                wanted,
                onto,
                replace=existing == "replace",
                on_open=on_open,
                waiting=waiting_told(no_wait),
            )
        else:
            result = op.restore_as_asked(
                config,
                wanted,
                target,
                existing=existing or "fail",
                in_place=in_place,
                numeric_owner=numeric_owner,
                on_open=on_open,
                waiting=waiting_told(no_wait),
            )
    _say_faults(result, _not_asked(result.object, copy, volume))
    _say_report(result)
    report, item = result.report, result.object
    skipped = f", {counted(report.skipped, 'entry', 'entries')} left as they were" if report.skipped else ""
    removed = f", {counted(result.removed, 'entry', 'entries')} removed" if result.removed else ""
    put_text(
        f"{item.source} of {local_time(item.as_of)} ({short_id(item.id)}) is in {target}: "
        f"{counted(report.files, 'file')}, {size(report.bytes)}{skipped}{removed}, "
        f"in {duration(time.monotonic() - begin)}."
    )
    return result.exit_status


def _dry_run(plan: RestorePlan, target: Path | None, changes: Changes | str | None, json_wanted: bool) -> None:
    if json_wanted:
        told = {"unknown": changes} if isinstance(changes, str) else changes and changes.as_json()
        put_json(plan.as_json() | ({} if told is None else {"target": told}))
        return
    from tapeloom.cli.restoring import put_changes, put_plan

    put_plan(plan)
    if changes is not None and target is not None:
        put_changes(target, changes)


def _say_report(result: RestoreResult) -> None:
    """What is to be said of a tree beside that it is there."""
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


@click.command()
@click.argument("name", metavar="OBJECT|SOURCE")
@one_copy
@click.option("--partial", is_flag=True, help="Also of copies that are not complete: as much as there is.")
@key_files
@may_not_wait
@click.pass_obj
def cat(
    file: Path,
    name: str,
    copy: str | None,
    volume: str | None,
    partial: bool,
    keys: tuple[Path, ...],
    no_wait: bool,
) -> int:
    """Write an object's sequence to standard output: a pax archive for `tar x`, or what a command had written."""
    refuse_both(copy, volume)
    if sys.stdout.isatty():
        raise UsageError("standard output is a terminal; `| tar x` or `> FILE` behind it takes the sequence")
    from tapeloom import kept
    from tapeloom.ops import restore as op
    from tapeloom.ops.preparing import Request

    config = kept.config(file)
    wanted = Request(name, copy=copy, volume=volume, partial=partial)
    with _told_of_others(config, wanted), _told_what_is_missing("written out"):
        result = op.cat(
            config,
            name,
            sys.stdout.fileno(),
            copy=copy,
            volume=volume,
            partial=partial,
            keys=keys,
            on_open=lambda stage, reading: begun(),
            waiting=waiting_told(no_wait),
        )
    _say_faults(result, _not_asked(result.object, copy, volume))
    return result.exit_status


@contextmanager
def _bar() -> Iterator[OnOpen]:
    """A bar for each object on a terminal, nothing elsewhere. It looks for itself how far the object is."""
    if not sys.stderr.isatty():
        yield lambda stage, reading: begun()
        return
    from rich.console import Console, RenderableType
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    class Bar(Progress):
        inside: tuple[TaskID, Stage, Reading] | None = None

        def get_renderables(self) -> Iterable[RenderableType]:
            if self.inside is not None:
                task, stage, reading = self.inside
                self.update(task, completed=stage.bytes_before(reading.sequence.offset))
            return super().get_renderables()

        def end_stage(self) -> None:
            if self.inside is not None:
                self.update(self.inside[0], completed=self.inside[1].bytes)
                self.inside = None

    columns = (BarColumn(bar_width=24), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn())
    named = TextColumn("{task.description}", markup=False)
    with Bar(named, *columns, console=Console(stderr=True), transient=True) as bar:

        def on_open(stage: Stage, reading: Reading) -> None:
            begun()
            bar.end_stage()
            what = f"{stage.item.source} {local_time(stage.item.as_of)}"
            bar.inside = bar.add_task(what, total=stage.bytes), stage, reading

        yield on_open
        bar.end_stage()


@contextmanager
def _told_what_is_missing(done: str) -> Iterator[None]:
    """A volume that was not there, and not waited for, leaves nothing done, or not all of it."""
    try:
        yield
    except VolumeWanted as wanted:
        if has_begun():
            raise RestoreError(f"{wanted}; not all was {done}") from None
        raise VolumeWanted(f"{wanted}; nothing was {done}", status=wanted.status) from None


@contextmanager
def _told_of_others(config: Config, wanted: Request) -> Iterator[None]:
    """What meets damage on the copy that was named says where help is."""
    try:
        yield
    except VolumeWanted:
        raise
    except (RestoreError, BlockDamaged, DeviceError) as error:
        if isinstance(error, RestoreError) and not isinstance(error.__context__, BlockDamaged):
            raise  # about the target, or the choice
        begun()
        from tapeloom.catalog import Catalog
        from tapeloom.ops.choose import choose_object

        with Catalog.open(config.server.state, readonly=True) as catalog:
            try:
                item = choose_object(catalog, wanted.name, at=wanted.at, partial=wanted.partial)
            except RestoreError:  # what was met is in the catalog by now, and nobody else can help
                raise error from None
        raise RestoreError(f"{error}{_not_asked(item, wanted.copy, wanted.volume)}") from None


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
    for remark in result.remarks:
        say(remark)
    for line in bounded([str(fault) for fault in result.faults]):
        say(line)
    if result.faults and not result.lost:
        blocks = counted(sum(fault.where.blocks for fault in result.faults), "block")
        say(f"{blocks} taken from another copy; {called('verify')} says what each copy still has")
    if result.lost:
        say(f"tapeloom: object {result.object.id} of {result.object.source}: {result.lost}{not_asked}")
    for line in bounded(result.missing):
        say(f"not restored because of it: {line}")
    for wrong in result.unproven:
        say(f"tapeloom: {wrong}")
    if result.broken_off:
        named = f"{result.object.id} of {result.object.source}"
        say(f"tapeloom: object {named} is not whole: it ends where its source broke off")
