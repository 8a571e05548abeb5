"""`inventory`, `mount`, `unmount`, `import-export`: what stands where in a library, and moving it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.confirming import asks_first, confirm
from tapeloom.cli.endings import begun, has_begun
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, put, put_json, put_section
from tapeloom.cli.tables import put_table
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.library import Element
    from tapeloom.ops.shelves import Shelved


@click.command()
@click.argument("name", metavar="[LIBRARY]", required=False)
@click.option("--scan", is_flag=True, help="First the library looks at all its slots again: that may take minutes.")
@click.option("--empty", is_flag=True, help="Show empty slots, too.")
@as_json("the elements, as a list")
@click.pass_obj
def inventory(file: Path, name: str | None, scan: bool, empty: bool, json_wanted: bool) -> None:
    """Show what stands where in a library, and what the catalog knows of it."""
    from tapeloom import kept
    from tapeloom.ops.shelves import shelved

    found = shelved(kept.config(file), name, scan=scan)
    if json_wanted:
        put_json([one.as_json() for one in found])
        return
    _put(found, empty)


@click.command()
@click.argument("name", metavar="VOLUME")
@click.option("--drive", metavar="DRIVE", help="Into this one; without it: into one that is free.")
@click.pass_obj
def mount(file: Path, name: str, drive: str | None) -> None:
    """Bring a volume, or a cartridge by its barcode, from its slot into a drive of its library, where it stays.

    Its label is not looked at: `load` does that.
    """
    from tapeloom import kept
    from tapeloom.ops.shelves import mount as bring

    cartridge, into, library = bring(kept.config(file), name, drive, away=put)
    put(f"{cartridge} is in drive {into} of library {library}")


@click.command()
@click.argument("drive", metavar="DRIVE")
@click.pass_obj
def unmount(file: Path, drive: str) -> None:
    """Bring what is in a drive back to its slot."""
    from tapeloom import kept
    from tapeloom.ops.shelves import unmount as take_away

    cartridge = take_away(kept.config(file), drive)
    put(f"drive {drive} was empty" if cartridge is None else f"{cartridge} went from drive {drive} to its slot")


@click.command("import-export")
@click.argument("names", metavar="[VOLUME]...", nargs=-1)
@click.option("--library", metavar="LIBRARY", help="Of which one; without it: the only one.")
@click.option("--in", "inwards", is_flag=True, help="What is in the import/export slots goes to slots of the library.")
@click.option("--out", "outwards", is_flag=True, help="The volumes, or cartridges, go to the import/export slots.")
@click.option("--put", "blank", metavar="BARCODE", multiple=True, help="First: a new blank cartridge (vlib: alone).")
@asks_first
@as_json("the import/export slots afterwards, as a list")
@click.pass_obj
def import_export(
    file: Path,
    names: tuple[str, ...],
    library: str | None,
    inwards: bool,
    outwards: bool,
    blank: tuple[str, ...],
    yes: bool,
    json_wanted: bool,
) -> None:
    """Show the import/export slots of a library, or bring cartridges in or out through them."""
    from tapeloom import kept
    from tapeloom.library import Kind
    from tapeloom.ops import shelves
    from tapeloom.ops.libraries import library_named

    if inwards and outwards:
        raise UsageError("--in and --out go in opposite directions: give one of them")
    if outwards and not names:
        raise UsageError("--out needs volumes, or barcodes; the verb `inventory` lists them")
    if names and not outwards:
        raise UsageError(f"what is to become of {', '.join(names)}? --out brings them to the import/export slots")
    config = kept.config(file)
    opened = library_named(config, library)
    if outwards:
        barcodes = dict.fromkeys(shelves.cartridge_of(config, name)[0] for name in names)
        confirm(f"Bring {', '.join(barcodes)} out of library {opened.name}?", yes)

    def moved(origin: Element, target: Element) -> None:
        begun()
        if not json_wanted:
            put(f"{origin.barcode or 'a cartridge'}: {origin.shown} -> {target.shown}")

    if blank:
        shelves.put_blank(opened, blank)
        begun()
    if inwards:
        shelves.take_in(opened, moved)
        if not has_begun() and not json_wanted:
            put(f"Nothing is in the import/export slots of library {opened.name}.")
    if outwards:
        shelves.take_out(config, opened, names, moved)
    found = [one for one in shelves.shelved(config, opened.name) if one.element.kind is Kind.IMPORT_EXPORT]
    if json_wanted:
        put_json([one.as_json() for one in found])
    elif not (inwards or outwards):
        _put(found, empty=True)


globals()["import-export"] = import_export


def _put(found: Sequence[Shelved], empty: bool) -> None:
    several = len({one.library for one in found}) > 1
    rows = [
        (
            *((one.library,) if several else ()),
            one.shown,
            _content(one),
            one.volume.label if one.volume else "-",
            one.volume.state.value if one.volume else "-",
            (one.volume.pool or "-") if one.volume else "-",
        )
        for one in found
        if one.element.full or empty or one.element.kind == "bay"
    ]
    put_table((*(("library",) if several else ()), "element", "cartridge", "volume", "status", "pool"), rows)
    hidden = len(found) - len(rows)
    if hidden:
        put()
        put(f"{counted(hidden, 'empty slot')}; {called('inventory', '--empty')} shows them, too")
    put_section(
        "Exceptions", [f"{one.shown}: {one.element.exception}" for one in found if one.element.exception is not None]
    )


def _content(one: Shelved) -> str:
    if not one.element.full:
        return "-"
    return one.element.barcode or "(no barcode)"
