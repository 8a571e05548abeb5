"""Getting things back: a state as a tree or a file in a folder, or one object as its bare sequence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace as changed

from tapeloom.agent.extract import Existing, TreeRestore, restore_file, restore_raw
from tapeloom.agent.report import RestoreReport
from tapeloom.catalog import Catalog, Object
from tapeloom.config import Config
from tapeloom.errors import BlockDamaged, FormatError, RestoreError, UsageError
from tapeloom.ops.choose import choose_object
from tapeloom.ops.damage import taking_down
from tapeloom.ops.feeding import Feeding, OnOpen, lost, prove, reading_of, unprovable
from tapeloom.ops.mounts import Mounts
from tapeloom.ops.planning import RestorePlan, Stage
from tapeloom.ops.preparing import Prepared, Request, keys_of, not_called_so, nothing_called_so, prepared, stage_of
from tapeloom.ops.pruning import prune
from tapeloom.runtime.reading import Reading
from tapeloom.runtime.segments import Fault
from tapeloom.volume.header import Content

if TYPE_CHECKING:
    from tapeloom.volume.waiting import Waiting


class RestoreResult(Struct, frozen=True):
    """What a restore gave. `faults`: blocks that had to be taken from another copy, or could not be had at all; `lost`
    and `missing`: what none of them could give, and the names of what is missing because of it; `broken_off`: that is
    all the source gave. Only a partial restore puts up with these. `unproven`: the bytes are not those that an object's
    digest was made of. `removed` counts names that `delete` removed; `remarks` say how it was done; `unmatched` are
    paths that were asked for and that nothing is called as.
    """

    object: Object
    report: RestoreReport
    faults: list[Fault] = field(default_factory=list)
    lost: str | None = None
    broken_off: bool = False
    missing: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    removed: int = 0
    remarks: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    """Labels, in the order in which they were mounted."""
    unmatched: list[str] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        short = self.lost or self.broken_off or self.unproven or self.unmatched or self.report.troubles
        return 1 if short else 0


@contextmanager
def open_object(
    config: Config,
    name: str,
    *,
    copy: str | None = None,
    volume: str | None = None,
    partial: bool = False,
    keys: Sequence[Path] = (),
    waiting: Waiting | None = None,
) -> Iterator[tuple[Object, Reading]]:
    """An object's sequence, on its way from its copies.

    `name` is a source's name (its newest object) or an object's id. Without `copy` and `volume` a block that is damaged
    on one copy is taken from another. Where the source broke off, the sequence ends with a FormatError, but for
    `partial`. `reading.sequence.proof()` at its end proves the object's digest. `keys` are key files beside those of
    the configuration. With `waiting`, cartridges that are not there are waited for.
    """
    wanted = Request(name, copy=copy, volume=volume, partial=partial, keys=tuple(keys))
    with _opened(config, wanted, [], waiting) as (stage, reading):
        yield stage.item, reading


@contextmanager
def _opened(
    config: Config, wanted: Request, remarks: list[str], waiting: Waiting | None
) -> Iterator[tuple[Stage, Reading]]:
    """One object alone, all of it. What is to be said at the end comes into `remarks`."""
    partial = wanted.partial
    with taking_down(config.server.state, remarks) as met, Catalog.open(config.server.state, readonly=True) as catalog:
        item = choose_object(catalog, wanted.name, partial=partial)
        stage = stage_of(catalog, item, copy=wanted.copy, volume=wanted.volume, partial=partial)
        keys = keys_of(config, [item], wanted.keys)
        with (
            Mounts(config, catalog.volume, waiting=waiting) as mounts,
            reading_of(stage, mounts, keys, partial=partial) as reading,
        ):
            met.append(reading)
            yield stage, reading


def check_use(wanted: Request, *, in_place: bool = False, onto: bool = False) -> None:
    """Raises UsageError where what is asked for does not go together: `in_place` for a folder, `onto` for an image."""
    if onto and (wanted.paths or wanted.at is not None or wanted.delete):
        raise UsageError("--onto takes a whole image: no PATH, --at or --delete goes with it")
    if wanted.delete and not in_place:
        raise UsageError("--delete goes with --in-place: without it the folder has to be empty")


def plan_restore(config: Config, wanted: Request) -> RestorePlan:
    """What `restore_as_asked` would read. No tape is touched. Raises as that does, but for what tapes and the target
    may do."""
    with prepared(config, wanted, fetch=False) as ready:
        return ready.plan


def restore(
    config: Config,
    name: str,
    target: Path,
    *,
    copy: str | None = None,
    volume: str | None = None,
    partial: bool = False,
    existing: Existing = "fail",
    in_place: bool = False,
    numeric_owner: bool = False,
    on_open: OnOpen = lambda stage, reading: None,
    waiting: Waiting | None = None,
) -> RestoreResult:
    """Restores a source's newest state, or that of the object `name`: see `restore_as_asked`."""
    return restore_as_asked(
        config,
        Request(name, copy=copy, volume=volume, partial=partial),
        target,
        existing=existing,
        in_place=in_place,
        numeric_owner=numeric_owner,
        on_open=on_open,
        waiting=waiting,
    )


def restore_as_asked(
    config: Config,
    wanted: Request,
    target: Path,
    *,
    existing: Existing = "fail",
    in_place: bool = False,
    numeric_owner: bool = False,
    on_open: OnOpen = lambda stage, reading: None,
    waiting: Waiting | None = None,
) -> RestoreResult:
    """Restores a state into the folder `target`.

    A tree's root lands on `target` itself; a command's or a program's sequence becomes a file in it with the source's
    name. An increment's state is made from the chain that it ends. `on_open` is told what is about to be read;
    `reading.sequence.offset` says how far it is, at any time. With `waiting`, cartridges that are not there are waited
    for.

    Raises
    ------
    UsageError, NotFound, RestoreError, FormatError, SealError, DeviceError
        VolumeWanted for a cartridge that is not there.
    """
    check_use(wanted, in_place=in_place)
    remarks: list[str] = []
    with (
        _nothing_left_behind(target),
        taking_down(config.server.state, remarks) as met,
        prepared(config, wanted, waiting=waiting) as ready,
        Mounts(config, ready.volume_of, waiting=waiting) as mounts,
    ):
        feeding = Feeding(ready, mounts, partial=wanted.partial, on_open=on_open)
        met.append(feeding)
        plan = ready.plan
        removed = 0
        if plan.chain.wanted.content != Content.PAX:
            report = _one_file(feeding, plan.stages[0], target, existing)
        else:
            one_by_one = not plan.indexed and len(plan.stages) > 1
            if one_by_one and in_place and existing in ("replace", "newer") and _holds_anything(target):
                raise RestoreError(
                    f"{target} is not empty, and without file indexes objects are applied one after another: an older "
                    "one could replace a file there that a newer one removes; name an empty folder, or leave what "
                    "stands there (--existing skip)"
                )
            if wanted.delete and target.is_dir():
                removed += prune(target, _state(ready), in_the_way_only=True)
            with TreeRestore(
                target,
                existing=existing,
                in_place=in_place,
                numeric_owner=numeric_owner,
                again=one_by_one,
            ) as tree:
                feeding.feed(tree)
                report = tree.finish()
            if wanted.paths and not (report.files or report.folders or report.others):
                raise nothing_called_so(plan.chain.wanted)
            if wanted.delete and not (feeding.lost or feeding.unproven or feeding.broken_off):
                removed += prune(target, _state(ready))
        asked = ready.asked
        if asked is not None and not plan.indexed:
            feeding.remarks += not_called_so(plan.chain.wanted, asked)
        remarks += [*plan.remarks, *feeding.remarks]
        return RestoreResult(
            plan.chain.wanted,
            report,
            feeding.faults,
            "; ".join(feeding.lost) or None,
            feeding.broken_off,
            feeding.missing,
            feeding.unproven,
            removed + report.removed,
            remarks,
            mounts.labels,
            asked.unmatched if asked is not None else [],
        )


@contextmanager
def _nothing_left_behind(target: Path) -> Iterator[None]:
    """Where the `with` block fails, folders that it made for the target and put nothing into are removed again."""
    missing = [folder for folder in (target, *target.parents) if not os.path.lexists(folder)]
    try:
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # it holds something, or was never made
                folder.rmdir()
        raise


def _holds_anything(folder: Path) -> bool:
    try:
        with os.scandir(folder) as there:
            return next(there, None) is not None
    except OSError:
        return False  # it is not there, or whoever opens it says what is wrong with it


def _state(ready: Prepared) -> Iterator[tuple[bytes, int]]:
    from tapeloom.index import final_state

    return final_state([ready.indexes[item.id] for item in ready.plan.chain.objects])


def _one_file(feeding: Feeding, stage: Stage, target: Path, existing: Existing) -> RestoreReport:
    target.mkdir(parents=True, exist_ok=True)
    with feeding.reading(stage) as reading:
        bytes_written = restore_file(reading.sequence, target / stage.item.source, replace=existing == "replace")
    return RestoreReport(files=1, bytes=bytes_written)


def restore_onto(
    config: Config,
    wanted: Request,
    target: Path,
    *,
    replace: bool = False,
    on_open: OnOpen = lambda stage, reading: None,
    waiting: Waiting | None = None,
) -> RestoreResult:
    """Restores an image, the object of a `raw` source, onto the block device `target`, or as the file `target`; with
    `replace` also where that is there already. `on_open` is told when its first block is there.

    Raises
    ------
    UsageError, NotFound, RestoreError, FormatError, SealError, DeviceError
        FormatError also for an object that is no image.
    """
    check_use(wanted, onto=True)
    remarks: list[str] = []
    with _opened(config, wanted, remarks, waiting) as (stage, reading):
        item = stage.item
        if item.content != Content.PAX:
            raise FormatError(f"object {item.id} of {item.source} is no image: --to DIR takes it")
        on_open(stage, reading)
        report = RestoreReport(files=1)
        return _taken(stage, reading, report, lambda: restore_raw(reading.sequence, target, replace=replace), remarks)


def cat(
    config: Config,
    name: str,
    fd: int,
    *,
    copy: str | None = None,
    volume: str | None = None,
    partial: bool = False,
    keys: Sequence[Path] = (),
    on_open: OnOpen = lambda stage, reading: None,
    waiting: Waiting | None = None,
) -> RestoreResult:
    """Writes an object's sequence to the descriptor `fd`. `on_open` is told when its first block is there. Raises
    BrokenPipeError as it comes."""
    remarks: list[str] = []
    wanted = Request(name, copy=copy, volume=volume, partial=partial, keys=tuple(keys))
    with _opened(config, wanted, remarks, waiting) as (stage, reading):
        on_open(stage, reading)

        def write() -> int:
            written = 0
            while (payload := reading.sequence.payload()) is not None:
                while payload:
                    n = os.write(fd, payload)
                    written += n
                    payload = payload[n:]
            return written

        return _taken(stage, reading, RestoreReport(), write, remarks)


def _taken(
    stage: Stage, reading: Reading, report: RestoreReport, take: Callable[[], int], remarks: list[str]
) -> RestoreResult:
    """What came of one object whose whole sequence `take` takes; it gives the number of bytes for the report."""
    item = stage.item
    try:
        written = take()
        wrong = prove(stage, reading)
    except BlockDamaged as damaged:
        raise lost(item, reading, damaged) from None
    remarks += unprovable(reading)
    return RestoreResult(
        item,
        changed(report, bytes=written),
        list(reading.faults),
        reading.lost,
        reading.sequence.broken_off,
        unproven=[wrong] if wrong else [],
        remarks=remarks,
    )
