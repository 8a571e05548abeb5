"""A catalog made again from what volumes say, one volume after another, in any order and as often as one likes.

What a catalog has is added to and never taken from: receipts stay, and where a tape says otherwise than the catalog,
that is named and left as it is.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import Struct

from ..volume import runs as run_tables
from ..volume.evidence import Found, Proof
from ..volume.harm import Harm
from ..volume.runs import Runs
from . import damage, merging, receipts, standing
from .catalog import Catalog
from .damage import Finding
from .hearsay import Told, ToldCopy, ToldJob, ToldVolume, seen_object, told_by
from .merging import REBUILT
from .model import CopyStatus, JobStatus, Outcome, VolumeState

FOUND = "found"
"""The kind of the job that blocks are put down to where no record says who wrote them."""


class Added(Struct, frozen=True):
    """What a volume had that the catalog did not know. `conflicts` are sentences."""

    objects: int
    receipts: int
    conflicts: tuple[str, ...]
    state: VolumeState


class Home(Struct, frozen=True):
    """Where a volume is now: a library, or a drive that stands alone. `drives` are those that write its volumes."""

    name: str
    drives: tuple[str, ...]
    is_library: bool = False
    """Whose cartridges are called by their barcodes."""


class Rebuilding:
    """Adds volumes to an open catalog; `settle` comes last."""

    def __init__(self, catalog: Catalog):
        self._database = catalog._database
        self._orphans: list[tuple[Found, Told, Proof, Home]] = []
        self.conflicts: list[str] = []
        """What `settle` met: sentences."""

    def add(self, found: Found, *, home: Home) -> Added:
        """One volume, in one transaction. `home`: where it is now."""
        told = told_by(found)
        conflicts: list[str] = []
        if told.unfit:
            conflicts.append(f"volume {found.label}: {told.unfit} rows in its records are not what FORMAT.md says")
        with self._database.writing() as t:
            known = _count(t.objects), _count(t.receipts)
            self._jobs(t, found, told, conflicts)
            for volume in told.volumes:
                merging.volume(t, volume, conflicts)
            state = self._volume(t, found, told, home, conflicts)
            self._objects(t, found, told, conflicts)
            for proof in found.proofs:
                if proof.job is None:
                    self._orphans.append((found, told, proof, home))
                else:
                    self._proof(t, found, told, proof, home, conflicts)
            self._left(t, found)
            for object in sorted({*map(str, found.objects), *(one.id for one in told.objects)}):
                for (copy,) in list(t.copies.select(t.copies.id).where(t.copies.object == object).tuples()):
                    standing.refresh(t, copy)
            added = _count(t.objects) - known[0], _count(t.receipts) - known[1]
        return Added(*added, tuple(conflicts), state)

    def settle(self) -> None:
        """What only all volumes together tell: which copies are complete, and how jobs ended that no later record tells
        of."""
        with self._database.writing() as t:
            for found, told, proof, home in self._orphans:
                self._adopt(t, found, told, proof, home)
            self._orphans.clear()
            self._retire_scratch(t)
            for row in list(t.jobs.select().where(t.jobs.report.contains(f'"{REBUILT}"')).dicts()):
                about = merging.rebuilt(row["report"])
                if about is not None and not about["settled"]:
                    self._settle(t, row, about)

    def confirm(self, volume: UUID) -> bool:
        """A person says that an unknown volume may be gone on with. False: it is not unknown."""
        with self._database.writing() as t:
            v = t.volumes
            unknown = (v.id == str(volume)) & (v.state == VolumeState.UNKNOWN.value)
            return bool(v.update(state=VolumeState.APPENDABLE.value).where(unknown).execute())

    def _jobs(self, t: Any, found: Found, told: Told, conflicts: list[str]) -> None:
        for start in found.starts:
            kind = "backup" if start.kind == "mirror" else start.kind
            groups = (start.group,) if start.kind == "backup" else ()
            guess = ToldJob(str(start.job), kind, groups, JobStatus.INTERRUPTED, start.started_at, guessed=True)
            merging.job(t, guess, conflicts)
        for job in told.jobs:
            merging.job(t, job, conflicts)
        named = {one.job for one in told.objects}
        named |= {id for one in told.objects for copy in one.copies for id in (copy.job, copy.writer)}
        named |= {str(proof.job) for proof in found.proofs if proof.job is not None}
        named |= {str(end.job) for _, end in found.ends} | ({str(found.left.job)} if found.left else set())
        for id in sorted(named):
            _stand_in(t, id, "backup")
        for at, end in found.ends:
            (row,) = t.jobs.select().where(t.jobs.id == str(end.job)).dicts()
            about = merging.rebuilt(row["report"])
            if about is None and row["status"] == JobStatus.INTERRUPTED.value:
                about = {"settled": False, "ends": {}}
            if about is not None and end.agent not in about["ends"]:
                about["ends"][end.agent] = [end.status, at]
                report = json.dumps(json.loads(row["report"]) | {REBUILT: about})
                t.jobs.update(report=report).where(t.jobs.id == row["id"]).execute()

    def _volume(self, t: Any, found: Found, told: Told, home: Home, conflicts: list[str]) -> VolumeState:
        own = next((one for one in reversed(told.volumes) if one.id == str(found.id)), None)
        start = found.start
        row: dict[str, Any] = {
            "label": found.label or found.cartridge,
            "sequence": start.sequence if start else 1,
            "previous": str(start.previous) if start and start.previous else None,
            "made_at": start.written_at if start else 0,
            "block_bytes": found.block_bytes,
        }
        if start is not None:
            row |= {"pool": start.pool, "barcode": start.barcode} if start.pool is not None else {}
        if own is not None:
            row |= {name: value for name, value in own.row.items() if name not in ("reason", "state_at")}
        row |= {"drive": home.name, "cartridge": found.cartridge, "end_position": found.end_position}
        row |= {"barcode": found.cartridge} if home.is_library else {}
        followed = found.full or merging.is_followed(t, str(found.id))
        state = VolumeState.FULL if followed else VolumeState.UNKNOWN
        if start is None:
            state, row["reason"] = VolumeState.DAMAGED, "its label is damaged"
        merging.volume(t, ToldVolume(str(found.id), str(row["label"]), state, row), conflicts, at_hand=True)
        if row.get("previous"):
            before = (t.volumes.id == row["previous"]) & (
                t.volumes.state << [VolumeState.UNKNOWN.value, VolumeState.APPENDABLE.value]
            )
            t.volumes.update(state=VolumeState.FULL.value).where(before).execute()
        (row_now,) = t.volumes.select(t.volumes.state).where(t.volumes.id == str(found.id)).tuples()
        return VolumeState(row_now[0])

    def _objects(self, t: Any, found: Found, told: Told, conflicts: list[str]) -> None:
        for one in told.objects:
            merging.object_(t, one, conflicts)
            for copy in one.copies:
                merging.copy(t, one.id, copy)
        spoken_of = {UUID(one.id) for one in told.objects}
        for proof in found.proofs:
            for id in proof.runs.keys() & found.seen.keys() - spoken_of:
                if proof.job is not None:
                    merging.object_(t, seen_object(id, found.seen[id], str(proof.job), found), conflicts)

    def _adopt(self, t: Any, found: Found, told: Told, proof: Proof, home: Home) -> None:
        """Blocks that no record of their volume tells anything of: what other volumes say of their objects counts."""
        for id in proof.runs:
            if id in found.seen and not _known(t.objects, str(id)):
                _stand_in(t, str(found.id), FOUND)
                merging.object_(t, seen_object(id, found.seen[id], str(found.id), found), self.conflicts)
        self._proof(t, found, told, proof, home, self.conflicts)
        for id in proof.runs:
            for (copy,) in list(t.copies.select(t.copies.id).where(t.copies.object == str(id)).tuples()):
                standing.refresh(t, copy)

    def _proof(self, t: Any, found: Found, told: Told, proof: Proof, home: Home, conflicts: list[str]) -> None:
        for id, runs in proof.runs.items():
            if not len(runs):
                continue
            if not _known(t.objects, str(id)):
                conflicts.append(f"volume {found.label}: neither a record nor a block says what object {id} is")
                continue
            copy = self._copy(t, found, told, proof, id, home)
            _receipt(t, found, proof, copy, runs, conflicts)
            if proof.scanned:
                _harm(t, found, copy, id, runs, proof.at)

    def _copy(self, t: Any, found: Found, told: Told, proof: Proof, object: UUID, home: Home) -> int:
        """The copy that these blocks belong to: as a record tells; or the one that this job is the writer of; or the
        only one that this agent had begun before; or one of its own."""
        c = t.copies
        if proof.job is None:
            here = t.receipts.select(t.receipts.copy).where(t.receipts.volume == str(found.id))
            for where in (c.id << here, c.drive << home.drives):
                rows = list(c.select(c.id).where((c.object == str(object)) & where).tuples())
                if len(rows) == 1:
                    return int(rows[0][0])
            _stand_in(t, str(found.id), FOUND)
            return merging.copy(t, str(object), ToldCopy(str(found.id), str(found.id), proof.agent, "", home.name))
        job = str(proof.job)
        of = (c.object == str(object)) & (c.agent == proof.agent)
        begun = told.begun.get((str(object), proof.agent, job))
        for where in (c.job == begun, c.writer == job, c.job <= job):
            rows = list(c.select(c.id).where(of & where).tuples())
            if len(rows) == 1:
                return int(rows[0][0])
        start = next((one for one in found.starts if (one.job, one.agent) == (proof.job, proof.agent)), None)
        group, drive = (start.group, start.drive) if start is not None else ("", home.name)
        return merging.copy(t, str(object), ToldCopy(job, job, proof.agent, group, drive))

    def _left(self, t: Any, found: Found) -> None:
        """Which job may have left something behind the volume's end."""
        (row,) = t.volumes.select(t.volumes.end_position).where(t.volumes.id == str(found.id)).tuples()
        if row[0] != found.end_position:
            return
        a, left = t.appends, found.left
        here = a.volume == str(found.id)
        if left is None:
            a.delete().where(here).execute()
            return
        mine = (a.job == str(left.job)) & (a.agent == left.agent)
        if not list(a.select(a.job).where(here & mine).tuples()):
            a.insert(volume=str(found.id), job=str(left.job), agent=left.agent, checkpoints=left.checkpoints).execute()
        a.update(checkpoints=left.checkpoints).where(here & mine).execute()

    def _retire_scratch(self, t: Any) -> None:
        """What stands on volumes that may be written anew, or have been, is counted on by nobody."""
        gone = (t.volumes.state == VolumeState.SCRATCH.value) | t.volumes.successor.is_null(False)
        volumes = t.volumes.select(t.volumes.id).where(gone)
        on_them = t.receipts.select(t.receipts.copy).where(t.receipts.volume << volumes)
        standing.retire(t, [row[0] for row in t.copies.select(t.copies.id).where(t.copies.id << on_them).tuples()])

    def _settle(self, t: Any, row: Any, about: dict[str, Any]) -> None:
        c, o = t.copies, t.objects
        mine = (c.job == row["id"]) | (c.writer == row["id"])
        copies = list(c.select(c.agent, c.status, c.object).where(mine).tuples())
        objects = list(o.select(o.outcome, o.troubles).where(o.id << c.select(c.object).where(mine)).tuples())
        own = list(o.select(o.troubles).where(o.job == row["id"]).tuples())
        ends = about["ends"]
        well = (
            bool(copies)
            and all(status in (CopyStatus.COMPLETE.value, CopyStatus.RETIRED.value) for _, status, _ in copies)
            and all(ends.get(agent, [None])[0] == "complete" for agent, _, _ in copies)
            and all(outcome == Outcome.WHOLE.value for outcome, _ in objects)
            and all(troubles == "[]" for (troubles,) in own)
        )
        some = any(status != CopyStatus.MISSING.value for _, status, _ in copies)
        status = JobStatus.INTERRUPTED
        if well:
            status = JobStatus.COMPLETE
        elif ends:
            status = JobStatus.PARTIAL if some else JobStatus.FAILED
        ended_at = max((int(end[1]) for end in ends.values()), default=row["ended_at"])
        t.jobs.update(status=status.value, ended_at=ended_at).where(t.jobs.id == row["id"]).execute()


def _count(table: Any) -> int:
    return int(table.select().count())


def _known(table: Any, id: str) -> bool:
    return bool(list(table.select(table.id).where(table.id == id).tuples()))


def _stand_in(t: Any, id: str, kind: str) -> None:
    """A job of which nothing is known but that it was."""
    if not _known(t.jobs, id):
        started_at = (UUID(id).int >> 80) * 1_000_000  # ids tell when they were made (RFC 9562)
        known = {"settled": False, "guessed": True, "ends": {}}
        t.jobs.insert(
            {
                "id": id,
                "kind": kind,
                "groups": "[]",
                "status": JobStatus.INTERRUPTED.value,
                "started_at": started_at,
                "report": json.dumps({REBUILT: known}),
            }
        ).execute()


def _receipt(t: Any, found: Found, proof: Proof, copy: int, runs: Runs, conflicts: list[str]) -> None:
    r = t.receipts
    there = (r.copy == copy) & (r.volume == str(found.id)) & (r.filemark == proof.filemark)
    before = next(iter(r.select(r.runs).where(there).tuples()), None)
    if before is not None:
        if _blocks(run_tables.unpack(before[0])) != _blocks(runs):
            conflicts.append(
                f"volume {found.label}, before the filemark at {proof.filemark}: the receipt here is about other "
                "blocks than the tape; it is left as it is"
            )
        return
    r.insert(
        {
            "copy": copy,
            "volume": str(found.id),
            "job": _writer_of(t, copy) if proof.job is None else str(proof.job),
            "filemark": proof.filemark,
            "bytes": None,
            **receipts.columns(runs),
            "given_at": proof.at,
        }
    ).execute()


def _writer_of(t: Any, copy: int) -> str:
    (row,) = t.copies.select(t.copies.writer).where(t.copies.id == copy).tuples()
    return str(row[0])


def _blocks(runs: Runs) -> list[list[int]]:
    """As few runs as possible, by position: two tables of the same blocks are equal."""
    ordered = runs[np.argsort(runs[:, run_tables.POSITION], kind="stable")]
    rows: list[list[int]] = run_tables.merge(ordered)[:, 1:].tolist()
    return rows


def _harm(t: Any, found: Found, copy: int, object: UUID, runs: Runs, at: int) -> None:
    """Blocks whose payload was found damaged on the way."""
    seqs = {one.seq for one in found.harmed if one.object == object}
    harmed = [(seq, seq, Harm.CHECKSUM) for seq in sorted(seqs) if run_tables.clip(runs, seq, seq).size]
    d = t.damages
    known = [
        (first, last)
        for first, last in d.select(d.first_seq, d.last_seq)
        .where((d.copy == copy) & (d.volume == str(found.id)))
        .tuples()
    ]
    new = [one for one in harmed if damage.without([one[:2]], known)]
    if new:
        damage.write(t, [Finding(copy, found.id, (), tuple(new))], at)
