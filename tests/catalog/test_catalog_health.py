"""What drives tell of themselves and of volumes, kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tapeloom.catalog import Catalog
from tapeloom.health import CartridgeHealth, DriveHealth, Health
from tapeloom.ident import new_id


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "state") as made:
        yield made


@pytest.fixture
def volume(catalog: Catalog) -> UUID:
    id = new_id()
    catalog.add_volume(id, label="V1", drive="L1", cartridge="V1", block_bytes=65536)
    return id


def test_the_newest_of_each_is_what_is_known(catalog: Catalog, volume: UUID) -> None:
    health = Health(alerts=(4, 21), cartridge=CartridgeHealth(loads=7, alerts=(3,)), drive=DriveHealth(meters=5))
    job = new_id()
    catalog.keep_health(Health(alerts=()), drive="R1", volume=volume, at=1)
    catalog.keep_health(health, drive="R1", volume=volume, job=job, at=2)
    catalog.keep_health(Health(drive=DriveHealth(meters=6)), drive="R1", at=3)
    kept = catalog.volume_health()[volume]
    assert (kept.at, kept.drive, kept.job, kept.health) == (2, "R1", str(job), health)
    assert [one.number for one in kept.volume_flags()] == [4]
    drive = catalog.drive_health()["R1"]
    assert (drive.at, drive.volume, drive.health.drive) == (3, None, DriveHealth(meters=6))
    assert drive.health.alerts is None
    assert set(catalog.drive_health()) == {"R1"}


def test_what_a_cartridge_is_to_blame_for_stays(catalog: Catalog, volume: UUID) -> None:
    assert catalog.doubts() == {}
    catalog.keep_health(Health(alerts=(4,)), drive="R1", volume=volume, at=1)
    catalog.keep_health(Health(alerts=()), drive="R2", volume=volume, at=2)
    found = catalog.doubts()[volume]
    assert found.unfit
    assert found.why.startswith("at its mount in drive R1 on 1970-01-01 ")
    assert "TapeAlert 4, media" in found.why


def test_what_may_be_the_drives_fault_counts_until_the_next_mount(catalog: Catalog, volume: UUID) -> None:
    catalog.keep_health(Health(alerts=(6,)), drive="R1", volume=volume, at=1)
    assert catalog.doubts()[volume].unfit
    catalog.keep_health(Health(alerts=(20,)), drive="R2", volume=volume, at=2)
    assert catalog.doubts() == {}


def test_what_the_cartridge_remembers_counts(catalog: Catalog, volume: UUID) -> None:
    """Somebody else's drive has raised it."""
    catalog.keep_health(Health(cartridge=CartridgeHealth(alerts=(15,))), drive="R1", volume=volume, at=1)
    assert "TapeAlert 15" in catalog.doubts()[volume].why
