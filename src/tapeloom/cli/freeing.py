"""`retire`, `scratch`: volumes go out of use."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tapeloom.cli.confirming import asks_first, confirm
from tapeloom.cli.options import as_json
from tapeloom.cli.screen import counted, put, put_json, say
from tapeloom.errors import UsageError

if TYPE_CHECKING:
    from tapeloom.catalog import Volume
    from tapeloom.ops.freeing import Freeing
    from tapeloom.ops.protecting import Verdict

WHY_MAX = 10
"""Protected objects of one volume that --dry-run shows."""


@click.command()
@click.argument("volumes", metavar="VOLUME...", nargs=-1)
@click.option("--reason", metavar="TEXT", required=True, help="Why; `volumes` shows it.")
@asks_first
@as_json("the volumes, as a list")
@click.pass_obj
def retire(file: Path, volumes: tuple[str, ...], reason: str, yes: bool, json_wanted: bool) -> None:
    """Take VOLUMEs out of use: no job goes on with them. What they hold is still read."""
    from tapeloom import kept
    from tapeloom.ops.freeing import open_retiring_volumes

    if not volumes:
        raise UsageError("retire needs the labels of volumes; the verb `volumes` lists them")
    with open_retiring_volumes(kept.config(file), volumes) as retiring:
        confirm(f"Retire {', '.join(volume.label for volume in retiring.volumes)}?", yes)
        done = retiring.run(_reason(reason))
    _put(done, json_wanted)


@click.command()
@click.argument("volumes", metavar="[VOLUME]...", nargs=-1)
@click.option("--expired", is_flag=True, help="Every volume of which nothing is protected any more.")
@click.option("--reason", metavar="TEXT", help="Why; `volumes` shows it.")
@click.option("--any-pool", is_flag=True, help="Jobs of any pool may write them, not those of their own alone.")
@click.option("--dry-run", is_flag=True, help="Only say which volumes are free, and why the others are not.")
@asks_first
@as_json("the volumes, as a list; with --dry-run what protects each")
@click.pass_obj
def scratch(
    file: Path,
    volumes: tuple[str, ...],
    expired: bool,
    reason: str | None,
    any_pool: bool,
    dry_run: bool,
    yes: bool,
    json_wanted: bool,
) -> int:
    """Let jobs write VOLUMEs from their beginning again: what is on them does not count any more.

    That is refused while anything on one is protected: by the retention of its pool, as the last good full or the
    newest good state of its source, or since something that is kept builds on it.
    """
    from tapeloom import kept
    from tapeloom.ops.freeing import open_expired, open_freeing

    if expired == bool(volumes):
        raise UsageError("scratch needs the labels of volumes, or --expired, and not both")
    if volumes and reason is None and not dry_run:
        raise UsageError("--reason is missing: say why these volumes are not wanted any more")
    config = kept.config(file)
    opening: AbstractContextManager[Freeing] = (
        open_expired(config, any_pool=any_pool)
        if expired
        else open_freeing(config, volumes, any_pool=any_pool, refuse=not dry_run)
    )
    with opening as freeing:
        if dry_run:
            _put_verdicts(freeing.verdicts, json_wanted)
            return 0
        if not freeing.free:
            say("No volume is free; --dry-run says why.")
            _put([], json_wanted)
            return 0
        lost = {item.id for verdict in freeing.free for item, _ in verdict.copies if not item.is_index}
        labels = ", ".join(verdict.volume.label for verdict in freeing.free)
        confirm(f"Make {labels} scratch, with copies of {counted(len(lost), 'object')}? That is not taken back.", yes)
        done = freeing.run("its retention is over" if reason is None else _reason(reason))
    _put(done, json_wanted)
    return 0


def _reason(text: str) -> str:
    if not text.strip():
        raise UsageError("--reason is empty: say why")
    return text.strip()


def _put(volumes: list[Volume], json_wanted: bool) -> None:
    if json_wanted:
        put_json([one.as_json() for one in volumes])
        return
    for one in volumes:
        put(f"{one.label}: {one.state}, {one.reason}")


def _put_verdicts(found: Sequence[Verdict], json_wanted: bool) -> None:
    if json_wanted:
        put_json(
            [
                one.volume.as_json()
                | {
                    "free": one.free,
                    "protected": [{"object": str(each.object.id), "why": each.why} for each in one.protected],
                }
                for one in found
            ]
        )
        return
    for one in found:
        put(f"{one.volume.label}: {'free' if one.free else 'protected'}")
        for each in one.protected[:WHY_MAX]:
            put(f"  {each}")
        if len(one.protected) > WHY_MAX:
            put(f"  and {len(one.protected) - WHY_MAX} more")
