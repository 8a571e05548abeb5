"""`drives`: what they are, what is in them, and how they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.options import as_json
from tapeloom.cli.screen import counted, local_time, put_json, put_section, size
from tapeloom.cli.tables import put_table

if TYPE_CHECKING:
    from tapeloom.health import DriveHealth
    from tapeloom.ops.drives import DriveRow


@click.command()
@as_json("the drives, as a list")
@click.pass_obj
def drives(file: Path, json_wanted: bool) -> int:
    """List the drives: what they are, what is in them, and what they tell of their health.

    No cartridge moves. A drive that a job has is left to it; one that hangs is named, and not waited for.
    """
    from tapeloom import kept
    from tapeloom.ops.drives import drives as all_drives

    rows = all_drives(kept.config(file))
    if json_wanted:
        put_json([row.as_json() for row in rows])
    else:
        _put(rows)
    return 1 if any(row.trouble for row in rows) else 0


def _put(rows: list[DriveRow]) -> None:
    serials, bays = any(row.serial for row in rows), any(row.library for row in rows)
    put_table(
        (
            *("drive", "device", "what it is"),
            *(("serial",) if serials else ()),
            *(("bay",) if bays else ()),
            *("cartridge", "volume", "longest block", "direct", "status"),
        ),
        [
            (
                *(row.name, row.device, row.what or "-"),
                *((row.serial or "-",) if serials else ()),
                *((f"{row.library} {row.bay or ''}".rstrip() if row.library else "-",) if bays else ()),
                row.cartridge or "-",
                row.volume or "-",
                size(row.block_bytes_max),
                size(row.direct_bytes_max),
                row.status,
            )
            for row in rows
        ],
        right=("longest block", "direct"),
    )
    put_section("Warnings", [f"{row.name}, {_when(row)}: {one.sentence}" for row in rows for one in row.flags])
    put_section("Their lives", [line for row in rows if (line := _life(row))])
    put_section("Held", [row.held for row in rows if row.held])
    put_section("Hanging", [row.trouble for row in rows if row.trouble and row.hung])
    put_section("Failed", [row.trouble for row in rows if row.trouble and not row.hung])


def _when(row: DriveRow) -> str:
    assert row.told is not None, "who has flags has told them"
    return local_time(row.told.at)


def _life(row: DriveRow) -> str | None:
    told = None if row.told is None else row.told.health.drive
    facts = [] if told is None else list(_facts(told))
    return f"{row.name}: {', '.join(facts)}" if facts else None


def _facts(drive: DriveHealth) -> list[str]:
    each = (
        (drive.loads, "load", "loads"),
        (drive.power_on_hours, "hour switched on", "hours switched on"),
        (drive.motion_hours, "hour of moving tape", "hours of moving tape"),
        (drive.meters, "meter of tape", "meters of tape"),
        (drive.cleanings, "cleaning", "cleanings"),
    )
    return [counted(count, one, many) for count, one, many in each if count is not None]
