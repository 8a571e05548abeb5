"""A restore media agent in a job: volumes read in passes, and their blocks handed to the streams of their objects.

A block is read into a slot and stays there: the slot is what the writers write. One that cannot be read, or is not what
it should be, is left out and named; what misses it is not complete, and gets it from elsewhere later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from uuid import UUID

import numpy as np
from msgspec import Struct, field

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, Verdict
from tapeloom.errors import DeviceError, Stopped, TapeloomError, VolumeWanted
from tapeloom.runtime.media import Ending
from tapeloom.runtime.reading import Mounts, Place, harm_of
from tapeloom.runtime.segments import VERDICT_HARMS, VERDICT_WORDS, Fault, Segment
from tapeloom.volume import runs as run_tables
from tapeloom.volume.harm import Harm
from tapeloom.volume.runs import BLOCKS, OBJECT, POSITION, SEQ, Runs

FAULTS_AT_ONCE = 256
FAILURES_IN_A_ROW_MAX = 64
"""So many blocks, one behind the other, that a drive cannot read: it is the drive, or the rest of the tape."""


class Want(Struct, frozen=True):
    """An object that is read: which stream it goes to, its number in the job, and which copy it is read from, by its
    agent's name and its number in the catalog."""

    object: UUID
    stream: int
    number: int
    copy: str
    copy_id: int


class Pass(Struct, frozen=True):
    """What is read of one volume, in one go. `runs` in order of position; their first column indexes the wants: its own
    where it has some, in another pass of which an object goes to another stream, else those of all passes."""

    volume: UUID
    label: str
    runs: Runs
    wants: Sequence[Want] | None = None


class Reads(Struct, frozen=True):
    """Everything that one restore media agent is to read in one job. Passes may be made when their turn has come, by
    the agent's thread."""

    wants: Sequence[Want]
    passes: Iterable[Pass]
    mounts: Mounts


class Left(Struct, frozen=True):
    """Blocks of an object that could not be given, and why."""

    object: UUID
    fault: Fault


class ReadResult(Struct):
    """How a restore media agent ended; `why` is a sentence where it was not COMPLETE."""

    agent: int
    ending: Ending = Ending.COMPLETE
    why: str | None = None
    left: list[Left] = field(default_factory=list)
    blocks: int = 0
    """That were handed on."""
    bytes: int = 0
    """Of the blocks that were wanted, good or not."""
    locates: int = 0
    read_through: int = 0
    """Blocks and filemarks that were read only because they lay in the way."""

    def failed(self, why: str) -> None:
        if self.ending is Ending.COMPLETE:
            self.ending, self.why = Ending.FAILED, why

    def hung(self, why: str) -> None:
        self.ending, self.why = Ending.HUNG, why


class RestoreAgent:
    """Drives one RESTORE agent of the schedule. `run` is a thread's body and raises nothing but bugs."""

    def __init__(self, arena: _kernel.Arena, row: int, pool: int, streams: Sequence[int], reads: Reads):
        self._arena = arena
        self._row = row
        self._streams = streams
        self._reads = reads
        self._pool = pool
        self._splitter = self._splitting(reads.wants)
        self._passing = _kernel.Splitter(arena, pool, np.zeros(0, _kernel.WANT), FAULTS_AT_ONCE, row)
        self._aside_since_ns = 0
        self._no_longer = threading.Event()
        self.result = ReadResult(row)

    @property
    def in_call_since_ns(self) -> int:
        """Since when it has been with its drive and looked at nothing else. 0: it is not, or waits for somebody to put
        a cartridge in."""
        waiting = self._reads.mounts.waiting
        if waiting.for_what is not None:
            return 0
        if self._aside_since_ns:
            return max(self._aside_since_ns, waiting.told_ns)
        return self._arena.agent_statistics(self._row).in_call_since_ns

    @property
    def waiting_for(self) -> str | None:
        """A sentence, while it waits for a cartridge."""
        return self._reads.mounts.waiting.for_what

    def stop_waiting(self) -> None:
        """The job is to end: no cartridge is waited for any more."""
        self._no_longer.set()

    def look_for_takers(self) -> None:
        """Where nobody is left that takes its blocks, no cartridge is waited for, either."""
        if not any(self._arena.stream_statistics(stream).attached for stream in self._streams):
            self.stop_waiting()

    def hangs(self, patience_seconds: float) -> bool:
        """Whether its drive has not come back from a call for so long."""
        since = self.in_call_since_ns
        return since != 0 and time.monotonic_ns() - since >= patience_seconds * 1e9

    def end_streams(self) -> None:
        """Nothing more will come of it. Its writers end with what they have."""
        for stream in self._streams:
            self._arena.end_stream(stream)

    def run(self) -> None:
        try:
            for one in self._reads.passes:
                self._volume(one)
        except Stopped:
            if self._arena.stopping:
                self.result.ending, self.result.why = Ending.STOPPED, "the job was stopped"
            else:
                self.result.ending, self.result.why = Ending.DETACHED, "nobody is left that takes its blocks"
        finally:
            self.end_streams()
            self._let_go()

    def _let_go(self) -> None:
        """Another agent may wait for the volume that was read last."""
        self._aside_since_ns = time.monotonic_ns()
        with suppress(DeviceError):  # of what was read nothing is lost by that
            self._reads.mounts.let_go()
        self._aside_since_ns = 0

    def _splitting(self, wants: Sequence[Want]) -> _kernel.Splitter:
        wanted = [(want.object.bytes, want.stream, want.number) for want in wants]
        return _kernel.Splitter(self._arena, self._pool, np.array(wanted, _kernel.WANT), FAULTS_AT_ONCE, self._row)

    def _volume(self, one: Pass) -> None:
        self._aside_since_ns = time.monotonic_ns()
        try:
            place = self._reads.mounts.place(one.volume, self._no_longer)
        except TapeloomError as error:
            if isinstance(error, VolumeWanted) and self._no_longer.is_set():
                raise Stopped(str(error)) from None
            self.result.failed(str(error))
            self._leave_out(one, one.runs, str(error))
            return
        finally:
            self._aside_since_ns = 0
        before = place.locates, place.read_through
        try:
            _Pass(self, one, place).run()
        finally:
            self.result.locates += place.locates - before[0]
            self.result.read_through += place.read_through - before[1]

    def _leave_out(self, one: Pass, runs: Runs, what: str, harm: Harm | None = None) -> None:
        wants = self._reads.wants if one.wants is None else one.wants
        for index, seq, blocks, position in runs.tolist():
            want = wants[index]
            where = Segment(one.volume, one.label, want.copy, position, seq, blocks, want.copy_id)
            self.result.left.append(Left(want.object, Fault(where, what, harm)))


class _Pass:
    """One volume on its way through."""

    def __init__(self, agent: RestoreAgent, one: Pass, place: Place):
        self._agent = agent
        self._one = one
        self._place = place
        self._splitter = agent._splitter if one.wants is None else agent._splitting(one.wants)
        self._starts = np.ascontiguousarray(one.runs[:, POSITION])
        self._failures = 0

    def run(self) -> None:
        for first, end in _stretches(self._one.runs):
            at = first
            while at < end:
                if self._failures == FAILURES_IN_A_ROW_MAX:
                    why = f"volume {self._one.label}: {FAILURES_IN_A_ROW_MAX} blocks in a row cannot be read"
                    self._agent.result.failed(why)
                    self._leave_out(at, None, f"given up: {why}")
                    return
                at = self._stretch(at, end)

    def _stretch(self, at: int, end: int) -> int:
        """Reads on from `at`; gives the position behind what it has read or left out."""
        place, device = self._place, self._place.device
        try:
            place.go_to(at, self._agent._passing)
        except TapeloomError as error:
            place.position = None
            return self._unreadable(at, str(error), None)
        split = self._splitter.run(device.ops_address, device.handle_address, position=at, blocks_max=end - at)
        place.position = split.position if split.reason is SplitReason.DONE else None
        for fault in split.faults:
            verdict, position = Verdict(int(fault["verdict"])), int(fault["position"])
            self._leave_out(position, position + 1, VERDICT_WORDS[verdict], VERDICT_HARMS.get(verdict))
        if split.blocks:
            self._failures = 0
        self._agent.result.blocks += split.blocks_wanted
        self._agent.result.bytes += split.bytes
        strangers = split.blocks - len(split.faults) - split.blocks_wanted
        if strangers:
            self._agent.result.failed(
                f"volume {self._one.label}: {strangers} blocks from position {at} on are not those that the catalog "
                "has there"
            )
        match split.reason:
            case SplitReason.FAILED:
                harm = harm_of(device, split.status)
                return self._unreadable(split.position, str(device.failure(split.status, "read")), harm)
            case SplitReason.FILEMARK:
                self._leave_out(split.position - 1, split.position, "a filemark is there", Harm.MISSING)
            case SplitReason.END_OF_DATA:
                why = f"volume {self._one.label} ends at position {split.position}, before what the catalog has on it"
                self._agent.result.failed(why)
                self._leave_out(split.position, end, "the tape ends before it", Harm.MISSING)
                return end
            case SplitReason.STOPPED | SplitReason.NO_READERS:
                raise Stopped("nobody reads on")
        return split.position

    def _unreadable(self, position: int, why: str, harm: Harm | None) -> int:
        self._failures += 1
        self._leave_out(position, position + 1, why, harm)
        return position + 1

    def _leave_out(self, first: int, end: int | None, what: str, harm: Harm | None = None) -> None:
        """The blocks from position `first` up to `end` (None: to the end of the pass)."""
        runs = self._one.runs
        at = max(int(np.searchsorted(self._starts, first, "right")) - 1, 0)
        upto = len(runs) if end is None else int(np.searchsorted(self._starts, end - 1, "right"))
        part = runs[at:upto].copy()
        stop = part[:, POSITION] + part[:, BLOCKS]
        if end is not None:
            stop = np.minimum(stop, end)
        start = np.maximum(part[:, POSITION], first)
        part[:, SEQ] += start - part[:, POSITION]
        part[:, POSITION] = start
        part[:, BLOCKS] = stop - start
        self._agent._leave_out(self._one, part[part[:, BLOCKS] > 0], what, harm)


def _stretches(runs: Runs) -> Iterator[tuple[int, int]]:
    """Positions from the first to behind the last of what can be read without a gap, whatever objects it is of."""
    whole = runs.copy()
    whole[:, OBJECT] = 0
    whole[:, SEQ] = whole[:, POSITION]
    for _, first, blocks, _ in run_tables.merge(whole):  # row by row: there may be millions
        yield int(first), int(first + blocks)
