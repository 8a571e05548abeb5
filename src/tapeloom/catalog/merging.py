"""Rows that are told joined to those that a catalog has. What is joined in any order, or twice, gives the same: of two
things that are known of a row the later stage of its life wins, and what was proven is never taken away."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .hearsay import ToldCopy, ToldJob, ToldObject, ToldVolume
from .model import CopyStatus, JobStatus, Outcome, VolumeState

REBUILT = "rebuilt"
"""In the report of a job that was made again: whether its status was told, and what its agents said at their ends."""

RANKS = {
    VolumeState.UNKNOWN: 0,
    VolumeState.APPENDABLE: 0,
    VolumeState.FULL: 1,
    VolumeState.DAMAGED: 2,
    VolumeState.RETIRED: 3,
    VolumeState.SCRATCH: 4,
}
"""Of the states of a volume: none is followed by an earlier one, but for a person's word."""

_OPEN = (JobStatus.RUNNING, JobStatus.INTERRUPTED)


def rebuilt(report: str) -> dict[str, Any] | None:
    """What is known of a job that was made again; None where it is as its own end has left it."""
    found = json.loads(report).get(REBUILT)
    return found if isinstance(found, dict) else None


def job(t: Any, told: ToldJob, conflicts: list[str]) -> None:
    row = next(iter(t.jobs.select().where(t.jobs.id == told.id).dicts()), None)
    final = not told.guessed and told.status is not JobStatus.RUNNING
    about = {"kind": told.kind, "groups": json.dumps(list(told.groups)), "started_at": told.started_at}
    end = {"status": told.status.value if final else JobStatus.INTERRUPTED.value, "ended_at": told.ended_at}
    if row is None:
        known = {"settled": final, "guessed": told.guessed, "ends": {}}
        t.jobs.insert({"id": told.id, **about, **end, "report": json.dumps({REBUILT: known})}).execute()
        return
    before = rebuilt(row["report"])
    if before is not None and before.get("guessed") and not told.guessed:
        t.jobs.update(**about, report=json.dumps({REBUILT: before | {"guessed": False}})).where(
            t.jobs.id == told.id
        ).execute()
        before = before | {"guessed": False}
    if not final:
        return
    unsettled = before is not None and not before["settled"]
    if unsettled or (row["status"] == JobStatus.INTERRUPTED.value and told.status not in _OPEN):
        report = row["report"] if before is None else json.dumps({REBUILT: before | {"settled": True}})
        t.jobs.update(**end, report=report).where(t.jobs.id == told.id).execute()
    elif row["status"] != told.status.value and told.status not in _OPEN:
        conflicts.append(f"job {told.id} is {row['status']} here, and {told.status.value} on tape: left as it is")


def object_(t: Any, told: ToldObject, conflicts: list[str]) -> None:
    row = next(iter(t.objects.select().where(t.objects.id == told.id).dicts()), None)
    columns = {
        "job": told.job,
        "content": told.content,
        "level": told.level,
        "as_of": told.as_of,
        "parent": told.parent,
        "stands_for": told.stands_for,
        "outcome": told.outcome.value,
        "blocks": told.blocks,
        "bytes": told.bytes,
        "files": told.files,
        "digest": told.digest,
        "step": told.step,
        "codec": told.codec,
        "key": told.key,
    }
    if row is None:
        t.sources.insert(name=told.source).on_conflict_ignore().execute()
        (source,) = next(iter(t.sources.select(t.sources.id).where(t.sources.name == told.source).tuples()))
        t.objects.insert(
            {"id": told.id, "source": source, "troubles": json.dumps(list(told.troubles)), **columns}
        ).execute()
        return
    ended = row["outcome"] in (Outcome.WHOLE.value, Outcome.FAILED.value)
    here = (row["outcome"], row["blocks"], row["bytes"])
    if ended and told.ended and here != (told.outcome.value, told.blocks, told.bytes):
        conflicts.append(
            f"object {told.id} of {told.source} is {row['outcome']} with {row['blocks']} blocks here, and "
            f"{told.outcome.value} with {told.blocks} on tape: left as it is"
        )
        return
    changed = {name: value for name, value in columns.items() if row[name] is None and value is not None}
    if told.ended and not ended:
        changed |= {name: value for name, value in columns.items() if value is not None}
    if told.guessed:
        if told.job > row["job"]:
            changed.pop("job", None)
    elif told.ended or not ended:
        wins = ("job", "step") if told.step is not None else ("job",)
        changed |= {name: columns[name] for name in wins if columns[name] != row[name]}
    if len(told.troubles) > len(json.loads(row["troubles"])):
        changed["troubles"] = json.dumps(list(told.troubles))
    if changed:
        t.objects.update(**changed).where(t.objects.id == told.id).execute()


def copy(t: Any, object: str, told: ToldCopy) -> int:
    """Gives its id. Of two jobs that wrote it the one with the later id is the last: ids sort by time."""
    c = t.copies
    this = (c.object == object) & (c.agent == told.agent) & (c.job == told.job)
    row = next(iter(c.select(c.id, c.writer).where(this).tuples()), None)
    if row is None:
        id = int(
            c.insert(
                {
                    "object": object,
                    "job": told.job,
                    "writer": told.writer,
                    "agent": told.agent,
                    "agent_group": told.group,
                    "drive": told.drive,
                    "status": CopyStatus.MISSING.value,
                }
            ).execute()
        )
    else:
        id = int(row[0])
        if told.writer > row[1]:
            c.update(writer=told.writer).where(c.id == id).execute()
    if told.retired:
        c.update(status=CopyStatus.RETIRED.value).where(c.id == id).execute()
    return id


def volume(t: Any, told: ToldVolume, conflicts: list[str], *, at_hand: bool = False) -> None:
    """`at_hand`: it is the one that was read, and not just spoken of: where it is now counts."""
    v = t.volumes
    row = next(iter(v.select().where(v.id == told.id).dicts()), None)
    wanted = _columns(v, told.row) | {"id": told.id, "state": told.state.value}
    if told.state is VolumeState.APPENDABLE:
        wanted["state"] = VolumeState.UNKNOWN.value
    if row is None:
        _make_room(t, wanted, conflicts)
        v.insert(wanted).execute()
        return
    changed: dict[str, Any] = {}
    if RANKS[VolumeState(wanted["state"])] > RANKS[VolumeState(row["state"])]:
        changed |= {name: wanted[name] for name in ("state", "reason", "state_at") if name in wanted}
    elif wanted["state"] == row["state"]:
        changed |= {name: wanted[name] for name in ("reason", "state_at") if name in wanted and row[name] is None}
    if wanted["end_position"] > row["end_position"]:
        changed["end_position"] = wanted["end_position"]
    if wanted.get("successor") is not None and row["successor"] is None:
        changed |= {name: wanted[name] for name in ("successor", "label", "cartridge")}
    elif at_hand and row["successor"] is None:
        now = {name: wanted[name] for name in ("drive", "cartridge", "barcode") if wanted.get(name) is not None}
        changed |= {name: value for name, value in now.items() if value != row[name]}
    if changed:
        whole = dict(row) | changed
        _make_room(t, whole, conflicts)
        v.update(**changed | {name: whole[name] for name in ("label", "cartridge") if whole[name] != row[name]}).where(
            v.id == told.id
        ).execute()


def is_followed(t: Any, id: str) -> bool:
    """Whether another volume goes on where this one ended."""
    return bool(list(t.volumes.select(t.volumes.id).where(t.volumes.previous == id).limit(1).tuples()))


def _columns(v: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in v._columns if name in row}


def _make_room(t: Any, wanted: dict[str, Any], conflicts: list[str]) -> None:
    """Two volumes have neither one label nor one place."""
    v = t.volumes
    others = v.id != wanted["id"]
    if list(v.select(v.id).where(others & (v.label == wanted["label"])).tuples()):
        name = f"{wanted['label'][:19]}-{wanted['id'][-12:]}"
        conflicts.append(
            f"there is another volume {wanted['label']} here: volume {wanted['id']} is called {name} from now on"
        )
        wanted["label"] = name
    place = others & (v.drive == wanted["drive"]) & (v.cartridge == wanted["cartridge"])
    for id, label in list(v.select(v.id, v.label).where(place).tuples()):
        conflicts.append(
            f"cartridge {wanted['cartridge']} of {wanted['drive']} is volume {wanted['label']} now, and was {label}, "
            f"which is not there any more"
        )
        v.update(cartridge=f"{wanted['cartridge'][:19]}-{id[-12:]}").where(v.id == id).execute()
