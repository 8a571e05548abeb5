"""`demux`: each object of some volumes goes onto another drive in one piece.

How many passes over the volumes that takes, and who waits in the spool meanwhile, `tapeloom.compile.passes` plans; each
pass is one round. An object that a round did not bring to its end is not completed, which would leave it in two pieces:
the same command writes it anew, and the old part is retired. Only blocks that the volumes do not give come afterwards,
from other copies, and stand apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import UUID

import numpy as np
from msgspec.structs import replace

from tapeloom.catalog import Catalog, Copy, CopyStatus, JobRow, Object, Place, Volume, VolumeState
from tapeloom.catalog.damage import without
from tapeloom.compile import compile_job
from tapeloom.compile.passes import Pass as PlannedPass
from tapeloom.compile.passes import PassPlan, SourceVolume, plan_passes
from tapeloom.config import Config
from tapeloom.config.faults import quoted
from tapeloom.device.waiting import WaitingDrive
from tapeloom.errors import UsageError
from tapeloom.limits import PAGE_BYTES
from tapeloom.ops.copying import Copying, CopyResult, Watch
from tapeloom.ops.demuxplan import DemuxPlan, DemuxResult, planned_pass
from tapeloom.ops.mounts import drives_for, home_of, reader_for, refuse_unknown_target, timing_of
from tapeloom.ops.owed import Debt, Unpaid, all_of, held_of, missing_in
from tapeloom.ops.rounds import Carried, RoundResult, Span, open_round, passes_of, with_room
from tapeloom.ops.unweaving import SPOOL, VERB, Unit, Unwoven, place_of, steps_of, trip_of
from tapeloom.runtime import Ending
from tapeloom.volume.runs import BLOCKS, OBJECT, POSITION
from tapeloom.volume.spans import blocks_in

ANEW = "it was cut short, and would stand in two pieces: the same command writes it anew"
UNBEGUN = "nothing of it was written: the same command writes it"


class Demuxing:
    """A demultiplexing that is decided and holds the catalog: `plan` says how it will go, `run` does it."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        volumes: Sequence[Volume],
        targets: Sequence[str],
        *,
        spool_bytes: int,
        in_memory: bool = False,
        retire: bool = False,
    ):
        self.volumes = volumes
        self.remarks: list[str] = []
        self._config = config
        self._catalog = catalog
        self._targets = list(targets)
        self._home = volumes[0].drive
        self._source = reader_for(config, self._home, targets) or self._home
        self._spool_bytes = spool_bytes
        self._folder: Path | None = None if in_memory else config.server.spool
        self._retire = retire
        self._patient = False
        self._labels = {volume.label for volume in volumes}
        self._stale: list[int] = []
        self._mending: list[Debt] = []
        self.already = 0
        units = self._choose()
        self._read = self._volumes_of(units)
        # a slot: of blocks of several lengths the longest
        longest = max((volume.block_bytes for volume in self._read), default=PAGE_BYTES)
        self._place_bytes = -(-longest // PAGE_BYTES) * PAGE_BYTES
        self._units, self._passes, self._apart = self._along(units)

    # What there is to do

    def _choose(self) -> list[Unit]:
        units = []
        on = [item for item in self._catalog.objects() if self._source_of(item) is not None]
        for item in on:
            index = self._catalog.index_of(item.id)
            members = [one for one in (item, index) if one is not None and self._is_wanted(one)]
            carried = [one for one in map(self._carried, members) if one is not None]
            if item in members or carried:
                units.append(Unit(tuple(carried)))
            else:
                self.already += 1
        return [unit for unit in units if unit.members]

    def _source_of(self, item: Object) -> Copy | None:
        """Its copy on the volumes, of a file index also beside them; of several the one that has most of it."""
        found = [
            copy
            for copy in item.copies
            if home_of(self._config, copy.drive) == home_of(self._config, self._home)
            and copy.status not in (CopyStatus.RETIRED, CopyStatus.MISSING)
            and (item.is_index or not self._labels.isdisjoint(copy.volumes))
        ]
        held = {copy.id: blocks_in(self._held(item, copy)) for copy in found}
        return max(found, key=lambda copy: (held[copy.id], -copy.id), default=None)

    def _held(self, item: Object, copy: Copy) -> list[Span]:
        return held_of(self._catalog, copy, all_of(self._catalog, item))

    def _is_wanted(self, item: Object) -> bool:
        """Whether it is to be written as a whole. One that lacks just what its copy on the volumes does not give is
        completed from elsewhere; of one that lacks anything else the part is retired."""
        writers = {place_of(target).agent: target for target in self._targets}
        own = [copy for copy in item.copies if copy.agent in writers and copy.drive == writers[copy.agent]]
        if any(copy.status is CopyStatus.COMPLETE for copy in own):
            return False
        source = self._source_of(item)
        given = [] if source is None else self._held(item, source)
        wanted = True
        for copy in own:
            if copy.status not in (CopyStatus.PARTIAL, CopyStatus.MISSING):
                continue
            missing = self._catalog.missing(copy.id)
            if wanted and copy.volumes and without(missing, given) == missing:
                self._mending += [Debt(item.id, place_of(copy.drive))] if missing else []
                wanted = False
            else:
                self._stale.append(copy.id)
        return wanted

    def _carried(self, item: Object) -> Carried | None:
        source = self._source_of(item)
        spans = [] if source is None else self._held(item, source)
        return Carried(item, source, tuple(spans), "", "") if source is not None and spans else None

    def _volumes_of(self, units: Iterable[Unit]) -> list[Volume]:
        labels = {label for unit in units for one in unit.members for label in one.source.volumes}
        more = sorted(labels - self._labels)
        if more:
            self.remarks.append(f"objects go on on {', '.join(more)}, which are read for them as well")
        return [volume for volume in self._catalog.volumes(self._home) if volume.label in labels]

    def _along(self, units: Sequence[Unit]) -> tuple[list[Unit], PassPlan, list[Carried]]:
        """The units and their passes, and the file indexes that come in a round of their own: all of them, where they
        would make more passes if each was to stand behind its object."""
        alone, indexes = [], []
        for unit in units:
            objects = tuple(one for one in unit.members if not one.object.is_index)
            indexes += [one for one in unit.members if one.object.is_index]
            if objects:
                alone.append(Unit(objects))
        together = [unit for unit in units if not all(one.object.is_index for one in unit.members)]
        left = [one for unit in units if unit not in together for one in unit.members]
        plan, plan_alone = self._plan(together), self._plan(alone)
        if len(plan.passes) <= len(plan_alone.passes):
            return together, plan, left
        self.remarks.append("file indexes go along in a further round: behind their objects they would ask for a pass")
        return alone, plan_alone, indexes

    def _plan(self, units: Sequence[Unit]) -> PassPlan:
        carried = [one for unit in units for one in unit.members]
        unit_of = np.array([number for number, unit in enumerate(units) for _ in unit.members], np.int64)
        runs = {
            one.label: np.column_stack((unit_of[one.runs[:, OBJECT]], one.runs[:, [POSITION, BLOCKS]]))
            for one in passes_of(self._catalog, carried)
        }
        nothing = np.zeros((0, 3), np.int64)
        volumes = [SourceVolume(one.label, self._place_bytes, runs.get(one.label, nothing)) for one in self._read]
        drives = self._config.drives
        targets = [timing_of(drives[target]) for target in self._targets]
        return plan_passes(volumes, timing_of(drives[self._source]), targets, self._spool_bytes)

    def plan(self) -> DemuxPlan:
        """What `run` would do."""
        where = None if self._folder is None else str(self._folder)
        afterwards = []
        if self._retire:
            labels = ", ".join(volume.label for volume in self.volumes)
            afterwards = [f"{labels}: retired, each when all of it has its receipts"]
        return DemuxPlan(
            source=self._source,
            targets=tuple(self._targets),
            passes=tuple(planned_pass(one, self._targets, self._units) for one in self._passes.passes),
            reason=self._passes.reason,
            fewest=self._passes.fewest,
            spool_bytes=self._spool_bytes,
            spool_bytes_max=self._passes.spool_bytes_max,
            spool=where,
            memory=self._config.server.memory if self._passes.passes else 0,
            seconds=self._passes.seconds,
            already=self.already,
            indexes_apart=len(self._apart),
            remarks=tuple(self.remarks),
            afterwards=tuple(afterwards),
        )

    # Doing it

    def run(self, watch: Watch = lambda running: nullcontext(lambda: None), *, patient: bool = False) -> DemuxResult:
        """All passes, then what the volumes did not give. `watch` and `patient` as for `Copying.run`."""
        self._patient = patient
        for copy in self._stale:
            self._catalog.set_copy_status(copy, CopyStatus.RETIRED)
        rounds: list[RoundResult] = []
        gone: dict[str, str] = {}
        most = 0
        for planned in self._passes.passes:
            made = self._pass(planned, gone, watch)
            if made is None:
                continue
            rounds.append(made[0])
            most = max(most, made[1])
            for agent in made[0].agents:
                if agent.ending is not Ending.COMPLETE and agent.drive in self._targets:
                    gone[agent.drive] = agent.why or agent.ending
            if made[0].stopped:
                break
        passes = len(rounds)
        debts = self._debts()
        unpaid = self._mend(debts, rounds, gone, watch)
        copied = CopyResult(rounds, self._table(debts), unpaid, self.already, self.remarks)
        retired, kept = self._put_away(copied) if self._retire else ([], [])
        return DemuxResult(copied, passes, most * self._place_bytes, retired, kept)

    def _debts(self) -> list[Debt]:
        """Of all that is planned: who is to have it."""
        debts = []
        for planned in self._passes.passes:
            for target, ways in zip(self._targets, planned.targets, strict=True):
                members = [one for way in ways for one in self._units[way.object].members]
                debts += [Debt(one.object.id, place_of(target)) for one in members]
        return list(dict.fromkeys([*debts, *self._mending]))

    def _pass(self, planned: PlannedPass, gone: dict[str, str], watch: Watch) -> tuple[RoundResult, int] | None:
        """One round, in whose result what waited counts as read once, from tape; and the most blocks that waited. None
        where all its targets have failed before."""
        ways = tuple(
            () if target in gone else ways for target, ways in zip(self._targets, planned.targets, strict=True)
        )
        planned = replace(planned, targets=ways)
        trip = trip_of(self._config, self._source, self._targets, planned, self._units)
        if not trip.carried:
            return None
        trip = replace(
            trip,
            config=with_room(trip.config, self._catalog, (one.source for one in trip.carried)),
            # as they are now: parts of them have been retired
            carried=tuple(replace(one, object=self._catalog.object(one.object.id)) for one in trip.carried),
        )
        rows = {volume.label: row for row, volume in enumerate(self._read)}
        steps = steps_of(self._catalog, trip, planned, self._units, rows)
        blocks = sum(way.spooled_blocks for way in planned.ways)

        def spool() -> WaitingDrive:
            places = planned.spool_bytes_max // self._place_bytes
            return WaitingDrive(self._folder, name=SPOOL, place_bytes=self._place_bytes, places=places, blocks=blocks)

        unwoven = Unwoven(steps, spool)
        schedule = compile_job(trip.config, trip.groups)
        with (
            open_round(self._catalog, VERB, trip, schedule, unwoven, patient=self._patient) as running,
            watch(running) as on_tick,
        ):
            result = running.run(on_tick)
            again = unwoven.read_again
            result = replace(result, blocks=result.blocks - again.blocks, bytes=result.bytes - again.bytes)
            return result, unwoven.spool_blocks_most

    def _mend(
        self, debts: Sequence[Debt], rounds: list[RoundResult], gone: dict[str, str], watch: Watch
    ) -> list[Unpaid]:
        """Brings what the volumes did not give: of one object after another, so that they do not lie among one another
        again. Then the file indexes that did not go along. Gives what cannot be had, or must not be now."""
        lost: dict[UUID, list[Span]] = defaultdict(list)
        for one in rounds:
            for left in one.left:
                lost[left.object].append((left.fault.where.seq, left.fault.where.last))
        unpaid: list[Unpaid] = []
        for debt in debts:
            item = self._catalog.object(debt.object)
            lacking = missing_in(self._catalog, item, debt.place)
            if not lacking:
                continue
            source = self._source_of(item)
            given = without([] if source is None else self._held(item, source), lost[item.id])
            again = ANEW if _is_begun(item, debt.place) else UNBEGUN
            why = gone.get(debt.place.drive)
            if why is not None:
                why = f"drive {debt.place.drive} did not come to its end: {why}; {again}"
            elif rounds and rounds[-1].stopped:
                why = f"stopped; {again}"
            elif without(lacking, given) != lacking and not item.is_index:
                why = again
            if why is not None:
                unpaid.append(Unpaid(item, debt.place, tuple(lacking), why))
                continue
            result = Copying(self._config, self._catalog, VERB, [debt]).run(watch, patient=self._patient)
            rounds += result.rounds
            unpaid += result.unpaid
            if result.rounds and not item.is_index:
                self.remarks.append(
                    f"{item.source} {item.id}: what the volumes do not give of it came from other copies, and stands "
                    f"apart from the rest on {debt.place.drive}"
                )
        if not (rounds and rounds[-1].stopped):
            unpaid += self._indexes(rounds, gone, watch)
        return unpaid

    def _indexes(self, rounds: list[RoundResult], gone: dict[str, str], watch: Watch) -> list[Unpaid]:
        """Each to where its object is."""
        debts = []
        for one in self._apart:
            assert one.object.parent is not None, "a file index is of an object"
            item = self._catalog.object(one.object.parent)
            writers = {place_of(target).agent: target for target in self._targets if target not in gone}
            here = [copy for copy in item.copies if copy.agent in writers and copy.status is CopyStatus.COMPLETE]
            debts += [Debt(one.object.id, place_of(copy.drive)) for copy in here[-1:]]
        if not debts:
            return []
        result = Copying(self._config, self._catalog, VERB, debts).run(watch, patient=self._patient)
        rounds += result.rounds
        return result.unpaid

    def _table(self, debts: Sequence[Debt]) -> list[JobRow]:
        rows = []
        for debt in debts:
            item = self._catalog.object(debt.object)
            here = [copy for copy in item.copies if (copy.agent, copy.drive) == (debt.place.agent, debt.place.drive)]
            if here and not item.is_index:
                lacking = blocks_in(self._catalog.missing(here[-1].id))
                blocks = item.blocks or 0
                rows.append(JobRow(item.id, item.source, item.outcome, here[-1], blocks - lacking, item.blocks))
        return rows

    def _put_away(self, copied: CopyResult) -> tuple[list[str], list[str]]:
        """Retires the volumes all of which is elsewhere now."""
        retired, kept = [], []
        for volume in self.volumes:
            held = [
                (item, copy)
                for item in self._catalog.objects(indexes=True)
                for copy in item.copies
                if volume.label in copy.volumes and copy.status is not CopyStatus.RETIRED
            ]
            if copied.stopped or not all(self._is_safe(item) for item, _ in held):
                kept.append(volume.label)
            else:
                self._catalog.put_out_of_use(volume.id, VolumeState.RETIRED, [copy.id for _, copy in held])
                retired.append(volume.label)
        return retired, kept

    def _is_safe(self, item: Object) -> bool:
        """Whether a target has all that there is of it."""
        return any(not missing_in(self._catalog, item, place_of(target)) for target in self._targets)


def _is_begun(item: Object, place: Place) -> bool:
    """Whether something of a copy that is counted on stands there."""
    here = [copy for copy in item.copies if (copy.agent, copy.drive) == (place.agent, place.drive)]
    return any(copy.volumes and copy.status is not CopyStatus.RETIRED for copy in here)


@contextmanager
def open_demux(
    config: Config,
    labels: Sequence[str],
    targets: Sequence[str],
    *,
    spool_bytes: int | None = None,
    in_memory: bool = False,
    retire: bool = False,
) -> Iterator[Demuxing]:
    """`labels` are volumes of one drive, `targets` drives. Without `spool_bytes`: as much as `spool_max` of the
    configuration; 0: nothing waits.

    Raises
    ------
    NotFound
        There is no such volume.
    UsageError
        There is no such drive, a drive would have to read and write, or a volume is out of use.
    HeldError
        The state folder is in another process's hands.
    """
    for target in targets:
        refuse_unknown_target(config, target)
        if targets.count(target) > 1:
            raise UsageError(f"drive {target} is named by --to more than once")
    if not targets:
        raise UsageError("there is no drive to write to: name one, or more, with --to")
    with Catalog.open(config.server.state) as catalog:
        volumes = [catalog.volume(label) for label in dict.fromkeys(labels)]
        drives = list(dict.fromkeys(volume.drive for volume in volumes))
        if len(drives) != 1:
            raise UsageError(f"the volumes are of drives {', '.join(drives)}: take those of one drive at a time")
        for volume in volumes:
            if volume.state in (VolumeState.RETIRED, VolumeState.SCRATCH):
                raise UsageError(f"volume {volume.label} is {volume.state} already: nothing on it is counted on")
            if drives_for(config, volume.drive) and reader_for(config, volume.drive, targets) is None:
                raise UsageError(
                    f"volume {volume.label} is one of drive {volume.drive}, which would have to read and write at "
                    "once: give other drives to --to"
                )
            if not drives_for(config, volume.drive):
                raise UsageError(
                    f"{config.shown}: there is no drive {quoted(volume.drive)}, which volume {volume.label} is of"
                )
        size = config.server.spool_max if spool_bytes is None else spool_bytes
        yield Demuxing(config, catalog, volumes, targets, spool_bytes=size, in_memory=in_memory, retire=retire)
