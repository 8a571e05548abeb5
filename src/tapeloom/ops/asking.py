"""Drives that are asked something, each in a thread of its own and with a limit: one that hangs holds up nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from tapeloom.errors import DriveHangs

if TYPE_CHECKING:
    from tapeloom.config import Drive
    from tapeloom.device.aside import Aside

T = TypeVar("T")

LIMIT_SECONDS = 90.0
"""Longer than a healthy drive takes to be opened and to tell of itself. A SCSI command has 60 s (`device.st`); the rest
is for the kernel, which then aborts it and resets what it hangs on."""
_END_SECONDS = 2.0
"""How long what was killed may take to be gone."""


class Asked(Generic[T]):
    """A question that a drive is being asked, from construction on.

    `question` gets what it has to give to `open_drive` as `on_aside`.
    """

    def __init__(self, drive: Drive, question: Callable[[Callable[[Aside], None]], T]):
        self._drive = drive
        self._question = question
        self._began = time.monotonic()
        self._aside: Aside | None = None
        self._answers: list[T] = []
        self._error: BaseException | None = None
        self._ended = threading.Event()
        # a daemon: what hangs in this process, and not in one of its own, must not hold up its end
        threading.Thread(target=self._ask, name=f"ask {drive.name}", daemon=True).start()

    def answer(self) -> T:
        """What came of it within `LIMIT_SECONDS` of its beginning. Raises what it raised; DriveHangs: nothing came. A
        process that hangs was killed then."""
        if not self._ended.wait(self._began + LIMIT_SECONDS - time.monotonic()):
            raise DriveHangs(self._give_up())
        if self._error is not None:
            raise self._error
        return self._answers[0]

    def _ask(self) -> None:
        try:
            self._answers.append(self._question(self._opens))
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()

    def _opens(self, aside: Aside) -> None:
        self._aside = aside

    def _give_up(self) -> str:
        """The sentence."""
        aside, drive = self._aside, self._drive
        seconds = time.monotonic() - self._began
        if aside is None:
            return (
                f"drive {drive.name} ({drive.device}) hangs: it has not come back for {seconds:.0f} s; look at the "
                "disk or the file server that its folder is on"
            )
        aside.abandon()
        aside.gone(_END_SECONDS)
        self._ended.wait(_END_SECONDS)
        what = aside.ended or f"drive {drive.name} has not come back for {seconds:.0f} s"  # it was being left just then
        return f"{what}; switch the drive off and on, and look at its cable and at the kernel's log"
