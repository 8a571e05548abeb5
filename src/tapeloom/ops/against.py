"""Comparing an object on tape with the files of its source, as they are now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct, field

from tapeloom.agent.compare import CompareReport, compare
from tapeloom.agent.rules import Rules
from tapeloom.agent.tree import TreeSource
from tapeloom.catalog import Catalog, Object
from tapeloom.config import Config
from tapeloom.config import Source as Configured
from tapeloom.errors import BlockDamaged, UsageError
from tapeloom.ops.choose import choose_object
from tapeloom.ops.feeding import lost
from tapeloom.ops.named import tree_of
from tapeloom.ops.restore import open_object
from tapeloom.runtime.segments import Fault
from tapeloom.volume.header import Content, Level
from tapeloom.volume.waiting import Waiting


class AgainstResult(Struct, frozen=True):
    """What a comparison found. `faults`: blocks that had to be taken from another copy."""

    object: Object
    paths: tuple[Path, ...]
    report: CompareReport
    faults: list[Fault] = field(default_factory=list)

    @property
    def exit_status(self) -> int:
        return 0 if self.report.same and not self.faults else 1


def verify_against_source(
    config: Config,
    name: str,
    *,
    copy: str | None = None,
    volume: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    waiting: Waiting | None = None,
) -> AgainstResult:
    """Compares an object, or a source's newest one, with the files that the configuration names for it.

    Of an increment, what it holds is compared, and nothing else; of a full one, files count too that are not in it. The
    source's `before` and `after` are not run. `on_progress` is told of blocks read and blocks in all. With `waiting`,
    cartridges that are not there are waited for.

    Raises
    ------
    UsageError
        The object was not made of files, or its source is not in the configuration any more.
    SourceError
        The source's only path is not there.
    NotFound, RestoreError, FormatError, DeviceError
    """
    with Catalog.open(config.server.state, readonly=True) as catalog:
        item = choose_object(catalog, name)
    configured = _configured(config, item)
    rules = _rules(configured)
    with open_object(config, str(item.id), copy=copy, volume=volume, waiting=waiting) as (_, reading):
        sequence, whole = reading.sequence, item.level is Level.FULL
        try:
            report = compare(
                sequence,
                rules,
                item.as_of,
                whole=whole,
                on_entry=lambda: on_progress(sequence.seq, item.blocks or 0),
            )
            sequence.proof()
        except BlockDamaged as damaged:
            raise lost(item, reading, damaged) from None
        return AgainstResult(item, rules.paths, report, list(reading.faults))


def _configured(config: Config, item: Object) -> Configured:
    if item.content != Content.PAX:
        raise UsageError(
            f"object {item.id} of {item.source} is one sequence of bytes, from a command or a program: there are no "
            "files to compare it with"
        )
    configured = config.sources.get(item.source)
    if configured is None or not (configured.paths or configured.raw):
        raise UsageError(
            f"{config.shown}: source {item.source} has no files any more, which object {item.id} could be compared with"
        )
    return configured


def _rules(configured: Configured) -> Rules:
    if configured.raw is not None:
        return TreeSource([configured.raw]).rules
    return tree_of(configured).rules
