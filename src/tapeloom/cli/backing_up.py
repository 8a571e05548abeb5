"""`backup`: runs a job, and ends it in order when it is told to."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from tapeloom.cli.options import as_json
from tapeloom.cli.screen import say
from tapeloom.errors import HeldError

if TYPE_CHECKING:
    from types import FrameType

    from tapeloom.config import Config
    from tapeloom.ops.backup import Backup

POLL_SECONDS = 0.5
"""How often one who waits for a holder looks again: it may be any process, so nobody could wake it."""


@click.command()
@click.argument("groups", metavar="[GROUP]...", nargs=-1)
@click.option(
    "--level",
    type=click.Choice(["full", "incremental", "differential"]),
    help="What the objects of files are to be, instead of what their groups say. A source's first is always full.",
)
@click.option(
    "--wait",
    "wait_seconds",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Wait so long for a drive or a state folder that another process holds.",
)
@as_json("the job and its objects")
@click.pass_obj
def backup(file: Path, groups: tuple[str, ...], level: str | None, wait_seconds: float, json_wanted: bool) -> int:
    """Run backup groups and the mirrors that they feed.

    Without GROUP: all backup groups, in one job. Ctrl-C or SIGTERM ends the job in order (what is buffered is written,
    with filemark and receipts), a second one at once.
    """
    from tapeloom import kept
    from tapeloom.cli.outcome import put_outcome, put_outcome_json
    from tapeloom.cli.progress import watch

    config = kept.config(file)
    attachable: SimpleQueue[str] = SimpleQueue()
    with ExitStack() as stack:
        running = _open(stack, config, list(groups) or None, level, wait_seconds, attachable.put)
        with watch(running) as progress, _signals(running, progress.say) as look:

            def tick() -> None:
                look()
                while not attachable.empty():
                    progress.say(f"{attachable.get()} waits for its program")
                progress.tick()

            result = running.run(tick)
    (put_outcome_json if json_wanted else put_outcome)(config, result)
    return result.exit_status


def _open(
    stack: ExitStack,
    config: Config,
    groups: Sequence[str] | None,
    level: str | None,
    wait_seconds: float,
    on_waiting: Callable[[str], None],
) -> Backup:
    """Opens the backup, and again and again while another process holds something of it."""
    from tapeloom.ops.backup import open_backup
    from tapeloom.volume.header import Level

    wanted = None if level is None else Level[level.upper()]
    deadline = time.monotonic() + wait_seconds
    told = ""
    while True:
        try:
            return stack.enter_context(open_backup(config, groups, on_waiting=on_waiting, level=wanted))
        except HeldError as held:
            left = deadline - time.monotonic()
            if left <= 0:
                hint = f"also after {wait_seconds:g} s" if wait_seconds else "--wait SECONDS waits for it"
                raise HeldError(f"{held}; {hint}") from None
            if str(held) != told:
                told = str(held)
                say(f"Waiting up to {left:.0f} s: {told}")
            time.sleep(min(POLL_SECONDS, left))


@contextmanager
def _signals(running: Backup, tell: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM: the first ends the job in order, the second at once, the third does not wait for its threads.

    Gives what says so, to be called at each tick: a signal's handler may come in the middle of any other output.
    """
    from tapeloom._kernel import Stop

    heard: list[str] = []

    def handle(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        heard.append(name)
        match len(heard):
            case 1:
                running.job.stop(Stop.IN_ORDER)
            case 2:
                running.job.stop(Stop.NOW)
            case _:
                raise KeyboardInterrupt

    told = 0

    def look() -> None:
        nonlocal told
        while told < len(heard):
            name, told = heard[told], told + 1
            if told == 1:
                tell(f"{name}: the job ends in order; what is buffered is written. Once more ends it at once.")
            elif told == 2:
                tell(f"{name} again: the job ends at once; what has a receipt is safe.")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield look
        look()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
