"""Volumes go out of use: retired, or scratch where nothing on them is protected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from tapeloom.catalog import Catalog, Volume, VolumeState
from tapeloom.config import Config
from tapeloom.errors import RetentionError, UsageError
from tapeloom.ops.protecting import COUNTED_ON, Protection, Verdict, live

SHOWN_MAX = 5
"""Protected objects that a refusal names, of one volume."""


class Freeing(Struct):
    """What is decided and holds the catalog: of each volume that was looked at, whether it becomes scratch and why."""

    verdicts: Sequence[Verdict]
    any_pool: bool
    _catalog: Catalog

    @property
    def free(self) -> list[Verdict]:
        return [one for one in self.verdicts if one.free]

    def run(self, reason: str) -> list[Volume]:
        """The free ones become scratch; with each, in one transaction, the copies on it stop to count. The volumes, as
        they are now."""
        for verdict in self.free:
            more = {"pool": None} if self.any_pool else {}
            self._catalog.put_out_of_use(
                verdict.volume.id, VolumeState.SCRATCH, self._copies(verdict), reason=reason, **more
            )
        return [self._catalog.volume(verdict.volume.id) for verdict in self.free]

    def _copies(self, verdict: Verdict) -> set[int]:
        """Those on the volume, and those of file indexes whose object has no other copy that counts."""
        copies = {copy.id for _, copy in verdict.copies}
        items = [self._catalog.object(item.id) for item, _ in verdict.copies if not item.is_index]
        gone = [item.id for item in items if {copy.id for copy in live(item)} <= copies]
        indexes = self._catalog.indexes_of(gone).values()
        return copies | {copy.id for index in indexes for copy in index.copies}


@contextmanager
def open_expired(config: Config, *, now_ns: int | None = None, any_pool: bool = False) -> Iterator[Freeing]:
    """Every volume that holds something and that jobs go on with or have filled. What its pool does not keep any
    longer, and nothing needs, becomes scratch. `any_pool`: for jobs of any pool.

    Raises
    ------
    HeldError
        The state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog:
        protection = Protection(config, catalog, now_ns)
        going: list[str] = []
        verdicts = []
        for volume in catalog.volumes(current=True):
            if volume.state in COUNTED_ON and catalog.holds(volume.id):
                verdict = protection.verdict(volume, going)
                verdicts.append(verdict)
                going += [volume.label] if verdict.free else []
        yield Freeing(verdicts, any_pool, catalog)


@contextmanager
def open_freeing(
    config: Config,
    labels: Sequence[str],
    *,
    now_ns: int | None = None,
    any_pool: bool = False,
    refuse: bool = True,
) -> Iterator[Freeing]:
    """The volumes named. `refuse`: all or none.

    Raises
    ------
    NotFound
        There is no such volume.
    UsageError
        One is scratch already, damaged, or gone, or nobody knows what is on it.
    RetentionError
        Something on one of them is protected; it is named.
    HeldError
        The state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog:
        volumes = [catalog.volume(label) for label in dict.fromkeys(labels)]
        for volume in volumes:
            refuse_lost(catalog, volume)
            if volume.state is VolumeState.SCRATCH:
                raise UsageError(f"volume {volume.label} is scratch already")
        protection = Protection(config, catalog, now_ns)
        going = [volume.label for volume in volumes]
        verdicts = [protection.verdict(volume, going, asked_for=True) for volume in volumes]
        kept = [one for one in verdicts if not one.free]
        if refuse and kept:
            raise RetentionError("nothing was done: " + "".join(map(_refusal, kept)))
        yield Freeing(verdicts, any_pool, catalog)


def refuse_lost(catalog: Catalog, volume: Volume) -> None:
    """UsageError: a volume that is not written again, or that must not be: other tapes tell that it is there, but none
    of what is on it, so that nothing on it could be protected."""
    if volume.successor is not None:
        raise UsageError(f"volume {volume.label} is gone: its cartridge was written anew")
    if volume.state is VolumeState.DAMAGED:
        raise UsageError(f"volume {volume.label} is damaged: it is not written again; `tapeloom retire` takes it out")
    if volume.state is VolumeState.UNKNOWN and not catalog.holds(volume.id):
        raise UsageError(
            f"nobody knows what is on volume {volume.label}: `tapeloom import --volume {volume.label}` reads it"
        )


def _refusal(verdict: Verdict) -> str:
    shown = "".join(f"\n  {one}" for one in verdict.protected[:SHOWN_MAX])
    more = len(verdict.protected) - SHOWN_MAX
    return f"volume {verdict.volume.label} is protected:{shown}" + (f"\n  and {more} more" if more > 0 else "")


@contextmanager
def open_retiring_volumes(config: Config, labels: Sequence[str]) -> Iterator[RetiringVolumes]:
    """No job goes on with these volumes any more; what they hold is still read.

    Raises
    ------
    NotFound
        There is no such volume.
    UsageError
        One is scratch, so that nothing on it is counted on, or gone.
    HeldError
        The state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog:
        volumes = [catalog.volume(label) for label in dict.fromkeys(labels)]
        for volume in volumes:
            if volume.state is VolumeState.SCRATCH:
                raise UsageError(
                    f"volume {volume.label} is scratch: no job goes on with it, and nothing on it is counted on"
                )
            if volume.successor is not None:
                raise UsageError(f"volume {volume.label} is gone: its cartridge was written anew")
        yield RetiringVolumes(volumes, catalog)


class RetiringVolumes(Struct):
    """What is decided and holds the catalog."""

    volumes: Sequence[Volume]
    _catalog: Catalog

    def run(self, reason: str) -> list[Volume]:
        """The volumes, as they are now."""
        for volume in self.volumes:
            self._catalog.set_volume_state(volume.id, VolumeState.RETIRED, reason)
        return [self._catalog.volume(volume.id) for volume in self.volumes]
