"""What drives told of themselves and of the volumes in them: a row for each mount. On an open transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from ..health import Doubt, Health, Kept, doubt
from ..quantity import local_time
from ..tapealert import About, flags


def keep(t: Any, health: Health, *, drive: str, volume: UUID | None, job: UUID | None, at: int) -> None:
    row = {
        "at": at,
        "drive": drive,
        "volume": None if volume is None else str(volume),
        "job": None if job is None else str(job),
        "alerts": json.dumps(health.alerts),
        "figures": json.dumps(health.figures()),
    }
    t.drive_health.insert(row).on_conflict_replace().execute()
    if volume is not None:
        t.volume_health.insert(row).on_conflict_replace().execute()


def of_drives(t: Any) -> dict[str, Kept]:
    """The newest of each."""
    return {one.drive: one for one in _kept(t.drive_health)}


def of_volumes(t: Any) -> dict[UUID, Kept]:
    """The newest of each."""
    return {UUID(one.volume): one for one in _kept(t.volume_health) if one.volume is not None}


def doubts(t: Any) -> dict[UUID, Doubt]:
    """Volumes not to be trusted. What a cartridge itself is to blame for, and makes it unfit, it does not get rid of;
    all else counts until its next mount."""
    newest = of_volumes(t)
    found: dict[UUID, Doubt] = {}
    for one in _kept(t.volume_health):
        id = UUID(one.volume)
        raised = {*(one.health.alerts or ())}
        if one.health.cartridge is not None:
            raised |= {*(one.health.cartridge.alerts or ())}
        if newest[id].at != one.at:
            raised = {flag.number for flag in flags(raised) if flag.unfit and flag.about is About.CARTRIDGE}
        why = doubt(tuple(raised), f"at its mount in drive {one.drive} on {local_time(one.at)}")
        if why is not None:
            found[id] = why
    return found


def _kept(table: Any) -> Iterator[Kept]:
    """Oldest first."""
    for row in table.select().order_by(table.at).dicts():
        alerts = json.loads(row["alerts"])
        health = Health.of(None if alerts is None else tuple(alerts), json.loads(row["figures"]))
        yield Kept(row["at"], row["drive"], row["volume"], row["job"], health)
