"""Trees that are read while their job is made ready: what is read so, what is not, and what is left of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ops_world import World

from tapeloom.agent import tree
from tapeloom.catalog import Outcome
from tapeloom.cli import attending
from tapeloom.cli.main import main
from tapeloom.errors import ConfigError, DeviceError, HeldError, UsageError
from tapeloom.ops import backup as backups
from tapeloom.ops import named
from tapeloom.ops.backup import open_backup
from tapeloom.ops.beginning import begin
from tapeloom.ops.keeping import Keeping
from tapeloom.volume.header import Level


@pytest.fixture
def known(world: World) -> World:
    """Two trees that have an object each."""
    world.chain(sources=["D1", "D2"])
    for name in ("D1", "D2"):
        world.data(name, 30_000)
    world.backup()
    return world


def readers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tree-")]


def in_the_making(world: World) -> list[str]:
    return [path.name for path in (world.state / "snapshots").iterdir() if path.suffix == ".part"]


def ahead(world: World, *groups: str, **options: object) -> set[str]:
    with begin(world.config, groups or None, **options) as begun:  # type: ignore[arg-type]
        return set(begun.ahead)


def test_what_is_in_a_tree_when_a_job_begins_is_in_its_object(known: World) -> None:
    (known.folder / "data" / "D1" / "new").write_bytes(b"before")
    with begin(known.config, level=Level.INCREMENTAL) as begun:
        by_then = time.time_ns()
        assert set(begun.ahead) == {"D1", "D2"}
        with open_backup(known.config, level=Level.INCREMENTAL, beginning=begun) as backup:
            backup.run()
    item = known.object("D1")
    assert item.level is Level.INCREMENTAL
    assert item.as_of < by_then
    assert (known.restored("D1") / "new").read_bytes() == b"before"
    assert not readers()
    assert not in_the_making(known)


def test_what_comes_later_is_in_the_next_object(known: World) -> None:
    """Wherever the walk was by then: nothing is lost between two objects."""
    tree = known.folder / "data" / "D1"
    for number in range(5):
        with begin(known.config, level=Level.INCREMENTAL) as begun:
            (tree / f"late-{number}").write_bytes(b"%d" % number)
            (tree / "file-0").write_bytes(b"changed %d" % number)
            with open_backup(known.config, level=Level.INCREMENTAL, beginning=begun) as backup:
                assert backup.run().exit_status == 0
    assert known.backup(level=Level.INCREMENTAL).exit_status == 0
    restored = known.restored("D1")
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == {
        path.name: path.read_bytes() for path in tree.iterdir()
    }


def test_the_first_backup_is_read_when_its_object_begins(world: World) -> None:
    """There is no catalog yet, and none is made for a job that may be refused."""
    world.chain(sources=["D1"])
    world.data("D1", 30_000)
    with pytest.raises(UsageError, match="no-such"), begin(world.config, ["no-such"]):
        raise AssertionError("it has begun")
    assert not world.state.exists()
    assert ahead(world) == set()


def test_a_group_that_is_none_is_told_also_where_another_process_writes(known: World) -> None:
    with begin(known.config), pytest.raises(UsageError, match="no-such"), begin(known.config, ["no-such"]):
        raise AssertionError("it has begun")


def test_groups_are_called_by_their_kind_too(known: World) -> None:
    assert ahead(known, "backup.nightly") == ahead(known, "nightly") == {"D1", "D2"}


def test_only_what_comes_first(known: World) -> None:
    known.configure(
        '[backup.nightly.A]\ndrive = "R1"\nbuffers = { B1 = ["D1", "D2"], B2 = "D3", B3 = "D4" }\n',
        drives={"R1": '"vtape:tapes/R1"'},
        sources={
            "D1": '"data/D1"',
            "D2": '"data/D2"',  # behind D1
            "D3": '{ path = "data/D1", before = "true" }',
            "D4": '{ command = "true" }',
        },
    )
    assert ahead(known) == {"D1", "D3"}
    with begin(known.config) as begun:
        assert begun.ahead["D1"].begins(begun.ahead["D1"]._id, 0).as_of_ns  # type: ignore[arg-type]
        assert begun.ahead["D3"]._id is None  # it waits for its command


def test_what_two_groups_have_gives_an_object_to_each(known: World) -> None:
    known.configure(
        """
[backup.one.A]
drive = "R1"
buffers = { B1 = "D1" }
[backup.two.B]
drive = "R2"
buffers = { B1 = ["D2", "D1"] }
""",
        drives={name: f'"vtape:tapes/{name}"' for name in ("R1", "R2")},
        sources={name: f'"data/{name}"' for name in ("D1", "D2")},
    )
    assert ahead(known) == {"D2"}
    assert ahead(known, "one") == {"D1"}
    result = known.backup()
    assert result.exit_status == 0
    assert sorted(item.source for item in result.objects) == ["D1", "D1", "D2"]


def test_what_a_program_gives_is_not_read(known: World) -> None:
    assert ahead(known, producers=["D1"]) == {"D2"}


def test_hard_links_are_looked_over_first(known: World) -> None:
    tree = known.folder / "data" / "D1"
    (tree / "again").hardlink_to(tree / "file-0")
    known.backup()
    with begin(known.config, level=Level.INCREMENTAL) as begun:
        assert begun.ahead["D1"]._id is None
        assert begun.ahead["D2"]._id is not None


@pytest.mark.parametrize("refused", [DeviceError("the drive is broken"), KeyboardInterrupt()])
def test_nothing_is_left_of_a_job_that_does_not_come(
    known: World, monkeypatch: pytest.MonkeyPatch, refused: BaseException
) -> None:
    def refuse(*_: object) -> None:
        assert readers()
        assert in_the_making(known)
        raise refused

    monkeypatch.setattr(backups, "open_drives", refuse)
    with pytest.raises(type(refused)), open_backup(known.config):
        raise AssertionError("it has begun")
    assert not readers()
    assert not in_the_making(known)


def test_who_waits_for_a_drive_reads_no_tree_meanwhile(known: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[bool] = []
    open_drives = backups.open_drives

    def held_twice(*arguments: object) -> object:
        tries.append(bool(readers()))
        if len(tries) < 3:
            raise HeldError("drive R1 is in use by process 1")
        return open_drives(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(backups, "open_drives", held_twice)
    monkeypatch.setattr(attending, "POLL_SECONDS", 0.0)
    assert main(["-c", str(known.file), "backup", "--wait", "60"]) == 0
    assert tries == [True, False, False]


def test_nothing_is_left_of_a_job_that_cannot_be_compiled(known: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ConfigError([])

    monkeypatch.setattr("tapeloom.kept.schedule", refuse)
    with pytest.raises(ConfigError), begin(known.config):
        raise AssertionError("it has begun")
    assert not readers()
    assert not in_the_making(known)


def test_a_walk_ends_before_the_file_that_it_writes_into_is_closed(
    known: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's file may bear the same descriptor right after."""
    known.chain(sources=["D1"])
    walking: list[list[str]] = []
    abandon = Keeping.abandon

    def fail(_: Keeping) -> None:
        assert readers()
        raise MemoryError

    def abandoned(keeping: Keeping) -> None:
        walking.append(readers())
        abandon(keeping)

    monkeypatch.setattr(Keeping, "begin_index", fail)
    monkeypatch.setattr(Keeping, "abandon", abandoned)
    with pytest.raises(MemoryError):
        known.backup()
    assert walking == [[]]


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The tree D1 cannot be opened, nor fails to be, until this is set."""
    answered = threading.Event()
    open_root = tree._open_root

    def hang(path: Path) -> int | None:
        if path.name == "D1":
            answered.wait()
        return open_root(path)

    monkeypatch.setattr(tree, "_open_root", hang)
    monkeypatch.setattr(named, "AHEAD_SECONDS", 0.0)
    yield answered
    answered.set()
    for thread in threading.enumerate():
        if thread.name == "beginning D1":
            thread.join()


def test_a_tree_that_does_not_answer_holds_up_no_other(known: World, unanswered: threading.Event) -> None:
    before = {name: known.object(name).id for name in ("D1", "D2")}

    early: list[bool] = []

    def tick() -> None:
        done = known.object("D2").id != before["D2"] and known.object("D2").outcome is Outcome.WHOLE
        if done and not unanswered.is_set():
            early.append(known.object("D1").id != before["D1"] and known.object("D1").outcome is Outcome.WHOLE)
            unanswered.set()

    with open_backup(known.config) as backup:
        assert backup.run(tick).exit_status == 0
    assert early == [False]
    assert known.object("D1").outcome is Outcome.WHOLE
    assert not in_the_making(known)


def test_a_job_that_does_not_come_does_not_wait_for_one_that_does_not_answer(
    known: World, unanswered: threading.Event
) -> None:
    with begin(known.config) as begun:
        assert all(one._ahead is not None for one in begun.ahead.values())
    assert not unanswered.is_set()
    unanswered.set()
    for thread in threading.enumerate():
        if thread.name.startswith("beginning "):
            thread.join()
    assert not readers()
    assert not in_the_making(known)


def test_a_path_that_is_gone_is_told_when_its_object_begins(known: World) -> None:
    (known.folder / "data" / "D1").rename(known.folder / "elsewhere")
    result = known.backup(level=Level.INCREMENTAL)
    assert result.exit_status == 1
    (trouble,) = known.object("D1").troubles
    assert "does not exist: is its disk mounted?" in trouble
    assert known.object("D2").outcome.value == "whole"
