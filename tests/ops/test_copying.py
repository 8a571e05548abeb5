"""Copies of what is on tape: by the chains of a configuration, and of whatever copies owe."""

from __future__ import annotations

import pytest
from agent_world import snapshot
from ops_world import World, assert_receipts_hold, flip, place_in_file, reader

from tapeloom._kernel import Stop
from tapeloom.catalog import CopyStatus
from tapeloom.errors import HeldError, NotFound, UsageError
from tapeloom.ops import rounds
from tapeloom.ops.copying import CopyResult, open_copying, open_missing
from tapeloom.runtime import Ending
from tapeloom.volume.header import Level

OFTEN = 'checkpoint = "256KiB"'

VAULT = """
[backup.nightly.A]
drive = "R1"
run_blocks = 3
{settings}
buffers = {{ B1 = "D1", B2 = "D2", B3 = "D3" }}
[mirror.1.M]
drive = "R4"
buffers = {{ B1 = "A.B1", B2 = "A.B2" }}
[restore.vault.V]
drive = "R1"
buffers = {{ {wanted} }}
[copy.1.C1]
drive = "R2"
{copying}
buffers = {{ {first} }}
[copy.2.C2]
drive = "R3"
buffers = {{ {second} }}
"""


class Vault:
    """Three sources among one another on R1, two of them mirrored on R4; copies of them on R2, and on R3 of those."""

    def __init__(self, world: World):
        self.world = world

    def configure(
        self,
        wanted: str = 'B1 = "D1", B2 = "D2"',
        *,
        first: str = 'B1 = "V.B1", B2 = "V.B2"',
        second: str = 'B1 = "C1.B1"',
        settings: str = "",
        copying: str = OFTEN,
        **drives: str,
    ) -> None:
        self.world.configure(
            VAULT.format(wanted=wanted, first=first, second=second, settings=settings, copying=copying),
            drives={name: drives.get(name, f'"vtape:tapes/{name}"') for name in ("R1", "R2", "R3", "R4")},
            sources={name: f'"data/{name}"' for name in ("D1", "D2", "D3")},
        )

    def copy(self) -> CopyResult:
        with open_copying(self.world.config) as copying:
            return copying.run()

    def missing(self, **more: int) -> CopyResult:
        with open_missing(self.world.config, **more) as copying:
            return copying.run()

    def same(self, source: str, agent: str) -> None:
        assert snapshot(self.world.restored(source, copy=agent)) == snapshot(self.world.folder / "data" / source)

    def harm(self, source: str, agent: str, drive: str, *seqs: int) -> None:
        tapes = {tape.stem: tape for tape in self.world.tapes(drive)}
        for run in self.world.runs(self.world.object(source), agent):
            for seq in seqs:
                if run.seq <= seq < run.seq + run.blocks:
                    flip(tapes[run.label], place_in_file(tapes[run.label], run.position + seq - run.seq)[0] + 900)


@pytest.fixture
def vault(world: World) -> Vault:
    made = Vault(world)
    made.configure()
    for name, size in (("D1", 1_200_000), ("D2", 500_000), ("D3", 700_000)):
        world.data(name, size, files=7)
    assert world.backup(["nightly"]).exit_status == 0
    return made


def blocks_of(result: CopyResult) -> list[int]:
    return [one.blocks for one in result.rounds]


def test_what_is_drawn_and_nothing_else(vault: Vault) -> None:
    result = vault.copy()
    assert (result.exit_status, len(result.rounds), result.unpaid) == (0, 1, [])
    world = vault.world
    assert world.status("D1") == dict.fromkeys(("A", "M", "C1", "C2"), "complete")
    assert world.status("D2") == dict.fromkeys(("A", "M", "C1"), "complete")
    assert world.status("D3") == {"A": "complete"}
    for source, agent in (("D1", "C1"), ("D1", "C2"), ("D2", "C1")):
        vault.same(source, agent)
    assert world.objects_on("R2") == {"D1", "D2"}
    assert world.objects_on("R3") == {"D1"}
    assert_receipts_hold(world)


def test_a_copy_is_the_same_blocks(vault: Vault) -> None:
    vault.copy()
    world = vault.world
    payloads = []
    for drive in ("R1", "R2", "R3"):
        (tape,) = world.tapes(drive)
        met = world.on_tape(drive, tape.stem)
        mine = [one for one in met if one.header and one.header.object == world.object("D1").id]
        payloads.append([(one.header, one.payload) for one in sorted(mine, key=lambda one: one.header.seq)])
    assert payloads[0] == payloads[1] == payloads[2]


def test_a_copy_is_read_without_the_product(vault: Vault) -> None:
    vault.copy()
    done = reader("get", vault.world.object("D1").id, "-", *vault.world.tapes("R3"))
    assert done.stdout == vault.world.sequence("D1", copy="A")


def test_file_indexes_go_along(vault: Vault) -> None:
    vault.copy()
    with vault.world.catalog() as catalog:
        index = catalog.index_of(vault.world.object("D1").id)
    assert index is not None
    assert {copy.agent: copy.status.value for copy in index.copies} == dict.fromkeys(("A", "M", "C1", "C2"), "complete")


def test_every_volume_is_gone_through_once(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the objects stand among one another, and over however many cartridges."""
    vault.configure(R1='{ device = "vtape:tapes/R1", capacity = "900KB" }')
    assert vault.world.backup(["nightly"]).exit_status == 0
    mounted: list[str] = []
    real = rounds.Mounts.place

    def place(self, volume, until=None):
        before = len(self.labels)
        found = real(self, volume, until)
        mounted.extend(self.labels[before:])
        return found

    monkeypatch.setattr(rounds.Mounts, "place", place)
    result = vault.copy()
    assert result.exit_status == 0
    assert len(mounted) > 2
    assert len(mounted) == len(set(mounted))
    (read,) = [one for one in result.rounds[0].agents if one.agent == "V"]
    assert read.ending is Ending.COMPLETE
    vault.same("D1", "C2")


def test_what_is_there_is_not_written_again(vault: Vault) -> None:
    vault.copy()
    before = vault.world.tape_bytes()
    again = vault.copy()
    assert (again.exit_status, again.rounds) == (0, [])
    assert again.already == 6  # with file indexes
    assert vault.world.tape_bytes() == before
    # A new object of one of them is new for all its writers, and the other one stays as it is.
    vault.world.data("D1", 300_000, seed=2)
    assert vault.world.backup(["nightly"]).exit_status == 0
    vault.configure('B1 = "D1"', first='B1 = "V.B1"')
    assert vault.copy().exit_status == 0
    vault.same("D1", "C2")


def test_the_newest_object_brings_what_it_builds_on(vault: Vault) -> None:
    world = vault.world
    with world.catalog() as catalog:
        full = catalog.newest("D1")
    (world.folder / "data" / "D1" / "later").write_bytes(b"later" * 9000)
    assert world.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 0
    assert vault.copy().exit_status == 0
    with world.catalog() as catalog:
        copied = [one.id for one in catalog.objects("D1") if any(copy.agent == "C1" for copy in one.copies)]
    assert copied == [full.id, world.object("D1").id]
    vault.same("D1", "C2")


@pytest.mark.parametrize("said", ["in the file", "when it is run"])
def test_single_leaves_the_rest_of_the_chain(vault: Vault, said: str) -> None:
    world = vault.world
    (world.folder / "data" / "D1" / "later").write_bytes(b"later" * 9000)
    assert world.backup(["nightly"], level=Level.INCREMENTAL).exit_status == 0
    in_file = 'B1 = { source = "D1", single = true, level = "incremental" }'
    vault.configure(in_file if said == "in the file" else 'B1 = "D1"', first='B1 = "V.B1"')
    with open_copying(world.config, single=said != "in the file") as copying:
        assert copying.run().exit_status == 0
    with world.catalog() as catalog:
        copied = [one.id for one in catalog.objects("D1") if any(copy.agent == "C1" for copy in one.copies)]
    assert copied == [world.object("D1").id]


@pytest.mark.parametrize(
    ("selection", "sources"),
    [
        ("{ copies_below = 2 }", {"D3"}),
        ('{ source = ["D2", "D3"] }', {"D2", "D3"}),
        ('{ volume = "R1-0001" }', {"D1", "D2", "D3"}),
        ('{ until = "2001-01-01" }', set()),
        ('{ since = "2001-01-01", source = "D2" }', {"D2"}),
    ],
)
def test_selections(vault: Vault, selection: str, sources: set[str]) -> None:
    vault.configure(f"B1 = {selection}", first='B1 = "V.B1"')
    if not sources:
        with pytest.raises(NotFound, match=r"V\.B1 selects no object"):
            vault.copy()
        return
    assert vault.copy().exit_status == 0
    assert vault.world.objects_on("R3") == sources


def test_an_object_by_its_id(vault: Vault) -> None:
    id = vault.world.object("D3").id
    vault.configure(f'B1 = "{id}"', first='B1 = "V.B1"')
    assert vault.copy().exit_status == 0
    assert vault.world.objects_on("R3") == {"D3"}


def test_what_is_not_on_the_drive(vault: Vault) -> None:
    vault.configure('B1 = "D9", B2 = "D1"')
    with pytest.raises(NotFound, match="D9 is neither a source"):
        vault.copy()


def test_a_damaged_block_comes_from_another_copy(vault: Vault) -> None:
    vault.harm("D1", "A", "R1", 5, 6, 30)
    result = vault.copy()
    assert (result.exit_status, len(result.rounds)) == (0, 2)
    assert result.rounds[1].blocks == 3
    assert [left.fault.seq for left in result.left] == [5, 6, 30]
    vault.same("D1", "C1")
    vault.same("D1", "C2")
    assert vault.world.status("D1") == {"A": "damaged", "M": "complete", "C1": "complete", "C2": "complete"}
    assert_receipts_hold_but(vault.world, "A")


def assert_receipts_hold_but(world: World, agent: str) -> None:
    item = world.object("D1")
    assert [copy.status for copy in item.copies if copy.agent == agent] == [CopyStatus.DAMAGED]


def test_a_block_that_no_copy_gives_is_named_and_all_else_is_copied(vault: Vault) -> None:
    vault.harm("D1", "A", "R1", 5, 6)
    vault.harm("D1", "M", "R4", 6, 7)
    result = vault.copy()
    assert result.exit_status == 1
    assert vault.world.status("D2")["C1"] == "complete"
    assert {(one.place.agent, one.missing) for one in result.unpaid} == {("C1", ((6, 6),)), ("C2", ((6, 6),))}
    step = vault.world.object("D1").step
    assert f"from byte {6 * (step or 0)}" in str(result.unpaid[0])
    with vault.world.catalog() as catalog:
        lacking = [catalog.missing(copy.id) for copy in vault.world.object("D1").copies if copy.agent == "C2"]
    assert lacking == [[(6, 6)]]


@pytest.mark.parametrize(("drive", "victim"), [("R2", "C1"), ("R3", "C2")])
@pytest.mark.parametrize("trouble", ["fail_write=40", "fail_filemark=2", "late_write=30"])
def test_a_target_that_fails_is_detached_and_completed_later(
    vault: Vault, drive: str, victim: str, trouble: str
) -> None:
    vault.configure(second='B1 = "C1.B1", B2 = "C1.B2"', **{drive: f'"vtape:tapes/{drive}?{trouble}"'})
    result = vault.copy()
    assert result.exit_status == 1
    other = {"C1": "C2", "C2": "C1"}[victim]
    status = vault.world.status("D1")
    assert status[other] == "complete"
    assert status[victim] in ("partial", "missing")
    ends = {one.agent: one.ending for one in result.rounds[0].agents}
    assert ends == {"V": Ending.COMPLETE, other: Ending.COMPLETE, victim: Ending.FAILED}
    vault.configure(second='B1 = "C1.B1", B2 = "C1.B2"')
    later = vault.missing()
    assert later.exit_status == 0
    assert sum(blocks_of(later)) == sum(one.blocks for one in result.unpaid)
    vault.same("D1", victim)
    vault.same("D2", victim)
    assert_receipts_hold(vault.world)


def test_what_mirrors_of_a_backup_owe(vault: Vault) -> None:
    world = vault.world
    vault.configure(settings=OFTEN, R4='"vtape:tapes/R4?fail_write=20"')
    world.data("D1", 900_000, seed=3)
    assert world.backup(["nightly"]).exit_status == 1
    assert world.status("D1")["M"] != "complete"
    vault.configure()
    assert vault.missing(copies=1).rounds == []
    result = vault.missing()
    assert result.exit_status == 0
    assert world.status("D1") == {"A": "complete", "M": "complete"}
    vault.same("D1", "M")


def test_stopped_in_order_and_resumed_in_the_middle_of_an_object(vault: Vault) -> None:
    with open_copying(vault.world.config) as copying:
        result = copying.run(lambda running: _stopping(running, 8))
    assert result.stopped
    assert result.exit_status == 1
    vault.configure(copying="")
    safe = {row.copy.agent: row.blocks_safe for row in result.table if row.source == "D1"}
    assert 0 < safe["C1"] < (vault.world.object("D1").blocks or 0)
    with open_missing(vault.world.config, of_copying=True) as copying:
        later = copying.run()
    assert later.exit_status == 0
    assert sum(blocks_of(later)) == sum(one.blocks for one in _once(result))
    vault.same("D1", "C1")
    vault.same("D1", "C2")


def _once(result: CopyResult) -> list[object]:
    """What was owed, each object once for all that lack the same of it."""
    return list({(one.object.id, one.missing): one for one in result.unpaid}.values())


class _stopping:
    """Ends a round in order as soon as the first of its writers has written so many blocks."""

    def __init__(self, running, blocks: int):
        self._running = running
        self._blocks = blocks

    def __enter__(self):
        running, blocks = self._running, self._blocks
        reader, writer = map(list(running.schedule.agent_names).index, ("V", "C1"))
        agents = running.job._restores[reader]
        real = agents._splitter.run

        class Stopper:
            def run(self, *arguments, **more):
                split = real(*arguments, **more | {"blocks_max": min(more["blocks_max"], 4)})
                if running.job.arena.agent_statistics(writer).blocks >= blocks:
                    running.job.stop(Stop.IN_ORDER)
                return split

        agents._splitter = Stopper()
        return lambda: None

    def __exit__(self, *_):
        return None


def test_a_block_that_a_drive_cannot_read(vault: Vault) -> None:
    """One block cannot be read at all: the drive is moved behind it, and the block comes from the other copy."""
    at = vault.world.runs(vault.world.object("D1"), "A")[-1].position
    vault.configure(R1=f'"vtape:tapes/R1?fail_read_at={at}"')
    result = vault.copy()
    assert (result.exit_status, blocks_of(result)[1:]) == (0, [1])
    vault.same("D1", "C2")


def test_a_group_that_reads_no_tape(vault: Vault) -> None:
    with pytest.raises(UsageError, match="no restore group"), open_copying(vault.world.config, ["nightly"]):
        pass


def test_two_at_once(vault: Vault) -> None:
    first, second = open_copying(vault.world.config), open_missing(vault.world.config)
    with first, pytest.raises(HeldError, match="in use"), second:
        pass


def test_a_plan_says_what_happens(vault: Vault) -> None:
    with open_copying(vault.world.config) as copying:
        plan = copying.plan()
        result = copying.run()
    (one,) = plan.rounds
    assert sum(read.blocks for read in one.reads) == result.rounds[0].blocks
    written = {write.agent: write.blocks for write in one.writes}
    safe: dict[str, int] = {}
    with vault.world.catalog() as catalog:
        for item in catalog.objects(indexes=True):
            for copy in item.copies:
                safe[copy.agent] = safe.get(copy.agent, 0) + sum(run[3] for run in catalog.runs(copy.id).rows())
    assert written == {agent: safe[agent] for agent in ("C1", "C2")}
