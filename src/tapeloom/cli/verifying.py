"""`verify`: reads copies back and checks every block, or compares an object with the files now."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tapeloom.cli.attending import may_not_wait, waiting_told
from tapeloom.cli.blockbar import bar
from tapeloom.cli.endings import NOTHING
from tapeloom.cli.options import as_json, called
from tapeloom.cli.screen import counted, number, put, put_json, put_section, say, short_id
from tapeloom.cli.tables import put_table, volume_runs

if TYPE_CHECKING:
    from tapeloom.catalog import Copy, Object
    from tapeloom.ops.verify import VerifyResult
    from tapeloom.runtime.segments import Fault


@click.command()
@click.argument("name", metavar="[OBJECT|SOURCE]", required=False)
@click.option("--volume", metavar="LABEL", help="Only copies on this volume, and there alone.")
@click.option("--copy", metavar="AGENT", help="Only copies that this media agent wrote.")
@click.option(
    "--against-source", is_flag=True, help="Compare one object with the files of its source, as they are now."
)
@may_not_wait
@as_json("what was checked")
@click.pass_obj
def verify(
    file: Path,
    name: str | None,
    volume: str | None,
    copy: str | None,
    against_source: bool,
    no_wait: bool,
    json_wanted: bool,
) -> int:
    """Read copies back from tape and check every checksum.

    Without arguments: every complete copy. A copy known as incomplete is listed, and changes nothing. What is found is
    kept in the catalog: a damaged copy is not relied on any more, until it is found good again.

    With --against-source the content is compared with the files, byte by byte, and so is what a restore would set on
    them. Files that differ though nothing has touched them since are told apart from those that were changed.
    """
    if against_source:
        from tapeloom.cli.comparing import compare

        return compare(file, name, volume, copy, no_wait, json_wanted)
    from tapeloom import kept
    from tapeloom.ops import verify as op

    config = kept.config(file)
    with bar() as progress:
        result = op.verify(config, name, volume=volume, copy=copy, on_progress=progress, waiting=waiting_told(no_wait))
    if json_wanted:
        put_json(_as_json(result))
    else:
        _put(result)
    if not result.checked and not result.passed_over:
        say(f"tapeloom: nothing to verify: no object has such a copy; {called('objects')} lists them")
        return NOTHING
    return result.exit_status


def _put(result: VerifyResult) -> None:
    if result.checked:
        put_table(
            ("object", "source", "copy", "drive", "blocks", "status", "volumes"),
            [
                (
                    short_id(one.object.id),
                    one.object.shown,
                    one.copy.agent,
                    one.copy.drive,
                    number(one.blocks) if not one.faults else f"{number(one.blocks_good)}/{number(one.blocks)}",
                    one.status,
                    volume_runs(one.copy.volumes),
                )
                for one in result.checked
            ],
            right=("blocks",),
        )
    harmed = [fault for fault in result.faults if fault.harm]
    unread = [fault for fault in result.faults if not fault.harm]
    put_section("Damaged", [str(fault) for fault in harmed], more="--json lists them")
    reasons = _by_reason(unread)
    put_section("Not read, which says nothing of what is on tape", reasons, more="--json lists them")
    put_section(
        "Not verified, since they are known as incomplete",
        [
            f"{short_id(item.id)} of {item.shown}: copy of {copy.agent}, {copy.status}"
            for item, copy in result.passed_over
        ],
        more="--json lists them",
    )
    if not result.checked:
        return
    put_section(
        "Not damaged any more",
        [
            f"{short_id(one.object.id)} of {one.object.shown}: copy of {one.copy.agent}, now {status}"
            for one, status in result.cleared
        ],
        more="--json lists them",
    )
    if result.unrecorded is not None:
        say(f"The catalog does not know what was found: {result.unrecorded}; verify again")
    put()
    copies = counted(len(result.checked), "copy", "copies")
    blocks = counted(sum(one.blocks for one in result.checked), "block")
    if not result.faults:
        put(f"{copies}, {blocks} read: every checksum is right.")
    else:
        good = number(sum(one.blocks_good for one in result.checked))
        found = [
            *([counted(len(harmed), "fault")] if harmed else []),
            *([f"{number(sum(one.where.blocks for one in unread))} not read"] if unread else []),
        ]
        put(f"{copies}, {good} of {blocks} read and right: {', '.join(found)}.")


def _by_reason(faults: Sequence[Fault]) -> list[str]:
    """A volume that is not there, or a drive that is dead, is one thing to be told, however many copies it is in."""
    reasons: dict[str, list[Fault]] = {}
    for fault in faults:
        reasons.setdefault(fault.what, []).append(fault)
    return [str(same[0]) if len(same) == 1 else f"{_stretches(same)} {what}" for what, same in reasons.items()]


def _stretches(faults: Sequence[Fault]) -> str:
    blocks = counted(sum(fault.where.blocks for fault in faults), "block")
    return f"{blocks} in {counted(len(faults), 'stretch', 'stretches')}"


def _as_json(result: VerifyResult) -> dict[str, Any]:
    return {
        "checked": [
            {
                **_which(one.object, one.copy),
                "blocks": one.blocks,
                "blocks_good": one.blocks_good,
                "status": one.status,
                "faults": [
                    {
                        "copy": fault.copy,
                        "volume": fault.label,
                        "position": fault.position,
                        "seq": fault.seq,
                        "blocks": fault.where.blocks,
                        "what": fault.what,
                        "harm": fault.harm,
                    }
                    for fault in one.faults
                ],
            }
            for one in result.checked
        ],
        "passed_over": [_which(item, copy) for item, copy in result.passed_over],
        "cleared": [{**_which(one.object, one.copy), "now": status.value} for one, status in result.cleared],
        "unrecorded": result.unrecorded,
        "wanted": result.wanted,
    }


def _which(item: Object, copy: Copy) -> dict[str, Any]:
    return {"object": str(item.id), "source": item.source, "index": item.is_index, **copy.as_json()}
