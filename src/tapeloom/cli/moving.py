"""`compact`, `refresh`, `migrate`: what volumes hold goes to another drive, and they go out of use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tapeloom.cli.attending import enter_when_free, may_not_wait, may_wait
from tapeloom.cli.copying import dry_run, watching
from tapeloom.cli.options import as_json, one_target

if TYPE_CHECKING:
    from tapeloom.ops.moving import Verb

_volumes = click.argument("volumes", metavar="VOLUME...", nargs=-1, required=True)


def _how(verb: Callable[..., int]) -> Callable[..., int]:
    """The options of all moves: what `_move` takes."""
    fewer = click.option(
        "--fewer-copies", is_flag=True, help="Also where several copies of an object come together in one."
    )
    to = one_target("Where all goes to, on volumes of this drive.")
    return to(fewer(dry_run(may_not_wait(may_wait(as_json("the plan or the outcome")(verb))))))


@click.command()
@_volumes
@_how
@click.pass_obj
def compact(file: Path, /, volumes: tuple[str, ...], **how: Any) -> int:
    """Carry what is still wanted on VOLUMEs to another drive.

    Left behind are copies that were retired, and objects whose source broke off once there is a later whole one. When
    all the rest has its receipts, the volumes are scratch.
    """
    from tapeloom.ops.moving import Verb

    return _move(file, Verb.COMPACT, volumes, **how)


@click.command()
@_volumes
@_how
@click.pass_obj
def refresh(file: Path, /, volumes: tuple[str, ...], **how: Any) -> int:
    """Carry everything on VOLUMEs to another drive; blocks that cannot be read come from other copies.

    A volume is retired when all of it has its receipts; one that holds what nothing else gives is kept.
    """
    from tapeloom.ops.moving import Verb

    return _move(file, Verb.REFRESH, volumes, **how)


@click.command()
@click.option(
    "--from", "volumes", metavar="VOLUME|DRIVE", multiple=True, required=True, help="What to empty; may come again."
)
@_how
@click.pass_obj
def migrate(file: Path, /, volumes: tuple[str, ...], **how: Any) -> int:
    """Carry everything from volumes, or all volumes of a drive, to another drive, and retire the originals."""
    from tapeloom.ops.moving import Verb

    return _move(file, Verb.MIGRATE, volumes, **how)


def _move(
    file: Path,
    verb: Verb,
    volumes: tuple[str, ...],
    *,
    to: str,
    fewer_copies: bool,
    dry_run: bool,
    no_wait: bool,
    wait_seconds: float,
    json_wanted: bool,
) -> int:
    from tapeloom import kept
    from tapeloom.cli.copied import put_copy_plan, put_moved
    from tapeloom.ops.moving import open_moving

    config = kept.config(file)
    with ExitStack() as stack:
        moving = enter_when_free(
            stack, lambda: open_moving(config, verb, volumes, to, fewer_copies=fewer_copies), wait_seconds
        )
        if dry_run:
            return put_copy_plan(moving.plan(), json_wanted)
        result = moving.run(watching, patient=not no_wait)
    put_moved(result, json_wanted)
    return result.exit_status
