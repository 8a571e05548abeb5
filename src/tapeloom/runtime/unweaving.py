"""What a restore media agent reads so that objects which lie among one another come out one behind the other.

A block goes straight to its target where nothing else is written there, else into the spool: a drive of blocks that
wait, which a media agent writes as it would a tape. When the turn of an object has come, the tape that is read stands
still, and what waits of the object is read from the spool into the same slots and streams; the rest goes straight.

::

    tape -> slots -> the target's stream -> MediaAgent -> its volumes
                  -> the spool's stream  -> MediaAgent -> places in a file
    spool -> slots -> the target's stream
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom.errors import DeviceError
from tapeloom.ident import new_id
from tapeloom.runtime.reading import Mounts, Place
from tapeloom.runtime.splitting import Pass, Want
from tapeloom.timing import Timing
from tapeloom.volume import runs as run_tables
from tapeloom.volume.runs import OBJECT, Runs

if TYPE_CHECKING:
    from tapeloom.device.waiting import WaitingDrive
    from tapeloom.volume.waiting import Waiting

LOOK_SECONDS = 0.05
"""How often it is looked at whether a spool that is waited for is still alive."""
LABEL = "(spool)"


class Taking(Struct, frozen=True):
    """Runs of a volume are read; those of the wants in `waiting` go into the spool, all others straight on."""

    volume: UUID
    label: str
    runs: Runs
    waiting: frozenset[int]


class Leaving(Struct, frozen=True):
    """What waits of these wants, which go to one target, leaves the spool in this order."""

    wants: tuple[int, ...]


class Amount(Struct, frozen=True):
    """Of what was read."""

    blocks: int = 0
    bytes: int = 0


class WaitingTape:
    """The spool as a media agent's tape: see `tapeloom.runtime.media.Tape`. It notes where each block waits."""

    waiting = None

    def __init__(self, device: WaitingDrive):
        self.device = device
        self.position = 0
        self._runs: list[Runs] = []
        self._wrote = threading.Condition()

    @property
    def ops_address(self) -> int:
        return self.device.ops_address

    @property
    def handle_address(self) -> int:
        return self.device.handle_address

    def begin(self) -> None: ...

    def wrote(self, runs: np.ndarray, position: int) -> None:
        with self._wrote:
            if len(runs):
                self._runs.append(np.ascontiguousarray(runs).view(np.int64).reshape(-1, 4))
            self.position = position
            self._wrote.notify_all()

    def checkpoint(self) -> None: ...

    def next_volume(self) -> None:
        raise AssertionError("a spool has no end that it warns of")

    def finish(self, *, whole: bool) -> None: ...

    def failure(self, status: int) -> DeviceError:
        return self.device.failure(status, f"spool block {self.position}")

    def wait(self, blocks: int, lost: Callable[[], bool]) -> bool:
        """Until so many blocks have been written in all. False: they never will."""
        with self._wrote:
            while self.position < blocks:
                if lost():
                    return False
                self._wrote.wait(LOOK_SECONDS)
        return True

    def runs_of(self, number: int) -> Runs:
        """Where the blocks of an object of the job wait, in order; from now on the caller knows, and nobody else."""
        with self._wrote:
            table = np.concatenate(self._runs) if self._runs else run_tables.table()
            mine = table[:, OBJECT] == number
            self._runs = [table[~mine]]
        return run_tables.merge(table[mine])


class Unweaving:
    """The passes of one restore media agent, each made when its turn has come.

    Parameters
    ----------
    wants
        Each with the stream of its target.
    steps
        In order. The first columns of their runs index `wants`.
    spool
        Who writes the spool, its row in the schedule and its stream; None where nothing waits.
    reader
        The row of the agent that reads all this.

    `begin` comes before the first pass. `given_up` are wants of which nothing was written, since what waited of them is
    lost with the spool.
    """

    def __init__(
        self,
        wants: Sequence[Want],
        steps: Sequence[Taking | Leaving],
        spool: tuple[WaitingTape, int, int] | None,
        reader: int,
    ):
        self.given_up: set[int] = set()
        self._wants = list(wants)
        self._steps = steps
        self._spool = spool
        self._reader = reader
        self._again = Amount()
        self._before: Amount | None = None
        self._id = new_id()
        self._arena: _kernel.Arena | None = None

    def begin(self, arena: _kernel.Arena) -> None:
        self._arena = arena

    @property
    def read_again(self) -> Amount:
        """From the spool so far, also where the agent ended while it read there: all that came from tape before."""
        if self._before is None:
            return self._again
        now = self._read()
        blocks, bytes = now.blocks - self._before.blocks, now.bytes - self._before.bytes
        return Amount(self._again.blocks + blocks, self._again.bytes + bytes)

    def _read(self) -> Amount:
        """All that the agent has read, tape or spool."""
        assert self._arena is not None, "begin() comes first"
        figures = self._arena.agent_statistics(self._reader)
        return Amount(figures.blocks, figures.bytes)

    def mounts(self, tapes: Mounts) -> Mounts:
        """Tapes, and the spool as a volume among them."""
        return tapes if self._spool is None else _WithSpool(tapes, self._id, self._spool[0])

    def __iter__(self) -> Iterator[Pass]:
        for step in self._steps:
            if isinstance(step, Taking):
                yield from self._taken(step)
            else:
                for index in step.wants:
                    yield from self._left(index)

    def _taken(self, step: Taking) -> Iterator[Pass]:
        read = [i for i in run_tables.objects(step.runs).tolist() if i not in self.given_up and self._is_read(i)]
        runs = step.runs[np.isin(step.runs[:, OBJECT], read)]
        if len(runs):
            yield Pass(step.volume, step.label, runs, self._towards(step.waiting))

    def _left(self, index: int) -> Iterator[Pass]:
        assert self._spool is not None, "nothing waits without a spool"
        assert self._arena is not None, "begin() comes first"
        tape, agent, stream = self._spool
        arena = self._arena

        def lost() -> bool:
            return arena.agent_statistics(agent).detached or bool(arena.stopping)

        if not tape.wait(arena.stream_statistics(stream).head, lost) or lost():
            self.given_up.add(index)
            return
        runs = tape.runs_of(self._wants[index].number)
        runs[:, OBJECT] = index
        if len(runs) and self._is_read(index):
            self._before = self._read()
            yield Pass(self._id, LABEL, runs, [replace(want, copy_id=0) for want in self._towards(frozenset())])
            self._again, self._before = self.read_again, None
        for _, _, blocks, position in runs.tolist():
            tape.device.forget(position, blocks)

    def _is_read(self, index: int) -> bool:
        """Whether there is still somebody who writes what goes to this one's target."""
        assert self._arena is not None, "begin() comes first"
        return self._arena.stream_statistics(self._wants[index].stream).attached > 0

    def _towards(self, waiting: frozenset[int]) -> list[Want]:
        """All wants as they go now; and one of nobody's for each stream, since a pass that none of its streams' readers
        would take is the end of the agent."""
        now = []
        for index, want in enumerate(self._wants):
            aside = self._spool is not None and index in waiting
            now.append(replace(want, stream=self._spool[2]) if aside and self._spool is not None else want)
        nobodys = [Want(new_id(), stream, 0, "", 0) for stream in sorted({want.stream for want in self._wants})]
        return now + nobodys


class _WithSpool:
    """See `tapeloom.runtime.reading.Mounts`."""

    def __init__(self, tapes: Mounts, spool: UUID, tape: WaitingTape):
        self._tapes = tapes
        self._spool = spool
        self._place = _Waiting(tape.device, Timing(1.0, 0.0, 0.0), 1)

    @property
    def waiting(self) -> Waiting:
        return self._tapes.waiting

    def let_go(self) -> None:
        self._tapes.let_go()

    def place(self, volume: UUID, until: threading.Event | None = None) -> Place:
        return self._place if volume == self._spool else self._tapes.place(volume, until)


class _Waiting(Place):
    """A place in the spool: all ways are equal, and what lies between may be gone."""

    def go_to(self, position: int, passing: _kernel.Splitter) -> None:
        if self.position != position:
            self.device.locate(position)
            self.position = position
