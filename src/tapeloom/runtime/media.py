"""One thread a media agent: the kernel's turns, and between them checkpoints and volumes."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np
from msgspec import Struct

from tapeloom import _kernel
from tapeloom._kernel import TurnReason
from tapeloom.errors import DeviceError, TapeloomError

if TYPE_CHECKING:
    from tapeloom.runtime.spool import Spool
    from tapeloom.volume.waiting import Waiting


class Tape(Protocol):
    """An agent's tape for one job: the volume that is mounted, and the ones after it. Used by the agent's thread only.

    `wrote` is told of every run that the kernel wrote since the call before; the receipts come at the next filemark.
    """

    @property
    def ops_address(self) -> int: ...

    @property
    def handle_address(self) -> int: ...

    @property
    def position(self) -> int:
        """Of the next block."""

    @property
    def waiting(self) -> Waiting | None:
        """Where it may wait for a cartridge; may be looked at, and stopped, by any thread."""

    def begin(self) -> None:
        """Mounts, looks at the label and at the end of data, and says on tape which job begins."""

    def wrote(self, runs: np.ndarray, position: int) -> None: ...

    def checkpoint(self) -> None:
        """Checkpoint record, filemark, receipts."""

    def next_volume(self) -> None:
        """Ends this volume with its receipts and goes on with the next one."""

    def finish(self, *, whole: bool) -> None:
        """The last checkpoint and the job's end. `whole`: this agent has written everything that was meant for it."""

    def failure(self, status: int) -> DeviceError:
        """What a status of the kernel's device call means, in words."""


class Ending(StrEnum):
    COMPLETE = "complete"
    DETACHED = "detached"
    FAILED = "failed"
    STOPPED = "stopped"
    HUNG = "hung"


class AgentResult(Struct, frozen=True):
    """How an agent ended; `why` is a sentence where it was not COMPLETE."""

    agent: int
    ending: Ending
    why: str | None = None


COUNTS = ("blocks", "bytes", "calls", "runs", "short_runs", "sleeps", "sleep_ns", "device_ns", "starvations")


class MediaAgent:
    """Drives one agent of the schedule. `run` is a thread's body and raises nothing but bugs."""

    def __init__(
        self,
        arena: _kernel.Arena,
        row: int,
        tape: Tape,
        *,
        checkpoint_bytes: int,
        checkpoint_seconds: float,
        spool: Spool | None = None,
    ):
        self._arena = arena
        self._row = row
        self._tape = tape
        self._interleaver = _kernel.Interleaver(arena, row)
        self._checkpoint_bytes = checkpoint_bytes
        self._checkpoint_seconds = checkpoint_seconds
        self._begun_ns = self._ended_ns = 0
        self._aside_since_ns = self._aside_ns = 0
        self._spool = spool
        self.mounting = False
        """It is being given a volume: many calls of a drive and of a changer, which take minutes where nothing is
        wrong, and perhaps somebody's hand."""
        self.detached_because: str | None = None
        """Set by whoever detaches this agent, before it does."""

    @property
    def in_call_since_ns(self) -> int:
        """Since when it has been with its drive and looked at nothing else: in a write of the kernel's, or in a mount,
        records, a filemark. 0: it is not."""
        return self._aside_since_ns or self.statistics().in_call_since_ns

    @property
    def waiting_for(self) -> str | None:
        """A sentence, while it waits for a cartridge."""
        waiting = self._tape.waiting
        return None if waiting is None else waiting.for_what

    def stop_waiting(self) -> None:
        """It is detached, or the job is to end: no cartridge is waited for any more."""
        if self._tape.waiting is not None:
            self._tape.waiting.stop()

    def statistics(self) -> _kernel.AgentStatistics:
        """What it did, from the job's streams and from its spool. `detached`: something will never reach it."""
        live = self._arena.agent_statistics(self._row)
        if self._spool is None or not self._spool.took_over:
            return live
        spooled = self._spool.owner_statistics()
        sums = {name: getattr(live, name) + getattr(spooled, name) for name in COUNTS}
        detached = spooled.detached or self._spool.lost is not None
        # In one call at a time: the sum is the one that is not 0.
        since = live.in_call_since_ns + spooled.in_call_since_ns
        starving = spooled.starving_since_ns
        return _kernel.AgentStatistics(**sums, in_call_since_ns=since, starving_since_ns=starving, detached=detached)

    def lacks(self) -> list[tuple[int, int | None]]:
        """What it waits for while it sleeps: see `_kernel.Arena.lacks`."""
        if self._spool is None or not self._spool.took_over:
            return self._arena.lacks(self._row)
        return self._arena.lacks(self._spool.row) if self._spool.arena.lacks(0) else []

    @property
    def seconds(self) -> tuple[float, float]:
        """How long it has been at writing, and how much of that outside of the kernel's turns: with records, filemarks,
        changes of volume."""
        until = self._ended_ns or time.monotonic_ns()
        return (until - self._begun_ns) / 1e9 if self._begun_ns else 0.0, self._aside_ns / 1e9

    def run(self) -> AgentResult:
        self._aside_since_ns, self.mounting = time.monotonic_ns(), True
        try:
            self._tape.begin()
            return self._write()
        except TapeloomError as error:
            why = "; ".join(part for part in (self.why_detached, str(error)) if part)
            return AgentResult(self._row, Ending.FAILED, why)
        finally:
            self._ended_ns = self._turn_begins()
            self._interleaver.let_go()
            if self._spool is not None:
                self._spool.stop()

    def _write(self) -> AgentResult:
        tape, spool, interleaver = self._tape, self._spool, self._interleaver
        left, deadline_ns = self._until_checkpoint()
        self._begun_ns, self._aside_ns = self._turn_begins(), 0
        while True:
            self._turn_begins()
            turn = interleaver.turn(
                tape.ops_address,
                tape.handle_address,
                position=tape.position,
                bytes_max=left,
                deadline_ns=deadline_ns,
            )
            self._aside_since_ns = time.monotonic_ns()
            tape.wrote(turn.runs, turn.position)
            left -= turn.bytes
            match turn.reason:
                case TurnReason.CHECKPOINT:
                    tape.checkpoint()
                    left, deadline_ns = self._until_checkpoint()
                case TurnReason.EARLY_WARNING | TurnReason.END_OF_MEDIUM:
                    self.mounting = True
                    tape.next_volume()
                    left, deadline_ns = self._until_checkpoint()
                case TurnReason.DETACHED if spool and spool.took_over and interleaver is self._interleaver:
                    interleaver = spool.interleaver
                case TurnReason.ENDED if spool is None or spool.lost is None:
                    tape.finish(whole=True)
                    return AgentResult(self._row, Ending.COMPLETE)
                case TurnReason.ENDED | TurnReason.DETACHED:
                    tape.finish(whole=False)
                    return AgentResult(self._row, Ending.DETACHED, self.why_detached)
                case TurnReason.STOPPED:
                    return AgentResult(self._row, Ending.STOPPED, "the job was stopped at once")
                case TurnReason.FAILED:
                    raise tape.failure(turn.status)

    def _turn_begins(self) -> int:
        """And what was aside ends: at the time that this gives."""
        now = time.monotonic_ns()
        self._aside_ns += now - self._aside_since_ns if self._aside_since_ns else 0
        self._aside_since_ns, self.mounting = 0, False
        return now

    @property
    def why_detached(self) -> str | None:
        lost = self._spool.lost if self._spool is not None else None
        return "; ".join(why for why in (self.detached_because, lost) if why) or None

    def _until_checkpoint(self) -> tuple[int, int]:
        """Bytes and the point of time at which the next checkpoint is due."""
        return self._checkpoint_bytes, time.monotonic_ns() + round(self._checkpoint_seconds * 1e9)
