"""Whole backups on virtual tapes: every object comes back from every copy, and stands where it should and nowhere
else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from agent_world import make_everything, make_plain, snapshot
from ops_world import KIB, World, assert_receipts_hold, files_in, listed, reader

from tapeloom.catalog import JobStatus
from tapeloom.config import load
from tapeloom.ops.backup import open_backup
from tapeloom.ops.restore import cat, restore
from tapeloom.ops.verify import verify
from tapeloom.runtime import Ending

EXAMPLES = Path(__file__).parents[1] / "config"
"""fig2.toml and fig5.toml as they are given to users."""

WHERE = {"D1": {"R1", "R5"}, "D2": {"R1", "R5", "R3"}, "D3": {"R1"}, "D4": {"R2"}, "D5": {"R2", "R8", "R6"}}
AGENT_OF = {"R1": "BMA124", "R2": "BMA126", "R5": "BMA138", "R8": "BMA140", "R3": "BMA144", "R6": "BMA146"}


class Figure2(World):
    """The patent's Figure 2, run once from another working folder."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.file = folder / "fig2.toml"
        for name in ("fig2.toml", "fig5.toml"):
            shutil.copy(EXAMPLES / name, folder)
        (folder / "data").mkdir()
        (make_everything if os.geteuid() == 0 else make_plain)(folder / "data" / "D1")
        self.data("D2", 3_000_000, files=40)
        self.data("D3", 5_000, files=2)
        (folder / "data" / "D4").mkdir()
        self.data("D5", 1_500_000, files=1)


@pytest.fixture(scope="module")
def figure2(tmp_path_factory: pytest.TempPathFactory) -> Figure2:
    made = Figure2(tmp_path_factory.mktemp("figure2"))
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    try:
        result = made.backup()
    finally:
        os.chdir(here)
    assert (result.exit_status, result.status) == (0, JobStatus.COMPLETE)
    assert all(agent.ending is Ending.COMPLETE for agent in result.agents)
    return made


COPIES = [(source, drive) for source, drives in WHERE.items() for drive in sorted(drives)]


@pytest.mark.parametrize(("source", "drive"), COPIES)
def test_each_copy_gives_the_tree_back(figure2: Figure2, source: str, drive: str) -> None:
    target = figure2.restored(source, copy=AGENT_OF[drive])
    assert snapshot(target) == snapshot(figure2.folder / "data" / source)


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar to judge by")
@pytest.mark.parametrize(("source", "drive"), COPIES)
def test_tar_finds_no_difference(figure2: Figure2, source: str, drive: str) -> None:
    tar = ["tar", "--diff", "--file=-", "--directory", str(figure2.folder / "data" / source)]
    with subprocess.Popen(tar, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as judge:
        assert judge.stdin is not None
        assert judge.stdout is not None
        cat(figure2.config, source, judge.stdin.fileno(), copy=AGENT_OF[drive])
        judge.stdin.close()
        said = judge.stdout.read()
    assert (judge.returncode, said) == (0, b"")


def test_each_object_is_where_it_should_be_and_nowhere_else(figure2: Figure2) -> None:
    """By the tapes alone: the stand-alone reader knows neither catalog nor configuration."""
    found = {drive: figure2.objects_on(drive) for drive in AGENT_OF}
    assert found == {drive: {source for source, drives in WHERE.items() if drive in drives} for drive in AGENT_OF}


@pytest.mark.parametrize(("source", "drive"), COPIES)
def test_the_reader_alone_brings_each_copy_back(figure2: Figure2, source: str, drive: str) -> None:
    id = figure2.object(source).id
    got = reader("get", id, "-", *figure2.tapes(drive))
    assert (got.returncode, got.stdout) == (0, figure2.sequence(source))


def test_the_mirrors_hold_the_very_same_blocks(figure2: Figure2) -> None:
    blocks = {}
    for drive in sorted(WHERE["D2"]):
        (tape,) = figure2.tapes(drive)
        id = figure2.object("D2").id
        met = [one for one in figure2.on_tape(drive, tape.stem) if one.header and one.header.object == id]
        blocks[drive] = [(one.header, one.payload) for one in met]
    assert blocks["R1"] == blocks["R5"] == blocks["R3"]


def test_a_configuration_without_sources_restores(figure2: Figure2, tmp_path: Path) -> None:
    config = load(figure2.folder / "fig5.toml")
    assert not config.sources
    for source in WHERE:
        assert restore(config, source, tmp_path / source).exit_status == 0
        assert snapshot(tmp_path / source) == snapshot(figure2.folder / "data" / source)


def test_what_the_catalog_says_stands_on_tape(figure2: Figure2) -> None:
    assert assert_receipts_hold(figure2) == sum(
        len(WHERE[source]) * (figure2.object(source).blocks or 0) for source in WHERE
    )
    checked = verify(figure2.config)
    assert (checked.exit_status, len(checked.checked), checked.passed_over) == (0, 2 * len(COPIES), [])


def test_one_group_alone_writes_what_it_feeds_and_nothing_else(world: World) -> None:
    world.configure(
        """
        [backup.one.A1]
        drive = "R1"
        buffers = { B1 = "D1" }
        [backup.two.A2]
        drive = "R2"
        buffers = { B1 = "D2" }
        [mirror.1.M1]
        drive = "R3"
        buffers = { B1 = "A1.B1", B2 = "A2.B1" }
        """,
        drives={name: f'"vtape:tapes/{name}"' for name in ("R1", "R2", "R3")},
        sources={"D1": '"data/D1"', "D2": '"data/D2"'},
    )
    world.data("D1", 100_000)
    world.data("D2", 100_000)
    result = world.backup(["two"])
    assert result.exit_status == 0
    assert [row.source for row in result.table] == ["D2", "D2"]
    assert not world.tapes("R1")
    assert world.objects_on("R3") == {"D2"}


def test_sources_of_one_buffer_come_one_after_another(world: World) -> None:
    world.configure(
        '[backup.nightly.A]\ndrive = "R1"\nbuffers = { B1 = ["D1", "D2", "D3"], B2 = "D4" }',
        drives={"R1": '"vtape:tapes/R1"'},
        sources={name: f'"data/{name}"' for name in ("D1", "D2", "D3", "D4")},
    )
    for name in ("D1", "D2", "D3", "D4"):
        world.data(name, 300_000)
    result = world.backup()
    assert result.exit_status == 0
    (tape,) = world.tapes("R1")
    order = [one.header.name for one in world.on_tape("R1", tape.stem) if one.header and one.header.kind == 1]
    first, last = {name: order.index(name) for name in order}, {name: number for number, name in enumerate(order)}
    assert last["D1"] < first["D2"] <= last["D2"] < first["D3"]
    for name in ("D1", "D2", "D3", "D4"):
        assert snapshot(world.restored(name)) == snapshot(world.folder / "data" / name)


def test_nothing_at_all_is_an_object_too(world: World) -> None:
    world.configure(
        '[backup.nightly.A]\ndrive = "R1"\nbuffers = { B1 = "Empty", B2 = "Silent", B3 = "File" }',
        drives={"R1": '"vtape:tapes/R1"'},
        sources={"Empty": '"data/Empty"', "Silent": '{ command = "true" }', "File": '"data/file"'},
    )
    (world.folder / "data" / "Empty").mkdir(parents=True)
    (world.folder / "data" / "file").write_bytes(b"")
    result = world.backup()
    assert result.exit_status == 0
    assert snapshot(world.restored("Empty")) == snapshot(world.folder / "data" / "Empty")
    assert (world.restored("Silent") / "Silent").read_bytes() == b""
    assert world.object("Silent").bytes == 0
    assert files_in(world.sequence("File")) == {"file": b""}
    assert verify(world.config).exit_status == 0


def test_figures_of_a_job_add_up(world: World) -> None:
    world.chain(slots=24)
    world.data("D1", 2_000_000)
    world.data("D2", 1_000_000)
    with open_backup(world.config) as backup:
        ticks = []
        result = backup.run(lambda: ticks.append(1))
        arena, schedule = backup.job.arena, backup.schedule
        streams = [arena.stream_statistics(row) for row in range(len(schedule.streams))]
        agents = [arena.agent_statistics(row) for row in range(len(schedule.agents))]
        objects = backup.job.objects.all()
    assert [item for item in objects if item in result.objects] == result.objects
    assert sum(stream.blocks for stream in streams) == sum(item.blocks for item in objects)
    assert all(stream.ended and stream.held == 0 for stream in streams)
    for agent in agents:
        assert agent.blocks == sum(stream.blocks for stream in streams)
        assert agent.bytes == sum(stream.bytes for stream in streams)
        assert 0 < agent.runs <= agent.blocks
        assert agent.short_runs <= agent.runs
        assert 0 < agent.calls <= agent.blocks
        assert agent.in_call_since_ns == 0
        assert not agent.detached
    with pytest.raises(AttributeError):
        agents[0].blocks = 0
    with world.catalog() as catalog:
        told = catalog.job(result.job).report["agents"]
    assert [row["blocks"] for row in told] == [agent.blocks for agent in agents]
    assert all(row["blocks_per_run"] == round(row["blocks"] / row["runs"], 1) for row in told)
    assert ticks
    assert sum(item.bytes for item in objects) == sum(stream.bytes - 512 * stream.blocks for stream in streams)
    assert result.bytes == sum(item.bytes for item in result.objects)


def test_a_longer_block_starts_a_volume_of_its_own(world: World) -> None:
    """Slots for reading are sized from the label: a volume never holds a block that is longer than it says there."""
    for block in (16 * KIB, 64 * KIB, 32 * KIB):
        world.chain(block=block)
        world.data("D1", 400_000, seed=block)
        world.data("D2", 100_000)
        assert world.backup().exit_status == 0
        assert snapshot(world.restored("D1", copy="M1")) == snapshot(world.folder / "data" / "D1")
        shutil.rmtree(world.folder / "restored")
    with world.catalog() as catalog:
        assert [volume.block_bytes for volume in catalog.volumes("R1")] == [16 * KIB, 64 * KIB]
        assert len(catalog.objects("D1")) == 3
    assert verify(world.config).exit_status == 0
    assert sorted(row[3] for row in listed(world.tapes("R1"))) == ["parquet"] * 6 + ["tar"] * 6
