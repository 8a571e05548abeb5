"""Whether a volume may be appended to, and where: the end of data on tape against what the catalog knows.

Behind the last receipt there may be the tail of a job that did not come to its end. It may be overwritten only if it
can be nobody else's: a catalog that is older than the tape (a copy of the state folder brought back) may know a job as
unfinished as well that went on, and got receipts, in the newer one. So the tail is looked at:

* blocks or records of an object or a job that this catalog does not know as unfinished: the catalog is older;
* one whole checkpoint, the next of that job: the process may have died between the filemark and the catalog, or the
  newer catalog has a receipt for it. It is not overwritten: appending goes on behind it;
* more than one whole checkpoint: each but the last had its receipt before the next was written: the catalog is older.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from ..errors import CatalogError, CatalogOlderThanTape
from .model import Tail


class SeenCheckpoint(Struct, frozen=True):
    """A checkpoint record with a filemark right behind it. `end_position` is the place behind that filemark."""

    job: UUID
    agent: str
    number: int
    end_position: int


class Seen(Struct, frozen=True):
    """What was found behind the last receipt: jobs that its records name, and objects of this catalog or not."""

    jobs: frozenset[UUID]
    checkpoints: tuple[SeenCheckpoint, ...]
    strange_objects: frozenset[UUID]
    doubtful: int | None = None
    """The place behind a filemark that may have had its receipt, though no sound checkpoint stands before it."""


def append_position(tail: Tail, end_of_data: int, seen: Seen | None) -> int:
    """Where the next block may go. `seen` may be None only where nothing stands behind `tail.end_position`.

    Raises
    ------
    CatalogOlderThanTape
        There is more on the tape than the catalog knows; the sentence says what to do.
    CatalogError
        There is less.
    """
    volume, known = tail.volume, tail.end_position
    if end_of_data < known:
        raise CatalogError(
            f"volume {volume.label} ends at position {end_of_data}, but there are receipts up to position {known}: "
            f"data is missing on it; `verify --volume {volume.label}` names what, use another volume"
        )
    if end_of_data == known:
        return known
    if not tail.appends:
        raise _older(tail, end_of_data, "and no job of this catalog was writing to it")
    if seen is None:
        raise ValueError("something stands behind the last receipt: it has to be looked at")
    strangers = seen.jobs - {append.job for append in tail.appends}
    if strangers:
        raise _older(tail, end_of_data, f"of job {min(strangers)}, which this catalog does not know as unfinished")
    if seen.strange_objects:
        raise _older(tail, end_of_data, f"with object {min(seen.strange_objects)}, which this catalog does not know")
    if seen.doubtful is not None:
        raise _older(tail, end_of_data, f"with a filemark at position {seen.doubtful - 1} that may be a receipt's")
    if not seen.checkpoints:
        return known
    expected = {(append.job, append.agent): append.checkpoints for append in tail.appends}
    only = seen.checkpoints[0]
    if len(seen.checkpoints) > 1 or expected.get((only.job, only.agent)) != only.number:
        raise _older(tail, end_of_data, "with checkpoints that had their receipts")
    return only.end_position


def _older(tail: Tail, end_of_data: int, why: str) -> CatalogOlderThanTape:
    return CatalogOlderThanTape(
        f"volume {tail.volume.label} holds data behind position {tail.end_position}, up to {end_of_data}, {why}: the "
        f"catalog is older than the tape. `tapeloom import --volume {tail.volume.label}` brings it up to the tape; or "
        "bring back the newest state folder, or put in a blank cartridge; nothing was written"
    )
