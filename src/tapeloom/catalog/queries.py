"""Questions to the catalog. Nothing here changes anything."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from peewee import fn

from ..errors import Ambiguous, NotFound
from ..limits import DEFAULT_POOL
from ..volume.header import Content, Level
from ..volume.spans import Span, blocks_in, gaps
from . import beside, damage, telling
from .database import Database
from .model import (
    Append,
    Copy,
    CopyRuns,
    CopyStatus,
    Job,
    JobRow,
    Object,
    Receipt,
    Tail,
    Volume,
    VolumeState,
)
from .rows import IDS_AT_ONCE, blocks_met, copies, copy_of, jobs, no_source, objects, spans, volume_of, volumes

if TYPE_CHECKING:
    from ..health import Doubt, Kept
    from ..volume.records import Entry
    from ..volume.runs import Runs

ID_PREFIX_MIN = 4


class Queries:
    """The reading half of the catalog."""

    def __init__(self, database: Database):
        self._database = database

    @property
    def path(self) -> Path:
        return self._database.path

    # Objects and copies

    def objects(self, source: str | None = None, *, indexes: bool = False, moments: int | None = None) -> list[Object]:
        """All objects, or one source's, oldest `as_of` first, and what stands for an object right behind it; file
        indexes only with `indexes`. `moments`: of a source those alone that are as of one of so many latest moments.
        NotFound: no object of such a source was ever begun."""
        with self._database.reading() as t:
            kinds = None if indexes else t.objects.content.not_in([int(Content.INDEX), int(Content.CATALOG)])
            if source is None:
                return objects(t, kinds)
            named = t.sources.name == source
            mine = named if kinds is None else named & kinds
            if moments is not None:
                mine &= t.objects.as_of >= _moment(t, mine, moments)
            found = objects(t, mine)
            if not found:
                raise NotFound(no_source(t, source, self.path))
            return found

    def index_of(self, id: UUID) -> Object | None:
        """The object that holds the file index of the object `id`; None where there is none."""
        return self.indexes_of([id]).get(id)

    def these(self, ids: Iterable[UUID]) -> dict[UUID, Object]:
        """Many objects by their ids; one that is not there is left out."""
        with self._database.reading() as t:
            return {one.id: one for part in _parts(ids) for one in objects(t, t.objects.id << part)}

    def sources_of(self, ids: Iterable[UUID]) -> dict[UUID, str]:
        """The sources of many objects; one that is not there is left out."""
        with self._database.reading() as t:
            query = t.objects.select(t.objects.id, t.sources.name).join(
                t.sources, on=(t.objects.source == t.sources.id)
            )
            return {
                UUID(id): source for part in _parts(ids) for id, source in query.where(t.objects.id << part).tuples()
            }

    def indexes_of(self, ids: Iterable[UUID]) -> dict[UUID, Object]:
        """The objects that hold the file indexes of many objects, by the ids of these."""
        with self._database.reading() as t:
            kind = t.objects.content == int(Content.INDEX)
            found = [one for part in _parts(ids) for one in objects(t, (t.objects.parent << part) & kind)]
        return {one.parent: one for one in found if one.parent is not None}

    def index_path(self, one: Object) -> Path:
        """Where the file index of an object is kept, if it is."""
        return beside.index_path(self.path.parent, one.id, sealed=one.key is not None)

    def snapshots(self) -> dict[UUID, Path]:
        """Those that are kept, by their objects."""
        return beside.snapshots(self.path.parent)

    def snapshot_path(self, one: Object) -> Path:
        """Where the snapshot of an object is kept, if it is."""
        return beside.snapshot_path(self.path.parent, one.id, sealed=one.key is not None)

    def newest_as_of(self, source: str) -> int | None:
        """The latest `as_of` of all objects of a source, whatever became of them; None where there is none."""
        with self._database.reading() as t:
            query = t.objects.select(t.objects.as_of).join(t.sources, on=(t.objects.source == t.sources.id))
            mine = (t.sources.name == source) & (t.objects.content != int(Content.INDEX))
            row = next(iter(query.where(mine).order_by(t.objects.as_of.desc()).limit(1).tuples()), None)
            return None if row is None else int(row[0])

    def newest_bytes(self, source: str, level: Level) -> int | None:
        """How large the newest object of a source is, of those of this level that hold something; None where there is
        none."""
        with self._database.reading() as t:
            query = t.objects.select(t.objects.bytes).join(t.sources, on=(t.objects.source == t.sources.id))
            of_level = (t.sources.name == source) & (t.objects.level == int(level)) & (t.objects.bytes > 0)
            mine = of_level & t.objects.content.not_in([int(Content.INDEX), int(Content.CATALOG)])
            row = next(iter(query.where(mine).order_by(t.objects.as_of.desc()).limit(1).tuples()), None)
            return None if row is None else int(row[0])

    def newest(self, source: str, *, whole: bool = True) -> Object:
        """The object of `source` with the latest `as_of`; `whole`: of those alone that have a complete copy."""
        found = [one for one in self.objects(source) if not whole or one.status == "complete"]
        if not found:
            raise NotFound(
                f"source {source} has no object with a complete copy; `objects {source}` lists what there is"
            )
        return found[-1]

    def object(self, id: UUID | str) -> Object:
        """One object by its id or an unequivocal beginning of it (at least 4 letters)."""
        text = str(id).lower()
        with self._database.reading() as t:
            begins = t.objects.id == text if len(text) == 36 else t.objects.id.startswith(text)
            names = [row[0] for row in t.objects.select(t.objects.id).where(begins).limit(3).tuples()]
            if len(text) < ID_PREFIX_MIN or not names:
                raise NotFound(f"no object with the id {text} in {self.path}; the verb `objects` lists them")
            if len(names) > 1:
                raise Ambiguous(
                    f"{text} is the beginning of more than one object's id: {', '.join(names)}; give more of it"
                )
            return objects(t, t.objects.id == names[0])[0]

    def copy(self, id: int) -> Copy:
        with self._database.reading() as t:
            return copy_of(t, id, self.path)

    def copies_by(self, job: UUID) -> list[Copy]:
        """The copies that a job was to write, those of file indexes, too."""
        with self._database.reading() as t:
            return copies(t, (t.copies.job == str(job)) | (t.copies.writer == str(job)))

    def runs(self, copy: int) -> CopyRuns:
        """Where the blocks of a copy are, each once, in the order of seq; what has no receipt is not in it."""
        from . import receipts  # and numpy

        return receipts.of_copy(self._database, copy)

    def missing(self, copy: int) -> list[Span]:
        """What has no receipt in a copy: (first seq, last seq), ascending.

        Of an object whose source never ended, up to the last block that any of its copies has.
        """
        with self._database.reading() as t:
            one = copy_of(t, copy, self.path)
            return gaps(spans(t, copy), blocks_met(t, one.object))

    def receipts(self, copy: int) -> list[Receipt]:
        """In the order they were given."""
        with self._database.reading() as t:
            query = t.receipts.select(*[getattr(t.receipts, name) for name in Receipt.__struct_fields__])
            return [
                Receipt(**{**row, "volume": UUID(row["volume"]), "job": UUID(row["job"])})
                for row in query.where(t.receipts.copy == copy).order_by(t.receipts.id).dicts()
            ]

    # Jobs

    def jobs(self) -> list[Job]:
        """Oldest first."""
        with self._database.reading() as t:
            return jobs(t, None)

    def job(self, id: UUID | str) -> Job:
        """One job by its id or an unequivocal beginning of it."""
        text = str(id).lower()
        with self._database.reading() as t:
            found = jobs(t, t.jobs.id.startswith(text))
        if len(found) != 1 or len(text) < ID_PREFIX_MIN:
            raise NotFound(
                f"{'no job' if not found else 'more than one job'} with an id that begins with {text} in {self.path}; "
                "the verb `jobs` lists them"
            )
        return found[0]

    def job_table(self, job: UUID) -> list[JobRow]:
        """What is complete, incomplete and missing per copy, for the copies that this job was to write. File indexes go
        along with their objects and have no rows."""
        with self._database.reading() as t:
            held = copies(t, (t.copies.job == str(job)) | (t.copies.writer == str(job)))
            of = {one.id: one for one in objects(t, t.objects.id << sorted({str(copy.object) for copy in held}))}
            rows = []
            for copy in held:
                one = of[copy.object]
                if one.is_index:
                    continue
                safe = blocks_in(spans(t, copy.id))
                rows.append(JobRow(one.id, one.source, one.outcome, copy, safe, one.blocks))
            return rows

    # Health

    def drive_health(self) -> dict[str, Kept]:
        """What each drive told last, by its name."""
        from . import condition

        with self._database.reading() as t:
            return condition.of_drives(t)

    def volume_health(self) -> dict[UUID, Kept]:
        """What was told last of each volume, by its id."""
        from . import condition

        with self._database.reading() as t:
            return condition.of_volumes(t)

    def doubts(self) -> dict[UUID, Doubt]:
        """The volumes whose cartridges are not to be trusted, and why."""
        with self._database.reading() as t:
            if not list(t.volume_health.select(t.volume_health.volume).limit(1).tuples()):
                return {}
            from . import condition  # virtual drives tell nothing

            return condition.doubts(t)

    # Volumes

    def volumes(self, home: str | None = None, *, current: bool = False) -> list[Volume]:
        """In the order they were made, all or those of one home; `current`: without those whose cartridge was written
        anew."""
        with self._database.reading() as t:
            found = volumes(t, None if home is None else t.volumes.drive == home)
        return [one for one in found if not current or one.successor is None]

    def volume(self, label: str | UUID) -> Volume:
        """One volume by label or id."""
        with self._database.reading() as t:
            return volume_of(t, (t.volumes.label == str(label)) | (t.volumes.id == str(label)), label, self.path)

    def holds(self, volume: UUID) -> bool:
        """Whether anything on it has a receipt, wanted or not."""
        with self._database.reading() as t:
            return bool(
                list(t.receipts.select(t.receipts.id).where(t.receipts.volume == str(volume)).limit(1).tuples())
            )

    def held_on_volumes(self) -> dict[UUID, tuple[int, int]]:
        """How many objects with copies that count, and how many bytes of them (near enough), by volume; those alone
        that have any."""
        with self._database.reading() as t:
            r, o = t.receipts, t.objects
            share = fn.COALESCE(r.blocks * 1.0 * o.bytes / fn.NULLIF(o.blocks, 0), r.blocks * t.volumes.block_bytes)
            query = (
                r.select(r.volume, fn.COUNT(o.id.distinct()), fn.SUM(share))
                .join(t.volumes, on=(r.volume == t.volumes.id))
                .join(t.copies, on=(r.copy == t.copies.id))
                .join(o, on=(t.copies.object == o.id))
                .where((t.copies.status != CopyStatus.RETIRED.value) & (o.content != int(Content.INDEX)))
                .group_by(r.volume)
            )
            return {UUID(volume): (objects, round(bytes)) for volume, objects, bytes in query.tuples()}

    def harmed_on_volumes(self) -> dict[UUID, int]:
        """How many blocks are known as harmed, by volume; those alone that have any."""
        with self._database.reading() as t:
            return damage.by_volume(t)

    def has_label(self, label: str) -> bool:
        with self._database.reading() as t:
            return bool(volumes(t, t.volumes.label == label))

    def volume_in(self, home: str, cartridge: str) -> Volume | None:
        with self._database.reading() as t:
            found = volumes(t, (t.volumes.drive == home) & (t.volumes.cartridge == cartridge))
            return found[0] if found else None

    def predecessor(self, volume: UUID) -> UUID | None:
        """The volume whose cartridge this one was written to from the beginning."""
        with self._database.reading() as t:
            found = volumes(t, t.volumes.successor == str(volume))
            return found[0].id if found else None

    def appendable(self, home: str, pool: str = DEFAULT_POOL) -> list[Volume]:
        """The volumes of a pool that jobs at this home may go on with, the one that they prefer first: the newest that
        holds something, then those that are empty, the oldest first."""
        with self._database.reading() as t:
            here = (t.volumes.drive == home) & (t.volumes.pool == pool)
            found = volumes(t, here & (t.volumes.state == VolumeState.APPENDABLE.value))
            ids = [str(one.id) for one in found]
            held = {row[0] for row in t.receipts.select(t.receipts.volume).where(t.receipts.volume << ids).tuples()}
        return [
            *(one for one in reversed(found) if str(one.id) in held),
            *(one for one in found if str(one.id) not in held),
        ]

    def scratch(self, home: str, pool: str = DEFAULT_POOL) -> list[Volume]:
        """The scratch volumes that jobs of a pool may write from their beginning: its own first, then any pool's."""
        with self._database.reading() as t:
            mine = (t.volumes.pool == pool) | t.volumes.pool.is_null()
            found = volumes(t, (t.volumes.drive == home) & (t.volumes.state == VolumeState.SCRATCH.value) & mine)
        return sorted(found, key=lambda one: one.pool is None)

    def tail_of(self, volume: UUID) -> Tail:
        """What the catalog knows of the end of a volume; `tail.append_position` judges what is found there."""
        with self._database.reading() as t:
            one = volume_of(t, t.volumes.id == str(volume), volume, self.path)
            rows = t.appends.select().where(t.appends.volume == str(volume)).order_by(t.appends.job).dicts()
            return Tail(one, tuple(Append(UUID(row["job"]), row["agent"], row["checkpoints"]) for row in rows))

    def knows(self, ids: Iterable[UUID]) -> set[UUID]:
        """Those of `ids` that are objects of this catalog."""
        with self._database.reading() as t:
            names = [str(one) for one in ids]
            return {UUID(row[0]) for row in t.objects.select(t.objects.id).where(t.objects.id << names).tuples()}

    def told_at_start(self, job: UUID, volume: UUID) -> dict[str, Any]:
        """What a job says at its start on a volume (see `telling`): all volumes, the jobs before it, and what the one
        before it on this volume left open."""
        with self._database.reading() as t:
            before = telling.job_before(t, volume, job)
            objects = telling.of_job(t, job) | (set() if before is None else telling.of_job(t, before))
            return telling.tell(t, at=time.time_ns(), objects=objects, job=job, everything=True)

    def told(self, job: UUID, objects: Iterable[UUID]) -> dict[str, Any]:
        """The same of some of its objects."""
        with self._database.reading() as t:
            return telling.tell(t, at=time.time_ns(), objects=set(objects), job=job, everything=False)

    def told_at_end(self, job: UUID) -> dict[str, Any]:
        """The same of all of them."""
        with self._database.reading() as t:
            return telling.tell(t, at=time.time_ns(), objects=telling.of_job(t, job), job=job, everything=False)

    def runs_on(self, volume: UUID) -> tuple[list[Entry], Runs]:
        """Everything that has a receipt on a volume, by position; the table's first column indexes the list."""
        from . import receipts  # and numpy

        return receipts.on_volume(self._database, volume)


def _moment(t: Any, mine: Any, number: int) -> int:
    """The moment of the object before which `number` others have come, the latest first; 0 where there are fewer."""
    query = t.objects.select(t.objects.as_of).join(t.sources, on=(t.objects.source == t.sources.id)).where(mine)
    rows = query.order_by(t.objects.as_of.desc()).limit(1).offset(number - 1).tuples()
    return int(next(iter(rows), (0,))[0])


def _parts(ids: Iterable[UUID]) -> Iterator[list[str]]:
    """So many at once that the database takes them in one question."""
    left = iter(ids)
    while part := [str(id) for id in islice(left, IDS_AT_ONCE)]:
        yield part
