"""`label`, `relabel`, `load`, `unload`: cartridges in the hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.confirming import asks_first, confirm, confirm_by_name, there_is_a_terminal
from tapeloom.cli.options import as_json
from tapeloom.cli.screen import put, put_json, say
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.catalog import Volume

_drive = click.option("--drive", metavar="DRIVE", help="Which drive; needed where more than one can be meant.")
_pool = click.option("--pool", metavar="POOL", help="Whose jobs write it; where none is named: default.")
_barcode = click.option("--barcode", metavar="TEXT", help="What stands on the cartridge; a library knows it.")


@click.command()
@click.argument("names", metavar="[VOLUME]...", nargs=-1)
@_drive
@_pool
@_barcode
@click.option("--overwrite-foreign", is_flag=True, help="Also a cartridge with data of another program.")
@asks_first
@as_json("the volumes that were labelled, as a list")
@click.pass_obj
def label(
    file: Path,
    names: tuple[str, ...],
    drive: str | None,
    pool: str | None,
    barcode: str | None,
    overwrite_foreign: bool,
    yes: bool,
    json_wanted: bool,
) -> None:
    """Label blank cartridges beforehand: the one called VOLUME, or all that the drive has.

    In a drive that stands alone VOLUME is how the cartridge in it will be called. A virtual drive makes it. More than
    one, and what is not blank, are labelled only after a question.
    """
    from tapeloom import kept
    from tapeloom.ops.labelling import checked_pool, labelling_drives, never, open_labelling

    if (barcode is not None or overwrite_foreign) and len(names) != 1:
        raise UsageError("--barcode and --overwrite-foreign are for one VOLUME that is named")

    def may_overwrite(sentence: str, name: str, ours: bool) -> bool:
        """--yes is said of other programs' data, and never by a script of a volume that may be wanted."""
        if ours and (yes or not there_is_a_terminal()):
            return False
        return confirm_by_name(f"{sentence}. Overwrite it? That is not taken back.", name, yes)

    config = kept.config(file)
    wanted = checked_pool(config, pool)

    def may_label(cartridges: Sequence[str]) -> None:
        if len(cartridges) > 1:
            confirm(f"Label what is blank of {', '.join(cartridges)}, for pool {wanted}?", yes)

    drives = labelling_drives(config, drive, names)
    done: list[Volume] = []
    try:
        with open_labelling(config, drives, wanted) as labelling:
            if len(drives) > 1:
                say(f"Drive {labelling.device.name} of library {labelling.where.home} is free: it is used.")
            allow = may_overwrite if overwrite_foreign else never
            for name in names:
                done.append(labelling.named(name, barcode, allow))
            if not names:
                done += labelling.blank(may_label)
            for sentence in labelling.passed:
                say(f"{sentence}: it is left alone")
            if not done:
                say(f"drive {labelling.device.name} has no blank cartridge")
    except BaseException:
        if done:  # nothing takes that back
            _put(done, json_wanted)
        raise
    _put(done, json_wanted)


@click.command()
@click.argument("volume")
@click.argument("name", metavar="[NEW]", required=False)
@_drive
@_pool
@_barcode
@asks_first
@as_json("the volume, as a list")
@click.pass_obj
def relabel(
    file: Path,
    volume: str,
    name: str | None,
    drive: str | None,
    pool: str | None,
    barcode: str | None,
    yes: bool,
    json_wanted: bool,
) -> None:
    """Write a new label over a VOLUME that holds nothing that counts: it is empty then, with another id.

    It is called NEW from then on, or as before.
    """
    from tapeloom import kept
    from tapeloom.ops.labelling import checked_pool, chosen_drive, open_labelling, refuse_wanted

    config = kept.config(file)
    old = refuse_wanted(config, volume)
    wanted = checked_pool(config, pool or old.pool)
    where = chosen_drive(config, drive, old.home)
    confirm(f"Overwrite volume {old.label} in drive {where} with a new label? That is not taken back.", yes)
    with open_labelling(config, [where], wanted) as labelling:
        done = labelling.anew(old, name, old.barcode if barcode is None else barcode)
    _put([done], json_wanted)


@click.command()
@click.argument("volume", metavar="[VOLUME]", required=False)
@_drive
@click.pass_obj
def load(file: Path, volume: str | None, drive: str | None) -> None:
    """Put VOLUME into the drive, or what is there, and say by its label what it is.

    A drive that somebody feeds by hand keeps it. A library takes it back to its slot: `mount` brings it to stay.
    """
    from tapeloom import kept
    from tapeloom.ops.loading import load as put_in

    put(put_in(kept.config(file), volume, drive))


@click.command()
@_drive
@click.pass_obj
def unload(file: Path, drive: str | None) -> None:
    """Take out what is in the drive. In a library it goes to its slot, as by `unmount`."""
    from tapeloom import kept
    from tapeloom.ops.loading import unload as take_out

    name, cartridge = take_out(kept.config(file), drive)
    put(f"drive {name} is empty" if cartridge is None else f"drive {name} is empty now; {cartridge} was in it")


def _put(volumes: list[Volume], json_wanted: bool) -> None:
    if json_wanted:
        put_json([one.as_json() for one in volumes])
        return
    for one in volumes:
        put(f"{one.label}: {one.state}, pool {one.pool}, cartridge {one.cartridge} of {one.home}")
