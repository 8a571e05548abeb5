"""File indexes that are lost or damaged beside the catalog come back from tape, when something needs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_world import snapshot
from ops_world import World, flip, place_in_file

from tapeloom.catalog import Catalog, Object
from tapeloom.cli.main import main
from tapeloom.ops.indexes import open_index
from tapeloom.ops.preparing import Request
from tapeloom.ops.restore import plan_restore, restore_as_asked
from tapeloom.seal import KeyRing, new_key_file
from tapeloom.volume.header import Level
from tapeloom.volume.waiting import Waiting


@dataclass
class Week:
    """A full object of D1 and an increment to it."""

    world: World
    items: list[Object]

    def index(self, n: int) -> Path:
        with self.world.catalog() as catalog:
            return catalog.index_path(self.items[n])

    def says(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(["-c", str(self.world.file), *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    def leftovers(self) -> set[str]:
        return {path.name for path in self.index(0).parent.iterdir()} - {self.index(n).name for n in (0, 1)}


@pytest.fixture(params=["clear", "sealed"])
def week(world: World, request: pytest.FixtureRequest) -> Week:
    new_key_file(world.folder / "k1.key", "K1")
    sealed = ', encrypt = "K1", compress = "zstd"' if request.param == "sealed" else ""
    world.chain(sources=["D1"], given={"D1": f'{{ path = "data/D1"{sealed} }}'})
    world.file.write_text(world.file.read_text() + '[keys]\nK1 = "k1.key"\n')
    world.data("D1", 200_000, files=5)
    items = []
    for level in (Level.FULL, Level.INCREMENTAL):
        assert world.backup(level=level).exit_status == 0
        items.append(world.object("D1"))
        (world.folder / "data" / "D1" / "new").write_bytes(b"newer")
    return Week(world, items)


def rows(week: Week, n: int) -> list[bytes]:
    with Catalog.open(week.world.state, readonly=True) as catalog:
        index = open_index(catalog, week.items[n], KeyRing.load([week.world.folder / "k1.key"]))
        assert index is not None
        with index:
            return list(index.overlapping(0, 1 << 60))


def test_files_brings_it_back_and_says_so_once(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows(week, 0)
    week.index(0).unlink()
    name = str(week.items[0].id)
    status, listed, said = week.says(capsys, "files", name)
    assert status == 0
    assert "file-3" in listed
    assert "was read from R1-0001, and put back" in " ".join(said.split())
    assert rows(week, 0) == before
    assert week.leftovers() == set()
    assert week.index(0).stat().st_mode & 0o777 == 0o600
    assert b"file-3" not in week.index(0).read_bytes() or week.items[0].key is None, "what is sealed stays sealed"
    _, again, said = week.says(capsys, "files", name)
    assert again == listed
    assert "put back" not in said


def test_a_damaged_one_is_replaced(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows(week, 0)
    path = week.index(0)
    path.write_bytes(path.read_bytes()[:-9])
    status, listed, _ = week.says(capsys, "find", "file-3")
    assert status == 0
    assert "file-3" in listed
    assert rows(week, 0) == before


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "nothing but zeros": lambda data: bytes(len(data)),
    "inside": lambda data: data[:20] + b"\xff" * 100 + data[120:],
}


@pytest.mark.parametrize("how", DAMAGE)
def test_whatever_has_become_of_it(week: Week, how: str) -> None:
    """Damage inside shows only where one looks there, after the index was opened."""
    before = rows(week, 0)
    path = week.index(0)
    path.write_bytes(DAMAGE[how](path.read_bytes()))
    plan = plan_restore(week.world.config, Request("D1"))
    assert not plan.indexed, "a dry run touches no tape"
    assert any("cannot be used" in remark for remark in plan.remarks)
    result = restore_as_asked(week.world.config, Request("D1"), week.world.folder / "out")
    assert result.exit_status == 0
    assert (week.world.folder / "out" / "file-3").read_bytes() == (
        week.world.folder / "data" / "D1" / "file-3"
    ).read_bytes()
    assert rows(week, 0) == before
    assert sum("put back" in remark for remark in result.remarks) == 1


@pytest.mark.parametrize("week", ["clear"], indirect=True)
def test_what_is_damaged_inside_says_how_to_mend_it(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    _, listed, _ = week.says(capsys, "files", str(week.items[0].id))
    week.index(0).write_bytes(DAMAGE["inside"](week.index(0).read_bytes()))
    status, _, said = week.says(capsys, "files", str(week.items[0].id))
    assert status != 0
    assert f"{week.index(0)} is no whole file index" in said
    assert "remove the file, and the copy of the index that is on tape takes its place" in " ".join(said.split())
    week.index(0).unlink()
    assert week.says(capsys, "files", str(week.items[0].id))[:2] == (0, listed)


def test_a_state_is_restored_by_indexes_from_tape(week: Week) -> None:
    for n in (0, 1):
        week.index(n).unlink()
    plan = plan_restore(week.world.config, Request("D1"))
    assert not plan.indexed, "a dry run touches no tape"
    assert not week.index(0).exists()
    result = restore_as_asked(week.world.config, Request("D1", ("file-2", "new")), week.world.folder / "out")
    assert result.exit_status == 0
    assert {path.name for path in (week.world.folder / "out").iterdir()} == {"file-2", "new"}
    assert sum("put back" in remark for remark in result.remarks) == 2
    assert plan_restore(week.world.config, Request("D1")).indexed


def test_a_dry_run_into_a_folder_brings_nothing(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    target = week.world.folder / "out"
    target.mkdir()
    week.index(1).unlink()
    status, told, said = week.says(capsys, "restore", "D1", "--to", str(target), "--in-place", "--dry-run")
    assert status == 0
    assert f"is not known: the file index of object {week.items[1].id} is not there" in " ".join(told.split())
    assert "put back" not in told + said
    assert not week.index(1).exists()


def test_from_another_copy(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    with week.world.catalog() as catalog:
        index = catalog.index_of(week.items[0].id)
    assert index is not None
    flip(
        week.world.tapes("R1")[0],
        place_in_file(week.world.tapes("R1")[0], week.world.runs(index, "A")[0].position)[0] + 700,
    )
    week.index(0).unlink()
    status, listed, _ = week.says(capsys, "files", str(week.items[0].id))
    assert (status, "file-3" in listed) == (0, True)


def test_where_the_tapes_are_away_all_is_as_it_was(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    (week.world.folder / "tapes").rename(week.world.folder / "away")
    week.index(0).unlink()
    status, _, said = week.says(capsys, "files", str(week.items[0].id), "--no-wait")
    assert status == 3
    said = " ".join(said.split())
    assert "cannot be brought back from tape" in said
    assert "has no file index here" in said
    assert week.leftovers() == set()
    (week.world.folder / "tapes").exists() and (week.world.folder / "tapes").rename(week.world.folder / "made")
    (week.world.folder / "away").rename(week.world.folder / "tapes")
    result = restore_as_asked(week.world.config, Request("D1"), week.world.folder / "out")
    assert result.exit_status == 0
    (week.world.folder / "data" / "D1" / "new").write_bytes(b"newer")
    assert snapshot(week.world.folder / "out").keys() == snapshot(week.world.folder / "data" / "D1").keys()


def test_one_that_lies_in_no_drive_is_waited_for(
    week: Week, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `files` and `find` as by a restore: what is wanted is said, and brought."""
    monkeypatch.setitem(Waiting.__init__.__kwdefaults__, "look_seconds", 0.01)
    folder, away = week.world.folder / "tapes", week.world.folder / "away"
    said: list[str] = []

    def heard(line: str) -> None:
        said.append(line)
        away.rename(folder / "R1" / "R1-0001.index")

    monkeypatch.setattr("tapeloom.cli.attending.say", heard)
    for name in ("R2", "R3"):
        (folder / name / f"{name}-0001.index").unlink()
    for words in (("files", str(week.items[0].id)), ("files", "D1", "--state"), ("find", "file-3")):
        (folder / "R1" / "R1-0001.index").rename(away)
        week.index(0).unlink()
        status, listed, _ = week.says(capsys, *words)
        assert (status, "file-3" in listed, away.exists()) == (0, True, False)
    assert len(said) == 3
    assert all(line.startswith("Waiting: volume R1-0001 is ") and "drive R1: there is no" in line for line in said)


@pytest.mark.parametrize("week", ["clear"], indirect=True)
def test_one_that_lies_in_no_drive_is_not_waited_for(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("R1", "R2", "R3"):
        (week.world.folder / "tapes" / name / f"{name}-0001.index").rename(week.world.folder / name)
    week.index(0).unlink()
    for words, ends in (
        (("files", str(week.items[0].id)), 3),
        (("files", "D1", "--state"), 3),
        (("find", "file-3"), 1),
    ):
        status, _, said = week.says(capsys, *words, "--no-wait")
        assert status == ends, said
        assert "cannot be brought back from tape" in " ".join(said.split())
        assert "drive R1: there is no cartridge R1-0001" in " ".join(said.split())


def test_the_index_of_another_object_is_not_put_there(week: Week, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    with sqlite3.connect(week.world.state / "catalog.sqlite") as catalog:
        catalog.execute("UPDATE objects SET parent = ? WHERE content = 3", (str(week.items[0].id),))
    catalog.close()
    week.index(0).unlink()
    status, _, said = week.says(capsys, "files", str(week.items[0].id))
    assert status != 0
    assert f"is the file index of object {week.items[1].id}" in " ".join(said.split())
    assert not week.index(0).exists()
