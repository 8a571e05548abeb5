"""`compact`, `refresh`, `migrate`: what volumes hold goes to another drive, and then they are out of use.

Each only chooses: which objects go on, and what becomes of the volumes. A volume is put out of use when all that was
chosen of it has its receipts elsewhere, and in one transaction: a job that is cut short before leaves it as it was, and
the same command goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum

from msgspec import Struct

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Outcome, Place, Volume, VolumeState
from tapeloom.catalog.damage import without
from tapeloom.catalog.exported import newest_export
from tapeloom.config import Config
from tapeloom.config.faults import quoted
from tapeloom.errors import NotFound, UsageError
from tapeloom.ops.copying import Copying, CopyResult, Watch, worthless
from tapeloom.ops.copyplan import CopyPlan
from tapeloom.ops.mounts import drives_for, refuse_unknown_target
from tapeloom.ops.owed import Debt, in_pool_of
from tapeloom.ops.rounds import Span, uncounted
from tapeloom.ops.selecting import with_indexes
from tapeloom.volume import runs as run_tables

OUT = (VolumeState.RETIRED, VolumeState.SCRATCH)
"""Of volumes that no job goes on with; one that a person has retired may still hold what is counted on."""


class Verb(StrEnum):
    COMPACT = "compact"
    """What is still wanted goes on, and the volumes become scratch."""
    REFRESH = "refresh"
    """Everything goes to a new volume, and the old ones are retired."""
    MIGRATE = "migrate"
    """The same, for whole drives as well."""

    @property
    def leaves(self) -> VolumeState:
        """What the volumes are afterwards."""
        return VolumeState.SCRATCH if self is Verb.COMPACT else VolumeState.RETIRED


class MoveResult(Struct, frozen=True):
    """`emptied` are the volumes that are out of use now, in `state`; `kept` still hold what is nowhere else."""

    state: VolumeState
    copied: CopyResult
    emptied: list[str]
    kept: list[str]
    left_behind: list[Object]

    @property
    def exit_status(self) -> int:
        if self.emptied:
            return 1 if self.kept or self.copied.unpaid else 0
        return self.copied.exit_status


class Moving:
    """A move that is decided and holds the catalog. `copying` has the rounds; `left_behind` are objects that nobody
    wants any more, and that do not go along."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        verb: Verb,
        volumes: Sequence[Volume],
        to: str,
        *,
        fewer_copies: bool = False,
    ):
        self.verb = verb
        self.volumes = volumes
        self._fewer_copies = fewer_copies
        self._out = uncounted(catalog)
        self._catalog = catalog
        self._place = Place(f"{verb}-{to}", verb.value, to)
        self._on = {volume.id: _held(catalog, volume) for volume in volumes}
        labels = {volume.label for volume in volumes}
        wanted, self.left_behind = self._choose()
        self.fewer = [item for item in wanted if not item.is_index and self._has_fewer_afterwards(item)]
        """What will have fewer copies that do not share a volume: several of them come together in one."""
        self.copying = Copying(
            in_pool_of(config, self._place, volumes),
            catalog,
            verb.value,
            [Debt(item.id, self._place) for item in wanted],
            prefer=lambda copy: not labels.isdisjoint(copy.volumes),
            about=sorted(labels),
            remarks=[*self._remarks_of_fewer(), *worthless(wanted, [self._place])],
        )

    def _choose(self) -> tuple[list[Object], list[Object]]:
        every = list(dict.fromkeys(item for held in self._on.values() for item, _ in held))
        if self.verb is not Verb.COMPACT:
            return with_indexes(self._catalog, every), []
        known = self._catalog.objects()
        export = newest_export(self._catalog.objects(indexes=True))
        unwanted = {
            item.id
            for item in every
            if (item.is_export and item != export) or not (item.is_index or item.is_export or _is_wanted(item, known))
        }
        left = [item for item in every if item.id in unwanted or (item.is_index and item.parent in unwanted)]
        behind, held = {item.id for item in left}, {item.id for item in every}
        wanted = [item for item in every if item.id not in behind]
        return with_indexes(self._catalog, wanted), left + [
            item for item in self._retired(known) if item.id not in held
        ]

    def _has_fewer_afterwards(self, item: Object) -> bool:
        labels = {volume.label for volume in self.volumes}
        good = [
            copy
            for copy in item.copies
            if copy.status is CopyStatus.COMPLETE and self._out.isdisjoint(copy.volumes) and not self._is_ours(copy)
        ]
        stay = [copy for copy in good if labels.isdisjoint(copy.volumes)]
        there = any(self._is_at_place(copy) for copy in stay)
        return _apart(stay) + (not there) < _apart(good)

    def _is_at_place(self, copy: Copy) -> bool:
        return (copy.agent, copy.drive) == (self._place.agent, self._place.drive)

    def _is_ours(self, copy: Copy) -> bool:
        """Whether it was made for this very move, before that was cut short."""
        moved = self._catalog.job(copy.job).groups
        return self._is_at_place(copy) and any(volume.label in moved for volume in self.volumes)

    def _remarks_of_fewer(self) -> Iterator[str]:
        for item in self.fewer:
            yield f"{item.shown} {item.id} will have fewer copies: several come together in one on {self._place.drive}"

    def _retired(self, known: Sequence[Object]) -> list[Object]:
        """What nobody counts on any more of what is on these volumes."""
        labels = {volume.label for volume in self.volumes}
        return [item for item in known if any(not labels.isdisjoint(copy.volumes) for copy in item.copies)]

    def plan(self) -> CopyPlan:
        """What `run` would do."""
        labels = ", ".join(volume.label for volume in self.volumes)
        afterwards = [f"{labels}: {self.verb.leaves}, as soon as all that goes on has its receipts"]
        if self.left_behind:
            names = ", ".join(f"{one.shown} {one.id}" for one in self.left_behind)
            afterwards.append(f"left behind, since nobody wants them: {names}")
        return self.copying.plan(afterwards)

    def run(self, watch: Watch = lambda running: nullcontext(lambda: None), *, patient: bool = False) -> MoveResult:
        """Copies, and puts out of use what holds nothing any more that is not elsewhere. `watch` and `patient`: see
        `Copying.run`.

        Raises
        ------
        UsageError
            Objects would have fewer copies afterwards, and nobody has said that they may. Nothing was touched.
        """
        if self.fewer and not self._fewer_copies:
            names = ", ".join(f"{item.shown} {item.id}" for item in self.fewer[:5])
            more = f" and {len(self.fewer) - 5} more" if len(self.fewer) > 5 else ""
            raise UsageError(
                f"{names}{more} would have fewer copies afterwards, since several of them would come together in one "
                f"on drive {self._place.drive}: move the volumes to different drives, or say --fewer-copies"
            )
        copied = self.copying.run(watch, patient=patient)
        owed = {one.object.id: one.missing for one in copied.unpaid}
        emptied, kept = [], []
        for volume in self.volumes:
            held = self._on[volume.id]
            if copied.stopped or any(self._holds(copy, owed.get(item.id, ())) for item, copy in held):
                kept.append(volume.label)
            else:
                self._catalog.put_out_of_use(volume.id, self.verb.leaves, [copy.id for _, copy in held])
                emptied.append(volume.label)
        return MoveResult(self.verb.leaves, copied, emptied, kept, self.left_behind)

    def _holds(self, copy: Copy, lacking: Sequence[Span]) -> bool:
        """Whether a copy has, or should have, any of the blocks that could not be had."""
        return bool(lacking) and without(lacking, run_tables.spans(self._catalog.runs(copy.id).table)) != list(lacking)


def _held(catalog: Catalog, volume: Volume) -> list[tuple[Object, Copy]]:
    """The copies that count on a volume."""
    return [
        (item, copy)
        for item in catalog.objects(indexes=True)
        for copy in item.copies
        if volume.label in copy.volumes and copy.status is not CopyStatus.RETIRED
    ]


def _apart(copies: Iterable[Copy]) -> int:
    """How many of these copies can be lost one by one: those that share a volume go together."""
    groups: list[set[str]] = []
    for labels in (set(copy.volumes) for copy in copies):
        sharing = [group for group in groups if not group.isdisjoint(labels)]
        groups = [group for group in groups if group.isdisjoint(labels)] + [labels.union(*sharing)]
    return len(groups)


def _is_wanted(item: Object, known: Sequence[Object]) -> bool:
    """Nobody wants one whose source broke off, once there is a later one that is whole and has a complete copy."""
    if item.outcome is Outcome.WHOLE:
        return True
    return not any(one.source == item.source and one.as_of >= item.as_of and one.status == "complete" for one in known)


@contextmanager
def open_moving(
    config: Config, verb: Verb, labels: Sequence[str], to: str, *, fewer_copies: bool = False
) -> Iterator[Moving]:
    """`labels` are volumes; for a migration drives, too, which stand for all their volumes that are in use.

    Raises
    ------
    NotFound
        There is no such volume.
    UsageError
        There is no such drive, or a volume is in the drive that all is to go to, or out of use.
    HeldError
        The state folder is in another process's hands.
    """
    refuse_unknown_target(config, to)
    with Catalog.open(config.server.state) as catalog:
        volumes: dict[Volume, None] = {}
        for label in labels:
            if verb is Verb.MIGRATE and not catalog.has_label(label):
                volumes.update(dict.fromkeys(_in_use(config, catalog, label)))
            else:
                volumes[catalog.volume(label)] = None
        for volume in volumes:
            if volume.state in OUT and not _held(catalog, volume):
                raise UsageError(f"volume {volume.label} is {volume.state} already, and nothing on it is counted on")
            if drives_for(config, volume.drive) == [to]:
                raise UsageError(
                    f"volume {volume.label} is one of drive {to}, which would have to read and write at once: give "
                    "another drive to --to"
                )
        if not volumes:
            raise UsageError(f"{', '.join(labels)}: there is no volume in use")
        yield Moving(config, catalog, verb, list(volumes), to, fewer_copies=fewer_copies)


def _in_use(config: Config, catalog: Catalog, drive: str) -> list[Volume]:
    """A drive that is gone from the configuration has volumes all the same, which other copies may stand in for."""
    known = catalog.volumes(drive)
    if not known and drive not in (*config.drives, *config.libraries):
        raise NotFound(f"there is neither a volume nor a drive {quoted(drive)}; the verb `volumes` lists them")
    return [one for one in known if one.state not in OUT or _held(catalog, one)]
