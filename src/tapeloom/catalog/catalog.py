"""The catalog: what is where. Each method that changes something is one transaction, on the disk when it returns."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..errors import CatalogError, NotFound
from ..limits import DEFAULT_POOL
from ..volume.header import Level
from . import beside, damage, shelving, standing
from .database import FILE_NAME, Database
from .model import CopyStatus, JobStatus, Outcome, Place, VolumeState
from .queries import Queries

if TYPE_CHECKING:
    from ..health import Health
    from ..volume.runs import Runs


class Catalog(Queries):
    """See `open`. Methods raise CatalogError, in words, where the disk is full or the file is damaged."""

    @staticmethod
    def is_in(state: Path) -> bool:
        """Whether there is one in the folder `state`, as far as one may look."""
        return os.path.exists(state / FILE_NAME)

    @classmethod
    def open(cls, state: Path, *, readonly: bool = False) -> Catalog:
        """Opens the catalog in the folder `state`; a writer makes both where they are not there (folder mode 0700).

        A writer holds the folder's lock until `close`, and closes what dead processes left: their running jobs become
        `interrupted` (the lock is free, so they are dead), and what they had not finished beside the catalog goes.

        Raises
        ------
        HeldError
            Another process writes; the sentence names it.
        NotFound
            `readonly`, and there is no catalog.
        CatalogTooNew
            A newer tapeloom wrote it.
        """
        catalog = cls(Database(Path(state), readonly=readonly))
        if not readonly:
            try:
                catalog._close_abandoned()
            except BaseException:
                catalog.close()
                raise
        return catalog

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Jobs

    def begin_job(self, id: UUID, *, kind: str, groups: Sequence[str], started_at: int | None = None) -> None:
        with self._database.writing() as t:
            t.jobs.insert(
                {
                    "id": str(id),
                    "kind": kind,
                    "groups": json.dumps(list(groups)),
                    "status": JobStatus.RUNNING.value,
                    "started_at": time.time_ns() if started_at is None else started_at,
                    "report": "{}",
                }
            ).execute()

    def finish_job(
        self, id: UUID, status: JobStatus, *, report: Mapping[str, Any] | None = None, ended_at: int | None = None
    ) -> None:
        """`report` is kept as JSON, for people: what went wrong, rates, run lengths.

        Objects of the job that nobody ended become `interrupted`.
        """
        with self._database.writing() as t:
            changed = (
                t.jobs.update(
                    status=JobStatus(status).value,
                    ended_at=time.time_ns() if ended_at is None else ended_at,
                    report=json.dumps(report or {}),
                )
                .where(t.jobs.id == str(id))
                .execute()
            )
            if not changed:
                raise NotFound(f"no job {id} in {self.path}")
            _interrupt_objects(t, t.objects.job == str(id))
            if status is JobStatus.COMPLETE:  # so each of its agents came to its end, with a last receipt
                t.appends.delete().where(t.appends.job == str(id)).execute()

    def _close_abandoned(self) -> None:
        with self._database.writing() as t:
            dead = [row[0] for row in t.jobs.select(t.jobs.id).where(t.jobs.status == JobStatus.RUNNING.value).tuples()]
            if dead:
                ended = {"status": JobStatus.INTERRUPTED.value, "ended_at": time.time_ns()}
                t.jobs.update(**ended).where(t.jobs.id << dead).execute()
                _interrupt_objects(t, t.objects.job << dead)
            broken_off = t.objects.select(t.objects.id).where(t.objects.outcome == Outcome.INTERRUPTED.value)
            interrupted = {UUID(row[0]) for row in broken_off.tuples()}
        beside.clean(self.path.parent, interrupted)

    # Objects and copies

    def add_object(
        self,
        id: UUID,
        *,
        source: str,
        job: UUID,
        as_of: int,
        content: int,
        copies: Sequence[Place],
        level: Level = Level.FULL,
        parent: UUID | None = None,
        codec: str | None = None,
        key: str | None = None,
        stands_for: UUID | None = None,
    ) -> None:
        """An object begins. To be called before its first block is written, so that no block on tape is a stranger."""
        with self._database.writing() as t:
            t.sources.insert(name=source).on_conflict_ignore().execute()
            (source_id,) = next(iter(t.sources.select(t.sources.id).where(t.sources.name == source).tuples()))
            t.objects.insert(
                {
                    "id": str(id),
                    "source": source_id,
                    "job": str(job),
                    "content": int(content),
                    "level": int(level),
                    "as_of": as_of,
                    "parent": None if parent is None else str(parent),
                    "outcome": Outcome.READING.value,
                    "troubles": "[]",
                    "codec": codec,
                    "key": key,
                    "stands_for": None if stands_for is None else str(stands_for),
                }
            ).execute()
            for place in copies:
                standing.add_copy(t, id, job, place)

    def add_copy(self, object_id: UUID, *, job: UUID, place: Place) -> int:
        """A further copy of an object, to be written by another job than the one that made it. Gives the copy's id."""
        with self._database.writing() as t:
            return standing.add_copy(t, object_id, job, place)

    def resume_copy(self, copy: int, *, job: UUID) -> None:
        """From now on `job` gives the receipts of this copy: it writes what was missing. The agent stays the same."""
        with self._database.writing() as t:
            if not t.copies.update(writer=str(job)).where(t.copies.id == copy).execute():
                raise NotFound(f"no copy {copy} in {self.path}")

    def object_ended(
        self,
        id: UUID,
        *,
        outcome: Outcome,
        blocks: int,
        bytes: int,
        files: int | None,
        troubles: Sequence[str] = (),
        step: int | None = None,
    ) -> None:
        """Its source has ended: `blocks` is its last seq + 1, or 0. Copies may become complete by it. `step` as in
        `Object`."""
        with self._database.writing() as t:
            changed = (
                t.objects.update(
                    outcome=Outcome(outcome).value,
                    blocks=blocks,
                    bytes=bytes,
                    files=files,
                    troubles=json.dumps(list(troubles)),
                    step=step,
                )
                .where(t.objects.id == str(id))
                .execute()
            )
            if not changed:
                raise NotFound(f"no object {id} in {self.path}")
            for row in list(t.copies.select(t.copies.id).where(t.copies.object == str(id)).tuples()):
                standing.refresh(t, row[0])

    def set_digest(self, id: UUID, digest: str) -> None:
        with self._database.writing() as t:
            t.objects.update(digest=digest).where(t.objects.id == str(id)).execute()

    def set_copy_status(self, copy: int, status: CopyStatus) -> None:
        """DAMAGED and RETIRED stay; any other means: what the receipts say, and the damage that is known."""
        with self._database.writing() as t:
            if not t.copies.update(status=CopyStatus(status).value).where(t.copies.id == copy).execute():
                raise NotFound(f"no copy {copy} in {self.path}")
            standing.refresh(t, copy)

    def found(self, findings: Sequence[damage.Finding], *, found_at: int | None = None) -> None:
        """Takes down what reading copies back has shown, in one transaction: ranges that are harmed, and ranges that
        are not, or not any more. Statuses follow; a copy without any harmed range left is what its receipts say. What
        a copy holds beyond what was looked at stays as it was known."""
        with self._database.writing() as t:
            now = time.time_ns() if found_at is None else found_at
            for copy, was_known in damage.write(t, findings, now).items():
                standing.refresh(t, copy, damage_gone=was_known)

    # Volumes, appending, receipts

    def add_volume(
        self,
        id: UUID,
        *,
        label: str,
        drive: str,
        cartridge: str,
        block_bytes: int,
        sequence: int = 1,
        previous: UUID | None = None,
        end_position: int = 0,
        made_at: int | None = None,
        pool: str | None = DEFAULT_POOL,
        barcode: str | None = None,
        replaces: UUID | None = None,
    ) -> None:
        """To be called before the first byte of the label is written; `labelled` tells when it is on tape. `drive` is
        the volume's home, `replaces` the scratch volume whose cartridge is written from its beginning."""
        row = {
            "id": str(id),
            "label": label,
            "drive": drive,
            "cartridge": cartridge,
            "sequence": sequence,
            "previous": None if previous is None else str(previous),
            "block_bytes": block_bytes,
            "made_at": time.time_ns() if made_at is None else made_at,
            "end_position": end_position,
            "pool": pool,
            "barcode": barcode,
        }
        with self._database.writing() as t:
            shelving.add(t, row, self.path, replaces=replaces)

    def labelled(self, volume: UUID, end_position: int) -> None:
        """The label and its filemark are on tape; the next block goes to `end_position`."""
        with self._database.writing() as t:
            if list(t.receipts.select(t.receipts.id).where(t.receipts.volume == str(volume)).limit(1).tuples()):
                raise CatalogError(f"volume {volume} holds blocks with receipts: a new label would overwrite them")
            _end_position(t, volume, end_position)

    def set_volume_state(self, volume: UUID, state: VolumeState, reason: str | None = None) -> None:
        with self._database.writing() as t:
            shelving.set_state(t, volume, state, self.path, reason=reason)

    def put_out_of_use(
        self,
        volume: UUID,
        state: VolumeState,
        copies: Iterable[int],
        *,
        reason: str | None = None,
        pool: object = shelving.UNCHANGED,
    ) -> None:
        """`state`: RETIRED or SCRATCH. The copies on it are not counted on any more, all at once. `pool`: whose jobs
        may write it anew; None: any."""
        with self._database.writing() as t:
            standing.retire(t, copies)
            shelving.set_state(t, volume, state, self.path, reason=reason, pool=pool)

    def keep_health(
        self, health: Health, *, drive: str, volume: UUID | None = None, job: UUID | None = None, at: int | None = None
    ) -> None:
        """What a drive told of itself, and of the volume in it."""
        from . import condition  # virtual drives tell nothing

        with self._database.writing() as t:
            condition.keep(t, health, drive=drive, volume=volume, job=job, at=time.time_ns() if at is None else at)

    def retire(self, copies: Iterable[int]) -> None:
        """They are not counted on any more, all at once; their volumes stay as they are."""
        with self._database.writing() as t:
            standing.retire(t, copies)

    def append_begins(self, job: UUID, agent: str, volume: UUID, position: int) -> None:
        """To be called before the job's first block on this volume, which goes to `position`.

        From here on what stands behind the volume's last receipt is known as this job's. Marks that earlier unfinished
        jobs left stay until this one has its first receipt: until then theirs is what may be on the tape.
        """
        with self._database.writing() as t:
            known = _end_position_of(t, volume, self.path)
            if position < known:
                raise CatalogError(
                    f"volume {volume} has receipts up to position {known}: appending at {position} would overwrite them"
                )
            _end_position(t, volume, position)
            t.appends.insert(
                volume=str(volume), job=str(job), agent=agent, checkpoints=0
            ).on_conflict_replace().execute()

    def append_ends(self, job: UUID, agent: str, volume: UUID) -> None:
        """The job is done with this volume and has written nothing behind its last receipt."""
        with self._database.writing() as t:
            a = t.appends
            a.delete().where((a.volume == str(volume)) & (a.job == str(job)) & (a.agent == agent)).execute()

    def receipt(
        self,
        *,
        job: UUID,
        agent: str,
        volume: UUID,
        filemark: int,
        runs: Mapping[UUID, Runs],
        bytes: Mapping[UUID, int] | None = None,
        given_at: int | None = None,
    ) -> None:
        """A filemark stands at position `filemark` and every call since the one before it has succeeded.

        `runs`: for each object what this agent has put between the two (the first column is ignored). Statuses of the
        copies, the volume's end and the mark of the append follow in the same transaction.
        """
        from . import receipts  # and numpy

        now = time.time_ns() if given_at is None else given_at
        with self._database.writing() as t:
            known = _end_position_of(t, volume, self.path)
            if filemark < known:
                raise CatalogError(
                    f"a receipt for filemark {filemark}, but volume {volume} has one up to position {known}"
                )
            for object_id, table in runs.items():
                if len(table) == 0:
                    continue
                receipts.refuse_outside(table, known, filemark, object_id)
                copy = standing.copy_written_by(t, object_id, agent, job, self.path)
                t.receipts.insert(
                    {
                        "copy": copy,
                        "volume": str(volume),
                        "job": str(job),
                        "filemark": filemark,
                        "bytes": None if bytes is None else bytes[object_id],
                        **receipts.columns(table),
                        "given_at": now,
                    }
                ).execute()
                standing.refresh(t, copy)
            _end_position(t, volume, filemark + 1)
            a, here = t.appends, t.appends.volume == str(volume)
            mine = (a.job == str(job)) & (a.agent == agent)
            a.update(checkpoints=a.checkpoints + 1).where(here & mine).execute()
            a.delete().where(here & ~mine).execute()


def _interrupt_objects(t: Any, where: Any) -> None:
    reading = t.objects.outcome == Outcome.READING.value
    t.objects.update(outcome=Outcome.INTERRUPTED.value).where(reading & where).execute()


def _end_position(t: Any, volume: UUID, position: int) -> None:
    t.volumes.update(end_position=position).where(t.volumes.id == str(volume)).execute()


def _end_position_of(t: Any, volume: UUID, path: Path) -> int:
    found = list(t.volumes.select(t.volumes.end_position).where(t.volumes.id == str(volume)).tuples())
    if not found:
        raise NotFound(f"no volume {volume} in {path}")
    return int(found[0][0])
