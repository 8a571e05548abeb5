"""`volumes`: the volumes that the catalog knows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tapeloom.cli.listing import open_catalog
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, local_time, number, put_json, put_section, size
from tapeloom.cli.tables import put_table

if TYPE_CHECKING:
    from tapeloom.catalog import Volume
    from tapeloom.health import CartridgeHealth, Kept


@click.command()
@as_json("the volumes, as a list")
@click.option("--all", "every", is_flag=True, help="Also those whose cartridge was written anew: they are gone.")
@click.pass_obj
def volumes(file: Path, json_wanted: bool, every: bool) -> None:
    """List the volumes that jobs have written, in the order they were made.

    `home` is the library that a volume belongs to, or the drive, where that stands alone; in JSON it is called `drive`.
    `expires` is when the pool's retention lets go of the last object; what is needed stays protected all the same, as
    `scratch --expired --dry-run` says.
    """
    from tapeloom import kept
    from tapeloom.ops.protecting import expiry

    with open_catalog(file) as catalog:
        found = catalog.volumes(current=not every)
        harmed = catalog.harmed_on_volumes()
        held = catalog.held_on_volumes()
        ends = expiry(kept.config(file), catalog)
        told = catalog.volume_health()
        doubts = catalog.doubts()
    if json_wanted:
        from tapeloom.catalog import iso

        put_json(
            [
                one.as_json()
                | {
                    "objects": held.get(one.id, (0, 0))[0],
                    "bytes": held.get(one.id, (0, 0))[1],
                    "expires": iso(ends[one.id]) if one.id in ends else None,
                    "damaged_blocks": harmed.get(one.id, 0),
                    "health": _health_as_json(told.get(one.id)),
                    "doubt": doubts[one.id].why if one.id in doubts else None,
                }
                for one in found
            ]
        )
        return
    memories = {one.id: memory for one in found if (memory := _memory(told.get(one.id))) is not None}
    barcodes = any(one.barcode not in (None, one.cartridge) for one in found)
    put_table(
        (
            *("volume", "pool", "home", "cartridge"),
            *(("barcode",) if barcodes else ()),
            *("status", "made", "objects", "bytes", "end position", "expires"),
            *(("loads", "left", "errors") if memories else ()),
        ),
        [
            (
                one.label,
                one.pool or "any",
                one.home,
                one.cartridge,
                *((one.barcode or "-",) if barcodes else ()),
                one.state.value,
                local_time(one.made_at),
                number(held.get(one.id, (0, 0))[0]),
                size(held.get(one.id, (0, 0))[1]),
                number(one.end_position),
                _expires(ends.get(one.id)),
                *(_told(memories.get(one.id)) if memories else ()),
            )
            for one in found
        ],
        right=("objects", "bytes", "end position", "loads", "left", "errors"),
    )
    put_section("Reasons", [_reason(one) for one in found if one.reason], more=called("volumes", "--json"))
    put_section("Warnings", [f"{one.label}, {doubts[one.id].why}" for one in found if one.id in doubts])
    put_section(
        "Damaged",
        [f"{one.label}: {counted(harmed[one.id], 'block')}" for one in found if one.id in harmed],
        more=called("objects", "--json"),
    )


def _memory(told: Kept | None) -> CartridgeHealth | None:
    return None if told is None else told.health.cartridge


def _told(memory: CartridgeHealth | None) -> tuple[str, str, str]:
    """Of a cartridge's life: how often it was loaded, the room that is left, what could not be written or read."""
    if memory is None:
        return "-", "-", "-"
    return number(memory.loads), size(memory.remaining), number(memory.errors)


def _health_as_json(told: Kept | None) -> dict[str, Any] | None:
    from tapeloom.catalog import iso

    if told is None:
        return None
    return {
        "told_at": iso(told.at),
        "by": told.drive,
        "alerts": [flag.as_json() for flag in told.volume_flags()],
        **{part: figures for part, figures in told.health.figures().items() if part != "drive"},
    }


def _expires(at: int | None) -> str:
    if at is None:
        return "-"
    return "expired" if at <= time.time_ns() else local_time(at)


def _reason(one: Volume) -> str:
    since = "" if one.state_at is None else f" since {local_time(one.state_at)}"
    return f"{one.label} is {one.state}{since}: {one.reason}"
