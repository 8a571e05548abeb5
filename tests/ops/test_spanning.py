"""Small cartridges: objects that go on over several, later jobs that append, and what must not be appended to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from agent_world import snapshot
from ops_world import KIB, World, assert_receipts_hold, files_in, listed, reader, seqs_on

from tapeloom.catalog import VolumeState
from tapeloom.errors import PositionLost
from tapeloom.ops.mounts import open_configured
from tapeloom.ops.outcome import BackupResult
from tapeloom.ops.restore import restore
from tapeloom.ops.verify import verify
from tapeloom.runtime import Ending
from tapeloom.volume.mounting import read_label

AGENT = {"R1": "A", "R2": "M1", "R3": "M2"}
MANY = {
    "R1": '{ device = "vtape:tapes/R1", capacity = "700KiB" }',
    "R2": '{ device = "vtape:tapes/R2", capacity = "550KiB" }',
    "R3": '{ device = "vtape:tapes/R3", capacity = "1100KiB" }',
}


@pytest.fixture(scope="module", params=["", 'checkpoint = "160KiB"'], ids=["one-checkpoint", "many-checkpoints"])
def spanned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two objects, both on three cartridges or more of each drive, which end at different places."""
    world = World(tmp_path_factory.mktemp("spanned"))
    world.chain(settings=request.param, mirror=request.param, **MANY)
    world.data("D1", 2_500_000)
    world.data("D2", 1_800_000, files=50)
    result = world.backup()
    assert result.exit_status == 0, result
    return world


def test_each_block_stands_once_on_each_drive(spanned: World) -> None:
    for drive, agent in AGENT.items():
        for source in ("D1", "D2"):
            item = spanned.object(source)
            (copy,) = [copy for copy in item.copies if copy.agent == agent]
            assert len(copy.volumes) >= 3
            seqs = [seq for tape in spanned.tapes(drive) for seq in seqs_on(spanned.on_tape(drive, tape.stem), item.id)]
            assert seqs == list(range(item.blocks or 0)), "none lost, none twice, in order over the cartridges"
    ends = [[run.seq for run in spanned.runs(spanned.object("D1"), agent)] for agent in AGENT.values()]
    assert len({tuple(seqs) for seqs in ends}) == 3, "the mirrors go on at places of their own"


def test_it_all_comes_back(spanned: World) -> None:
    for agent in AGENT.values():
        for source in ("D1", "D2"):
            assert snapshot(spanned.restored(source, copy=agent)) == snapshot(spanned.folder / "data" / source)
    checked = verify(spanned.config)
    assert (checked.exit_status, len(checked.checked)) == (0, 12)
    assert assert_receipts_hold(spanned) == 3 * sum(spanned.object(source).blocks or 0 for source in ("D1", "D2"))


def test_the_reader_alone_goes_on_over_the_cartridges(spanned: World) -> None:
    for drive in AGENT:
        for source in ("D1", "D2"):
            got = reader("get", spanned.object(source).id, "-", *spanned.tapes(drive))
            assert (got.returncode, got.stdout) == (0, spanned.sequence(source)), got.stderr


def test_the_reader_alone_says_what_is_missing(spanned: World) -> None:
    got = reader("list", *spanned.tapes("R1")[:-1])
    assert got.returncode == 1
    assert b"no end met" in got.stdout


def test_volumes_name_the_one_before(spanned: World) -> None:
    with spanned.catalog() as catalog:
        volumes = {drive: catalog.volumes(drive) for drive in AGENT}
    for drive, known in volumes.items():
        assert [volume.sequence for volume in known] == list(range(1, len(known) + 1))
        assert [volume.previous for volume in known] == [None, *(volume.id for volume in known[:-1])]
        assert {volume.state for volume in known[:-1]} == {VolumeState.FULL}
        assert known[-1].state is VolumeState.APPENDABLE
        with open_configured(spanned.config, drive) as device:
            for volume in known:
                device.load(volume.cartridge)
                start = read_label(device)
                assert start is not None
                assert (start.volume, start.sequence, start.previous) == (volume.id, volume.sequence, volume.previous)


def test_one_volume_of_several_is_verified(spanned: World) -> None:
    label = spanned.object("D1").copies[0].volumes[1]
    checked = verify(spanned.config, volume=label)
    assert checked.exit_status == 0
    whole = sum(one.object.blocks or 0 for one in checked.checked)
    assert 0 < sum(one.blocks for one in checked.checked) < whole


def test_the_last_cartridge_is_gone_on_with(world: World) -> None:
    world.chain(**MANY)
    world.data("D1", 700_000)
    world.data("D2", 100_000)
    for _ in range(3):
        assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        for drive in AGENT:
            jobs = [{catalog.object(one.id).job for one in catalog.runs_on(v.id)[0]} for v in catalog.volumes(drive)]
            assert max(map(len, jobs)) == 2, "two jobs share a volume"
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)


@pytest.mark.parametrize("kib", range(0, 340, 34))
def test_a_tape_may_end_anywhere(world: World, kib: int) -> None:
    """Objects that end just before, in and behind the early-warning zone; then a further job, which has to find its
    place."""
    world.chain(sources=["D1"], R1='{ device = "vtape:tapes/R1", capacity = "512KiB" }')
    for number in range(3):
        world.data("D1", 100_000 + kib * KIB, files=1, seed=number)
        result = world.backup()
        assert result.exit_status == 0, [one.why for one in result.agents]
        assert files_in(world.sequence("D1", copy="A")) == files_in(world.sequence("D1", copy="M1"))
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)


def test_a_tape_may_end_between_two_jobs(world: World) -> None:
    """Jobs that write no block fill it up with their records, and one of them meets the physical end."""
    for source in ("Gone", "D1"):
        world.chain(sources=[source], R1='{ device = "vtape:tapes/R1", capacity = "96KiB" }')
        world.data("D1", 20_000, files=1)
        for _ in range(8):
            result = world.backup()
            assert {one.ending for one in result.agents} == {Ending.COMPLETE}, result.agents
    assert verify(world.config).exit_status == 0
    assert_receipts_hold(world)


def test_a_tape_too_small_for_anything(world: World) -> None:
    world.chain(R2='{ device = "vtape:tapes/R2", capacity = "20KiB" }')
    world.data("D1", 100_000)
    world.data("D2", 100_000)
    result = world.backup()
    assert result.exit_status == 1
    assert {one.agent: one.ending for one in result.agents} == {
        "A": Ending.COMPLETE,
        "M1": Ending.FAILED,
        "M2": Ending.COMPLETE,
    }
    assert len(world.tapes("R2")) <= 2, "it does not fill a room with cartridges"


# Appending


@pytest.fixture
def twice(world: World) -> World:
    world.chain()
    for seed in (1, 2):
        if seed == 2:
            shutil.copytree(world.state, world.folder / "older")
        world.data("D1", 300_000, seed=seed)
        world.data("D2", 200_000, seed=seed)
        assert world.backup().exit_status == 0
    return world


def all_refused(result: BackupResult, words: str) -> None:
    assert result.exit_status == 3
    for one in result.agents:
        assert one.ending is Ending.FAILED
        assert words in (one.why or "")


def test_a_second_job_appends(twice: World) -> None:
    assert [len(twice.tapes(drive)) for drive in AGENT] == [1, 1, 1]
    with twice.catalog() as catalog:
        first, second = catalog.objects("D1")
    assert twice.sequence(str(first.id)) != twice.sequence(str(second.id))
    assert snapshot(twice.restored("D1", copy="M2")) == snapshot(twice.folder / "data" / "D1")
    assert restore(twice.config, str(first.id), twice.folder / "first").exit_status == 0
    assert sorted(row[3] for row in listed(twice.tapes("R3"))) == ["parquet"] * 4 + ["tar"] * 4
    assert verify(twice.config).exit_status == 0
    assert_receipts_hold(twice)


def test_a_catalog_older_than_the_tape_is_refused(twice: World) -> None:
    """The state folder as it was before the second backup is brought back."""
    newest = twice.folder / "newest"
    twice.state.rename(newest)
    shutil.copytree(twice.folder / "older", twice.state)
    before = twice.tape_bytes()
    all_refused(twice.backup(), "the catalog is older than the tape. `tapeloom import --volume R")
    assert twice.tape_bytes() == before, "nothing was written"
    shutil.rmtree(twice.state)
    newest.rename(twice.state)
    assert twice.backup().exit_status == 0
    assert verify(twice.config).exit_status == 0


def test_a_lost_catalog_overwrites_nothing(twice: World) -> None:
    before = twice.tape_bytes()
    shutil.rmtree(twice.state)
    all_refused(twice.backup(), "which this catalog does not know")
    assert twice.tape_bytes() == before


@pytest.mark.parametrize("data", [b"somebody's own data" * 1000, bytes(16384)], ids=["text", "zeros"])
def test_what_somebody_else_wrote_is_left_alone(world: World, data: bytes) -> None:
    world.chain()
    world.data("D1", 100_000)
    world.data("D2", 100_000)
    with open_configured(world.config, "R2") as device:
        device.new_cartridge("THEIRS")
        device.load("THEIRS")
        device.write(data)
        device.write_filemarks()
    before = (world.folder / "tapes" / "R2" / "THEIRS.tape").read_bytes()
    result = world.backup()
    assert result.exit_status == 0
    (told,) = result.remarks
    assert told.startswith("cartridge THEIRS in drive R2 holds data of an unknown program: it is left alone")
    assert (world.folder / "tapes" / "R2" / "THEIRS.tape").read_bytes() == before
    assert set(world.status("D1").values()) == {"complete"}


def swap(world: World, one: str, other: str) -> None:
    for path in list((world.folder / "tapes" / one).iterdir()):
        shutil.copy(path, Path(str(path).replace(f"/{one}/", f"/{other}/").replace(f"{one}-", f"{other}-")))


def test_another_cartridge_under_the_same_name_is_refused(twice: World) -> None:
    swap(twice, "R3", "R2")
    before = twice.tape_bytes()
    result = twice.backup()
    (told,) = [one for one in result.agents if one.agent == "M1"]
    assert told.ending is Ending.FAILED
    assert "where the catalog has volume R2-0001" in (told.why or "")
    assert {path: data for path, data in twice.tape_bytes().items() if "/R2/" in str(path)} == {
        path: data for path, data in before.items() if "/R2/" in str(path)
    }
    with twice.catalog() as catalog:
        oldest = catalog.objects("D1")[0]
    with pytest.raises(PositionLost, match="where the catalog has volume R2-0001"):
        twice.restored(str(oldest.id), copy="M1")


def test_a_cartridge_in_another_drive_is_sent_home(twice: World) -> None:
    twice.file.write_text(twice.file.read_text().replace("R2", "X2").replace("tapes/X2", "tapes/R2"))
    before = twice.tape_bytes()
    result = twice.backup()
    (told,) = [one for one in result.agents if one.agent == "M1"]
    assert told.ending is Ending.FAILED
    assert "which the catalog has in drive R2: put it back there" in (told.why or "")
    assert {path: data for path, data in twice.tape_bytes().items() if "/R2/" in str(path)} == {
        path: data for path, data in before.items() if "/R2/" in str(path)
    }


def test_a_tape_that_lost_its_end_is_not_appended_to(twice: World) -> None:
    """Its index is cut behind the first job's receipts: the catalog knows of more."""
    (tape,) = twice.tapes("R2")
    index = tape.with_suffix(".index")
    index.write_bytes(index.read_bytes()[: 4096 + 32 * 10])
    result = twice.backup()
    (told,) = [one for one in result.agents if one.agent == "M1"]
    assert told.ending is Ending.FAILED
    assert "data is missing on it" in (told.why or "")
    checked = verify(twice.config)
    assert checked.exit_status == 1
    assert {fault.copy for fault in checked.faults} == {"M1"}
