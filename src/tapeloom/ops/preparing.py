"""From a name, a time and paths to a plan: the chain, its file indexes, the copies of its objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from tapeloom.agent.report import printable
from tapeloom.catalog import Catalog, CopyStatus, Object, Outcome, Volume
from tapeloom.config import Config
from tapeloom.errors import FormatError, KeyMissing, NotFound, RestoreError, UsageError
from tapeloom.ops.chain import Chain, find_chain
from tapeloom.ops.choose import block_bytes_max, blocks_of, choose_copies, dated, layers
from tapeloom.ops.fetching import FromTape
from tapeloom.ops.finding import open_indexes
from tapeloom.ops.mounts import timings_of
from tapeloom.ops.planning import Part, Planner, RestorePlan, Stage
from tapeloom.volume.header import Content, Level

if TYPE_CHECKING:
    from tapeloom.index import Index, Share
    from tapeloom.seal import KeyRing
    from tapeloom.volume.waiting import Waiting


class Request(Struct, frozen=True):
    """What is to be restored.

    `name` is a source's name or an object's id, `at` (ns since 1970 UTC) the time of a source's state, None: now.
    `paths` are paths or patterns below the source's root, none: all. `single`: one object alone, though it may be an
    increment. `copy` (an agent's name) or `volume` (a label) restrict what is read; `partial` puts up with copies that
    are not complete and sources that broke off. `delete`: what the state does not have is to go.
    `keys` are key files beside those of the configuration.
    """

    name: str
    paths: tuple[str, ...] = ()
    at: int | None = None
    single: bool = False
    copy: str | None = None
    volume: str | None = None
    partial: bool = False
    delete: bool = False
    keys: tuple[Path, ...] = ()


class Prepared(Struct, frozen=True):
    """A plan and what its running needs. `indexes` and `parts`, by object, are there where the state was made from file
    indexes; `asked` are the paths, where not all is wanted, to be asked for each entry where there are no parts;
    `renamed`, by object: data that belongs to the state under another of its names alone."""

    plan: RestorePlan
    volume_of: Callable[[UUID], Volume]
    keys: KeyRing | None = None
    indexes: Mapping[UUID, Index] = field(default_factory=dict)
    parts: Mapping[UUID, Sequence[Part]] = field(default_factory=dict)
    asked: Asked | None = None
    renamed: Mapping[UUID, Mapping[bytes, bytes]] = field(default_factory=dict)


class Asked:
    """The paths and patterns that were asked for, with all below them. `unmatched` are those that nothing that was
    looked at is called as."""

    def __init__(self, paths: Sequence[str]):
        from tapeloom.index import Wanted

        self.wanted = Wanted.parse(paths, below=True)
        self._open = {path: Wanted.parse([path], below=True) for path in paths}

    @classmethod
    def of(cls, request: Request) -> Asked | None:
        """None where all is wanted."""
        return cls(request.paths) if request.paths else None

    @property
    def unmatched(self) -> list[str]:
        return list(self._open)

    def matches(self, path: bytes) -> bool:
        if not self.wanted.matches(path):
            return False
        if self._open:
            self._open = {text: one for text, one in self._open.items() if not one.matches(path)}
        return True

    def look_into(self, indexes: Sequence[Index]) -> None:
        """Looks at all names of the state that a chain's indexes make."""
        from tapeloom.index import final_state

        self._open = {text: one for text, one in self._open.items() if next(final_state(indexes, one), None) is None}


@contextmanager
def prepared(
    config: Config, request: Request, *, fetch: bool = True, waiting: Waiting | None = None
) -> Iterator[Prepared]:
    """The plan, with catalog and file indexes open. With `fetch`, indexes that are lost are brought back from tape;
    with `waiting`, cartridges that are not there are waited for.

    Raises
    ------
    UsageError
        Paths, or `delete`, of what is no tree.
    NotFound
        There is no such source, object, copy or time, or nothing is called as the paths say.
    RestoreError
        A link of the chain is missing, or no copy is complete, or `delete` lacks a file index, or an object of the
        chain lacks what there was.
    """
    with ExitStack() as stack:
        catalog = stack.enter_context(Catalog.open(config.server.state, readonly=True))
        chain = find_chain(catalog, request.name, at=request.at, single=request.single, partial=request.partial)
        item = chain.wanted
        if item.content != Content.PAX and (request.paths or request.delete):
            what = "there are no paths in it" if request.paths else "--delete has no meaning"
            raise UsageError(f"{item.source} is one sequence of bytes and no tree: {what}")
        if request.paths and request.delete:
            raise UsageError("--delete goes with a whole state: leave it or the paths out")
        if request.delete:
            _refuse_to_delete(chain)
        keys = keys_of(config, chain.objects, request.keys)
        stages = [
            stage_of(catalog, one, copy=request.copy, volume=request.volume, partial=request.partial)
            for one in chain.objects
        ]
        preparing = _Preparing(chain, stages, keys, planner_of(config, catalog), catalog.volume)
        remarks = list(keys.remarks) if keys is not None else []
        # A partial restore goes on behind damage by them, and --delete knows all names from them.
        wants_indexes = request.paths or request.partial or request.delete or len(stages) > 1
        if item.content != Content.PAX or not wants_indexes:
            yield preparing.whole(remarks)
            return
        ready = None
        with FromTape(config, catalog, keys, remarks.append, waiting) as every_tape:
            tapes = every_tape if fetch else None
            indexes, lacking = open_indexes(stack, catalog, chain, keys, tapes)
            try:
                ready = None if lacking else preparing.indexed(indexes, Asked.of(request), remarks)
            except FormatError:  # what is damaged inside an index shows only where one looks there
                lacking = _bring_damaged(chain, indexes, tapes)
                if not lacking:
                    indexes, lacking = open_indexes(stack, catalog, chain, keys)
        if not lacking:
            yield ready or preparing.indexed(indexes, Asked.of(request), remarks)
        elif request.delete:
            raise RestoreError(f"--delete has to know all names of the state: {lacking[0]}")
        else:
            how = "they are applied whole, one after another" if len(stages) > 1 else "all of it is read"
            unless_asked = [f"{lacking[0]}: {how}"] if request.paths or len(stages) > 1 else []
            yield preparing.whole([*remarks, *unless_asked], Asked.of(request))


def _bring_damaged(chain: Chain, indexes: Mapping[UUID, Index], tapes: FromTape | None) -> list[str]:
    """Goes through file indexes, and has those replaced that turn out to be damaged; sentences on those that cannot
    be."""
    lacking = []
    for item in chain.objects:
        try:
            for _ in indexes[item.id].matching():
                pass
        except FormatError as error:
            if tapes is None or not tapes.bring(item):
                lacking.append(f"the file index of object {item.id} cannot be used ({error})")
    return lacking


def _refuse_to_delete(chain: Chain) -> None:
    """RestoreError where a name that the objects lack may be one that was there all the same."""
    begin = chain.objects[0]
    if begin.level is not Level.FULL:
        raise RestoreError(
            f"object {begin.id} of {begin.source} is an increment, and what it builds on is not restored with it: "
            "--delete would remove all that had not changed; without --delete it goes"
        )
    for item in chain.objects:
        if item.outcome is not Outcome.WHOLE:
            why = "is not whole"
        elif item.troubles:
            why = f"had trouble when it was backed up ({item.troubles[0]})"
        else:
            continue
        raise RestoreError(
            f"object {item.id} of {item.source} {why}: --delete would remove what it could not read; without --delete "
            "it goes"
        )


class _Preparing(Struct, frozen=True):
    """The two ways to a plan."""

    chain: Chain
    stages: Sequence[Stage]
    keys: KeyRing | None
    planner: Planner
    volume_of: Callable[[UUID], Volume]

    def whole(self, remarks: Sequence[str], asked: Asked | None = None) -> Prepared:
        """All objects as they are, the oldest first."""
        plan = self.planner.plan(self.chain, self.stages, indexed=False, remarks=remarks)
        return Prepared(plan, self.volume_of, self.keys, asked=asked)

    def indexed(self, indexes: Mapping[UUID, Index], asked: Asked | None, remarks: Sequence[str]) -> Prepared:
        """The entries that make up the state, each from the object that has its newest version."""
        from tapeloom.index import final_rows

        ordered = [indexes[stage.item.id] for stage in self.stages]
        shares = final_rows(ordered, None if asked is None else asked.wanted)
        if asked is not None:
            if not any(share.entries for share in shares):
                raise nothing_called_so(self.chain.wanted)
            asked.look_into(ordered)
            remarks = [*remarks, *not_called_so(self.chain.wanted, asked)]
        parts = {stage.item.id: parts_of(share) for stage, share in zip(self.stages, shares, strict=True)}
        stages = [
            # Of one without entries there is nothing to read, and no tape to put in for it.
            replace(stage if share.whole and share.entries else stage.only(parts[stage.item.id]), entries=share.entries)
            for stage, share in zip(self.stages, shares, strict=True)
        ]
        plan = self.planner.plan(self.chain, stages, indexed=True, remarks=remarks)
        renamed = {
            stage.item.id: {one.target: one.link for one in reversed(share.pulled)}
            for stage, share in zip(self.stages, shares, strict=True)
        }
        return Prepared(plan, self.volume_of, self.keys, indexes, parts, asked, renamed)


def nothing_called_so(item: Object) -> NotFound:
    """Paths were asked for that a state does not have."""
    return NotFound(
        f"nothing in {item.source} of {dated(item)} is called as the paths say; the verb `files {item.id}` lists what "
        "there is"
    )


def not_called_so(item: Object, asked: Asked) -> list[str]:
    """A sentence on those of the paths that a state does not have, though it has others."""
    names = ", ".join(printable(os.fsencode(path)) for path in asked.unmatched)
    return [f"nothing in {item.source} of {dated(item)} is called {names}"] if names else []


def parts_of(share: Share) -> list[Part]:
    """What is wanted of one sequence, with the data of hard links whose first name is not: ascending, joined where they
    meet."""
    pulled = [(one.begin, one.end) for one in share.pulled]
    joined: list[Part] = []
    for begin, end in sorted([*map(tuple, share.parts.tolist()), *pulled]):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def keys_of(config: Config, items: Sequence[Object], files: Sequence[Path] = ()) -> KeyRing | None:
    """The keys of the configuration and of `files`, where any of the objects is sealed. Raises SealError where one is
    lacking: before any tape is looked for."""
    sealed = [(item, item.key) for item in items if item.key is not None]
    if not sealed:
        return None
    from tapeloom.seal import KeyRing

    keys = KeyRing.load(config.keys)
    for file in files:
        keys.add_file(file)
    for item, key in sealed:
        try:
            keys.find(key)
        except KeyMissing as error:
            raise KeyMissing(f"object {item.id} of {item.source} is {error}") from None
    return keys


def stage_of(
    catalog: Catalog, item: Object, *, copy: str | None = None, volume: str | None = None, partial: bool = False
) -> Stage:
    """All of an object, from the copies that may be asked. Raises NotFound, RestoreError."""
    chosen = choose_copies(catalog, item, agent=copy, volume=volume, partial=partial)
    copies = tuple(map(tuple, layers(catalog, chosen)))
    blocks = blocks_of(item, copies)
    if not blocks:
        raise RestoreError(f"nothing of object {item.id} of {item.source} is on tape")
    complete = sum(one.status is CopyStatus.COMPLETE for one in chosen)
    return Stage(item, copies, complete, blocks, block_bytes_max(catalog, copies))


def planner_of(config: Config, catalog: Catalog) -> Planner:
    """What chooses copies and order, for the drives and volumes that there are."""
    return Planner(
        catalog.volume,
        timings_of(config),
        {volume.id: number for number, volume in enumerate(catalog.volumes())},
    )
