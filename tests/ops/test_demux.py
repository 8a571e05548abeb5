"""Objects that lie among one another on several cartridges, each in one piece on other drives: with as many drives as
there are objects and with fewer, with room for all that must wait, with some and with none; and what becomes of it when
a drive fails, a block is damaged or the power goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from threading import Event
from typing import Any

import pytest
from agent_world import snapshot
from ops_world import BLOCK, World, flip, place_in_file
from power_cut import dies

from tapeloom._kernel import Stop
from tapeloom.catalog import Catalog, CopyStatus, Outcome, VolumeState
from tapeloom.device import Trouble
from tapeloom.device.waiting import WaitingDrive
from tapeloom.errors import NotFound, UsageError
from tapeloom.ops import demux as demux_module
from tapeloom.ops.copying import LEFT_TO_DEMUX, open_missing
from tapeloom.ops.demux import ANEW, UNBEGUN, open_demux
from tapeloom.ops.demuxplan import DemuxPlan, DemuxResult
from tapeloom.ops.rounds import Round
from tapeloom.ops.verify import verify
from tapeloom.runtime.stream import Stream
from tapeloom.runtime.unweaving import WaitingTape
from tapeloom.volume.header import Kind
from tapeloom.volume.writer import VolumeWriter

SIZES = {"D1": 900_000, "D2": 400_000, "D3": 500_000, "D4": 350_000, "D5": 600_000}
TARGETS = ("R3", "R4", "R5", "R6", "R7")
PLENTY = 64 * 1024 * 1024


def configure(world: World, sizes: dict[str, int] = SIZES, **drives: str) -> None:
    buffers = ", ".join(f'B{number} = "{name}"' for number, name in enumerate(sizes, 1))
    body = f"""
[backup.nightly.A]
drive = "R1"
run_blocks = 3
checkpoint = "512KiB"
buffers = {{ {buffers} }}
[mirror.1.M]
drive = "R2"
buffers = {{ B1 = "A.B1" }}
"""
    spec = '{ device = "vtape:tapes/R1", capacity = "1200KB" }'
    others = {name: drives.get(name, f'"vtape:tapes/{name}"') for name in ("R2", *TARGETS)}
    world.configure(body, drives={"R1": spec, **others}, sources={name: f'"data/{name}"' for name in sizes}, slots=48)


def fill(world: World, sizes: dict[str, int]) -> None:
    """A backup whose drive begins when every stream has a run for it: so all objects lie among one another."""
    configure(world, sizes)
    for name, size in sizes.items():
        world.data(name, size, files=4)
    streams: list[Stream] = []
    run, begin = Stream.run, VolumeWriter.begin

    def noted(stream: Stream) -> None:
        streams.append(stream)
        run(stream)

    def begin_late(tape: VolumeWriter) -> None:
        while sum(one._arena.stream_statistics(one._row).head >= 2 for one in streams) < len(sizes):
            Event().wait(0.001)
        begin(tape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stream, "run", noted)
        patch.setattr(VolumeWriter, "begin", begin_late)
        assert world.backup().exit_status == 0


@pytest.fixture
def filled(world: World) -> World:
    """Five objects among one another on several cartridges of R1; the one of D1 has a mirror."""
    fill(world, SIZES)
    return world


def labels(world: World, drive: str = "R1") -> list[str]:
    with world.catalog() as catalog:
        return [one.label for one in catalog.volumes(drive)]


def in_use(world: World) -> list[str]:
    with world.catalog() as catalog:
        return [one.label for one in catalog.volumes("R1") if one.state is not VolumeState.RETIRED]


def demux(world: World, targets: Sequence[str], spool: int, **more: bool) -> tuple[DemuxPlan, DemuxResult]:
    with open_demux(world.config, in_use(world), targets, spool_bytes=spool, **more) as demuxing:
        return demuxing.plan(), demuxing.run()


def assert_in_one_piece(world: World, targets: Sequence[str], sources: Sequence[str] = tuple(SIZES)) -> None:
    """Of every source one complete copy, of which one run stands on each volume, and on the tape itself as well."""
    for source in sources:
        item = world.object(source)
        (copy,) = [
            copy
            for copy in item.copies
            if copy.agent in {f"demux-{target}" for target in targets} and copy.status is not CopyStatus.RETIRED
        ]
        assert copy.status is CopyStatus.COMPLETE
        with world.catalog() as catalog:
            runs = catalog.runs(copy.id).rows()
            cartridges = {volume.label: volume.cartridge for volume, *_ in runs}
        assert len(runs) == len(cartridges) == len(copy.volumes)
        for volume, position, seq, blocks in runs:
            met = world.on_tape(copy.drive, volume.cartridge)
            there = [one for one in met if position <= one.position < position + blocks]
            assert [(one.header.kind, one.header.object, one.header.seq) if one.header else None for one in there] == [
                (Kind.OBJECT, item.id, seq + ahead) for ahead in range(blocks)
            ]
        same(world, source, copy.agent)


def same(world: World, source: str, agent: str | None = None) -> None:
    assert snapshot(world.restored(source, copy=agent)) == snapshot(world.folder / "data" / source)


def assert_told_as_begun(world: World, result: DemuxResult) -> None:
    """Only of what has something on its target it is said that it would stand in two pieces."""
    assert result.copied.unpaid
    for one in result.copied.unpaid:
        with world.catalog() as catalog:
            own = [copy for copy in catalog.object(one.object.id).copies if copy.agent == one.place.agent]
        assert one.why.endswith(ANEW if own[-1].volumes else UNBEGUN)


def nothing_is_left(world: World) -> bool:
    folder = world.config.server.spool
    return not folder.exists() or not list(folder.iterdir())


def test_the_objects_are_interleaved(filled: World) -> None:
    assert len(labels(filled)) > 2
    runs = [run for source in SIZES for run in filled.runs(filled.object(source), "A")]
    first = [filled.runs(filled.object(source), "A")[0] for source in SIZES]
    last = [filled.runs(filled.object(source), "A")[-1] for source in SIZES]
    assert max((run.label, run.position) for run in first) < min((run.label, run.position) for run in last)
    assert len(runs) > 4 * len(SIZES)


@pytest.mark.parametrize("spool", [0, 40 * BLOCK, PLENTY], ids=["nothing", "some", "plenty"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_object_in_one_piece(filled: World, count: int, spool: int) -> None:
    targets = TARGETS[:count]
    plan, result = demux(filled, targets, spool)
    assert (result.exit_status, result.copied.unpaid) == (0, [])
    assert result.passes == len(plan.passes)
    assert plan.fewest
    assert plan.reason.startswith(f"{result.passes} pass")
    assert result.spool_bytes_most == plan.spool_bytes_max <= spool
    assert nothing_is_left(filled)
    assert_in_one_piece(filled, targets)
    if spool == 0:
        assert result.passes == -(-len(SIZES) // count)
    elif spool == PLENTY or count == len(SIZES):
        assert result.passes == 1
    with filled.catalog() as catalog:
        assert [job.kind for job in catalog.jobs()][1:] == ["demux"] * len(result.copied.rounds)
        assert all(job.status == "complete" for job in catalog.jobs())
        assert {one.state for one in catalog.volumes("R1")} <= {VolumeState.FULL, VolumeState.APPENDABLE}
    assert verify(filled.config).faults == []


@pytest.mark.parametrize("count", [3, 8])
def test_more_objects_and_fewer(world: World, count: int) -> None:
    """Also objects behind one another in the same buffer's place: a second backup on the same cartridges."""
    sizes = {f"S{number}": 120_000 + 40_000 * number for number in range(count)}
    fill(world, sizes)
    assert world.backup().exit_status == 0
    plan, result = demux(world, ["R3", "R4"], 12 * BLOCK)
    assert (result.exit_status, result.passes) == (0, len(plan.passes))
    assert result.spool_bytes_most == plan.spool_bytes_max <= 12 * BLOCK
    assert_in_one_piece(world, ["R3", "R4"], list(sizes))


def block_bytes_on(world: World, drive: str) -> int:
    """Of objects and file indexes."""
    with world.catalog() as catalog:
        cartridges = [one.cartridge for one in catalog.volumes(drive)]
    headers = [met.header for cartridge in cartridges for met in world.on_tape(drive, cartridge)]
    return sum(one.block_bytes for one in headers if one is not None and one.kind is Kind.OBJECT)


def test_in_memory(filled: World) -> None:
    plan, result = demux(filled, ["R3"], PLENTY, in_memory=True)
    assert (plan.spool, result.passes, result.exit_status) == (None, 1, 0)
    assert result.spool_bytes_most > 0
    assert result.copied.bytes == block_bytes_on(filled, "R3"), "what waited counts once"
    assert not filled.config.server.spool.exists()
    assert_in_one_piece(filled, ["R3"])


def test_the_target_has_several_cartridges(filled: World) -> None:
    configure(filled, R3='{ device = "vtape:tapes/R3", capacity = "700KB" }')
    _, result = demux(filled, ["R3"], PLENTY)
    assert result.exit_status == 0
    assert len(labels(filled, "R3")) > 2
    assert_in_one_piece(filled, ["R3"])


def test_file_indexes_go_along(filled: World) -> None:
    demux(filled, ["R3", "R4"], PLENTY)
    with filled.catalog() as catalog:
        for source in SIZES:
            item = catalog.newest(source)
            index = catalog.index_of(item.id)
            assert index is not None
            drives = [{c.drive for c in one.copies if c.agent.startswith("demux-")} for one in (item, index)]
            assert drives[0] == drives[1] != set()
            assert any(c.status is CopyStatus.COMPLETE for c in index.copies if c.drive in drives[0])


def test_what_is_there_is_left_alone(filled: World) -> None:
    demux(filled, ["R3"], PLENTY)
    before = filled.tape_bytes()
    plan, result = demux(filled, ["R3"], PLENTY)
    assert (plan.passes, plan.already, result.exit_status) == ((), len(SIZES), 0)
    assert filled.tape_bytes() == before


def test_some_volumes_bring_the_others(filled: World) -> None:
    first = labels(filled)[0]
    with open_demux(filled.config, [first], ["R3"], spool_bytes=PLENTY) as demuxing:
        assert any("are read for them as well" in one for one in demuxing.plan().remarks)
        assert demuxing.run().exit_status == 0
    there = [source for source in SIZES if filled.runs(filled.object(source), "A")[0].label == first]
    assert_in_one_piece(filled, ["R3"], there)


def test_retire(filled: World) -> None:
    _, result = demux(filled, ["R3"], PLENTY, retire=True)
    assert (result.retired, result.kept) == (labels(filled), [])
    with filled.catalog() as catalog:
        assert {one.state for one in catalog.volumes("R1")} == {VolumeState.RETIRED}
    assert_in_one_piece(filled, ["R3"])
    with pytest.raises(UsageError, match="is retired already"), open_demux(filled.config, labels(filled), ["R4"]):
        pass


def damage(world: World, source: str, run: int) -> None:
    found = world.runs(world.object(source), "A")[run]
    tape = next(one for one in world.tapes("R1") if one.stem == found.label)
    flip(tape, place_in_file(tape, found.position)[0] + 700)


def test_damaged_blocks_come_from_another_copy_or_are_named(filled: World) -> None:
    """D1 has a mirror, D2 has none."""
    damage(filled, "D1", 4)
    damage(filled, "D2", 2)
    for _ in range(2):  # the second time there is nothing to do
        _, result = demux(filled, ["R3"], PLENTY, retire=True)
        assert result.exit_status == (1 if result.copied.rounds else 3)
        (unpaid,) = result.copied.unpaid
        assert (unpaid.object.source, unpaid.blocks) == ("D2", 1)
        assert len(result.kept) > 0
        assert filled.status("D1")["demux-R3"] == "complete"
        assert filled.status("D2")["demux-R3"] == "partial"
    same(filled, "D1", "demux-R3")
    assert len(filled.runs(filled.object("D1"), "demux-R3")) == 3
    assert len(filled.runs(filled.object("D2"), "demux-R3")) == 2
    assert_in_one_piece(filled, ["R3"], ["D3", "D4", "D5"])


def test_a_target_that_fails(filled: World) -> None:
    configure(filled, R3='"vtape:tapes/R3?fail_write=40"')
    _, result = demux(filled, ["R3", "R4"], PLENTY)
    assert result.exit_status == 1
    assert {one.place.drive for one in result.copied.unpaid} == {"R3"}
    assert_told_as_begun(filled, result)
    assert "complete" in {filled.status(source).get("demux-R4") for source in SIZES}
    configure(filled)
    with open_missing(filled.config, of_copying=True) as copying:  # would leave them in pieces
        assert (copying.debts, copying.remarks) == ([], [LEFT_TO_DEMUX])
    _, result = demux(filled, ["R3", "R4"], PLENTY)
    assert result.exit_status == 0
    assert_in_one_piece(filled, ["R3", "R4"])


def test_a_spool_that_fails(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited is lost, and is not begun on its target: nothing stands in pieces."""

    def failing(*arguments: object, **more: object) -> WaitingDrive:
        return WaitingDrive(*arguments, **more, trouble=Trouble(fail_write=9))  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(demux_module, "WaitingDrive", failing)
        _, result = demux(filled, ["R3"], PLENTY)
    assert result.exit_status == 1
    assert "failed" in {agent.ending for agent in result.copied.agents if agent.drive == "(spool)"}
    assert {one.why for one in result.copied.unpaid} == {UNBEGUN}
    left = {source: filled.status(source)["demux-R3"] for source in SIZES}
    assert set(left.values()) == {"complete", "missing"}
    assert demux(filled, ["R3"], PLENTY)[1].exit_status == 0
    assert_in_one_piece(filled, ["R3"])


@pytest.mark.parametrize("how", [Stop.IN_ORDER, Stop.NOW])
def test_a_stop(filled: World, how: Stop) -> None:
    """Nothing is completed in pieces; the same command goes on."""

    stopped, wrote = Event(), WaitingTape.wrote

    def late(tape: WaitingTape, runs: Any, position: int) -> None:
        wrote(tape, runs, position)
        stopped.wait(60)

    @contextmanager
    def stopping(running: Round) -> Iterator[Callable[[], None]]:
        def stop() -> None:
            running.job.stop(how)
            stopped.set()

        yield stop

    with (
        pytest.MonkeyPatch.context() as patch,
        open_demux(filled.config, labels(filled), ["R3"], spool_bytes=PLENTY) as demuxing,
    ):
        patch.setattr(WaitingTape, "wrote", late)
        result = demuxing.run(stopping)
    assert result.copied.stopped
    assert result.exit_status in (1, 3)
    assert_told_as_begun(filled, result)
    assert nothing_is_left(filled)
    assert demux(filled, ["R3"], PLENTY)[1].exit_status == 0
    assert_in_one_piece(filled, ["R3"])


def test_an_object_whose_source_broke_off(filled: World) -> None:
    """What there is of it goes along, once."""
    with Catalog.open(filled.state) as catalog:
        item = catalog.newest("D3")
        catalog.object_ended(item.id, outcome=Outcome.INTERRUPTED, blocks=item.blocks, bytes=item.bytes, files=None)
    assert demux(filled, ["R3"], PLENTY)[1].exit_status == 0
    plan, again = demux(filled, ["R3"], PLENTY)
    assert (plan.already, again.passes) == (len(SIZES), 0)


def test_no_room_for_the_spool(filled: World) -> None:
    (filled.folder / "state" / "spool").write_text("no folder")
    with pytest.raises(UsageError, match="spool folder"):
        demux(filled, ["R3"], PLENTY)
    assert demux(filled, ["R3"], PLENTY, in_memory=True)[1].exit_status == 0


@pytest.mark.parametrize(
    ("volumes", "to", "words"),
    [
        (["R1-0001"], ["R9"], "there is no drive"),
        (["R1-0001"], ["R3", "R3"], "more than once"),
        (["R1-0001"], ["R3", "R1"], "read and write at once"),
        (["R1-0001", "R2-0001"], ["R3"], "drives R1, R2"),
        (["R8-0001"], ["R3"], "no volume R8-0001"),
        (["R1-0001"], [], "no drive to write to"),
    ],
)
def test_what_cannot_be(filled: World, volumes: list[str], to: list[str], words: str) -> None:
    with pytest.raises((UsageError, NotFound), match=words), open_demux(filled.config, volumes, to):
        pass


CUTS = ["a receipt is entered", "an append is entered", "blocks are written", "a filemark is written"]
CUTS += ["a copy is entered", "a record is written", "the job's end is entered", "blocks wait"]


@pytest.mark.parametrize("moment", CUTS)
def test_a_power_cut_at_any_moment(filled: World, moment: str) -> None:
    chance = Random(moment)
    spool = PLENTY if moment == "blocks wait" else 20 * BLOCK  # so much that there is something to wait
    number = 1 if moment == "blocks wait" else chance.randint(1, 2)
    died = dies(lambda: demux(filled, ["R3", "R4"], spool)[1].exit_status, moment, number, chance.random() < 0.5)
    assert nothing_is_left(filled)
    for source in SIZES:
        same(filled, source)
    _, result = demux(filled, ["R3", "R4"], 20 * BLOCK)
    assert result.exit_status == 0
    assert died
    assert_in_one_piece(filled, ["R3", "R4"])
    assert verify(filled.config).faults == []
