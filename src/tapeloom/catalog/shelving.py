"""The rows of volumes: made, in a state, written anew from the beginning of their cartridge. On an open transaction."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID

from ..errors import CatalogError, NotFound
from .model import VolumeState
from .rows import volume_of

UNCHANGED = object()
"""For a pool that stays what it is: None is one, too."""


def add(t: Any, row: dict[str, Any], path: Path, *, replaces: UUID | None) -> None:
    """A new volume; `replaces` is the scratch one whose cartridge, and label where they are the same, it gets.

    Raises
    ------
    CatalogError
        The label is taken, or what is to be replaced is not scratch.
    """
    if replaces is not None:
        _bury(t, replaces, UUID(row["id"]), path)
    if list(t.volumes.select(t.volumes.id).where(t.volumes.label == row["label"]).tuples()):
        raise CatalogError(f"there is a volume {row['label']} in {path} already; choose another label")
    t.volumes.insert({**row, "state": VolumeState.APPENDABLE.value}).execute()


def _bury(t: Any, volume: UUID, successor: UUID, path: Path) -> None:
    """The row stays, as history, under names that no label and no cartridge can have."""
    old = volume_of(t, t.volumes.id == str(volume), volume, path)
    if old.state is not VolumeState.SCRATCH:
        raise CatalogError(f"volume {old.label} is {old.state} and not scratch: it is not written from its beginning")
    life = 1
    while list(t.volumes.select(t.volumes.id).where(t.volumes.label == f"{old.label}#{life}").tuples()):
        life += 1
    name = f"{old.label}#{life}"
    t.volumes.update(
        label=name,
        cartridge=name,
        barcode=None,
        state=VolumeState.RETIRED.value,
        reason="its cartridge was written anew",
        state_at=time.time_ns(),
        successor=str(successor),
    ).where(t.volumes.id == str(volume)).execute()
    t.appends.delete().where(t.appends.volume == str(volume)).execute()


def set_state(
    t: Any, volume: UUID, state: VolumeState, path: Path, *, reason: str | None, pool: object = UNCHANGED
) -> None:
    changes: dict[str, object] = {"state": VolumeState(state).value, "reason": reason, "state_at": time.time_ns()}
    if pool is not UNCHANGED:
        changes["pool"] = pool
    if not t.volumes.update(**changes).where(t.volumes.id == str(volume)).execute():
        raise NotFound(f"no volume {volume} in {path}")
