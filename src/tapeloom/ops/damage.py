"""What reading shows of copies, taken down in the catalog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import UUID

from tapeloom.catalog import Catalog, Finding
from tapeloom.errors import TapeloomError
from tapeloom.runtime.segments import Fault, Segment
from tapeloom.volume.harm import Harm


def findings(looked_at: Iterable[Segment], faults: Iterable[Fault]) -> list[Finding]:
    """By copy and volume. `looked_at` was read; of it and beside it, `faults` with a harm are damaged."""
    spans: dict[tuple[int, UUID], list[tuple[int, int]]] = defaultdict(list)
    harmed: dict[tuple[int, UUID], list[tuple[int, int, Harm]]] = defaultdict(list)
    for part in looked_at:
        spans[part.copy_id, part.volume].append((part.seq, part.last))
    for fault in faults:
        if fault.harm is not None:
            at = fault.where
            spans[at.copy_id, at.volume].append((at.seq, at.last))
            harmed[at.copy_id, at.volume].append((at.seq, at.last, fault.harm))
    return [Finding(copy, volume, tuple(each), tuple(harmed[copy, volume])) for (copy, volume), each in spans.items()]


def take_down(state: Path, found: Sequence[Finding]) -> str | None:
    """Into the catalog in the folder `state`, for a moment as its writer. Why that could not be, where it could not: a
    job that runs, for one, holds the catalog."""
    if not found:
        return None
    try:
        with Catalog.open(state) as catalog:
            catalog.found(found)
    except TapeloomError as error:
        return str(error)
    return None


class Met(Protocol):
    """Whatever reads and says what it has met."""

    faults: list[Fault]


@contextmanager
def taking_down(state: Path, remarks: list[str]) -> Iterator[list[Met]]:
    """At the end of the `with` block, whichever, what those that were put into the list have met is taken down. Into
    `remarks` comes a sentence where that could not be.

    Only wrong checksums are: they are certainly the medium's. That a drive could not read, or stood somewhere else, may
    be its own fault, and `verify` is to say.
    """
    met: list[Met] = []
    try:
        yield met
    finally:
        faults = [fault for one in met for fault in one.faults]
        certain = [fault for fault in faults if fault.harm is Harm.CHECKSUM and fault.where.copy_id]
        why = take_down(state, findings((), certain))
        if why is not None:
            remarks.append(f"the catalog does not know of the damage yet, `verify` takes it down ({why})")
