"""Reading one object off its volumes: runs of blocks into slots, and out of them as a sequence.

A thread splits, the caller drains. A block that is damaged or unreadable on one copy is taken from the next copy that
has it, and the trouble is remembered; only a block that no copy gives ends the sequence.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import numpy as np

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, Stop, Verdict
from tapeloom.device import Device
from tapeloom.errors import BlockDamaged, Stopped, TapeloomError
from tapeloom.limits import MIB, PAGE_BYTES, PATIENCE_SECONDS
from tapeloom.runtime.arena import allocate
from tapeloom.runtime.sequence import ObjectBytes

POOL, STREAM = 0, 1
MEMORY_BYTES = 32 * MIB
SLOTS_MIN, SLOTS_MAX = 4, 256
READ_THROUGH_BLOCKS = 8
"""A gap of so many blocks is read through: records and filemarks between two checkpoints. A longer one is worth a
locate."""


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
    """Where a tape stands while it is read, so that it is moved only when it has to be."""

    def __init__(self, device: Device):
        self.device = device
        self.position: int | None = None

    def go_to(self, position: int, splitter: _kernel.Splitter) -> None:
        """Stands at `position`: by reading on over a short gap, else by a locate."""
        while self.position is not None and 0 < position - self.position <= READ_THROUGH_BLOCKS:
            split = splitter.run(
                self.device.ops_address,
                self.device.handle_address,
                position=self.position,
                blocks_max=position - self.position,
            )
            if split.reason not in (SplitReason.DONE, SplitReason.FILEMARK):
                break
            self.position = split.position
        if self.position != position:
            self.device.locate(position)
            self.position = position


class Mounts(Protocol):
    def place(self, volume: UUID) -> Place:
        """The drive with that volume in it, its label looked at: always the same `Place` while nobody else moves the
        tape. Raises TapeloomError where it cannot be had."""


def read_segment(splitter: _kernel.Splitter, place: Place, segment: Segment, object_id: UUID) -> Fault | None:
    """Reads one segment to its end, or to the first block that is not what it should be.

    Raises
    ------
    DeviceError
        The tape cannot be brought to the segment's position.
    Stopped
        Nobody wants the blocks any more.
    """
    place.go_to(segment.position, splitter)
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
    """The parts of `segments` that hold blocks `first` to `last`, both included, in order of seq."""
    parts = []
    for segment in sorted(segments, key=lambda item: item.seq):
        begin = max(segment.seq, first)
        end = min(segment.seq + segment.blocks, last + 1)
        if begin < end:
            parts.append(
                replace(segment, position=segment.position + begin - segment.seq, seq=begin, blocks=end - begin)
            )
    return parts


class Reading:
    """One object on its way from its copies into a sequence.

    `sequence` gives its bytes; with `partial` also of an object whose source broke off, without an error at its end.
    `faults` says what was found on the way, also where another copy could help; `lost` is the sentence about what none
    of them could give.
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
    ):
        self.faults: list[Fault] = []
        self.lost: str | None = None
        self._id = object_id
        self._blocks = blocks
        self._copies = copies
        self._mounts = mounts
        slots = max(SLOTS_MIN, min(SLOTS_MAX, MEMORY_BYTES // block_bytes))
        self.arena = restore_arena(-(-block_bytes // PAGE_BYTES) * PAGE_BYTES, slots)
        wants = np.array([(object_id.bytes, STREAM, 0)], _kernel.WANT)
        self._splitter = _kernel.Splitter(self.arena, POOL, wants, faults_max=1)
        self._drain = _kernel.Drain(self.arena, 0)
        self.sequence = ObjectBytes(self._drain, object_id, partial=partial)
        self._unreached: list[TapeloomError] = []
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"reading {object_id}", daemon=True)

    def __enter__(self) -> Reading:
        self._thread.start()
        try:
            if self._drain.next_object() is None:
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
        self._drain.close()
        if self._bug is not None:
            raise self._bug

    def _run(self) -> None:
        try:
            self._range(0, self._blocks - 1, 0)
        except Stopped:
            pass
        except _Lost as lost:
            self.lost = str(lost)
        except BaseException as bug:
            self._bug = bug
        finally:
            self.arena.end_stream(STREAM)

    def _range(self, first: int, last: int, copy: int) -> None:
        """Blocks `first` to `last`, in order: from this copy, and what it cannot give from the ones after it."""
        if copy == len(self._copies):
            told = f" ({self.faults[-1]})" if self.faults else ""
            what = f"block {first} is" if first == last else f"blocks {first} to {last} are"
            raise _Lost(f"{what} on none of the copies that can be read{told}")
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
                fault = read_segment(self._splitter, self._mounts.place(segment.volume), segment, self._id)
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
    """No copy has a block."""


def restore_arena(slot_bytes: int, slots: int, run_blocks: int = 1) -> _kernel.Arena:
    """A pool that a drive reads into, and one stream with one reader."""
    streams = np.array([(0, slots, 0), (0, slots, 0)], _kernel.STREAM_PLAN)
    cursors = np.array([(STREAM, 0)], _kernel.CURSOR_PLAN)
    patience_ns = round(PATIENCE_SECONDS * 1e9)
    agents = np.array([(0, 1, run_blocks, 0, patience_ns)], _kernel.AGENT_PLAN)
    return allocate(slot_bytes, slots, streams, cursors, agents)
