"""Importing out of libraries, with all drives that are free, and out of drives that a person feeds."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from random import Random

import pytest
from hand_fed import HandFed
from import_world import canonical, differences
from ops_world import World

from tapeloom.catalog import VolumeState
from tapeloom.errors import DeviceError, HeldError, NotFound
from tapeloom.ops import cartridges
from tapeloom.ops.cartridges import Asked, Operator
from tapeloom.ops.importing import Imported, ImportResult, Wanted, import_volumes
from tapeloom.ops.mounts import open_configured
from tapeloom.volume.header import Level

LIBRARY = """
[libraries]
L1 = "vlib:lib?drives=2&slots=20&cartridges=12"
[backup.nightly.A]
drive = "R1"
checkpoint = "64KiB"
buffers = { B1 = "D1", B2 = "D2" }
[mirror.1.M]
drive = "R2"
checkpoint = "96KiB"
buffers = { B1 = "A.B1", B2 = "A.B2" }
"""
BAYS = {name: f'{{ device = "vlib:lib?bay={bay}", capacity = "900KiB" }}' for bay, name in enumerate(("R1", "R2"))}
PATIENCE_SECONDS = 20


def of_library(world: World, drives: dict[str, str] = BAYS) -> None:
    world.configure(LIBRARY, drives=drives, sources={"D1": '"data/D1"', "D2": '"data/D2"'})


@pytest.fixture
def library(world: World) -> World:
    """An original and its mirror in one library, over several cartridges each; a full job and an increment."""
    of_library(world)
    world.data("D1", 500_000)
    world.data("D2", 300_000)
    assert world.backup().exit_status == 0
    world.data("D1", 500_000, files=4)
    assert world.backup(level=Level.INCREMENTAL).exit_status == 0
    with world.catalog() as catalog:
        assert len(catalog.volumes()) >= 4
    return world


def import_(world: World, *volumes: str, **more: object) -> ImportResult:
    wanted = {name: more.pop(name) for name in ("drives", "scan") if name in more}
    return import_volumes(world.config, Wanted(volumes, appendable=True, **wanted), **more)  # type: ignore[arg-type]


def rows(result: ImportResult) -> list[Imported]:
    return [one for one in result.volumes if one.id is not None]


def test_a_library_by_all_of_its_drives(library: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both drives have a cartridge in at the same time: each waits in its first one until the other has one, too."""
    before = canonical(library.state)
    shutil.rmtree(library.state)
    meeting = threading.Barrier(2)
    inside = cartridges.Round.put_in
    met = set()

    def put_in(self: object, drive: object, device: object, name: str) -> bool:
        if drive not in met:
            met.add(drive)
            meeting.wait(PATIENCE_SECONDS)
        return inside(self, drive, device, name)  # type: ignore[arg-type]

    monkeypatch.setattr(cartridges.Round, "put_in", put_in)
    result = import_(library)
    assert differences(before, canonical(library.state)) == []
    names = [one.cartridge for one in result.volumes]
    assert names == [f"V{n:05d}L9" for n in range(1, 13)]  # each once, the blank ones too
    assert {one.drive for one in result.volumes} == {"R1", "R2"}
    with library.catalog() as catalog:
        assert {(one.home, one.barcode) for one in catalog.volumes()} == {("L1", one.cartridge) for one in rows(result)}
    assert library.backup().exit_status == 0


@pytest.mark.parametrize("by", ["label", "barcode", "id"])
def test_one_volume_of_a_library(library: World, by: str) -> None:
    with library.catalog() as catalog:
        volume = catalog.volumes()[1]
    shutil.rmtree(library.state)
    name = {"label": volume.label, "barcode": str(volume.barcode), "id": str(volume.id)}[by]
    assert [one.id for one in rows(import_(library, name))] == [volume.id]
    with pytest.raises(NotFound, match="no volume X0001 in L1"):
        import_(library, "X0001")


def test_by_a_label_that_is_no_barcode(library: World) -> None:
    """Where the catalog knows it, no other cartridge is put in."""
    with library.catalog() as catalog:
        volume = catalog.volumes()[-1]
    from tapeloom.catalog import Catalog

    with Catalog.open(library.state) as catalog:
        catalog._database._db.execute_sql("UPDATE volumes SET label = 'weekly-7' WHERE id = ?", (str(volume.id),))
    loads: list[str] = []
    result = import_(library, "weekly-7", on_progress=lambda cartridge, done, total: loads.append(cartridge))
    assert [one.id for one in rows(result)] == [volume.id]
    assert set(loads) == {volume.cartridge}


def test_what_stands_in_a_bay_of_a_drive_that_is_free(library: World) -> None:
    from tapeloom.ops.shelves import mount

    before = canonical(library.state)
    shutil.rmtree(library.state)
    mount(library.config, "V00002L9", "R1")
    mount(library.config, "V00001L9", "R2")
    assert not [one for one in import_(library).volumes if one.why and not one.blank]
    assert differences(before, canonical(library.state)) == []


def test_a_drive_that_somebody_has(library: World) -> None:
    """The other one does it all; both held is refused."""
    before = canonical(library.state)
    shutil.rmtree(library.state)
    with open_configured(library.config, "R1"):
        result = import_(library)
        assert {one.drive for one in result.volumes} == {"R2"}
        assert differences(before, canonical(library.state)) == []
        with pytest.raises(HeldError):
            import_(library, drives=("R1",))
        with open_configured(library.config, "R2"), pytest.raises(HeldError):
            import_(library)


def test_a_drive_that_takes_no_cartridge(library: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and the other one has what it could not take."""
    before = canonical(library.state)
    shutil.rmtree(library.state)
    from tapeloom.library.bay import BayDrive

    load = BayDrive.load
    tried: list[str | None] = []

    def breaks(self: BayDrive, cartridge: str | None = None) -> None:
        if self.name == "R1":
            tried.append(cartridge)
            raise DeviceError("drive R1: its door is stuck")
        load(self, cartridge)

    monkeypatch.setattr(BayDrive, "load", breaks)
    result = import_(library)
    assert len(tried) == 1
    (failed,) = [one for one in result.volumes if one.why and not one.blank]
    assert (failed.drive, failed.cartridge, failed.why) == ("R1", tried[0], "drive R1: its door is stuck")
    monkeypatch.undo()
    assert differences(before, canonical(library.state)) == []


def test_it_is_broken_off(library: World) -> None:
    """Ctrl-C, or a bug in one thread: the other one ends, and nothing is held."""
    shutil.rmtree(library.state)

    def on_progress(cartridge: str, done: int, total: int) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        import_(library, on_progress=on_progress)
    assert import_(library).exit_status == 0


def test_a_volume_that_was_put_into_a_library(world: World) -> None:
    """It was written in a drive that stood alone, and is called by its barcode from now on."""
    world.chain(sources=("D1",))
    world.data("D1", 50_000)
    assert world.backup().exit_status == 0
    with world.catalog() as catalog:
        before = {one.id: one for one in catalog.volumes()}
    (world.folder / "lib").mkdir()
    for number, drive in enumerate(("R1", "R2", "R3"), 1):
        for end in ("tape", "index"):
            (world.folder / "tapes" / drive / f"{drive}-0001.{end}").rename(world.folder / "lib" / f"B{number}.{end}")
    of_library(world)
    import_(world)
    with world.catalog() as catalog:
        now = {one.id: one for one in catalog.volumes()}
    assert {id: one.label for id, one in now.items()} == {id: one.label for id, one in before.items()}
    assert sorted((one.home, one.cartridge, one.barcode) for one in now.values()) == [
        ("L1", f"B{number}", f"B{number}") for number in (1, 2, 3)
    ]
    assert world.sequence("D1")


class Person:
    """Puts these cartridges into a drive, one after another; `asked` is what he was told."""

    def __init__(self, *names: str):
        self.names = list(names)
        self.asked: list[Asked] = []
        self.drive: HandFed | None = None

    def __call__(self, asked: Asked) -> bool:
        self.asked.append(asked)
        assert self.drive is not None
        assert not asked.is_there()
        if not self.names:
            return False
        self.drive.insert(self.names.pop(0))
        assert asked.is_there()
        return True


@pytest.fixture
def by_hand(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    """Drive R1 with three volumes of one chain that a person puts in, in the order that is given."""
    world.configure(
        '[backup.nightly.A]\ndrive = "R1"\ncheckpoint = "64KiB"\nbuffers = { B1 = "D1" }\n',
        drives={"R1": '{ device = "vtape:tapes/R1", capacity = "420KiB" }'},
        sources={"D1": '"data/D1"'},
    )
    world.data("D1", 500_000)
    assert world.backup().exit_status == 0
    people: list[Person] = []

    def opening(config: object, name: str) -> HandFed:
        device = HandFed(open_configured(config, name))  # type: ignore[arg-type]
        people[-1].drive = device
        if people[-1].names and people[-1].names[0] != "nothing":
            device.insert(people[-1].names.pop(0))
        elif people[-1].names:
            people[-1].names.pop(0)
        return device

    monkeypatch.setattr(cartridges, "open_configured", opening)

    def person(*names: str) -> Person:
        people.append(Person(*names))
        return people[-1]

    return person


def of_person(world: World, operator: Operator | None, *volumes: str) -> ImportResult:
    return import_volumes(world.config, Wanted(volumes, appendable=True), operator=operator)


@pytest.mark.parametrize("seed", range(3))
def test_a_person_puts_them_in_in_any_order(world: World, by_hand: Callable[..., Person], seed: int) -> None:
    before = canonical(world.state)
    shutil.rmtree(world.state)
    names = [tape.stem for tape in world.tapes("R1")]
    assert len(names) >= 2
    Random(seed).shuffle(names)
    person = by_hand(*names)
    result = of_person(world, person)
    assert [one.cartridge for one in result.volumes] == names
    assert differences(before, canonical(world.state)) == []
    assert [asked.drive for asked in person.asked] == ["R1"] * len(names)
    assert [asked.said.split(":")[0] for asked in person.asked] == [f"volume {name}" for name in names]
    assert person.asked[-1].wanted == []
    if names[0] == max(names):  # the records of the last one speak of those before it
        assert set(person.asked[0].wanted) == set(names[1:])


def test_without_a_person_what_is_in_is_all(world: World, by_hand: Callable[..., Person]) -> None:
    names = [tape.stem for tape in world.tapes("R1")]
    shutil.rmtree(world.state)
    person = by_hand(names[-1])
    result = of_person(world, None)
    assert [one.cartridge for one in rows(result)] == [names[-1]]
    assert set(result.unseen) == set(names[:-1])
    assert person.drive is not None
    assert person.drive.taken_out == []


def test_an_empty_drive(world: World, by_hand: Callable[..., Person]) -> None:
    shutil.rmtree(world.state)
    by_hand("nothing")
    result = of_person(world, None)
    assert result.exit_status == 3
    assert [one.why for one in result.volumes] == ["drive R1: there is no cartridge"]
    person = by_hand("nothing", "R1-0001")
    assert of_person(world, person).exit_status in (0, 1)
    assert person.asked[0].said == "drive R1: there is no cartridge"


def test_only_what_was_asked_for(world: World, by_hand: Callable[..., Person]) -> None:
    """Others are left alone, and nobody is asked for more than that."""
    shutil.rmtree(world.state)
    person = by_hand("nothing", "R1-0001", "R1-0002")
    result = of_person(world, person, "R1-0002")
    assert [one.cartridge for one in rows(result)] == ["R1-0002"]
    assert [(asked.said, asked.wanted) for asked in person.asked] == [
        ("the cartridge is not what was asked for", ["R1-0002"])
    ]
    with world.catalog() as catalog:
        assert {one.label: one.state for one in catalog.volumes()}["R1-0001"] is not VolumeState.SCRATCH
