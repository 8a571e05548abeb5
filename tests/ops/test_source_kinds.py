"""Kinds of sources, from the configuration onto tape and back: commands around them, time limits, raw files."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from ops_world import World, files_in

from tapeloom._kernel import Stop
from tapeloom.ops.backup import open_backup
from tapeloom.ops.restore import restore


@pytest.fixture
def log(world: World) -> Path:
    return world.folder / "log"


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_commands_around_a_source(world: World, log: Path) -> None:
    """What `before` makes is what is read."""
    made = world.folder / "data/D1"
    before = f"mkdir -p {made} && echo $TAPELOOM_LEVEL > {made}/level && echo before $TAPELOOM_OBJECT >> {log}"
    after = f"rm -r {made} && echo after $TAPELOOM_OBJECT $TAPELOOM_STATUS >> {log}"
    world.chain(sources=["D1"], given={"D1": f"{{ path = 'data/D1', before = '{before}', after = '{after}' }}"})
    assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        [item] = catalog.objects("D1")
    assert lines(log) == [f"before {item.id}", f"after {item.id} complete"]
    assert not made.exists()
    assert files_in(world.sequence("D1")) == {"./level": b"full\n"}


def test_a_failing_before_fails_its_object_alone(world: World, log: Path) -> None:
    world.chain(
        sources=["D1", "D2"],
        given={"D1": f"{{ path = 'data/D1', before = 'exit 4', after = 'echo $TAPELOOM_STATUS >> {log}' }}"},
    )
    world.data("D1", 1000)
    world.data("D2", 1000)
    result = world.backup()
    assert result.exit_status == 1
    with world.catalog() as catalog:
        [first], [second] = catalog.objects("D1"), catalog.objects("D2")
    assert (first.status, second.status) == ("failed", "complete")
    assert list(first.troubles) == ["before: command `exit 4` ended with exit status 4"]
    assert lines(log) == ["failed"]


def test_a_failing_after_is_a_trouble_and_the_data_stay(world: World, tmp_path: Path) -> None:
    world.chain(sources=["D1"], given={"D1": "{ path = 'data/D1', after = 'exit 4' }"})
    folder = world.data("D1", 1000)
    assert world.backup().exit_status == 1
    with world.catalog() as catalog:
        [item] = catalog.objects("D1")
    assert item.status == "complete"
    assert list(item.troubles) == ["after: command `exit 4` ended with exit status 4"]
    assert restore(world.config, "D1", tmp_path / "back").exit_status == 0
    assert (tmp_path / "back/file-0").read_bytes() == (folder / "file-0").read_bytes()


def test_a_stop_ends_before_and_after_still_runs(world: World, log: Path) -> None:
    started = world.folder / "started"
    os.mkfifo(started)
    world.chain(
        sources=["D1"],
        given={"D1": f"{{ path = 'data/D1', before = 'echo >{started}; sleep 1000', after = 'echo over >> {log}' }}"},
    )
    world.data("D1", 1000)
    with open_backup(world.config) as backup:

        def stop() -> None:
            started.read_text()  # waits for the command
            backup.job.stop(Stop.IN_ORDER)

        stopping = threading.Thread(target=stop)
        stopping.start()
        result = backup.run()
        stopping.join()
    assert result.stopped
    assert lines(log) == ["over"]


def test_a_command_with_a_time_limit(world: World) -> None:
    world.chain(
        sources=["Said", "D1"],
        given={"Said": "{ command = 'echo begun; exec sleep 1000', time_limit = '200ms' }"},
    )
    world.data("D1", 1000)
    assert world.backup().exit_status == 1
    with world.catalog() as catalog:
        [said], [other] = catalog.objects("Said"), catalog.objects("D1")
    [trouble] = said.troubles
    assert trouble.startswith("command `echo begun; exec sleep 1000` took longer than its time limit of 0.2 s")
    assert (said.status, other.status) == ("failed", "complete")


def test_a_raw_file_with_holes(world: World, tmp_path: Path) -> None:
    image = world.folder / "disk.img"
    with image.open("wb") as file:
        os.pwrite(file.fileno(), b"data" * 10_000, 1 << 20)
        os.ftruncate(file.fileno(), 1 << 33)
        os.fsync(file.fileno())
    world.chain(sources=["Disk"], given={"Disk": '{ raw = "disk.img" }'})
    assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        [item] = catalog.objects("Disk")
    assert item.bytes is not None
    assert item.bytes < 1 << 20
    assert restore(world.config, "Disk", tmp_path / "back").exit_status == 0
    back = tmp_path / "back/disk.img"
    assert back.stat().st_size == 1 << 33
    assert back.stat().st_blocks * 512 < 1 << 20
    with back.open("rb") as file:
        assert os.pread(file.fileno(), 40_002, (1 << 20) - 1) == b"\0" + b"data" * 10_000 + b"\0"
