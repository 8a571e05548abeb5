"""Reading one object off its volumes: runs of blocks into slots, and out of them as a sequence.

A thread splits, the caller drains. A block that is damaged or unreadable on one copy is taken from the next copy that
has it, and the trouble is remembered; only a block that no copy gives ends the sequence.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import numpy as np
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom._kernel import SplitReason, Stop, Verdict
from tapeloom.device import Device, Status
from tapeloom.errors import BlockDamaged, KeyUnfit, Stopped, TapeloomError, VolumeWanted
from tapeloom.limits import MIB, PAGE_BYTES, PATIENCE_SECONDS
from tapeloom.runtime.arena import allocate
from tapeloom.runtime.drives import Sharing
from tapeloom.runtime.segments import VERDICT_HARMS, VERDICT_WORDS, Fault, Segment, Span, clip, cut
from tapeloom.runtime.sequence import ObjectBytes, open_sequence
from tapeloom.timing import Timing
from tapeloom.volume.harm import Harm

if TYPE_CHECKING:
    from tapeloom.seal import KeyRing
    from tapeloom.volume.waiting import Waiting

POOL, STREAM = 0, 1
MEMORY_BYTES = 32 * MIB
SLOTS_MIN, SLOTS_MAX = 4, 256


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
    """Who has volumes, and for one drive at a time."""

    @property
    def waiting(self) -> Waiting:
        """Where it may wait for a cartridge; may be looked at, and stopped, by any thread."""

    def let_go(self) -> None:
        """Nothing more is read, and others may have the volumes. DeviceError."""

    def place(self, volume: UUID, until: threading.Event | None = None) -> Place:
        """The drive with that volume in it, its label looked at: always the same `Place` while nobody else moves the
        tape. With `until`, a cartridge that is not there may be waited for until that is set.

        Raises
        ------
        VolumeWanted
            Its cartridge is not there.
        TapeloomError
            It cannot be had.
        """


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
                verdict = Verdict(int(split.faults[-1]["verdict"]))
                return Fault(segment.part(seq - 1, seq - 1), VERDICT_WORDS[verdict], VERDICT_HARMS.get(verdict))
            case SplitReason.FAILED:
                harm = harm_of(device, split.status)
                return Fault(segment.part(seq, seq), str(device.failure(split.status, "read")), harm)
            case SplitReason.FILEMARK | SplitReason.END_OF_DATA:
                return Fault(segment.part(seq, seq), "a filemark or the end of the tape is there", Harm.MISSING)
            case SplitReason.STOPPED | SplitReason.NO_READERS:
                raise Stopped("nobody reads on")
    return None


def harm_of(device: Device, status: int) -> Harm | None:
    """What a read that failed says of the medium. A drive whose process has ended says nothing of it."""
    ended = device.aside is not None and device.aside.ended is not None
    return Harm.UNREADABLE if status == Status.ERR_IO and not ended else None


class Reading:
    """One object on its way from its copies into a sequence.

    `copies` are segments in order of seq, those of the best copy first. With `spans`, ascending, only those blocks are
    read, and `sequence.go_to` has to be used to get from one to the next. Without, `sequence.proof()` at the end proves
    the object's `digest`. `keys` open what is sealed; with `sealed`, the id of a key, nothing is taken that is not
    sealed with it.

    A volume that is not there is asked for last: the next copies come first, and only where none of them has the blocks
    either, its cartridge is waited for. `wanted` says which volumes were not there all the same, where blocks are lost
    for that.

    `sequence` gives the bytes; with `partial` also of an object whose source broke off, without an error at its end.
    `faults` says what was found on the way, also where another copy could help; `lost` is the sentence about what none
    of them could give, and `lost_blocks` are their first and last seq: nothing behind them is read.

    A block with the right checksum that does not open or decode is taken from another copy as well: all is read anew
    from there on, and the copy that gave it is asked last from then on. A key that does not open any of them is no
    fault of theirs, and not among `faults`.
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
        self._id = object_id
        self._spans = [(0, blocks - 1)] if spans is None else spans
        self._copies = list(copies)
        self._mounts = mounts
        self._slot_bytes = -(-block_bytes // PAGE_BYTES) * PAGE_BYTES
        self._slots = max(SLOTS_MIN, min(SLOTS_MAX, MEMORY_BYTES // block_bytes))
        self._unreached: list[tuple[TapeloomError, Fault]] = []
        self._lost: _Lost | None = None
        self._unopened: _Lost | None = None
        self._bug: BaseException | None = None
        self._set_up()
        self.sequence: ObjectBytes = open_sequence(
            self._drain, object_id, partial=partial, keys=keys, digest=digest, sealed=sealed, instead=self._instead
        )

    def _set_up(self) -> None:
        self._halted = threading.Event()
        self._absent: dict[UUID, VolumeWanted] = {}
        """Volumes that were not there, and what that says."""
        self._came: set[UUID] = set()
        """Those of them that are there now."""
        self._asked_for: set[tuple[UUID, int]] = set()
        """And which of them were waited for, and for which block."""
        self._given: list[tuple[Segment, int]] = []
        """What was asked for, in this order, and which copy it is of: the last one with a block has given it."""
        self._arena = restore_arena(self._slot_bytes, self._slots)
        self._sharing = Sharing(self._arena)
        wants = np.array([(self._id.bytes, STREAM, 0)], _kernel.WANT)
        self._splitter = _kernel.Splitter(self._arena, POOL, wants, faults_max=1)
        self._passing = _kernel.Splitter(self._arena, POOL, np.zeros(0, _kernel.WANT), faults_max=1)
        self._drain = _kernel.Drain(self._arena, 0)
        self._thread = threading.Thread(target=self._run, name=f"reading {self._id}", daemon=True)

    @property
    def lost(self) -> str | None:
        lost = self._unopened or self._lost
        return None if lost is None else str(lost)

    @property
    def wanted(self) -> list[str]:
        """Sentences."""
        return (
            []
            if self._lost is None
            else [str(error) for volume, error in self._absent.items() if volume not in self._came]
        )

    @property
    def lost_blocks(self) -> Span | None:
        lost = self._unopened or self._lost
        return None if lost is None else lost.blocks

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
            first, _ = self._unreached[0]
            return VolumeWanted("; ".join(self.wanted)) if isinstance(first, VolumeWanted) and self.wanted else first
        return BlockDamaged(f"object {self._id}: nothing of it can be read; {self.lost or 'it has no blocks'}")

    def __exit__(self, *exception: object) -> None:
        self._halt()
        self.sequence.close()
        self._drain.close()
        if self._bug is not None:
            raise self._bug

    def _halt(self) -> None:
        self._halted.set()
        self._arena.stop(Stop.NOW)
        self._thread.join()
        self._sharing.end()

    def _run(self) -> None:
        try:
            for first, last in self._spans:
                self._range(first, last, 0)
        except Stopped:
            pass
        except _Lost as lost:
            self._lost = lost
        except BaseException as bug:
            self._bug = bug
        finally:
            self._arena.end_stream(STREAM)

    def _instead(self, seq: int, broken: BlockDamaged) -> _kernel.Drain:
        """See `tapeloom.runtime.sequence.Instead`."""
        segment, copy = next(given for given in reversed(self._given) if given[0].seq <= seq <= given[0].last)
        fault = Fault(segment.part(seq, seq), str(broken))
        if not any(clip(other, seq, seq) for other in self._copies[copy + 1 :]):
            if isinstance(broken, KeyUnfit):
                self.faults = [one for one in self.faults if one.seq != seq or one.harm is not None]
            elif self._unopened is None or self._unopened.blocks != (seq, seq):
                self._unopened = _Lost((seq, seq), _on_none(seq, seq, fault))
                self.faults.append(fault)
            raise broken
        self._halt()
        self._drain.close()
        if self._bug is not None:
            raise broken  # the bug itself comes at the end
        asked = [cut(each, [(seq, seq)])[1] for each in self._copies[: copy + 1]]  # without the block
        self._copies = [*asked[:copy], *self._copies[copy + 1 :], asked[copy]]
        self._spans = [(max(first, seq), last) for first, last in self._spans if last >= seq]
        self.faults = [*_up_to(seq, self.faults), fault]  # the others are met again
        self._lost = None
        self._set_up()
        self._thread.start()
        self._drain.next_object(anywhere=True)
        return self._drain

    def _range(self, first: int, last: int, copy: int) -> None:
        """Blocks `first` to `last`, in order: from this copy, and what it cannot give from the ones after it."""
        if copy == len(self._copies):
            if self._has_come(first):
                self._range(first, last, 0)
                return
            raise _Lost((first, last), _on_none(first, last, self.faults[-1] if self.faults else None))
        seq = first
        for segment in clip(self._copies[copy], first, last):
            if segment.seq > seq:
                self._range(seq, segment.seq - 1, copy + 1)
            self._segment(segment, copy)
            seq = segment.seq + segment.blocks
        if seq <= last:
            self._range(seq, last, copy + 1)

    def _has_come(self, seq: int) -> bool:
        """No copy that can be had has this block: waits for a volume that may. False: there is none, or it does not
        come."""
        for volume in [part.volume for copy in self._copies for part in clip(copy, seq, seq)]:
            if volume not in self._absent or (volume, seq) in self._asked_for:
                continue
            self._asked_for.add((volume, seq))
            try:
                self._mounts.place(volume, self._halted)
            except VolumeWanted:
                continue
            except TapeloomError:
                pass  # whoever reads it meets that, too
            self._came.add(volume)
            because = [fault for error, fault in self._unreached if isinstance(error, VolumeWanted)]
            forgotten = [fault for fault in because if fault.where.last >= seq]
            self.faults = [one for one in self.faults if one not in forgotten]
            self._unreached = [one for one in self._unreached if one[1] not in forgotten]
            return True
        return False

    def _segment(self, segment: Segment, copy: int) -> None:
        while segment.blocks:
            self._given.append((segment, copy))
            try:
                place = self._mounts.place(segment.volume)
                self._sharing.share_with(place.device)
                fault = read_segment(self._splitter, place, segment, self._id, self._passing)
            except Stopped:
                raise
            except TapeloomError as error:
                self.faults.append(Fault(segment, str(error)))
                self._unreached.append((error, self.faults[-1]))
                if isinstance(error, VolumeWanted):
                    self._absent[segment.volume] = error
                    self._came.discard(segment.volume)
                self._range(segment.seq, segment.last, copy + 1)
                return
            if fault is None:
                return
            self.faults.append(fault)
            self._range(fault.seq, fault.seq, copy + 1)
            segment = segment.after(fault.seq)


def _up_to(seq: int, faults: Sequence[Fault]) -> list[Fault]:
    """What they say of blocks up to `seq`."""
    known = [one for one in faults if one.seq <= seq]
    return [replace(one, where=one.where.part(one.seq, min(one.where.last, seq))) for one in known]


def _on_none(first: int, last: int, fault: Fault | None) -> str:
    what = f"block {first} is" if first == last else f"blocks {first} to {last} are"
    return f"{what} on none of the copies that can be read" + (f" ({fault})" if fault else "")


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
    agents = np.array([(0, 1, run_blocks, 0, patience_ns, 0)], _kernel.AGENT_PLAN)
    return allocate(slot_bytes, slots, streams, cursors, agents)
