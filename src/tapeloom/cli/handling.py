"""`label`, `relabel`, `load`, `unload`: cartridges in the hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.confirming import asks_first, confirm, confirm_by_name, there_is_a_terminal
from tapeloom.cli.options import as_json
from tapeloom.cli.screen import put, put_json, say
from tapeloom.errors import NotFound, UsageError

if TYPE_CHECKING:
    from tapeloom.catalog import Volume
    from tapeloom.config import Config

_drive = click.option("--drive", metavar="DRIVE", help="Which drive; needed where there is more than one.")
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
    from tapeloom.ops.labelling import checked_pool, chosen_drive, never, open_labelling

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

    with open_labelling(config, chosen_drive(config, drive), wanted) as labelling:
        if names:
            allow = may_overwrite if overwrite_foreign else never
            done = [labelling.named(name, barcode, allow) for name in names]
        else:
            done = labelling.blank(may_label)
        for sentence in labelling.passed:
            say(f"{sentence}: it is left alone")
        if not done:
            say(f"drive {labelling.device.name} has no blank cartridge")
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
    with open_labelling(config, where, wanted) as labelling:
        done = labelling.anew(old, name, old.barcode if barcode is None else barcode)
    _put([done], json_wanted)


@click.command()
@click.argument("volume", metavar="[VOLUME]", required=False)
@_drive
@click.pass_obj
def load(file: Path, volume: str | None, drive: str | None) -> None:
    """Put VOLUME into the drive, or what is there, and say by its label what it is."""
    from tapeloom import _kernel, kept
    from tapeloom.ops.labelling import chosen_drive
    from tapeloom.ops.mounts import open_configured
    from tapeloom.volume.recognizing import found_to_be, inside, read_label

    config = kept.config(file)
    known = None if volume is None else _known(config, volume)
    where = chosen_drive(config, drive, None if known is None else known.home)
    with open_configured(config, where) as device:
        device.load(known.cartridge if known else volume)
        start = read_label(device, crc=_kernel.crc32c)
        here = inside(device)
        if known is not None and (start is None or start.volume != known.id):
            raise NotFound(f"{here} {found_to_be(start)}, and not volume {known.label} ({known.id})")
        put(f"{here} {found_to_be(start)}")


@click.command()
@_drive
@click.pass_obj
def unload(file: Path, drive: str | None) -> None:
    """Take out what is in the drive."""
    from tapeloom import kept
    from tapeloom.ops.labelling import chosen_drive
    from tapeloom.ops.mounts import open_configured

    config = kept.config(file)
    with open_configured(config, chosen_drive(config, drive)) as device:
        inside = device.loaded
        device.unload()
        put(f"drive {device.name} is empty now; {inside} was in it" if inside else f"drive {device.name} is empty")


def _known(config: Config, name: str) -> Volume | None:
    from tapeloom.catalog import Catalog

    try:
        with Catalog.open(config.server.state, readonly=True) as catalog:
            return catalog.volume(name)
    except NotFound:
        return None


def _put(volumes: list[Volume], json_wanted: bool) -> None:
    if json_wanted:
        put_json([one.as_json() for one in volumes])
        return
    for one in volumes:
        put(f"{one.label}: {one.state}, pool {one.pool}, cartridge {one.cartridge} of {one.home}")
