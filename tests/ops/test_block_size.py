"""Blocks that a drive does not take, or takes by a detour: said before the first byte."""

from __future__ import annotations

import pytest
from ops_world import BLOCK, World

from tapeloom.device import Device
from tapeloom.device.native import NativeDrive
from tapeloom.errors import BlockSizeError
from tapeloom.ops.backup import open_backup


def limit(monkeypatch: pytest.MonkeyPatch, name: str, *, of: str, bytes: int) -> None:
    """Drive `of` has this limit, as an adapter would give it to a real one."""
    real = getattr(NativeDrive, name)

    def found(device: Device) -> int:
        return bytes if device.name == of else real.fget(device)

    monkeypatch.setattr(NativeDrive, name, property(found))


def test_a_drive_that_does_not_take_such_blocks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.chain(sources=["D1"])
    world.data("D1", 10_000)
    limit(monkeypatch, "block_bytes_max", of="R2", bytes=BLOCK // 2)
    with (
        pytest.raises(BlockSizeError, match="drive R2 takes blocks of at most 8 KiB, not of 16 KiB"),
        open_backup(world.config),
    ):
        pytest.fail("it has begun")
    with world.catalog() as catalog:
        assert catalog.jobs() == []
        assert catalog.volumes() == []


def test_a_drive_that_takes_them_by_a_detour(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.chain(sources=["D1"])
    world.data("D1", 10_000)
    limit(monkeypatch, "block_bytes_direct_max", of="R2", bytes=BLOCK // 2)
    result = world.backup()
    assert result.exit_status == 0
    assert [one for one in result.remarks if one.startswith("drive R2: blocks of 16 KiB go through the buffer")]
    assert not [one for one in result.remarks if "drive R1" in one]
