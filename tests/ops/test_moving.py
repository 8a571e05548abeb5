"""What volumes hold goes to another drive: compaction, refreshing, migration, and a power cut at any moment of them."""

from __future__ import annotations

from random import Random

import pytest
from agent_world import snapshot
from ops_world import World, assert_receipts_hold, flip, place_in_file
from power_cut import dies

from tapeloom.catalog import Catalog, CopyStatus, VolumeState
from tapeloom.errors import NotFound, UsageError
from tapeloom.ops.moving import MoveResult, Verb, open_moving
from tapeloom.ops.verify import verify
from tapeloom.volume.header import Level

SMALL = "1200KB"
BODY = """
[backup.nightly.A]
drive = "R1"
run_blocks = 3
checkpoint = "256KiB"
buffers = { B1 = "D1", B2 = "D2", B3 = "D3" }
[mirror.1.M]
drive = "R2"
buffers = { B1 = "A.B1" }
"""
SOURCES = ("D1", "D2", "D3")


def configure(world: World, **drives: str) -> None:
    spec = f'{{ device = "vtape:tapes/R1", capacity = "{SMALL}" }}'
    world.configure(
        BODY,
        drives={"R1": spec, **{name: drives.get(name, f'"vtape:tapes/{name}"') for name in ("R2", "R3")}},
        sources={name: f'"data/{name}"' for name in SOURCES},
    )


@pytest.fixture
def filled(world: World) -> World:
    """Three objects among one another on several cartridges of R1; the one of D1 has a mirror."""
    configure(world)
    for name, size in (("D1", 1_000_000), ("D2", 600_000), ("D3", 500_000)):
        world.data(name, size, files=5)
    assert world.backup().exit_status == 0
    return world


def labels(world: World, drive: str = "R1") -> list[str]:
    with world.catalog() as catalog:
        return [one.label for one in catalog.volumes(drive)]


def states(world: World, drive: str = "R1") -> set[str]:
    with world.catalog() as catalog:
        return {one.state.value for one in catalog.volumes(drive)}


def move(world: World, verb: Verb, volumes: list[str], to: str = "R3") -> MoveResult:
    with open_moving(world.config, verb, volumes, to) as moving:
        return moving.run()


def same(world: World, source: str, agent: str | None = None) -> None:
    assert snapshot(world.restored(source, copy=agent)) == snapshot(world.folder / "data" / source)


@pytest.mark.parametrize(("verb", "state"), [(Verb.COMPACT, "scratch"), (Verb.REFRESH, "retired")])
def test_everything_goes_on(filled: World, verb: Verb, state: str) -> None:
    volumes = labels(filled)
    assert len(volumes) > 1
    result = move(filled, verb, volumes)
    assert (result.exit_status, result.emptied, result.kept, result.left_behind) == (0, volumes, [], [])
    assert len(result.copied.rounds) == 1
    assert states(filled) == {state}
    for source in SOURCES:
        same(filled, source, f"{verb}-R3")
        same(filled, source)
    assert filled.status("D2") == {"A": "retired", f"{verb}-R3": "complete"}
    assert verify(filled.config).faults == []


def test_a_drive_is_emptied(filled: World) -> None:
    result = move(filled, Verb.MIGRATE, ["R1"])
    assert result.emptied == labels(filled)
    assert states(filled) == {"retired"}
    with pytest.raises(UsageError, match="no volume in use"):
        move(filled, Verb.MIGRATE, ["R1"])


def test_compaction_leaves_behind_what_nobody_wants(filled: World) -> None:
    """An older object of which all copies were retired, and one whose source broke off before a later whole one."""
    old = filled.object("D3").id
    filled.data("D3", 100_000, seed=2)
    assert filled.backup().exit_status == 0
    with Catalog.open(filled.state) as catalog:
        for copy in catalog.object(old).copies:
            catalog.set_copy_status(copy.id, CopyStatus.RETIRED)
    volumes = labels(filled)
    result = move(filled, Verb.COMPACT, volumes)
    assert result.exit_status == 0
    with filled.catalog() as catalog:
        assert all(copy.agent != "compact-R3" for copy in catalog.object(old).copies)
    for source in SOURCES:
        same(filled, source)


def test_some_volumes_only(filled: World) -> None:
    first = labels(filled)[0]
    result = move(filled, Verb.REFRESH, [first])
    assert result.emptied == [first]
    with filled.catalog() as catalog:
        assert catalog.volume(first).state is VolumeState.RETIRED
    for source in SOURCES:
        same(filled, source)


def test_blocks_that_nothing_gives_keep_their_volume(filled: World) -> None:
    """D1 has a mirror, D2 has none."""
    for source in ("D1", "D2"):
        run = filled.runs(filled.object(source), "A")[0]
        tape = next(one for one in filled.tapes("R1") if one.stem == run.label)
        flip(tape, place_in_file(tape, run.position)[0] + 700)
    volumes = labels(filled)
    result = move(filled, Verb.REFRESH, volumes)
    assert result.exit_status == 1
    (unpaid,) = result.copied.unpaid
    assert (unpaid.object.source, unpaid.missing) == ("D2", ((0, 0),))
    with filled.catalog() as catalog:
        holding = {label for copy in filled.object("D2").copies if copy.agent == "A" for label in copy.volumes}
        for label in volumes:
            kept = label in holding
            assert (label in result.kept) == kept
            assert (catalog.volume(label).state is VolumeState.RETIRED) != kept
    same(filled, "D1", "refresh-R3")
    same(filled, "D3", "refresh-R3")


def test_increments_go_with_their_fulls(filled: World) -> None:
    (filled.folder / "data" / "D1" / "later").write_bytes(b"later" * 5000)
    assert filled.backup(level=Level.INCREMENTAL).exit_status == 0
    with open_moving(filled.config, Verb.MIGRATE, ["R1", "R2"], "R3", fewer_copies=True) as moving:
        assert moving.run().exit_status == 0
    assert filled.object("D1").level is Level.INCREMENTAL
    same(filled, "D1", "migrate-R3")
    # The next increment builds on what was moved.
    (filled.folder / "data" / "D1" / "latest").write_bytes(b"latest" * 5000)
    result = filled.backup(level=Level.INCREMENTAL)
    assert result.remarks == []
    same(filled, "D1")


@pytest.mark.parametrize(
    ("volumes", "to", "words"),
    [
        (["R1-0001"], "R9", "there is no drive"),
        (["R1-0001"], "R1", "one of drive R1"),
        (["R7-0001"], "R3", "no volume R7-0001"),
    ],
)
def test_what_cannot_be(filled: World, volumes: list[str], to: str, words: str) -> None:
    with pytest.raises((UsageError, NotFound), match=words):
        move(filled, Verb.COMPACT, volumes, to)


def test_a_target_that_fails(filled: World) -> None:
    configure(filled, R3='"vtape:tapes/R3?fail_write=30"')
    volumes = labels(filled)
    result = move(filled, Verb.COMPACT, volumes)
    assert (result.exit_status, result.emptied, result.kept) == (3, [], volumes)
    assert "scratch" not in states(filled)
    configure(filled)
    assert move(filled, Verb.COMPACT, volumes).emptied == volumes


def test_the_plan_moves_nothing(filled: World) -> None:
    before = filled.tape_bytes()
    with open_moving(filled.config, Verb.COMPACT, labels(filled), "R3") as moving:
        plan = moving.plan()
    assert [read.label for read in plan.rounds[0].reads] == labels(filled)
    assert "scratch" in plan.afterwards[0]
    assert filled.tape_bytes() == before
    assert "R3" not in {volume.split("-")[0] for volume in labels(filled, "R3")}


CUTS = [
    "an append is entered",
    "a receipt is entered",
    "a record is written",
    "a filemark is written",
    "blocks are written",
]
CUTS += ["the job is entered", "a copy is entered", "volumes go out of use", "the job's end is entered"]


@pytest.mark.parametrize("moment", CUTS)
def test_a_power_cut_at_any_moment(filled: World, moment: str) -> None:
    """No receipt without data, no volume out of use too early, and the same command goes on."""
    chance = Random(moment)
    volumes = labels(filled)
    died = dies(
        lambda: move(filled, Verb.COMPACT, volumes).exit_status, moment, chance.randint(1, 3), chance.random() < 0.5
    )
    assert_receipts_hold_where_used(filled)
    for source in SOURCES:
        same(filled, source)
    with filled.catalog() as catalog:
        left = [one.label for one in catalog.volumes("R1") if one.state is not VolumeState.SCRATCH]
    if left:
        assert died
        assert move(filled, Verb.COMPACT, left).emptied == left
    assert [states(filled), len(volumes)] == [{"scratch"}, len(labels(filled))]
    for source in SOURCES:
        same(filled, source, "compact-R3")
    assert verify(filled.config).faults == []


def assert_receipts_hold_where_used(world: World) -> None:
    """A copy that was retired has its receipts still, and the volume is there: all of them hold."""
    with world.catalog() as catalog:
        retired = any(copy.status is CopyStatus.RETIRED for item in catalog.objects() for copy in item.copies)
    if not retired:
        assert_receipts_hold(world)


def test_copies_do_not_come_together_unasked(filled: World) -> None:
    """The original of D1 is on R1, its mirror on R2: on R3 they would be one."""
    both = [*labels(filled), *labels(filled, "R2")]
    with pytest.raises(UsageError, match=r"D1 .* fewer copies.*--fewer-copies"):
        move(filled, Verb.COMPACT, both)
    assert move(filled, Verb.COMPACT, labels(filled)).exit_status == 0
    with pytest.raises(UsageError, match="fewer copies"):
        move(filled, Verb.COMPACT, labels(filled, "R2"))
    assert filled.status("D1") == {"A": "retired", "M": "complete", "compact-R3": "complete"}
    with open_moving(filled.config, Verb.COMPACT, labels(filled, "R2"), "R3", fewer_copies=True) as moving:
        assert any("fewer copies" in remark for remark in moving.plan().remarks)
        assert moving.run().exit_status == 0
    assert filled.status("D1") == {"A": "retired", "M": "retired", "compact-R3": "complete"}
    same(filled, "D1")
