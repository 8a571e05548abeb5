"""What a restore into a folder would do to what stands in it, as `restore --dry-run` tells: nothing is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct, field

from tapeloom.agent.report import printable, reason
from tapeloom.agent.rows import FOLDER
from tapeloom.catalog import Catalog
from tapeloom.config import Config
from tapeloom.errors import RestoreError
from tapeloom.ops.finding import open_indexes
from tapeloom.ops.preparing import Request, prepared
from tapeloom.ops.pruning import is_in_the_way, met
from tapeloom.volume.header import Content

if TYPE_CHECKING:
    from tapeloom.agent.making import Existing
    from tapeloom.index import Entry, Index

NAMES_KEPT = 10


class Names(Struct):
    """How many there are, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, path: bytes) -> None:
        self.count += 1
        if len(self.first) < NAMES_KEPT:
            self.first.append(printable(path))

    def as_json(self) -> dict[str, Any]:
        return {"count": self.count, "first": self.first}


class Changes(Struct):
    """What of a folder a restore would replace, leave as it is although the state has it too, and remove, each name
    with all below it. `refused` says why it would not begin, or where it would end: the rest is then as if it went on.
    """

    replaced: Names = field(default_factory=Names)
    left: Names = field(default_factory=Names)
    removed: Names = field(default_factory=Names)
    refused: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "replaced": self.replaced.as_json(),
            "left": self.left.as_json(),
            "removed": self.removed.as_json(),
            "refused": self.refused,
        }


def foresee(config: Config, wanted: Request, target: Path, *, existing: Existing, in_place: bool) -> Changes | str:
    """What restoring `wanted` into `target` would change there, or a sentence on why that is not known. No tape is
    touched.

    Raises what `plan_restore` does, and RestoreError where `target` cannot be listed.
    """
    if not target.is_dir():
        return Changes()
    with prepared(config, wanted, fetch=False) as ready, ExitStack() as stack:
        chain = ready.plan.chain
        if chain.wanted.content != Content.PAX:
            return _of_one_file(target, chain.wanted.source, existing)
        changes = Changes()
        if not in_place:
            if _holds_anything(target):
                changes.refused = f"{target} is not empty: name a new folder, or restore in place (--in-place)"
            return changes
        indexes: Mapping[UUID, Index] = ready.indexes
        lacking: list[str] = []
        if not indexes:
            catalog = stack.enter_context(Catalog.open(config.server.state, readonly=True))
            indexes, lacking = open_indexes(stack, catalog, chain, ready.keys)
        if lacking:
            return f"what would change in {target} is not known: {lacking[0]}"
        from tapeloom.index import final_entries

        ordered = [indexes[item.id] for item in chain.objects]
        entries = final_entries(ordered, None if ready.asked is None else ready.asked.wanted)
        try:
            _compare(changes, target, (entry for _, entry in entries), existing, delete=wanted.delete)
        except OSError as error:
            raise RestoreError(f"{target} cannot be listed: {reason(error)}") from None
        return changes


def _compare(changes: Changes, target: Path, entries: Iterator[Entry], existing: Existing, *, delete: bool) -> None:
    latest: list[Entry] = []

    def state() -> Iterator[tuple[bytes, int]]:
        for entry in entries:
            latest[:] = [entry]  # the one that `met` looks at
            yield entry.path, entry.kind

    for place, kind in met(target, state()):
        in_the_way = is_in_the_way(place, kind)
        if kind is None or (delete and in_the_way):
            if delete:
                changes.removed.add(place.path)
        elif in_the_way or not place.is_folder or kind != FOLDER:
            if existing == "fail" and changes.refused is None:
                changes.refused = f"{target}/{printable(place.path)} exists already (--existing skip, replace or newer)"
            goes = existing == "replace" or (existing == "newer" and latest[0].mtime > place.mtime)
            # A folder gives way only where it is empty.
            (changes.replaced if goes and not in_the_way else changes.left).add(place.path)


def _of_one_file(target: Path, source: str, existing: Existing) -> Changes:
    changes = Changes()
    if os.path.lexists(target / source):
        if existing == "replace":
            changes.replaced.add(source.encode())
        else:
            changes.left.add(source.encode())
            changes.refused = f"{target / source} exists already (--in-place --existing replace has it replaced)"
    return changes


def _holds_anything(folder: Path) -> bool:
    return next(folder.iterdir(), None) is not None
