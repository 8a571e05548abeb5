"""Getting an object back: as a tree or a file in a folder, or as the bare sequence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tapeloom.agent.extract import Existing, restore_file, restore_tree
from tapeloom.agent.report import RestoreReport
from tapeloom.catalog import Catalog, Object
from tapeloom.config import Config
from tapeloom.errors import BlockDamaged, RestoreError
from tapeloom.ops.choose import block_bytes_max, blocks_of, choose_copies, choose_object, segments
from tapeloom.ops.mounts import Mounts
from tapeloom.runtime.reading import Fault, Reading
from tapeloom.volume.header import Content

REST = 1 << 62


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What a restore gave. `faults`: blocks that had to be taken from another copy, or could not be had at all;
    `broken_off`: that is all the source gave, which only a partial restore puts up with."""

    object: Object
    report: RestoreReport
    faults: list[Fault] = field(default_factory=list)
    lost: str | None = None
    broken_off: bool = False

    @property
    def exit_status(self) -> int:
        return 1 if self.lost or self.broken_off or self.report.troubles else 0


@contextmanager
def open_object(
    config: Config, name: str, *, copy: str | None = None, volume: str | None = None, partial: bool = False
) -> Iterator[tuple[Object, Reading]]:
    """An object's sequence, on its way from its copies.

    `name` is a source's name (its newest object) or an object's id. Without `copy` and `volume` a block that is damaged
    on one copy is taken from another. Where the source broke off, the sequence ends with a FormatError, but for
    `partial`.
    """
    with Catalog.open(config.server.state, readonly=True) as catalog:
        item = choose_object(catalog, name, partial=partial)
        copies = [
            segments(catalog, chosen)
            for chosen in choose_copies(catalog, item, agent=copy, volume=volume, partial=partial)
        ]
        with Mounts(config.drives, catalog.volume) as mounts:
            blocks, block_bytes = blocks_of(item, copies), block_bytes_max(catalog, copies)
            if not blocks:
                raise RestoreError(f"nothing of object {item.id} of {item.source} is on tape")
            with Reading(item.id, blocks, copies, mounts, block_bytes, partial=partial) as reading:
                yield item, reading


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
    on_open: Callable[[Object, Reading], None] = lambda item, reading: None,
) -> RestoreResult:
    """Restores an object into the folder `target`.

    A tree's root lands on `target` itself; a command's or a program's sequence becomes a file in it with the source's
    name. `on_open` is told what is about to be restored; `reading.sequence.offset` says how far it is, at any time.

    Raises
    ------
    NotFound, RestoreError, FormatError, DeviceError
    """
    with open_object(config, name, copy=copy, volume=volume, partial=partial) as (item, reading):
        on_open(item, reading)
        try:
            if item.content == Content.PAX:
                report = restore_tree(
                    reading.sequence, target, existing=existing, in_place=in_place, numeric_owner=numeric_owner
                )
            else:
                report = _one_file(item, reading, target, existing)
            reading.sequence.skip(REST)
        except BlockDamaged as damaged:
            raise RestoreError(
                f"object {item.id} of {item.source}: {reading.lost or damaged}; what was restored before is whole"
            ) from None
        return _result(item, report, reading)


def _result(item: Object, report: RestoreReport, reading: Reading) -> RestoreResult:
    return RestoreResult(item, report, list(reading.faults), reading.lost, reading.sequence.broken_off)


def _one_file(item: Object, reading: Reading, target: Path, existing: Existing) -> RestoreReport:
    target.mkdir(parents=True, exist_ok=True)
    bytes_written = restore_file(reading.sequence, target / item.source, replace=existing == "replace")
    return RestoreReport(files=1, bytes=bytes_written)


def cat(
    config: Config, name: str, fd: int, *, copy: str | None = None, volume: str | None = None, partial: bool = False
) -> RestoreResult:
    """Writes an object's sequence to the descriptor `fd`. Raises BrokenPipeError as it comes."""
    written = 0
    with open_object(config, name, copy=copy, volume=volume, partial=partial) as (item, reading):
        try:
            while (payload := reading.sequence.payload()) is not None:
                while payload:
                    n = os.write(fd, payload)
                    written += n
                    payload = payload[n:]
        except BlockDamaged as damaged:
            raise RestoreError(f"object {item.id} of {item.source}: {reading.lost or damaged}") from None
        return _result(item, RestoreReport(files=0, bytes=written), reading)
