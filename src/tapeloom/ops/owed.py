"""What copies lack, and the rounds that bring it to them from any good copy.

A debt is an object and the agent that is to have all of it. Whatever a copy lacks, and for whatever reason (it is new,
its drive failed, its job was cut short, a block of the copy it came from was damaged), is brought in the same way: a
round reads just these ranges, each volume in one pass, and as many debts as possible come out of one reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from tapeloom.catalog import Catalog, Copy, CopyStatus, Object, Outcome, Place, Volume
from tapeloom.catalog.damage import without
from tapeloom.config import Agent, Config, Group
from tapeloom.config.model import Kind
from tapeloom.limits import CHECKPOINT_BYTES_DEFAULT, CHECKPOINT_SECONDS_DEFAULT, RUN_BLOCKS_DEFAULT
from tapeloom.ops.mounts import drives_for, home_of, reader_for
from tapeloom.ops.rounds import Carried, Span, Trip, uncounted, unfinished_copy, with_room
from tapeloom.volume import runs as run_tables
from tapeloom.volume.spans import blocks_in


class Debt(Struct, frozen=True):
    """An object that an agent is to have whole, on volumes of one drive."""

    object: UUID
    place: Place


class Unpaid(Struct, frozen=True):
    """A debt that no copy which can be read pays, with what is missing and why."""

    object: Object
    place: Place
    missing: tuple[Span, ...]
    why: str

    @property
    def blocks(self) -> int:
        return blocks_in(self.missing)

    def __str__(self) -> str:
        spans = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in self.missing[:5])
        more = f" and {len(self.missing) - 5} ranges more" if len(self.missing) > 5 else ""
        step, name = self.object.step, "block" if self.blocks == 1 else "blocks"
        at = f" (from byte {self.missing[0][0] * step} of its sequence)" if step else ""
        return f"{self.object.shown} {self.object.id}, {self.place.agent}: {name} {spans}{more}{at}; {self.why}"

    def as_json(self) -> dict[str, Any]:
        return {
            "object": str(self.object.id),
            "source": self.object.source,
            "agent": self.place.agent,
            "drive": self.place.drive,
            "missing": [list(span) for span in self.missing],
            "why": self.why,
        }


class Offer(Struct, frozen=True):
    """What a debt lacks and one copy has."""

    debt: Debt
    object: Object
    source: Copy
    spans: tuple[Span, ...]

    @property
    def blocks(self) -> int:
        return blocks_in(self.spans)


class Books:
    """Debts, and which copies have been tried for each: a copy is read for a debt once, whatever came of it. Of copies
    that can be read a preferred one is taken first."""

    def __init__(self, catalog: Catalog, debts: Iterable[Debt], prefer: Callable[[Copy], bool], config: Config):
        self._catalog = catalog
        self._config = config
        self._debts = list(dict.fromkeys(debts))
        self._prefer = prefer
        self._tried: set[tuple[Debt, int]] = set()
        self._given_up: set[str] = set()
        self._lost: set[str] = set()
        self._assumed: dict[Debt, list[Span]] = defaultdict(list)

    def open(self) -> list[tuple[Debt, Object, list[Span]]]:
        """The debts that are not paid, and what each lacks."""
        known = self._catalog.these(dict.fromkeys(debt.object for debt in self._debts))
        out = uncounted(self._catalog)
        found = []
        for debt in self._debts:
            item = known[debt.object]
            lacking = without(missing_in(self._catalog, item, debt.place, out), self._assumed[debt])
            if lacking:
                found.append((debt, item, lacking))
        return found

    def offers(self) -> Iterator[Offer]:
        """For each debt that is not paid, the best copy that has not been tried: a preferred one; of those one whose
        volumes are in use; of those the one that has most of what is missing, undamaged; of these the oldest."""
        out = uncounted(self._catalog)
        for debt, item, lacking in self.open():
            found = [
                Offer(debt, item, copy, tuple(spans))
                for copy in item.copies
                if self._may_serve(debt, copy) and (spans := held_of(self._catalog, copy, lacking))
            ]
            if found:
                yield max(
                    found,
                    key=lambda offer: (
                        self._prefer(offer.source),
                        out.isdisjoint(offer.source.volumes),
                        offer.blocks,
                        -offer.source.id,
                    ),
                )

    def _may_serve(self, debt: Debt, copy: Copy) -> bool:
        return (
            copy.status not in (CopyStatus.RETIRED, CopyStatus.MISSING)
            and self.reader(copy, (debt.place.drive,)) is not None
            and debt.place.drive in self._config.drives
            and debt.place.drive not in self._lost
            and debt.place.agent not in self._given_up
            and (debt, copy.id) not in self._tried
        )

    def home(self, copy: Copy) -> str:
        """Where its volumes are."""
        return home_of(self._config, copy.drive)

    def reader(self, copy: Copy, besides: Collection[str]) -> str | None:
        """A drive that it can be read in while those of `besides` do something else."""
        return reader_for(self._config, self.home(copy), self._lost.union(besides))

    def tried(self, debt: Debt, source: Copy) -> None:
        self._tried.add((debt, source.id))

    def give_up(self, agent: str) -> None:
        """Nothing more is written by it: its drive has failed."""
        self._given_up.add(agent)

    def lose(self, drive: str) -> None:
        """It has not come back from a call, and is nobody's before this process ends."""
        self._lost.add(drive)

    def assume(self, offer: Offer) -> None:
        """As if it had been taken, and all had gone well."""
        self.tried(offer.debt, offer.source)
        self._assumed[offer.debt] += offer.spans

    def unpaid(self, *, stopped: bool = False) -> list[Unpaid]:
        """What is left, in words; `stopped`: because nobody wanted to wait for it."""
        return [
            Unpaid(item, debt.place, tuple(lacking), "the job was stopped" if stopped else self._why(debt, item))
            for debt, item, lacking in self.open()
        ]

    def _why(self, debt: Debt, item: Object) -> str:
        if debt.place.agent in self._given_up or debt.place.drive in self._lost:
            return f"its drive {debt.place.drive} did not come to its end"
        if debt.place.drive not in self._config.drives:
            return f"drive {debt.place.drive} is not in the configuration"
        others = [copy for copy in item.copies if copy.status is not CopyStatus.RETIRED]
        known = [f"{copy.agent} {self._why_not(debt, copy)}" for copy in others if copy.agent != debt.place.agent]
        return f"no other copy gives it: {'; '.join(known)}" if known else "there is no other copy of it"

    def _why_not(self, debt: Debt, copy: Copy) -> str:
        if copy.volumes and self.reader(copy, (debt.place.drive,)) is None:
            if self.reader(copy, ()) is not None:
                return f"is of drive {copy.drive}, which would have to read and write at once"
            if not drives_for(self._config, self.home(copy)):
                return f"is of drive {copy.drive}, which is not in the configuration"
            return f"is of drive {copy.drive}, which has not come back from a call"
        if (debt, copy.id) in self._tried:
            return "was asked, and could not give it"
        return f"is {copy.status}"


def missing_in(catalog: Catalog, item: Object, place: Place, out: Collection[str] | None = None) -> list[Span]:
    """What an agent's copy in a drive lacks of an object: nothing where one is complete, all where there is none. What
    is on volumes that nobody counts on is not there. Of an object whose source broke off, nothing is lacking that never
    had a receipt. `out`: labels of those volumes, where the caller has them."""
    if out is None:
        out = uncounted(catalog)
    here = [copy for copy in item.copies if (copy.agent, copy.drive) == (place.agent, place.drive)]
    if any(copy.status is CopyStatus.COMPLETE and set(copy.volumes).isdisjoint(out) for copy in here):
        return []
    begun = unfinished_copy(item, place, out)
    lacking = catalog.missing(begun.id) if begun is not None else all_of(catalog, item)
    if item.outcome is Outcome.WHOLE:
        return lacking
    return without(lacking, without(lacking, [span for copy in item.copies for span in _spans(catalog, copy)]))


def all_of(catalog: Catalog, item: Object) -> list[Span]:
    """All blocks of an object; of one whose source never ended, up to the last that a copy has."""
    blocks = item.blocks
    if blocks is None:
        blocks = max((last + 1 for copy in item.copies for _, last in _spans(catalog, copy)), default=0)
    return [(0, blocks - 1)] if blocks else []


def held_of(catalog: Catalog, copy: Copy, wanted: Sequence[Span]) -> list[Span]:
    """Those of the wanted blocks that a copy has, and that are not known as damaged there."""
    held = without(_spans(catalog, copy), [(one.first, one.last) for one in copy.damage])
    return without(wanted, without(wanted, held))


def _spans(catalog: Catalog, copy: Copy) -> list[Span]:
    return run_tables.spans(catalog.runs(copy.id).table)


def next_trip(config: Config, books: Books, verb: str) -> tuple[Trip, list[Offer]] | None:
    """The next round: as many offers as can be taken at once. In one round a drive either reads or writes, for one
    agent, of the drives of a library one reads, and an object comes out of a drive once. None: nothing more can be
    had."""
    readers: dict[str, str] = {}
    writing: dict[str, str] = {}
    taken: dict[tuple[str, UUID], list[Offer]] = {}
    for offer in books.offers():
        home, place = books.home(offer.source), offer.debt.place
        source = readers.get(home) or books.reader(offer.source, {place.drive, *writing})
        if source is None:
            continue
        others = taken.get((source, offer.object.id), [])
        fits = (
            source not in writing
            and place.drive not in (source, *readers.values())
            and writing.get(place.drive, place.agent) == place.agent
            and all((other.source.id, other.spans) == (offer.source.id, offer.spans) for other in others)
        )
        if fits:
            readers[home] = source
            writing[place.drive] = place.agent
            taken[source, offer.object.id] = [*others, offer]
    if not taken:
        return None
    offers = [offer for together in taken.values() for offer in together]
    return _wired(config, verb, taken), offers


def _wired(config: Config, verb: str, taken: Mapping[tuple[str, UUID], Sequence[Offer]]) -> Trip:
    """A configuration whose restore agents read what is taken, one for each drive, with a buffer for each set of agents
    that the same objects go to."""
    heads: dict[tuple[str, tuple[Place, ...]], list[Offer]] = defaultdict(list)
    for (drive, _), offers in taken.items():
        heads[drive, tuple(offer.debt.place for offer in offers)].append(offers[0])
    reads: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    feeds: dict[Place, dict[str, tuple[str, ...]]] = defaultdict(dict)
    carried = []
    for (drive, places), offers in heads.items():
        reader, buffers = f"{verb}-{drive}", reads[drive]
        buffer = f"B{len(buffers) + 1}"
        buffers[buffer] = tuple(dict.fromkeys(offer.object.source for offer in offers))
        carried += [Carried(offer.object, offer.source, offer.spans, reader, buffer) for offer in offers]
        for place in places:
            feeds[place][f"B{len(feeds[place]) + 1}"] = (f"{reader}.{buffer}",)
    agents = [
        media_agent(config, f"{verb}-{drive}", "restore", verb, drive, buffers) for drive, buffers in reads.items()
    ]
    agents += [
        media_agent(config, place.agent, "copy", place.group, place.drive, buffers) for place, buffers in feeds.items()
    ]
    grouped: dict[tuple[Kind, str], list[str]] = defaultdict(list)
    for agent in agents:
        grouped[agent.kind, agent.group].append(agent.name)
    wired = replace(
        config,
        agents={agent.name: agent for agent in agents},
        groups={key: Group(key[0], key[1], tuple(names)) for key, names in grouped.items()},
        lines={},
    )
    return Trip(wired, (f"restore.{verb}",), tuple(carried))


def media_agent(
    config: Config, name: str, kind: Kind, group: str, drive: str, buffers: dict[str, tuple[str, ...]]
) -> Agent:
    """As the file has an agent of that name, else with the defaults."""
    known = config.agents.get(name)
    if known is not None:
        return replace(known, kind=kind, group=group, drive=drive, buffers=buffers, on_lag="wait")
    return Agent(
        name=name,
        kind=kind,
        group=group,
        drive=drive,
        buffers=buffers,
        run_blocks=RUN_BLOCKS_DEFAULT,
        on_lag="wait",
        lag_bytes=0,
        lag_seconds=0.0,
        checkpoint_bytes=CHECKPOINT_BYTES_DEFAULT,
        checkpoint_seconds=CHECKPOINT_SECONDS_DEFAULT,
    )


def in_pool_of(config: Config, place: Place, volumes: Iterable[Volume]) -> Config:
    """What goes from these volumes to that place stays in their pool, where they have one in common."""
    pools = {volume.pool for volume in volumes}
    (pool,) = pools if len(pools) == 1 else (None,)
    if pool is None:
        return config
    agent = media_agent(config, place.agent, "copy", place.group, place.drive, {})
    return replace(config, agents={**config.agents, agent.name: replace(agent, pool=pool)})


def roomy(trip: Trip, catalog: Catalog) -> Trip:
    """With slots for the blocks of the volumes that it reads."""
    return replace(trip, config=with_room(trip.config, catalog, (one.source for one in trip.carried)))
