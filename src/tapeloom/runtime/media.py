"""One thread a media agent: the kernel's turns, and between them checkpoints and volumes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tapeloom import _kernel
from tapeloom._kernel import TurnReason
from tapeloom.errors import DeviceError, TapeloomError

if TYPE_CHECKING:
    from tapeloom.runtime.spool import Spool


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


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How an agent ended; `why` is a sentence where it was not COMPLETE."""

    agent: int
    ending: Ending
    why: str | None = None


COUNTS = ("blocks", "bytes", "calls", "runs", "short_runs", "sleeps", "sleep_ns", "device_ns")


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
        self._aside_since_ns = 0
        self._spool = spool
        self.detached_because: str | None = None
        """Set by whoever detaches this agent, before it does."""

    @property
    def in_call_since_ns(self) -> int:
        """Since when it has been with its drive and looked at nothing else: in a write of the kernel's, or in a mount,
        records, a filemark. 0: it is not."""
        return self._aside_since_ns or self.statistics().in_call_since_ns

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
        return _kernel.AgentStatistics(**sums, in_call_since_ns=since, detached=detached)

    def run(self) -> AgentResult:
        self._aside_since_ns = time.monotonic_ns()
        try:
            self._tape.begin()
            return self._write()
        except TapeloomError as error:
            return AgentResult(self._row, Ending.FAILED, str(error))
        finally:
            self._interleaver.let_go()
            if self._spool is not None:
                self._spool.stop()

    def _write(self) -> AgentResult:
        tape, spool, interleaver = self._tape, self._spool, self._interleaver
        left, deadline_ns = self._until_checkpoint()
        while True:
            self._aside_since_ns = 0
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

    @property
    def why_detached(self) -> str | None:
        lost = self._spool.lost if self._spool is not None else None
        return "; ".join(why for why in (self.detached_because, lost) if why) or None

    def _until_checkpoint(self) -> tuple[int, int]:
        """Bytes and the point of time at which the next checkpoint is due."""
        return self._checkpoint_bytes, time.monotonic_ns() + round(self._checkpoint_seconds * 1e9)
