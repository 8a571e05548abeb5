"""Health is read when a mount begins and when it ends, kept once, and heeded when a volume is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tapeloom.catalog import Catalog, VolumeState
from tapeloom.catalog.ledger import JobLedger
from tapeloom.device import open_drive
from tapeloom.errors import CatalogError
from tapeloom.health import CartridgeHealth, Health
from tapeloom.ident import new_id
from tapeloom.volume.condition import Condition
from tapeloom.volume.mounting import Mounted, Where, mount_for_append

WHERE = Where("R1", "default")
VOLUME = new_id()


class Telling:
    """A drive that has these things to say, one after another."""

    name = "R1"

    def __init__(self, *said: Health | None):
        self.said = list(said)

    def health(self, *, alerts: bool = True) -> Health | None:
        return self.said.pop(0)


class Kept:
    def __init__(self) -> None:
        self.all: list[tuple[UUID, str, Health]] = []

    def __call__(self, volume: UUID, drive: str, health: Health) -> None:
        self.all.append((volume, drive, health))


def one_mount(*said: Health | None) -> tuple[Kept, list[str]]:
    kept = Kept()
    condition = Condition(Telling(*said), kept)  # type: ignore[arg-type]
    condition.begins(VOLUME, "V1")
    condition.ends()
    condition.ends()  # there is no mount any more
    return kept, condition.remarks


def test_flags_from_the_beginning_are_kept_with_those_of_the_end() -> None:
    kept, remarks = one_mount(Health(alerts=(21,)), Health(alerts=(4, 10), cartridge=CartridgeHealth(loads=2)))
    assert kept.all == [(VOLUME, "R1", Health(alerts=(4, 10, 21), cartridge=CartridgeHealth(loads=2)))]
    assert remarks == [
        "volume V1: TapeAlert 4, media: copy what is on it to another cartridge, and do not use this one again",
        "drive R1: TapeAlert 21, clean periodic: the drive is due to be cleaned",
    ]


def test_a_drive_that_falls_silent_has_said_what_it_said() -> None:
    kept, _ = one_mount(Health(alerts=(6,)), None)
    assert [health.alerts for _, _, health in kept.all] == [(6,)]


def test_of_a_drive_that_tells_nothing_nothing_is_kept() -> None:
    kept, remarks = one_mount(None, None)
    assert (kept.all, remarks) == ([], [])


def test_what_the_cartridge_remembers_is_said() -> None:
    _, remarks = one_mount(Health(cartridge=CartridgeHealth(alerts=(7,))), Health())
    assert remarks == [
        "volume V1: the cartridge remembers of its mount before: TapeAlert 7, media life: copy what is on it to "
        "another cartridge, and discard this one"
    ]


def test_a_catalog_that_cannot_be_written_is_a_remark() -> None:
    def refuse(volume: UUID, drive: str, health: Health) -> None:
        raise CatalogError("the disk is full")

    condition = Condition(Telling(None, Health(alerts=())), refuse)  # type: ignore[arg-type]
    condition.begins(VOLUME, "V1")
    condition.ends()
    assert condition.remarks == ["what drive R1 told of its health is not kept: the disk is full"]


class Bench:
    """A stack of cartridges that nobody can make more of, two volumes among them."""

    def __init__(self, folder: Path):
        self.catalog = Catalog.open(folder / "state")
        self.stack = open_drive("memory:", name="R1")
        self.passed: list[str] = []
        for name in ("A1", "A2"):
            self.stack.new_cartridge(name)
        self.ids = {}
        for name in ("A1", "A2"):
            mounted = self.mount()
            self.ids[name] = mounted.id
            if name == "A1":
                self.catalog.set_volume_state(mounted.id, VolumeState.FULL)
        self.catalog.set_volume_state(self.ids["A1"], VolumeState.APPENDABLE)
        self.stack.makes_cartridges = False

    def mount(self) -> Mounted:
        self.passed = []
        self.stack.unload()
        return mount_for_append(
            self.stack,
            JobLedger(self.catalog, new_id()),
            where=WHERE,
            block_bytes=16384,
            software="test",
            passed=self.passed,
        )

    def raised(self, name: str, *alerts: int) -> None:
        self.catalog.keep_health(Health(alerts=alerts), drive="R1", volume=self.ids[name])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.stack.close()
    made.catalog.close()


def first_choice(bench: Bench) -> str:
    return bench.mount().label


def test_an_unfit_volume_is_left_alone_while_there_is_another(bench: Bench) -> None:
    preferred = first_choice(bench)
    other = "A2" if preferred == "A1" else "A1"
    bench.raised(preferred, 4)
    assert bench.mount().label == other
    (remark,) = bench.passed
    assert remark.startswith(f"volume {preferred} is left alone: at its mount in drive R1 on ")


def test_an_unfit_volume_is_left_alone_while_there_is_a_blank_cartridge(bench: Bench) -> None:
    for name in ("A1", "A2"):
        bench.raised(name, 4)
    bench.stack.new_cartridge("A3")
    assert bench.mount().label == "A3"
    assert len(bench.passed) == 2


def test_an_unfit_volume_is_written_for_want_of_another(bench: Bench) -> None:
    for name in ("A1", "A2"):
        bench.raised(name, 4)
    label = bench.mount().label
    assert label in bench.ids
    (remark,) = bench.passed
    assert remark.startswith(f"volume {label} is written to for want of another one, though: at its mount in drive R1")


def test_an_unfit_scratch_volume_comes_last(bench: Bench) -> None:
    for name in ("A1", "A2"):
        bench.catalog.put_out_of_use(bench.ids[name], VolumeState.SCRATCH, [])
    bench.raised("A1", 4)
    assert bench.mount().label == "A2"
    assert any(remark.startswith("volume A1 is left alone") for remark in bench.passed)


def test_a_grave_flag_that_does_not_make_unfit_is_said(bench: Bench) -> None:
    preferred = first_choice(bench)
    bench.raised(preferred, 9)
    assert bench.mount().label == preferred
    (remark,) = bench.passed
    assert remark.startswith(f"volume {preferred}: at its mount in drive R1 on ")


def test_a_sound_volume_brings_no_remark(bench: Bench) -> None:
    bench.raised(first_choice(bench), 1, 20, 21)
    bench.mount()
    assert bench.passed == []
