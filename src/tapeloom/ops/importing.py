"""Importing: the catalog made again, or completed, from what the volumes themselves say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from tapeloom import _kernel
from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Volume, VolumeState
from tapeloom.catalog.rebuilding import Added, Home, Rebuilding
from tapeloom.config import Config
from tapeloom.config.faults import nearest, quoted
from tapeloom.device import UNNAMED
from tapeloom.errors import NoMedium, NotFound, TapeloomError, UsageError
from tapeloom.ops.cartridges import Operator, Round, Stopped
from tapeloom.ops.mounts import drives_for
from tapeloom.volume.choosing import label_of_its_own
from tapeloom.volume.gathering import gather
from tapeloom.volume.mounting import read_label

if TYPE_CHECKING:
    from tapeloom.config import Drive
    from tapeloom.device import Device
    from tapeloom.ops.exporting import Restored
    from tapeloom.volume.evidence import Found

Span = tuple[int, int]
"""First and last seq, both included."""

OnProgress = Callable[[str, int, int], None]
"""Told a cartridge, how many of its positions are passed, and how many it has; never by two threads at once."""


class Imported(Struct, frozen=True):
    """What came of one cartridge. `why`: it gave nothing; `way`: "tables", "scan" (block by block) or both; `left`
    counts blocks that no filemark proves, which the next job on this volume will overwrite."""

    drive: str
    cartridge: str
    label: str | None = None
    id: UUID | None = None
    way: str = ""
    scanned: int = 0
    objects: int = 0
    receipts: int = 0
    left: int = 0
    state: VolumeState | None = None
    remarks: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    why: str | None = None
    blank: bool = False


class Short(Struct, frozen=True):
    """A copy that does not have all of its object; `missing` are blocks (first seq, last seq)."""

    object: Object
    copy: Copy
    missing: tuple[Span, ...]


class ImportResult(Struct, frozen=True):
    """`short` are copies that lack blocks, `unseen` labels of volumes that records speak of and that were never read,
    `unknown` labels of volumes whose state nobody can tell. `restored`: the exported catalog that was begun with."""

    volumes: list[Imported]
    short: list[Short] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    restored: Restored | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def conflicts(self) -> list[str]:
        return [one for volume in self.volumes for one in volume.conflicts]

    @property
    def exit_status(self) -> int:
        if not any(one.id is not None for one in self.volumes):
            return 3
        trouble = any((one.why and not one.blank) or one.remarks or one.conflicts for one in self.volumes)
        return 1 if trouble or self.short or self.remarks else 0


class Wanted(Struct, frozen=True):
    """What is to be imported: labels or cartridges (none: all there are), out of which drives (none: all). `scan`:
    block by block whatever the tables say. `appendable`: volumes of unknown state are gone on with by the next job.
    `indexes`: file indexes are brought back at once. `exported`: an empty catalog is begun from the newest export."""

    volumes: tuple[str, ...] = ()
    drives: tuple[str, ...] = ()
    scan: bool = False
    appendable: bool = False
    indexes: bool = False
    exported: bool = True


def import_volumes(
    config: Config,
    wanted: Wanted,
    *,
    on_progress: OnProgress = lambda cartridge, done, total: None,
    operator: Operator | None = None,
) -> ImportResult:
    """Reads volumes, and adds what they say to the catalog, each in one transaction: what has come stays, whatever
    happens to the next. A library is read by all of its drives that are free. `operator` is asked for further
    cartridges of a drive that stands alone; None: nobody is there, and what is in it is all.

    Raises
    ------
    UsageError
        There is no such drive.
    NotFound
        A volume that was asked for is in none of the drives; what was there has been imported. (Of a cartridge that is
        called so and cannot be read, its row says why.)
    HeldError
        A drive or the state folder is in another process's hands.
    """
    homes = _homes(config, wanted.drives)
    with Catalog.open(config.server.state) as catalog:
        empty = not catalog.jobs() and not catalog.volumes()
        importing = _Importing(config, catalog, wanted, on_progress, operator, keep=empty and wanted.exported)
        importing.run(homes)
        restored = None
        if importing.kept:
            from tapeloom.ops.exporting import restore_newest

            restored = restore_newest(config, catalog, importing.kept, importing.remarks, operator)
        importing.rebuilding.settle()
        importing.remarks += importing.rebuilding.conflicts
        if wanted.appendable:
            importing.confirm()
        if wanted.indexes:
            importing.bring_indexes()
        result = importing.result(restored)
    failed = {row.cartridge for row in result.volumes if row.why and not row.blank}
    missing = [name for name in wanted.volumes if name not in importing.met | failed]
    if missing:
        where = ", ".join(homes)
        raise NotFound(f"no volume {', '.join(missing)} in {where}; the others were imported, if there were any")
    return result


def _homes(config: Config, names: Sequence[str]) -> dict[str, list[Drive]]:
    """The drives to read with: those of a library, or one that stands alone."""
    for name in names:
        if name not in config.drives:
            raise UsageError(
                f"{config.shown}: there is no drive {quoted(name)} for --drive "
                f"({nearest(name, config.drives, 'there are')})"
            )
    chosen: dict[str, list[Drive]] = {}
    for name in dict.fromkeys(names or config.drives):
        chosen.setdefault(config.drives[name].home, []).append(config.drives[name])
    return chosen


class _Importing:
    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        wanted: Wanted,
        on_progress: OnProgress,
        operator: Operator | None,
        *,
        keep: bool,
    ):
        self._config = config
        self.rebuilding = Rebuilding(catalog)
        self.met: set[str] = set()
        self.kept: list[tuple[Found, Home]] = []
        """What was found, and where, in case that an exported catalog is to be begun with after all."""
        self.remarks: list[str] = []
        self._catalog = catalog
        self._wanted = wanted
        self._on_progress = on_progress
        self._keep = keep
        self._rows: list[Imported] = []
        self._turn = threading.RLock()
        self._round = Round(
            config, self._visit, self._failed, enough=self._enough, lacking=self._lacking, operator=operator
        )

    def run(self, homes: dict[str, list[Drive]]) -> None:
        """First the cartridges that are called as what is wanted; only for what is lacking then, all labels are
        looked at."""
        if self._wanted.volumes:
            for drives in homes.values():
                self._at(drives, self._cartridges_wanted().__contains__, may_ask=False)
        for drives in homes.values():
            if not self._enough():
                self._at(drives, lambda name: True, may_ask=True)

    def _at(self, drives: list[Drive], names: Callable[[str], bool], *, may_ask: bool) -> None:
        home = drives[0].home
        first = len(self._rows)
        read = {row.cartridge for row in self._rows if self._config.drives[row.drive].home == home}
        self._round.go(drives, lambda name: name not in read and names(name), may_ask=may_ask)
        if drives[0].library is not None:  # whose drives are now quicker, now slower
            self._rows[first:] = sorted(self._rows[first:], key=lambda row: row.cartridge)

    def _cartridges_wanted(self) -> set[str]:
        known = {one.label: one.cartridge for one in self._catalog.volumes()}
        return {*self._wanted.volumes, *(known[name] for name in self._wanted.volumes if name in known)}

    def _enough(self) -> bool:
        return bool(self._wanted.volumes) and self.met.issuperset(self._wanted.volumes)

    def _lacking(self, home: str) -> list[str]:
        """What a person is to put in, as far as anybody knows."""
        if self._wanted.volumes:
            return [name for name in self._wanted.volumes if name not in self.met]
        return [one.label for one in self._unseen() if one.home == home]

    def _unseen(self) -> list[Volume]:
        seen = {row.id for row in self._rows}
        return [one for one in self._catalog.volumes(current=True) if one.id not in seen]

    def _failed(self, drive: Drive, cartridge: str | None, error: TapeloomError) -> None:
        """A drive that stands alone and is empty is no trouble by itself."""
        empty = cartridge is None and isinstance(error, NoMedium)
        with self._turn:
            self._rows.append(Imported(drive.name, cartridge or "", why=str(error), blank=empty))

    def _visit(self, device: Device, drive: Drive) -> str:
        cartridge = device.loaded or ""
        names = self._wanted.volumes
        if names and cartridge not in names and not self._is_called(device, names):
            return f"{_shown(cartridge)} is not what was asked for"
        found = gather(
            device,
            crc=_kernel.crc32c,
            scan=self._wanted.scan,
            on_progress=lambda done, total: self._progress(cartridge, done, total),
        )
        with self._turn:
            if found is None:
                self._rows.append(Imported(drive.name, cartridge, why="blank", blank=True))
                return f"{_shown(cartridge)} is blank"
            if cartridge == UNNAMED:  # a real drive cannot tell what is in it
                found = replace(found, cartridge=self._name_of(found, drive))
                device.call_it(found.cartridge)
            home = Home(drive.home, tuple(drives_for(self._config, drive.home)), is_library=drive.library is not None)
            added = self.rebuilding.add(found, home=home)
            self.met |= {found.cartridge, found.label or "", *self._known_as(found.id)}
            if self._keep:
                self.kept.append((found, home))
            self._rows.append(_imported(drive.name, found, added))
        return f"volume {found.label or found.id}: {added.objects} objects, {added.receipts} receipts"

    def _progress(self, cartridge: str, done: int, total: int) -> None:
        if self._round.stopping.is_set():
            raise Stopped
        with self._turn:
            self._on_progress(cartridge, done, total)

    def _name_of(self, found: Found, drive: Drive) -> str:
        """What the catalog calls its cartridge, or did when it was written."""
        known = next((one for one in self._catalog.volumes() if one.id == found.id), None)
        if known is not None:
            return known.cartridge
        told = [row for said in found.said for row in said.get("volumes", ()) if row.get("id") == str(found.id)]
        barcode = found.start.barcode if found.start is not None else None
        names = (told[-1].get("cartridge") if told else None, barcode, found.label)
        return next((str(name) for name in names if name), label_of_its_own(drive.name, found.id))

    def _is_called(self, device: Device, names: Sequence[str]) -> bool:
        try:
            start = read_label(device, crc=_kernel.crc32c)
        except TapeloomError:
            return False
        return start is not None and not {start.label, *self._known_as(start.volume)}.isdisjoint(names)

    def _known_as(self, volume: UUID) -> set[str]:
        """It may have got another label since it was written."""
        return {str(volume), *(one.label for one in self._catalog.volumes() if one.id == volume)}

    def confirm(self) -> None:
        for at, row in enumerate(self._rows):
            if row.id is not None and self.rebuilding.confirm(row.id):
                self._rows[at] = replace(row, state=VolumeState.APPENDABLE)

    def bring_indexes(self) -> None:
        from tapeloom.ops.fetching import FromTape

        items, keys = self._catalog.objects(), None
        if any(item.key is not None for item in items):
            from tapeloom.seal import KeyRing

            keys = KeyRing.load(self._config.keys)
        with FromTape(self._config, self._catalog, keys, self.remarks.append) as tapes:
            for item in items:
                wanted = self._catalog.index_of(item.id) is not None and item.status != "retired"
                if wanted and not self._catalog.index_path(item).exists():
                    brought = tapes.bring(item)
                    if brought:
                        self.remarks.pop()  # that it was lost here needs no word

    def result(self, restored: Restored | None) -> ImportResult:
        catalog = self._catalog
        states = {one.id: one.state for one in catalog.volumes()}
        rows = [replace(row, state=states.get(row.id, row.state)) if row.id else row for row in self._rows]
        known = catalog.volumes()
        unseen = [one.label for one in self._unseen() if not catalog.runs_on(one.id)[0]]
        short = [
            Short(item, copy, tuple(catalog.missing(copy.id)))
            for item in catalog.objects(indexes=True)
            for copy in item.copies
            if copy.status in (CopyStatus.PARTIAL, CopyStatus.MISSING, CopyStatus.DAMAGED)
        ]
        unknown = [one.label for one in known if one.state is VolumeState.UNKNOWN]
        return ImportResult(rows, short, unseen, unknown, restored, self.remarks)


def _shown(cartridge: str) -> str:
    return "the cartridge" if cartridge in ("", UNNAMED) else f"cartridge {cartridge}"


def _imported(drive: str, found: Found, added: Added) -> Imported:
    return Imported(
        drive=drive,
        cartridge=found.cartridge,
        label=found.label,
        id=found.id,
        way=found.way,
        scanned=found.scanned,
        objects=added.objects,
        receipts=added.receipts,
        left=found.behind,
        state=added.state,
        remarks=found.remarks,
        conflicts=added.conflicts,
    )
