"""The catalog itself as an object on tape: written by a job of its own, and an empty state folder begun with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tapeloom.catalog import Catalog, CopyStatus, Object
from tapeloom.catalog.exported import take_over, unpack, write_copy
from tapeloom.catalog.rebuilding import Home, Rebuilding
from tapeloom.config import Config, Group, Source
from tapeloom.config.faults import nearest, quoted
from tapeloom.errors import SourceError, TapeloomError, UsageError, VolumeWanted
from tapeloom.ops.backup import Backup, open_backup
from tapeloom.ops.cartridges import Asked, Operator
from tapeloom.ops.choose import block_bytes_max, blocks_of, choose_copies, layers
from tapeloom.ops.mounts import Mounts
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.owed import media_agent
from tapeloom.runtime import Ending
from tapeloom.volume.header import Content

if TYPE_CHECKING:
    from tapeloom.agent.sink import Sink
    from tapeloom.config import Agent
    from tapeloom.volume.evidence import Found

VERB = "export-catalog"
SOURCE = "tapeloom/catalog"
"""No source of a configuration can be called so: it has a slash."""
_REST = 1 << 62


class Restored(Struct, frozen=True):
    """An exported catalog that a state folder was begun with."""

    object: UUID
    as_of: int
    volumes: tuple[str, ...]


class _Told(Struct, frozen=True):
    """What the job hears in the end."""

    files: int = 1
    troubles: Sequence[object] = ()
    troubles_beyond: int = 0


class CatalogSource:
    """The catalog in the folder `state`, as a source (see `tapeloom.runtime.stream.Source`)."""

    name = SOURCE
    content = int(Content.CATALOG)

    def __init__(self, state: Path):
        self._state = state

    def run(self, sink: Sink) -> _Told:
        try:
            with (
                tempfile.TemporaryDirectory(prefix=".export-", dir=self._state) as folder,
                Catalog.open(self._state, readonly=True) as catalog,
            ):
                packed = Path(folder) / "catalog.gz"
                write_copy(catalog, packed)
                with packed.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    got, failed = sink.pump(file.fileno(), 0, size)
        except (OSError, TapeloomError) as error:
            raise error if isinstance(error, SourceError) else SourceError(str(error)) from error
        if failed or got != size:
            raise SourceError(f"{packed} cannot be read: {os.strerror(failed)}")
        return _Told()


def due(config: Config, result: BackupResult) -> list[str]:
    """The drives that the catalog goes to after a backup, as `[server] export_catalog` wants it: those that the job
    wrote to and had no trouble with. None where it has changed nothing, or somebody has stopped it."""
    if not config.server.export_catalog or result.stopped:
        return []
    wrote = {row.copy.drive for row in result.table if row.blocks_safe}
    well = [one.drive for one in result.agents if one.ending is Ending.COMPLETE and one.drive in wrote]
    return list(dict.fromkeys(well))


@contextmanager
def open_export(config: Config, to: str | Sequence[str] | None = None, *, patient: bool = True) -> Iterator[Backup]:
    """The job that writes the catalog, about to run. `to`: drives, which get a copy each, or a backup group, which
    stands for the drives of its agents and of their mirrors; None: the first backup group. `patient`: it waits for
    cartridges that are not there.

    Raises
    ------
    UsageError
        There is no such drive or group.
    HeldError
        A drive or the state folder is in another process's hands.
    """
    drives = _drives(config, to) if to is None or isinstance(to, str) else list(to)
    agents: dict[str, Agent] = {}
    groups: dict[tuple[str, str], Group] = {}
    above: str | None = None
    for number, drive in enumerate(drives):
        kind, group = ("backup", VERB) if above is None else ("mirror", f"{VERB}-{number}")
        name = f"{VERB}-{drive}"
        feeds = SOURCE if above is None else f"{above}.B1"
        agent = media_agent(config, name, kind, group, drive, {"B1": (feeds,)})  # type: ignore[arg-type]
        agents[name] = replace(agent, pool=_pool_of(config, drive, agent.pool))
        groups[kind, group] = Group(kind, group, (name,))  # type: ignore[arg-type]
        above = name
    sources = {SOURCE: Source(SOURCE, producer=True)}
    own = replace(config, agents=agents, groups=groups, sources=sources)
    with open_backup(own, [VERB], {SOURCE: CatalogSource(config.server.state)}, kind=VERB, patient=patient) as backup:
        yield backup


def forget_older(state: Path, result: BackupResult) -> list[Object]:
    """Once an export is complete nobody wants those before it: their copies are retired. Gives them."""
    with Catalog.open(state) as catalog:
        exports = exported(catalog)
        newest = next((one for one in exports if one.job == result.job and one.status == "complete"), None)
        if newest is None:
            return []
        older = [one for one in exports if one.id != newest.id and one.as_of < newest.as_of and one.status != "retired"]
        catalog.retire(copy.id for one in older for copy in one.copies)
        return older


def exported(catalog: Catalog) -> list[Object]:
    """The catalogs on tape, the newest first."""
    every = [one for one in catalog.objects(indexes=True) if one.content == Content.CATALOG]
    return sorted(every, key=lambda one: one.as_of, reverse=True)


def restore_newest(
    config: Config,
    catalog: Catalog,
    found: Sequence[tuple[Found, Home]],
    remarks: list[str],
    operator: Operator | None = None,
) -> Restored | None:
    """Puts the newest exported catalog that can be read in the place of `catalog`, and adds to it what was found on
    volumes, with the home of each. None: there is none. `operator` is asked for a volume that is not in its drive any
    more."""
    for item in exported(catalog):
        if item.status != "complete":
            continue
        with tempfile.TemporaryDirectory(prefix=".import-", dir=config.server.state) as folder:
            state = Path(folder)
            try:
                labels = _read_by_hand(config, catalog, item, state, operator)
                with Catalog.open(state) as exporting:
                    rebuilding = Rebuilding(exporting)
                    for one, home in found:
                        rebuilding.add(one, home=home)
                    rebuilding.settle()
            except TapeloomError as error:
                remarks.append(f"the exported catalog {item.id} cannot be taken: {error}")
                continue
            take_over(catalog, state)
            return Restored(item.id, item.as_of, labels)
    return None


def _read_by_hand(
    config: Config, catalog: Catalog, item: Object, state: Path, operator: Operator | None
) -> tuple[str, ...]:
    while True:
        try:
            return _read(config, catalog, item, state)
        except VolumeWanted as error:
            labels = next((copy.volumes for copy in item.copies if copy.status is CopyStatus.COMPLETE), ())
            drive = next((volume.home for label in labels for volume in [catalog.volume(label)]), "")
            said = f"the exported catalog is wanted: {error}"
            if operator is None or not operator(Asked(drive, said, labels, lambda: False)):
                raise


def _read(config: Config, catalog: Catalog, item: Object, state: Path) -> tuple[str, ...]:
    """The catalog that an object is, into a new state folder. Gives the labels of the volumes it was on."""
    from tapeloom.runtime.reading import Reading

    copies = layers(catalog, choose_copies(catalog, item))
    with tempfile.TemporaryFile(dir=state) as packed:
        with (
            Mounts(config, catalog.volume) as mounts,
            Reading(
                item.id,
                blocks_of(item, copies),
                copies,
                mounts,
                block_bytes_max(catalog, copies),
                digest=item.digest,
                sealed=item.key,
            ) as reading,
        ):
            reading.sequence.pump_to(packed.fileno(), 0, _REST)
            reading.sequence.proof()
        packed.seek(0)
        unpack(packed, state)
    return tuple(dict.fromkeys(part.label for part in copies[0]))


def _pool_of(config: Config, drive: str, otherwise: str) -> str:
    """What a drive's own agents write to, so that nobody has to put in a volume for the catalog alone."""
    writing = (one.pool for one in config.agents.values() if one.drive == drive and one.kind in ("backup", "mirror"))
    return next(writing, otherwise)


def _drives(config: Config, to: str | None) -> list[str]:
    if to in config.drives:
        return [to]
    names = [group.name for group in config.groups.values() if group.kind == "backup"]
    if to is None and names:
        to = names[0]
    if to not in names:
        raise UsageError(
            f"{config.shown}: there is neither a drive nor a backup group {quoted(str(to))} for --to "
            f"({nearest(str(to), [*config.drives, *names], 'there are')})"
        )
    found = [agent.drive for agent in config.agents.values() if agent.kind == "backup" and agent.group == to]
    fed = {agent.name for agent in config.agents.values() if agent.kind == "backup" and agent.group == to}
    while more := [
        agent
        for agent in config.agents.values()
        if agent.kind == "mirror"
        and agent.name not in fed
        and any(feed.rpartition(".")[0] in fed for feeds in agent.buffers.values() for feed in feeds)
    ]:
        fed |= {agent.name for agent in more}
        found += [agent.drive for agent in more]
    return list(dict.fromkeys(found))
