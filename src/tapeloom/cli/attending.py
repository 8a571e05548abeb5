"""A verb that runs jobs: it waits for what others hold, and ends in order when it is told to."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tapeloom.cli.screen import say
from tapeloom.errors import HeldError

if TYPE_CHECKING:
    from types import FrameType

    from tapeloom.runtime import Job
    from tapeloom.volume.waiting import Waiting

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

POLL_SECONDS = 0.5
"""How often one who waits for a holder looks again: it may be any process, so nobody could wake it."""


def may_wait(verb: F) -> F:
    """--wait: for `enter_when_free`."""
    return click.option(
        "--wait",
        "wait_seconds",
        metavar="SECONDS",
        type=click.FloatRange(min=0),
        default=0.0,
        help="Wait so long for a drive or a state folder that another process holds.",
    )(verb)


def may_not_wait(verb: F) -> F:
    """--no-wait."""
    return click.option(
        "--no-wait", is_flag=True, help="Do not wait for a cartridge that somebody has to put in: status 3."
    )(verb)


def waiting_told(no_wait: bool) -> Waiting:
    """How a verb waits that runs no job: what it waits for is said in a line."""
    from tapeloom.volume.waiting import Waiting

    def told(sentence: str | None) -> None:
        if sentence is not None:
            say(f"Waiting: {sentence}")

    return Waiting(patient=not no_wait, told=told)


def enter_when_free(stack: ExitStack, opening: Callable[[], AbstractContextManager[T]], wait_seconds: float) -> T:
    """Enters what `opening` gives, and tries again and again while another process holds something of it. HeldError:
    still after so long."""
    deadline = time.monotonic() + wait_seconds
    told = ""
    while True:
        try:
            return stack.enter_context(opening())
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
def signals(job: Job, tell: Callable[[str], None]) -> Iterator[Callable[[], None]]:
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
                job.stop(Stop.IN_ORDER)
            case 2:
                job.stop(Stop.NOW)
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
