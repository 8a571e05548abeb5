"""Getting objects back: which one, from which copy, as what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent_world import snapshot
from ops_world import World, files_in

from tapeloom.catalog import Catalog, Outcome
from tapeloom.errors import HeldError, NotFound, RestoreError
from tapeloom.ops.backup import open_backup
from tapeloom.ops.restore import cat, open_object, restore
from tapeloom.ops.verify import verify


@pytest.fixture
def twice(world: World) -> World:
    """Two versions of a tree D1 and of a command's output Said."""
    world.chain(sources=["D1", "Said"], given={"Said": '{ command = "cat said" }'})
    for seed in (1, 2):
        world.data("D1", 300_000, seed=seed)
        (world.folder / "said").write_bytes(b"version %d\n" % seed * 5000)
        here = Path.cwd()
        os.chdir(world.folder)
        try:
            assert world.backup().exit_status == 0
        finally:
            os.chdir(here)
    return world


def ids(world: World, source: str) -> list[str]:
    with world.catalog() as catalog:
        return [str(item.id) for item in catalog.objects(source)]


def test_a_source_names_its_newest_object(twice: World) -> None:
    assert files_in(twice.sequence("D1")) == files_in(twice.sequence(ids(twice, "D1")[1]))
    assert twice.sequence("Said") == b"version 2\n" * 5000
    assert twice.sequence(ids(twice, "Said")[0]) == b"version 1\n" * 5000


def test_an_object_by_the_beginning_of_its_id(twice: World) -> None:
    first, second = ids(twice, "D1")
    assert first[:5] == second[:5], "made in the same hour or so"
    with pytest.raises(NotFound, match="more than one object"):
        twice.sequence(first[:5])
    every = [id for source in ("D1", "Said") for id in ids(twice, source)]
    length = next(n for n in range(4, 37) if len({id[:n] for id in every}) == len(every))
    assert files_in(twice.sequence(first[:length])) == files_in(twice.sequence(first))


def test_a_name_that_nothing_has(twice: World) -> None:
    with pytest.raises(NotFound, match="it knows D1, Said"):
        twice.sequence("D7")


@pytest.mark.parametrize(
    "where", [{"copy": "A"}, {"copy": "M1"}, {"copy": "M2"}, {"volume": "R2-0001"}, {"volume": "R3-0001"}]
)
def test_from_a_chosen_copy_no_other_drive_is_touched(twice: World, where: dict[str, str]) -> None:
    drive = {"A": "R1", "M1": "R2", "M2": "R3", "R2-0001": "R2", "R3-0001": "R3"}[next(iter(where.values()))]
    for other in {"R1", "R2", "R3"} - {drive}:
        (twice.folder / "tapes" / other).rename(twice.folder / "tapes" / f"{other}-away")
    result = restore(twice.config, "D1", twice.folder / "out", **where)
    assert (result.exit_status, result.faults) == (0, [])
    assert snapshot(twice.folder / "out") == snapshot(twice.folder / "data" / "D1")
    assert not [path for path in (twice.folder / "tapes").iterdir() if path.name in {"R1", "R2", "R3"} - {drive}]


def test_what_a_command_said_becomes_a_file(twice: World) -> None:
    result = restore(twice.config, "Said", twice.folder / "out")
    assert (result.report.files, result.report.bytes) == (1, 50_000)
    assert (twice.folder / "out" / "Said").read_bytes() == b"version 2\n" * 5000
    with pytest.raises(RestoreError):
        restore(twice.config, "Said", twice.folder / "out")
    restore(twice.config, ids(twice, "Said")[0], twice.folder / "out", existing="replace")
    assert (twice.folder / "out" / "Said").read_bytes() == b"version 1\n" * 5000


def test_an_older_version_over_a_newer_one(twice: World) -> None:
    target = twice.restored("D1")
    with pytest.raises(RestoreError):
        restore(twice.config, "D1", target)
    restore(twice.config, ids(twice, "D1")[0], target, existing="replace", in_place=True)
    twice.data("D1", 300_000, seed=1)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        path.name: path.read_bytes() for path in (twice.folder / "data" / "D1").iterdir()
    }


def test_the_reader_of_a_pipe_goes_away(twice: World) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        cat(twice.config, "D1", writing)
    os.close(writing)
    assert twice.sequence("D1"), "the drives were let go of"


def test_a_sequence_in_pieces(twice: World) -> None:
    with open_object(twice.config, "Said", copy="M2") as (item, reading):
        assert reading.sequence.read(10) == b"version 2\n"
        assert reading.sequence.skip(10) == 10
        assert bytes(reading.sequence.payload())[:5] == b"versi"[0:5]
        rest = b"".join(iter(lambda: reading.sequence.read(7_777), b""))
        assert item.bytes is not None
        assert reading.sequence.offset == item.bytes
        assert rest.endswith(b"version 2\n")


def test_left_in_the_middle(twice: World) -> None:
    with open_object(twice.config, "Said") as (_, reading):
        reading.sequence.read(1)
    with pytest.raises(ZeroDivisionError), open_object(twice.config, "Said"):
        raise ZeroDivisionError
    assert verify(twice.config).exit_status == 0


def test_while_a_backup_holds_the_drives(twice: World) -> None:
    """Its words name the holder; the catalog can be read all the time."""
    with open_backup(twice.config):
        with pytest.raises(HeldError, match=f"held by pid {os.getpid()}"):
            twice.sequence("D1")
        assert ids(twice, "D1")
        checked = verify(twice.config)
        assert checked.exit_status == 3, "nothing was done"
        assert f"held by pid {os.getpid()}" in checked.faults[0].what
    assert verify(twice.config).exit_status == 0


def test_without_any_backup(world: World) -> None:
    world.chain()
    with pytest.raises(NotFound):
        world.sequence("D1")
    with pytest.raises(NotFound):
        verify(world.config)
    assert not world.state.exists(), "asking makes nothing"


def test_a_held_drive_is_a_reason_of_its_own(twice: World) -> None:
    """Nothing is wrong with the tapes: the exit status says that nothing was done."""
    with open_backup(twice.config), pytest.raises(HeldError):
        twice.sequence("D1", copy="A")


def test_what_is_retired_is_not_read(twice: World) -> None:
    """The sentence says so, where it stands, and what can be had instead."""
    first, second = ids(twice, "Said")

    def retire(id: str, *agents: str) -> None:
        with Catalog.open(twice.state) as catalog:
            catalog.retire(copy.id for copy in catalog.object(id).copies if copy.agent in agents)

    retire(second, "A", "M1", "M2")
    assert twice.sequence("Said") == b"version 1\n" * 5000
    on = r"retired copies \(on R1-0001, R2-0001, R3-0001\) are not read, nor with --partial"
    for partial in (False, True):
        with pytest.raises(RestoreError, match=f"{on}; choose another object"):
            twice.sequence(second, partial=partial)
    retire(first, "A")
    with pytest.raises(RestoreError, match=r"\(on R1-0001\).*; M1, M2 not asked, because of --copy: leave it out"):
        twice.sequence(first, copy="A")
    retire(first, "M1", "M2")
    with pytest.raises(RestoreError, match=f"{on}; choose another object"):
        twice.sequence("Said")
    with Catalog.open(twice.state) as catalog:
        item = catalog.object(ids(twice, "D1")[0])
        catalog.object_ended(item.id, outcome=Outcome.INTERRUPTED, blocks=item.blocks, bytes=item.bytes, files=None)
    retire(ids(twice, "D1")[1], "A", "M1", "M2")
    with pytest.raises(RestoreError, match=f"{on}; name {item.id}, .*, with --partial"):
        twice.sequence("D1")
    assert twice.sequence(str(item.id), partial=True)
