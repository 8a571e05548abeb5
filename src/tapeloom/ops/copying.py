"""Copying: from what is wanted to receipts, in as many rounds as it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from uuid import UUID

from msgspec import Struct, field
from msgspec.structs import replace

from tapeloom.catalog import Catalog, Copy, CopyStatus, JobRow, Object, Place
from tapeloom.compile import compile_job
from tapeloom.config import Config
from tapeloom.errors import DeviceError, HeldError, NotFound, UsageError
from tapeloom.graph import groups_named
from tapeloom.ops.copyplan import CopyPlan, plan_round
from tapeloom.ops.mounts import drives_for
from tapeloom.ops.outcome import AgentEnd
from tapeloom.ops.owed import Books, Debt, Offer, Unpaid, held_of, missing_in, next_trip, roomy
from tapeloom.ops.rounds import Carried, Round, RoundResult, Trip, open_round, targets
from tapeloom.ops.selecting import good_copies, nothing_selected, select
from tapeloom.ops.unweaving import place_of
from tapeloom.runtime import Ending
from tapeloom.runtime.splitting import Left
from tapeloom.volume.spans import blocks_in

KINDS = ("copy", "compact", "refresh", "migrate", "demux")
"""What the catalog calls the jobs that copy."""

LEFT_TO_DEMUX = "what demux has begun is left to it: the same command writes it anew, in one piece"

OnTick = Callable[[], None]
Watch = Callable[[Round], AbstractContextManager[OnTick]]


class CopyResult(Struct, frozen=True):
    """What became of copying, after the last round. `table` has the copies that were wanted, `unpaid` says what some of
    them lack and why; `already` were complete before."""

    rounds: list[RoundResult]
    table: list[JobRow]
    unpaid: list[Unpaid]
    already: int
    remarks: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        return any(one.stopped for one in self.rounds)

    @property
    def seconds(self) -> float:
        return sum(one.seconds for one in self.rounds)

    @property
    def bytes(self) -> int:
        """That were read."""
        return sum(one.bytes for one in self.rounds)

    @property
    def left(self) -> list[Left]:
        """What could not be read where it was wanted, though another copy may have given it."""
        return [left for one in self.rounds for left in one.left]

    @property
    def agents(self) -> list[AgentEnd]:
        return [agent for one in self.rounds for agent in one.agents]

    @property
    def well(self) -> bool:
        """Every copy that was wanted is complete, or has everything that there is of its object."""
        return not self.stopped and not self.unpaid

    @property
    def exit_status(self) -> int:
        if not self.rounds:
            return 3 if self.unpaid else 0
        if self.well:
            return 0
        return 1 if any(row.blocks_safe for row in self.table) else 3


class Copying:
    """Copying that is decided and holds the catalog: `plan` says how it will go, `run` does it.

    `first` is a round that the configuration itself describes; what it leaves owing, and all that comes without one, is
    brought in rounds of our own making. `about`: see `Trip`.
    """

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        verb: str,
        debts: Iterable[Debt],
        *,
        first: Trip | None = None,
        prefer: Callable[[Copy], bool] = lambda copy: False,
        remarks: Sequence[str] = (),
        about: Sequence[str] = (),
    ):
        self.config = config
        self.catalog = catalog
        self.verb = verb
        self.debts = list(dict.fromkeys(debts))
        self.remarks = list(remarks)
        self._about = tuple(about)
        self._first = first
        self._prefer = prefer
        self.already = len(self.debts) - len(self._books().open())

    def _books(self) -> Books:
        return Books(self.catalog, self.debts, self._prefer, self.config)

    def _trips(self, books: Books) -> Iterator[Trip]:
        """The rounds as they will be if nothing goes wrong."""
        if self._first is not None:
            for offer in _offers(self._first, self.debts):
                books.assume(offer)
            yield self._first
        while (found := next_trip(self.config, books, self.verb)) is not None:
            trip, offers = found
            for offer in offers:
                books.assume(offer)
            yield roomy(trip, self.catalog)

    def plan(self, afterwards: Sequence[str] = ()) -> CopyPlan:
        """What `run` would do."""
        books = self._books()
        rounds = tuple(plan_round(self.config, self.catalog, trip) for trip in self._trips(books))
        return CopyPlan(
            self.verb,
            rounds,
            self.config.server.memory if rounds else 0,
            tuple(books.unpaid()),
            self.already,
            tuple(self.remarks),
            tuple(afterwards),
        )

    def run(self, watch: Watch = lambda running: nullcontext(lambda: None), *, patient: bool = False) -> CopyResult:
        """Runs rounds until nothing is owed, or nothing more can be had, or one was stopped. `watch` is entered for
        each, and gives what is called a few times a second. `patient`: cartridges that are not there are waited for;
        else what is on them comes from other copies, or not at all."""
        books = self._books()
        rounds: list[RoundResult] = []
        trip, offers = self._first, _offers(self._first, self.debts) if self._first else []
        while True:
            if trip is None:
                found = next_trip(self.config, books, self.verb)
                if found is None:
                    break
                trip, offers = roomy(found[0], self.catalog), found[1]
            for offer in offers:
                books.tried(offer.debt, offer.source)
            with ExitStack() as stack:
                named = replace(trip, about=self._about)
                schedule = compile_job(trip.config, trip.groups)
                opening = open_round(self.catalog, self.verb, named, schedule, patient=patient)
                try:
                    running = stack.enter_context(opening)
                except (DeviceError, HeldError) as error:
                    if not rounds:
                        raise
                    self.remarks.append(str(error))  # what was brought before stays, and so does what comes without it
                    trip = None
                    continue
                rounds.append(running.run(stack.enter_context(watch(running))))
            if rounds[-1].stopped:
                break
            for agent in rounds[-1].agents:
                if agent.ending is not Ending.COMPLETE:
                    books.give_up(agent.agent)
                if agent.ending is Ending.HUNG:
                    books.lose(agent.drive)
            trip = None
        unpaid = books.unpaid(stopped=bool(rounds) and rounds[-1].stopped)
        return CopyResult(rounds, self._table(), unpaid, self.already, self.remarks)

    def _table(self) -> list[JobRow]:
        """The copies that are wanted, as they are now."""
        rows = []
        known = self.catalog.these(dict.fromkeys(debt.object for debt in self.debts))
        for debt in self.debts:
            item = known[debt.object]
            here = [copy for copy in item.copies if (copy.agent, copy.drive) == (debt.place.agent, debt.place.drive)]
            if item.is_index or not here:
                continue
            best = max(here, key=lambda copy: (copy.status is CopyStatus.COMPLETE, copy.id))
            lacking = blocks_in(self.catalog.missing(best.id))
            blocks = item.blocks or 0
            rows.append(JobRow(item.id, item.source, item.outcome, best, blocks - lacking, item.blocks))
        return rows


def _offers(trip: Trip, debts: Iterable[Debt]) -> list[Offer]:
    wanted = {(debt.object, debt.place.agent): debt for debt in debts}
    return [
        Offer(wanted[one.object.id, place.agent], one.object, one.source, one.spans)
        for one in trip.carried
        for place in targets(trip.config, f"{one.agent}.{one.buffer}")
    ]


@contextmanager
def open_copying(config: Config, groups: Sequence[str] | None = None, *, single: bool = False) -> Iterator[Copying]:
    """What the named restore groups (None: all) and the copy groups chained to them are there for. What an agent has
    already is not written again, and what it has in part is completed. `single`: nothing of what objects build on goes
    along, whatever the file says.

    Raises
    ------
    UsageError
        There is no such group.
    NotFound, RestoreError
        An object that is asked for is not there, or not what it builds on.
    HeldError
        The state folder is in another process's hands.
    """
    keys = _restore_groups(config, groups)
    with Catalog.open(config.server.state) as catalog:
        debts: list[Debt] = []
        carried: list[Carried] = []
        remarks: dict[str, None] = {}
        as_drawn = True
        reading = set()
        met: set[tuple[UUID, str]] = set()
        for name in (name for key in keys for name in config.groups[key].agents):
            agent = config.agents[name]
            peers = drives_for(config, config.drives[agent.drive].home)
            reading.update(peers)
            for buffer, selection in agent.selections.items():
                items = select(catalog, replace(selection, single=single or selection.single), peers)
                if not items:
                    raise NotFound(nothing_selected(peers, f"{name}.{buffer}"))
                writers = targets(config, f"{name}.{buffer}")
                debts += [Debt(item.id, place) for item in items for place in writers]
                remarks.update(dict.fromkeys(worthless(items, writers)))
                wanted = [_carried(catalog, item, name, buffer, peers, writers) for item in items]
                through = {name, *(place.agent for place in writers)}
                flows = [
                    one for one in wanted if one is not None and met.isdisjoint((one.object.id, who) for who in through)
                ]
                met |= {(one.object.id, who) for one in flows for who in through}
                as_drawn = as_drawn and bool(flows)
                carried += flows
        first = Trip(config, tuple(f"{kind}.{name}" for kind, name in keys), tuple(carried)) if as_drawn else None
        yield Copying(
            config,
            catalog,
            "copy",
            debts,
            first=None if first is None else roomy(first, catalog),
            prefer=lambda copy: copy.drive in reading,
            remarks=list(remarks),
        )


def _restore_groups(config: Config, groups: Sequence[str] | None) -> list[tuple[str, str]]:
    if groups is None:
        keys = [key for key in config.groups if key[0] == "restore"]
        if not keys:
            raise UsageError(f"{config.shown}: there is no restore group, which is what copying starts from")
        return keys
    keys = groups_named(config, groups)
    for kind, name in keys:
        if kind != "restore":
            raise UsageError(f"{config.shown}: {kind}.{name} is no restore group, which is what copying starts from")
    return keys


def _carried(
    catalog: Catalog, item: Object, agent: str, buffer: str, drives: Collection[str], writers: Sequence[Place]
) -> Carried | None:
    """An object's way through the chain as it is drawn; None where all writers have it, or lack different parts of it,
    or the drives have nothing of what they lack."""
    lacking = {tuple(missing_in(catalog, item, place)) for place in writers}
    if len(lacking) != 1 or lacking == {()}:
        return None
    (spans,) = lacking
    offers = [
        Carried(item, copy, tuple(held), agent, buffer)
        for copy in item.copies
        if copy.drive in drives
        and copy.status not in (CopyStatus.RETIRED, CopyStatus.MISSING)
        and (held := held_of(catalog, copy, spans))
    ]
    return max(offers, key=lambda one: (one.blocks, -one.source.id), default=None)


def worthless(items: Iterable[Object], writers: Iterable[Place]) -> Iterator[str]:
    """Which copies will stand beside others of the same object in one drive."""
    for item in items:
        for place in writers:
            others = [
                copy
                for copy in item.copies
                if (copy.drive == place.drive and copy.agent != place.agent)
                and copy.volumes
                and copy.status is not CopyStatus.RETIRED
            ]
            if others and not item.is_index:
                yield (
                    f"{item.source}: drive {place.drive} has a copy of it already, that of {others[0].agent}: a "
                    "second one there protects against nothing"
                )


def _is_of_a_move(copy: Copy) -> bool:
    return copy.group in KINDS and copy.agent == f"{copy.group}-{copy.drive}"


@contextmanager
def open_missing(config: Config, *, copies: int | None = None, of_copying: bool = False) -> Iterator[Copying]:
    """What mirrors and copies owe that were detached, failed or cut short: of all jobs, or of those that copied. With
    `copies`, only of objects that have fewer good copies. Copies of `demux` are left to it: completed here, they would
    stand in pieces. A move that was cut short owes to itself alone: it is resumed, or asked for again.

    Raises
    ------
    HeldError
        The state folder is in another process's hands.
    """
    with Catalog.open(config.server.state) as catalog:
        copied = {job.id for job in catalog.jobs() if job.kind in KINDS}
        its = {copy.id for job in copied for copy in catalog.copies_by(job)} if of_copying else None
        debts = [
            Debt(item.id, Place(copy.agent, copy.group, copy.drive))
            for item in catalog.objects(indexes=True)
            for copy in item.copies
            if copy.status in (CopyStatus.PARTIAL, CopyStatus.MISSING)
            and (copies is None or good_copies(item) < copies)
            and (copy.id in its if its is not None else not _is_of_a_move(copy))
        ]
        unwoven = [debt for debt in debts if debt.place == place_of(debt.place.drive)]
        remarks = [LEFT_TO_DEMUX] if unwoven else []
        yield Copying(config, catalog, "copy", [one for one in debts if one not in unwoven], remarks=remarks)
