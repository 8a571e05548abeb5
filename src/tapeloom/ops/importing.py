"""Importing: the catalog made again, or completed, from what the volumes themselves say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

from tapeloom import _kernel
from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, VolumeState
from tapeloom.catalog.rebuilding import Added, Rebuilding
from tapeloom.config import Config
from tapeloom.config.faults import nearest, quoted
from tapeloom.device import UNNAMED
from tapeloom.errors import NotFound, TapeloomError, UsageError
from tapeloom.ops.mounts import open_configured
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
"""Told a cartridge, how many of its positions are passed, and how many it has."""


@dataclass(frozen=True, slots=True)
class Imported:
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


@dataclass(frozen=True, slots=True)
class Short:
    """A copy that does not have all of its object; `missing` are blocks (first seq, last seq)."""

    object: Object
    copy: Copy
    missing: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class ImportResult:
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


@dataclass(frozen=True, slots=True)
class Wanted:
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
    next_cartridge: Callable[[str], bool] = lambda drive: False,
) -> ImportResult:
    """Reads volumes, and adds what they say to the catalog, each in one transaction: what has come stays, whatever
    happens to the next. `next_cartridge` is asked where a drive has no stack and no library: True, once another
    cartridge is in.

    Raises
    ------
    UsageError
        There is no such drive.
    NotFound
        A volume that was asked for is in none of the drives; what was there has been imported.
    HeldError
        A drive or the state folder is in another process's hands.
    """
    drives = _drives(config, wanted.drives)
    with Catalog.open(config.server.state) as catalog:
        empty = not catalog.jobs() and not catalog.volumes()
        importing = _Importing(config, catalog, wanted, on_progress, keep=empty and wanted.exported)
        importing.run(drives, next_cartridge)
        restored = None
        if importing.kept:
            from tapeloom.ops.exporting import restore_newest

            restored = restore_newest(config, catalog, importing.kept, importing.remarks)
        importing.rebuilding.settle()
        importing.remarks += importing.rebuilding.conflicts
        if wanted.appendable:
            importing.confirm()
        if wanted.indexes:
            importing.bring_indexes()
        result = importing.result(restored)
    missing = [name for name in wanted.volumes if name not in importing.met]
    if missing:
        where = ", ".join(drive.name for drive in drives)
        raise NotFound(f"no volume {', '.join(missing)} in {where}; the others were imported, if there were any")
    return result


def _drives(config: Config, names: Sequence[str]) -> list[Drive]:
    """Of several at one library the first will do."""
    for name in names:
        if name not in config.drives:
            raise UsageError(
                f"{config.shown}: there is no drive {quoted(name)} for --drive "
                f"({nearest(name, config.drives, 'there are')})"
            )
    chosen: dict[str, Drive] = {}
    for name in names or config.drives:
        chosen.setdefault(config.drives[name].home, config.drives[name])
    return list(chosen.values())


class _Importing:
    def __init__(self, config: Config, catalog: Catalog, wanted: Wanted, on_progress: OnProgress, *, keep: bool):
        self._config = config
        self.rebuilding = Rebuilding(catalog)
        self.met: set[str] = set()
        self.kept: list[tuple[Found, str]] = []
        """What was found, and where, in case that an exported catalog is to be begun with after all."""
        self.remarks: list[str] = []
        self._catalog = catalog
        self._wanted = wanted
        self._on_progress = on_progress
        self._keep = keep
        self._rows: list[Imported] = []

    def run(self, drives: Sequence[Drive], next_cartridge: Callable[[str], bool]) -> None:
        """First the cartridges that are called as what is wanted; only for what is lacking then, all labels are
        looked at."""
        if self._wanted.volumes:
            for drive in drives:
                self._drive(drive, next_cartridge, by_name=True)
        for drive in drives:
            if not self._wanted.volumes or not self.met.issuperset(self._wanted.volumes):
                self._drive(drive, next_cartridge, by_name=False)

    def _drive(self, drive: Drive, next_cartridge: Callable[[str], bool], *, by_name: bool) -> None:
        with open_configured(self._config, drive.name) as device:
            if not device.keeps:
                return
            for name in self._cartridges(device, drive, next_cartridge, by_name=by_name):
                try:
                    if name is not None and device.loaded != name:
                        device.load(name)
                    row = self._volume(device, drive)
                except TapeloomError as error:
                    row = Imported(drive.name, name or str(device.loaded), why=str(error))
                if row is not None:
                    self._rows.append(row)

    def _cartridges(
        self, device: Device, drive: Drive, next_cartridge: Callable[[str], bool], *, by_name: bool
    ) -> Iterator[str | None]:
        """Names of cartridges to put in; None: the one that is in."""
        if drive.device.startswith("/") and drive.library is None:
            if by_name:
                return  # nobody knows what it is called before it was read
            if device.loaded is not None:
                yield None
            while next_cartridge(drive.name):
                device.load()
                yield None
            return
        read = {row.cartridge for row in self._rows if row.drive == drive.name}
        for name in device.cartridges():
            if name not in read and (not by_name or name in self._wanted.volumes):
                yield name

    def _volume(self, device: Device, drive: Drive) -> Imported | None:
        cartridge = device.loaded or ""
        names = self._wanted.volumes
        if names and cartridge not in names and not self._is_called(device, names):
            return None
        found = gather(
            device,
            crc=_kernel.crc32c,
            scan=self._wanted.scan,
            on_progress=lambda done, total: self._on_progress(cartridge, done, total),
        )
        if found is None:
            return Imported(drive.name, cartridge, why="blank", blank=True)
        if device.loaded == UNNAMED:  # a real drive cannot tell what is in it
            device.call_it(found.label or str(found.id))
            found = replace(found, cartridge=found.label or str(found.id))
        self.met |= {found.cartridge, found.label or "", str(found.id)}
        added = self.rebuilding.add(found, home=drive.home)
        if self._keep:
            self.kept.append((found, drive.home))
        return _imported(drive.name, found, added)

    def _is_called(self, device: Device, names: Sequence[str]) -> bool:
        try:
            start = read_label(device, crc=_kernel.crc32c)
        except TapeloomError:
            return False
        return start is not None and (start.label in names or str(start.volume) in names)

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
        seen = {row.id for row in rows}
        known = catalog.volumes()
        unseen = [
            one.label
            for one in known
            if one.id not in seen and one.successor is None and not catalog.runs_on(one.id)[0]
        ]
        short = [
            Short(item, copy, tuple(catalog.missing(copy.id)))
            for item in catalog.objects(indexes=True)
            for copy in item.copies
            if copy.status in (CopyStatus.PARTIAL, CopyStatus.MISSING, CopyStatus.DAMAGED)
        ]
        unknown = [one.label for one in known if one.state is VolumeState.UNKNOWN]
        return ImportResult(rows, short, unseen, unknown, restored, self.remarks)


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
