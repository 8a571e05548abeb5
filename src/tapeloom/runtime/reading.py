"""Reading one object off its volumes: runs of blocks into slots, and out of them as a sequence.

A thread splits, the caller drains. A block that is damaged or unreadable on one copy is taken from the next copy that
has it, and the trouble is remembered; only a block that no copy gives ends the sequence.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import numpy as np

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, Stop, Verdict
from tapeloom.device import Device
from tapeloom.errors import BlockDamaged, Stopped, TapeloomError
from tapeloom.limits import MIB, PAGE_BYTES, PATIENCE_SECONDS
from tapeloom.runtime.arena import allocate
from tapeloom.runtime.sequence import ObjectBytes, open_sequence
from tapeloom.runtime.timing import Timing

if TYPE_CHECKING:
    from tapeloom.seal import KeyRing

POOL, STREAM = 0, 1
MEMORY_BYTES = 32 * MIB
SLOTS_MIN, SLOTS_MAX = 4, 256

Span = tuple[int, int]
"""First and last seq, both included."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Blocks of one object that follow one another on one volume. `copy` names whose they are, for messages."""

    volume: UUID
    label: str
    copy: str
    position: int
    seq: int
    blocks: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A block that is not what it should be, and where."""

    copy: str
    label: str
    position: int
    seq: int
    what: str

    def __str__(self) -> str:
        return f"block {self.seq} on {self.copy}'s volume {self.label}, position {self.position}: {self.what}"


VERDICT_WORDS = {
    Verdict.FOREIGN: "no block of tapeloom",
    Verdict.HEADER: "its header is damaged",
    Verdict.VERSION_NEW: "it was written by a newer version of tapeloom",
    Verdict.PAYLOAD: "its data is damaged",
    Verdict.MISPLACED: "another block stands there",
}


class Place:
    """Where a tape stands while it is read, so that it is moved only when it has to be, and in the faster way.

    `block_bytes` is how long the volume's blocks are. `locates` and `read_through` count what happened: locates, and
    blocks and filemarks that were read only because they lay in the way.
    """

    def __init__(self, device: Device, timing: Timing, block_bytes: int):
        self.device = device
        self.position: int | None = None
        self.locates = self.read_through = 0
        self._timing = timing
        self._block_bytes = block_bytes

    def go_to(self, position: int, passing: _kernel.Splitter) -> None:
        """Stands at `position`, by reading on or by a locate, whichever `Timing` says is faster. What `passing` reads
        on the way is to be wanted by nobody."""
        while self.position is not None and self.position != position:
            if self._timing.move(self.position, position, self._block_bytes).seeks:
                break
            split = passing.run(
                self.device.ops_address,
                self.device.handle_address,
                position=self.position,
                blocks_max=position - self.position,
            )
            if split.reason not in (SplitReason.DONE, SplitReason.FILEMARK):
                break
            self.read_through += split.position - self.position
            self.position = split.position
        if self.position != position:
            self.device.locate(position)
            self.locates += 1
            self.position = position


class Mounts(Protocol):
    def place(self, volume: UUID) -> Place:
        """The drive with that volume in it, its label looked at: always the same `Place` while nobody else moves the
        tape. Raises TapeloomError where it cannot be had."""


def read_segment(
    splitter: _kernel.Splitter,
    place: Place,
    segment: Segment,
    object_id: UUID,
    passing: _kernel.Splitter | None = None,
) -> Fault | None:
    """Reads one segment to its end, or to the first block that is not what it should be.

    What lies before it is read through, if it is, by `passing`; by `splitter` itself where that wants none of it.

    Raises
    ------
    DeviceError
        The tape cannot be brought to the segment's position.
    Stopped
        Nobody wants the blocks any more.
    """
    place.go_to(segment.position, passing or splitter)
    device = place.device
    at, seq, left = segment.position, segment.seq, segment.blocks
    while left:
        split = splitter.run(
            device.ops_address,
            device.handle_address,
            position=at,
            blocks_max=left,
            expect=object_id.bytes,
            expect_seq=seq,
        )
        at, seq, left = split.position, seq + split.blocks, left - split.blocks
        place.position = at if split.reason is SplitReason.DONE else None
        match split.reason:
            case SplitReason.FAULTS_FULL:
                words = VERDICT_WORDS[Verdict(int(split.faults[-1]["verdict"]))]
                return Fault(segment.copy, segment.label, at - 1, seq - 1, words)
            case SplitReason.FAILED:
                return Fault(segment.copy, segment.label, at, seq, str(device.failure(split.status, "read")))
            case SplitReason.FILEMARK | SplitReason.END_OF_DATA:
                return Fault(segment.copy, segment.label, at, seq, "a filemark or the end of the tape is there")
            case SplitReason.STOPPED | SplitReason.NO_READERS:
                raise Stopped("nobody reads on")
    return None


def clip(segments: Sequence[Segment], first: int, last: int) -> list[Segment]:
    """The parts of `segments`, which are in order of seq, that hold blocks `first` to `last`, both included."""
    parts = []
    at = bisect_right(segments, first, key=lambda item: item.seq)
    for segment in islice(segments, max(at - 1, 0), None):
        if segment.seq > last:
            break
        begin = max(segment.seq, first)
        end = min(segment.seq + segment.blocks, last + 1)
        if begin < end:
            parts.append(
                replace(segment, position=segment.position + begin - segment.seq, seq=begin, blocks=end - begin)
            )
    return parts


class Reading:
    """One object on its way from its copies into a sequence.

    `copies` are segments in order of seq, those of the best copy first. With `spans`, ascending, only those blocks are
    read, and `sequence.go_to` has to be used to get from one to the next. Without, `sequence.proof()` at the end proves
    the object's `digest`. `keys` open what is sealed; with `sealed`, the id of a key, nothing is taken that is not
    sealed with it.

    `sequence` gives the bytes; with `partial` also of an object whose source broke off, without an error at its end.
    `faults` says what was found on the way, also where another copy could help; `lost` is the sentence about what none
    of them could give, and `lost_blocks` are their first and last seq: nothing behind them is read.
    """

    def __init__(
        self,
        object_id: UUID,
        blocks: int,
        copies: Sequence[Sequence[Segment]],
        mounts: Mounts,
        block_bytes: int,
        *,
        partial: bool = False,
        spans: Sequence[Span] | None = None,
        keys: KeyRing | None = None,
        digest: str | None = None,
        sealed: str | None = None,
    ):
        self.faults: list[Fault] = []
        self.lost: str | None = None
        self.lost_blocks: Span | None = None
        self._id = object_id
        self._spans = [(0, blocks - 1)] if spans is None else spans
        self._copies = copies
        self._mounts = mounts
        slots = max(SLOTS_MIN, min(SLOTS_MAX, MEMORY_BYTES // block_bytes))
        self.arena = restore_arena(-(-block_bytes // PAGE_BYTES) * PAGE_BYTES, slots)
        wants = np.array([(object_id.bytes, STREAM, 0)], _kernel.WANT)
        self._splitter = _kernel.Splitter(self.arena, POOL, wants, faults_max=1)
        self._passing = _kernel.Splitter(self.arena, POOL, np.zeros(0, _kernel.WANT), faults_max=1)
        self._drain = _kernel.Drain(self.arena, 0)
        self.sequence: ObjectBytes = open_sequence(
            self._drain, object_id, partial=partial, keys=keys, digest=digest, sealed=sealed
        )
        self._unreached: list[TapeloomError] = []
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"reading {object_id}", daemon=True)

    def __enter__(self) -> Reading:
        self._thread.start()
        try:
            if self._drain.next_object(anywhere=True) is None:
                raise self._nothing()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _nothing(self) -> TapeloomError:
        """Why there is not even a first block. Where no tape could be reached, that is said as it was met."""
        if self._unreached and len(self._unreached) == len(self.faults):
            return self._unreached[0]
        return BlockDamaged(f"object {self._id}: nothing of it can be read; {self.lost or 'it has no blocks'}")

    def __exit__(self, *exception: object) -> None:
        self.arena.stop(Stop.NOW)
        self._thread.join()
        self.sequence.close()
        self._drain.close()
        if self._bug is not None:
            raise self._bug

    def _run(self) -> None:
        try:
            for first, last in self._spans:
                self._range(first, last, 0)
        except Stopped:
            pass
        except _Lost as lost:
            self.lost, self.lost_blocks = str(lost), lost.blocks
        except BaseException as bug:
            self._bug = bug
        finally:
            self.arena.end_stream(STREAM)

    def _range(self, first: int, last: int, copy: int) -> None:
        """Blocks `first` to `last`, in order: from this copy, and what it cannot give from the ones after it."""
        if copy == len(self._copies):
            told = f" ({self.faults[-1]})" if self.faults else ""
            what = f"block {first} is" if first == last else f"blocks {first} to {last} are"
            raise _Lost((first, last), f"{what} on none of the copies that can be read{told}")
        seq = first
        for segment in clip(self._copies[copy], first, last):
            if segment.seq > seq:
                self._range(seq, segment.seq - 1, copy + 1)
            self._segment(segment, copy)
            seq = segment.seq + segment.blocks
        if seq <= last:
            self._range(seq, last, copy + 1)

    def _segment(self, segment: Segment, copy: int) -> None:
        last = segment.seq + segment.blocks - 1
        while segment.blocks:
            try:
                place = self._mounts.place(segment.volume)
                fault = read_segment(self._splitter, place, segment, self._id, self._passing)
            except Stopped:
                raise
            except TapeloomError as error:
                self._unreached.append(error)
                self.faults.append(Fault(segment.copy, segment.label, segment.position, segment.seq, str(error)))
                self._range(segment.seq, last, copy + 1)
                return
            if fault is None:
                return
            self.faults.append(fault)
            self._range(fault.seq, fault.seq, copy + 1)
            done = fault.seq + 1 - segment.seq
            segment = replace(
                segment, position=segment.position + done, seq=fault.seq + 1, blocks=segment.blocks - done
            )


class _Lost(Exception):
    """No copy has these blocks."""

    def __init__(self, blocks: Span, why: str):
        super().__init__(why)
        self.blocks = blocks


def restore_arena(slot_bytes: int, slots: int, run_blocks: int = 1) -> _kernel.Arena:
    """A pool that a drive reads into, and one stream with one reader."""
    streams = np.array([(0, slots, 0), (0, slots, 0)], _kernel.STREAM_PLAN)
    cursors = np.array([(STREAM, 0)], _kernel.CURSOR_PLAN)
    patience_ns = round(PATIENCE_SECONDS * 1e9)
    agents = np.array([(0, 1, run_blocks, 0, patience_ns)], _kernel.AGENT_PLAN)
    return allocate(slot_bytes, slots, streams, cursors, agents)
