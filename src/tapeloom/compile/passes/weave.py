"""How objects lie among one another: where each begins and ends, and how much of each has been read by then.

All volumes are taken as one long tape. A *place* on it stands in front of a block: the volume's offset plus
the position. Only begins and ends matter to what has to wait: between two of them a spool can only grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tapeloom.compile.passes.records import BLOCKS, OBJECT, POSITION, Place, SourceVolume

Ints = NDArray[np.int64]


class Event(Struct, frozen=True):
    """The begin (`ends` false) of a member in front of its first block, or its end behind its last."""

    place: int
    ends: bool
    member: int


class Thread(Struct, frozen=True, eq=False):
    """One object: its runs by place, and how many blocks and bytes of it stand before each of them."""

    object: int
    places: Ints
    blocks: Ints
    block_bytes: Ints
    blocks_before: Ints
    bytes_before: Ints

    @property
    def begin(self) -> int:
        return int(self.places[0])

    @property
    def end(self) -> int:
        return int(self.places[-1] + self.blocks[-1])

    def read(self, places: Ints) -> tuple[Ints, Ints]:
        """Blocks and bytes of it that have been read when the tape is at each of `places`."""
        rows = np.maximum(np.searchsorted(self.places, places, side="right") - 1, 0)
        within = np.clip(places - self.places[rows], 0, self.blocks[rows])
        return self.blocks_before[rows] + within, self.bytes_before[rows] + within * self.block_bytes[rows]


class Line:
    """Some volumes as one long tape: what the places on it are."""

    def __init__(self, volumes: Sequence[SourceVolume]):
        self._offsets = _offsets(volumes)
        self._volumes = volumes

    def place(self, place: int) -> Place:
        """The volume and position of a place; behind a volume's last block that volume's."""
        volume = max(bisect_left(self._offsets, place) - 1, 0)
        return Place(volume, place - self._offsets[volume])

    def weaves(self) -> Iterator[Weave]:
        """The objects that hang together: nothing of one weave is read between begin and end of another."""
        together: list[Thread] = []
        end = -1
        for thread in sorted(self._threads(), key=lambda thread: thread.begin):
            if together and thread.begin >= end:
                yield Weave(together)
                together = []
            together.append(thread)
            end = max(end, thread.end)
        if together:
            yield Weave(together)

    def _threads(self) -> Iterator[Thread]:
        if not any(len(volume.runs) for volume in self._volumes):
            return
        runs = np.concatenate([volume.runs for volume in self._volumes])
        lengths = [len(volume.runs) for volume in self._volumes]
        places = runs[:, POSITION] + np.repeat(self._offsets, lengths)
        block_bytes = np.repeat([volume.block_bytes for volume in self._volumes], lengths)
        order = np.argsort(runs[:, OBJECT], kind="stable")
        objects, blocks = runs[order, OBJECT], runs[order, BLOCKS]
        places, block_bytes = places[order], block_bytes[order]
        firsts = [0, *(np.flatnonzero(np.diff(objects)) + 1).tolist()]
        for first, last in zip(firsts, [*firsts[1:], len(objects)], strict=True):
            own = slice(first, last)
            sizes = blocks[own] * block_bytes[own]
            yield Thread(
                int(objects[first]),
                places[own],
                blocks[own],
                block_bytes[own],
                np.cumsum(blocks[own]) - blocks[own],
                np.cumsum(sizes) - sizes,
            )


class Weave:
    """Objects that lie among one another.

    Members are numbers from 0, in the order in which the objects begin; `events` are in the order of place;
    `read[member][event]` are the bytes of a member that have been read when an event comes, `bytes` all of it.
    """

    def __init__(self, threads: Sequence[Thread]):
        self.threads = threads
        self.runs = sum(len(thread.places) for thread in threads)
        self.events = sorted(_events(threads), key=lambda event: (event.place, not event.ends))
        places = np.array([event.place for event in self.events])
        self.read: list[list[int]] = [thread.read(places)[1].tolist() for thread in threads]
        self.bytes = [row[-1] for row in self.read]


def _offsets(volumes: Sequence[SourceVolume]) -> list[int]:
    offsets, at = [], 0
    for volume in volumes:
        offsets.append(at)
        if len(volume.runs):
            at += int(volume.runs[-1, POSITION] + volume.runs[-1, BLOCKS])
    return offsets


def _events(threads: Sequence[Thread]) -> Iterator[Event]:
    for member, thread in enumerate(threads):
        yield Event(thread.begin, False, member)
        yield Event(thread.end, True, member)
