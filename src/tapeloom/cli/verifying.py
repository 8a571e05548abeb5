"""`verify`: reads copies back and checks every block."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tapeloom.cli.endings import NOTHING
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, number, put, put_json, put_section, say, short_id
from tapeloom.cli.tables import put_table, volume_runs

if TYPE_CHECKING:
    from tapeloom.catalog import Copy, Object
    from tapeloom.ops.verify import VerifyResult

Progress = Callable[[int, int], None]


@click.command()
@click.argument("name", metavar="[OBJECT|SOURCE]", required=False)
@click.option("--volume", metavar="LABEL", help="Only copies on this volume, and there alone.")
@click.option("--copy", metavar="AGENT", help="Only copies that this media agent wrote.")
@as_json("what was checked")
@click.pass_obj
def verify(file: Path, name: str | None, volume: str | None, copy: str | None, json_wanted: bool) -> int:
    """Read copies back from tape and check every checksum.

    Without arguments: every complete copy. A copy known as incomplete is listed, and changes nothing.
    """
    from tapeloom.config import load
    from tapeloom.ops import verify as op

    config = load(file)
    with _bar() as progress:
        result = op.verify(config, name, volume=volume, copy=copy, on_progress=progress)
    if json_wanted:
        put_json(_as_json(result))
    else:
        _put(result)
    if not result.checked and not result.passed_over:
        say(f"tapeloom: nothing to verify: no object has such a copy; {called('objects')} lists them")
        return NOTHING
    return result.exit_status


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("blocks"), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _put(result: VerifyResult) -> None:
    if result.checked:
        put_table(
            ("object", "source", "copy", "drive", "blocks", "status", "volumes"),
            [
                (
                    short_id(one.object.id),
                    one.object.source,
                    one.copy.agent,
                    one.copy.drive,
                    number(one.blocks),
                    "damaged" if one.faults else "good",
                    volume_runs(one.copy.volumes),
                )
                for one in result.checked
            ],
            right=("blocks",),
        )
    put_section("Damaged", [str(fault) for fault in result.faults], more="--json lists them")
    put_section(
        "Not verified, since they are known as incomplete",
        [
            f"{short_id(item.id)} of {item.source}: copy of {copy.agent}, {copy.status}"
            for item, copy in result.passed_over
        ],
        more="--json lists them",
    )
    if not result.checked:
        return
    put()
    copies = counted(len(result.checked), "copy", "copies")
    blocks = counted(sum(one.blocks for one in result.checked), "block")
    bad = f"{counted(len(result.faults), 'fault')}" if result.faults else "every checksum is right"
    put(f"{copies}, {blocks} read: {bad}.")


def _as_json(result: VerifyResult) -> dict[str, Any]:
    return {
        "checked": [
            {
                **_which(one.object, one.copy),
                "blocks": one.blocks,
                "status": "damaged" if one.faults else "good",
                "faults": [
                    {
                        "copy": fault.copy,
                        "volume": fault.label,
                        "position": fault.position,
                        "seq": fault.seq,
                        "what": fault.what,
                    }
                    for fault in one.faults
                ],
            }
            for one in result.checked
        ],
        "passed_over": [_which(item, copy) for item, copy in result.passed_over],
    }


def _which(item: Object, copy: Copy) -> dict[str, Any]:
    return {"object": str(item.id), "source": item.source, **copy.as_json()}
