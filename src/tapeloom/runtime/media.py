"""One thread a media agent: the kernel's turns, and between them checkpoints and volumes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np

from tapeloom import _kernel
from tapeloom._kernel import TurnReason
from tapeloom.errors import DeviceError, TapeloomError


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

    def finish(self) -> None:
        """The last checkpoint and the job's end."""

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


class MediaAgent:
    """Drives one agent of the schedule. `run` is a thread's body and raises nothing but bugs."""

    def __init__(
        self, arena: _kernel.Arena, row: int, tape: Tape, *, checkpoint_bytes: int, checkpoint_seconds: float
    ):
        self._arena = arena
        self._row = row
        self._tape = tape
        self._interleaver = _kernel.Interleaver(arena, row)
        self._checkpoint_bytes = checkpoint_bytes
        self._checkpoint_seconds = checkpoint_seconds
        self._aside_since_ns = 0
        self.detached_because: str | None = None
        """Set by whoever detaches this agent, before it does."""

    @property
    def in_call_since_ns(self) -> int:
        """Since when it has been with its drive without a look at anything else: a write of the kernel's, or a mount, records,
        a filemark. 0: it is not."""
        return self._aside_since_ns or self._arena.agent_statistics(self._row).in_call_since_ns

    def run(self) -> AgentResult:
        self._aside_since_ns = time.monotonic_ns()
        try:
            self._tape.begin()
            return self._write()
        except TapeloomError as error:
            return AgentResult(self._row, Ending.FAILED, str(error))

    def _write(self) -> AgentResult:
        tape = self._tape
        left, deadline_ns = self._until_checkpoint()
        while True:
            self._aside_since_ns = 0
            turn = self._interleaver.turn(
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
                case TurnReason.ENDED:
                    tape.finish()
                    return AgentResult(self._row, Ending.COMPLETE)
                case TurnReason.DETACHED:
                    tape.finish()
                    return AgentResult(self._row, Ending.DETACHED, self.detached_because)
                case TurnReason.STOPPED:
                    return AgentResult(self._row, Ending.STOPPED, "the job was stopped at once")
                case TurnReason.FAILED:
                    raise tape.failure(turn.status)

    def _until_checkpoint(self) -> tuple[int, int]:
        """Bytes and the point of time at which the next checkpoint is due."""
        return self._checkpoint_bytes, time.monotonic_ns() + round(self._checkpoint_seconds * 1e9)
