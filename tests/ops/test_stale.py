"""State folders copied while a job ran and brought back later: nothing that got its receipt afterwards is overwritten,
whatever became of the record that would have told."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from ops_world import World, flip, place_in_file

from tapeloom.catalog.ledger import JobLedger
from tapeloom.runtime import Ending
from tapeloom.volume.writer import VolumeWriter


@pytest.fixture
def once(world: World) -> World:
    world.configure(
        '[backup.nightly.A]\ndrive = "R1"\nbuffers = { B1 = "D1" }',
        drives={"R1": '"vtape:tapes/R1"'},
        sources={"D1": '"data/D1"'},
    )
    world.data("D1", 200_000)
    return world


def copied_at(world: World, patch: pytest.MonkeyPatch, call: str) -> Path:
    """Runs a backup, and copies the state folder's catalog when the ledger is told of `call`: right after it wrote
    it down, but of a receipt right before."""
    copy = world.folder / "stale"
    told = getattr(JobLedger, call)

    def tell(self: JobLedger, *arguments: object, **named: object) -> object:
        result = None if call == "receipt" else told(self, *arguments, **named)
        if not copy.exists():
            # The rest comes and goes while it is copied.
            shutil.copytree(world.state, copy, ignore=shutil.ignore_patterns("index", "snapshots", "cache"))
        return told(self, *arguments, **named) if call == "receipt" else result

    with patch.context() as here:
        here.setattr(JobLedger, call, tell)
        assert world.backup().exit_status == 0
    return copy


def refuses(world: World, stale: Path, words: str) -> None:
    shutil.rmtree(world.state)
    shutil.copytree(stale, world.state)
    before = world.tape_bytes()
    result = world.backup()
    (agent,) = result.agents
    assert agent.ending is Ending.FAILED
    assert words in (agent.why or "")
    assert world.tape_bytes() == before


def positions(world: World, name: str) -> list[int]:
    return [met.position for met in world.on_tape("R1", "R1-0001") if met.header and met.header.name == name]


def damage(world: World, position: int) -> None:
    (tape,) = world.tapes("R1")
    at, length = place_in_file(tape, position)
    flip(tape, at + length - 1)


def test_a_damaged_checkpoint_does_not_hide_a_receipt(once: World, monkeypatch: pytest.MonkeyPatch) -> None:
    once.backup()
    stale = copied_at(once, monkeypatch, "receipt")
    damage(once, positions(once, "checkpoint")[-1])
    refuses(once, stale, "may be a receipt's")


def test_nor_does_a_checkpoint_that_found_no_room(once: World, monkeypatch: pytest.MonkeyPatch) -> None:
    once.backup()
    monkeypatch.setattr(VolumeWriter, "_write_if_room", lambda self, record: False)
    stale = copied_at(once, monkeypatch, "receipt")
    monkeypatch.undo()
    refuses(once, stale, "may be a receipt's")


def test_a_damaged_label_does_not_hide_what_follows_it(once: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = copied_at(once, monkeypatch, "make_volume")
    damage(once, positions(once, "volume-start")[0])
    refuses(once, stale, "damaged label")


def test_a_sound_label_with_data_behind_it_is_not_written_again(once: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = copied_at(once, monkeypatch, "make_volume")
    refuses(once, stale, "knows only of its label")


def test_drives_whose_names_begin_alike_get_volumes_of_their_own(world: World) -> None:
    names = ("datacenter-recorder-01", "datacenter-recorder-02")
    world.configure(
        f'[backup.nightly.A]\ndrive = "{names[0]}"\nbuffers = {{ B1 = "D1" }}\n'
        f'[mirror.1.M]\ndrive = "{names[1]}"\nbuffers = {{ B1 = "A.B1" }}',
        drives={name: f'"vtape:tapes/{name}"' for name in names},
        sources={"D1": '"data/D1"'},
    )
    world.data("D1", 100_000)
    for _ in range(2):
        assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        assert len({volume.label for volume in catalog.volumes()}) == 2


def test_equally_named_blank_cartridges_in_two_drives(world: World) -> None:
    from tapeloom.device import open_drive

    world.chain(sources=["D1"])
    world.data("D1", 100_000)
    for name in ("R1", "R2", "R3"):
        with open_drive(f"vtape:{world.folder}/tapes/{name}", name=name) as drive:
            drive.new_cartridge("BLANK1")
    for _ in range(2):
        assert world.backup().exit_status == 0
    assert set(world.status("D1").values()) == {"complete"}
    world.restored("D1", copy="M2")


def test_only_the_owner_reads_tapes_and_catalog(once: World) -> None:
    once.backup()
    kept = [*(once.folder / "tapes").rglob("*"), *once.state.rglob("*"), once.state]
    assert kept
    for path in kept:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_retired_volume_is_not_waited_for(once: World) -> None:
    from tapeloom.cli.main import main

    once.backup()
    for path in (once.folder / "tapes" / "R1").glob("R1-0001.*"):
        path.rename(once.folder / path.name)
    result = once.backup()
    assert "`tapeloom retire R1-0001 --reason lost`" in (result.agents[0].why or "")
    assert main(["-c", str(once.file), "retire", "R1-0001", "--reason", "lost", "--yes"]) == 0
    assert once.backup().exit_status == 0
    assert once.object("D1").copies[0].volumes == ("R1-0002",)
